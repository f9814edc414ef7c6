// Package bench measures: this process's engine (offline, throughput), any server over HTTP (online), and engines against
// each other (peers). It writes reports that tools read, draws them, and holds them against gates. The command's bench and
// release-gate subcommands are its callers.
//
// The reports of offline and online are those of the Python harness that this one takes the place of; what is new stands
// under the key "extended".
package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A Report is what a benchmark writes to its file.
type Report struct {
	Mode         string   `json:"mode"`
	TimestampUTC string   `json:"timestamp_utc"`
	BaseURL      string   `json:"base_url,omitempty"` // online only
	ModelPath    string   `json:"model_path"`
	Profile      any      `json:"profile"`
	Summary      Summary  `json:"summary"`
	Details      any      `json:"details"`
	Gate         *Gate    `json:"gate"`
	GateFailures []string `json:"gate_failures"`
	GatePassed   *bool    `json:"gate_passed"` // nil without a gate
	Extended     any      `json:"extended,omitempty"`
}

// A GateError says what failed a gate, after the report was written.
type GateError struct {
	Heading  string
	Failures []string
}

func (e *GateError) Error() string { return e.Heading + "\n- " + strings.Join(e.Failures, "\n- ") }

// Finish holds the report against the gate, which may be nil, and writes it. A gate that failed is a *GateError.
func (r *Report) Finish(gate *Gate, path string) error {
	r.TimestampUTC = timestamp()
	r.Gate, r.GateFailures = gate, []string{}
	if gate != nil {
		r.GateFailures = gate.Check(&r.Summary)
		passed := len(r.GateFailures) == 0
		r.GatePassed = &passed
	}
	if err := WriteJSON(path, r); err != nil {
		return err
	}
	if len(r.GateFailures) > 0 {
		return &GateError{"Benchmark gate check failed:", r.GateFailures}
	}
	return nil
}

// timestamp is now, as Python's datetime.isoformat writes it.
func timestamp() string { return time.Now().UTC().Format("2006-01-02T15:04:05.000000-07:00") }

// WriteJSON writes a value with sorted keys and an indent of 2, and makes the folders that the path names.
func WriteJSON(path string, value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var tree any // the keys of maps come out sorted, those of structs do not
	if err := d.Decode(&tree); err != nil {
		return err
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(tree); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, text.Bytes(), 0o644)
}

// Progress is told how far a stage has come: done of total, in the stage's own unit.
type Progress func(stage string, done, total int)

// Print writes a report for people.
func (r *Report) Print(w io.Writer) {
	s := &r.Summary
	fmt.Fprintf(w, "%d requests, %d tokens in %.2f s: %.2f tok/s, %.2f req/s\n", s.NumRequests, s.NumTokens, s.DurationS,
		s.ThroughputTokenPerS, s.ThroughputReqPerS)
}

// Print writes the points of an online report for people.
func (e *OnlineExtended) Print(w io.Writer) {
	for _, p := range e.Points {
		s := &p.Summary
		fmt.Fprintf(w, "%v: %.2f tok/s, %.2f req/s | TTFT p50 %.1f p99 %.1f ms | ITL p50 %.1f p99 %.1f ms | E2E p50 %.2f p99 %.2f s",
			p.Load, s.ThroughputTokenPerS, s.ThroughputReqPerS, s.TTFT.P50, s.TTFT.P99, p.ITL.P50, p.ITL.P99, s.E2E.P50, s.E2E.P99)
		if p.CacheHitRate != nil {
			fmt.Fprintf(w, " | cache hits %.1f %%", *p.CacheHitRate*100)
		}
		if p.Goodput != nil {
			fmt.Fprintf(w, " | goodput %.2f req/s (%.1f %%)", p.Goodput.ReqPerS, p.Goodput.Share*100)
		}
		if p.FailedRequests > 0 {
			fmt.Fprintf(w, " | %d FAILED", p.FailedRequests)
		}
		fmt.Fprintln(w)
	}
}
