package shadow

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A Record is one divergence, a line of the report. Its fields stand in the order of their keys.
type Record struct {
	Kind           string   `json:"kind"` // one of the planner's (see docs/shadow.md), the same with "_exception", or "sampled_tokens"
	Margin         *float64 `json:"margin,omitempty"`
	PrimaryBackend string   `json:"primary_backend"`
	Reason         string   `json:"reason"`
	RequestIDs     []string `json:"req_uids"`
	ShadowBackend  string   `json:"shadow_backend"`
	Step           *uint64  `json:"step,omitempty"`
	TimestampUTC   string   `json:"timestamp_utc"`
}

// A journal appends records to a file, up to a limit. Its methods may be called from any goroutine.
type journal struct {
	path        string
	log         *slog.Logger
	divergences atomic.Uint64

	mu   sync.Mutex
	left int // records that may still be written
	file *os.File
	err  error // the first one
}

// full reports whether no more records are written.
func (j *journal) full() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.left <= 0
}

// write counts a divergence and writes it down, if there is room. A report that cannot be written disturbs nobody: it is an error of close.
func (j *journal) write(r Record) {
	j.divergences.Add(1)
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.left <= 0 {
		return
	}
	j.left--
	j.log.Warn(fmt.Sprintf("Shadow divergence: kind=%s req_uids=%q primary=%s shadow=%s: %s", r.Kind, r.RequestIDs, r.PrimaryBackend, r.ShadowBackend, r.Reason))
	if j.path == "" || j.err != nil {
		return
	}
	r.TimestampUTC = time.Now().UTC().Format("2006-01-02T15:04:05.000000-07:00")
	if r.RequestIDs == nil {
		r.RequestIDs = []string{}
	}
	if j.err = j.append(r); j.err != nil {
		j.log.Error(fmt.Sprintf("Shadow report: %v", j.err))
	}
}

func (j *journal) append(r Record) (err error) {
	if j.file == nil {
		if j.file, err = os.OpenFile(j.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644); err != nil {
			return err
		}
	}
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = j.file.Write(append(line, '\n'))
	return err
}

func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var err error
	if j.file != nil {
		err = j.file.Close()
		j.file, j.left = nil, 0
	}
	if err = errors.Join(j.err, err); err != nil {
		return fmt.Errorf("shadow report: %w", err)
	}
	return nil
}
