// Package shadow runs a second implementation beside the one that serves and reports where the two part: the scheduler's planners, and
// one device beside another. What it finds never changes an answer. Package minisgl wires it in; docs/shadow.md is for those who use it.
//
// A Shadow is the scheduler's view of it: it is shown each planned step. A Mirror is the engine's: a device.Runner that lets a second
// runner follow the first, at its own pace.
package shadow

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"minisgl/device"
)

// Options of a Shadow.
type Options struct {
	PageSize int // tokens of a KV page
	// Planner asks for the planners to be compared. Primary and Second are their names in records.
	Planner         bool
	Primary, Second string

	Report   string // file that divergences are appended to, made at the first one; "": they are only counted and logged
	MaxDiffs int    // divergences that are written; more are only counted
	EveryN   int    // steps 0, N, 2N, … are compared
	Logger   *slog.Logger
}

// Counts is what a Shadow has done so far.
type Counts struct {
	Steps   uint64 // planned steps whose two versions were compared
	Outputs uint64 // tokens of the primary device that were compared with the shadow device's
	// Skipped outputs should have been compared, but the shadow device was behind.
	Skipped     uint64
	Divergences uint64 // of all kinds, those beyond MaxDiffs included
}

func (c Counts) String() string {
	return fmt.Sprintf("steps=%d outputs=%d skipped=%d divergences=%d", c.Steps, c.Outputs, c.Skipped, c.Divergences)
}

// A Shadow compares planned steps, and keeps the records of all comparisons.
type Shadow struct {
	options Options
	journal journal
	planned uint64      // steps shown
	second  device.Step // reused
	read    [2][]int64  // reused

	mu       sync.Mutex
	requests map[*device.Step][]string // ids by sequence, of steps in flight, for the Mirror

	steps, outputs, skipped atomic.Uint64
}

// New returns a Shadow. Close ends it.
func New(o Options) *Shadow {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Shadow{options: o, journal: journal{path: o.Report, left: o.MaxDiffs, log: o.Logger}, requests: map[*device.Step][]string{}}
}

// Counts may be called at any time.
func (s *Shadow) Counts() Counts {
	return Counts{Steps: s.steps.Load(), Outputs: s.outputs.Load(), Skipped: s.skipped.Load(), Divergences: s.journal.divergences.Load()}
}

// Close closes the report.
func (s *Shadow) Close() error { return s.journal.close() }

// Planned compares a step with what the planner that does not serve makes of it (scheduler.Shadow).
func (s *Shadow) Planned(step *device.Step, ids []string, second func(*device.Step)) {
	number := s.planned
	s.planned++
	s.mu.Lock()
	s.requests[step] = append(s.requests[step][:0], ids...)
	s.mu.Unlock()
	if !s.options.Planner || number%uint64(s.options.EveryN) != 0 {
		return
	}
	s.steps.Add(1)
	fault := guard(func() { second(&s.second) })
	for i, kind := range kinds {
		reason, err := s.compare(kind, step)
		differs := reason != "" || err != nil
		switch {
		case fault != nil && (differs || i == len(kinds)-1): // what this kind lacks, the fault has left undone
			s.diverges(kind.name+"_exception", ids, fault.Error())
			s.second = device.Step{}
			return
		case !differs:
		case err != nil:
			s.diverges(kind.name+"_exception", ids, err.Error())
		default:
			s.diverges(kind.name, ids, reason)
		}
	}
}

func (s *Shadow) compare(kind kind, step *device.Step) (reason string, err error) {
	err = guard(func() {
		s.read[0] = kind.read(s.read[0][:0], step, s.options.PageSize)
		s.read[1] = kind.read(s.read[1][:0], &s.second, s.options.PageSize)
		reason = difference(s.read[0], s.read[1])
	})
	return reason, err
}

func (s *Shadow) diverges(kind string, ids []string, reason string) {
	s.journal.write(Record{Kind: kind, RequestIDs: ids, Reason: reason, PrimaryBackend: s.options.Primary, ShadowBackend: s.options.Second})
}

// requestOf returns the id of the request in a sequence of a step in flight, as a list.
func (s *Shadow) requestOf(step *device.Step, sequence int) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ids := s.requests[step]; sequence < len(ids) {
		return []string{ids[sequence]}
	}
	return nil
}

// guard turns a panic of f into an error.
func guard(f func()) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("%v", fault)
		}
	}()
	f()
	return nil
}
