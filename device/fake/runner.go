package fake

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"minisgl/device"
)

// A Runner is a fake device.Runner.
type Runner struct {
	vocab   int
	options device.LoadOptions
	device  Options

	mu      sync.Mutex // guards what follows, between Submit, Wait, Poison and the goroutine
	ran     sync.Cond  // told when a step has run
	checker *device.Checker
	flight  []flying // submitted and not yet waited for, oldest first
	steps   int      // that have run
	lost    bool
	closed  bool
	pages   []held
	sums    []uint64 // page·PageSize + offset → sum of the page's entries up to the offset; if Trusting, the sequence's
	slots   []slot
	digests []uint64 // of each row of the running step

	work   chan struct{} // Concurrent: one value for each step to run
	worker sync.WaitGroup
}

type flying struct {
	step *device.Step
	err  error
	ran  bool
}

// held says which KV a page holds.
type held struct {
	tokens   int32 // offsets [0, tokens) hold KV
	position int32 // of offset 0
	poisoned bool
}

type slot struct {
	sampled int32 // the token sampled last
	has     bool
	history history
}

func newRunner(p *device.Program, o device.LoadOptions, d Options) *Runner {
	r := &Runner{
		vocab: p.Vocab, options: o, device: d,
		checker: device.NewChecker(p, o),
		flight:  make([]flying, 0, 2),
		pages:   make([]held, o.Pages),
		sums:    make([]uint64, o.Pages*o.PageSize),
		slots:   make([]slot, o.MaxSlots),
		digests: make([]uint64, o.MaxRows),
		work:    make(chan struct{}, 2),
	}
	r.ran.L = &r.mu
	if d.Run == Concurrent {
		r.worker.Go(func() {
			for range r.work {
				r.runNext()
			}
		})
	}
	return r
}

func (r *Runner) Pages() int { return r.options.Pages }

func (r *Runner) Memory() device.MemoryUse { return device.MemoryUse{KV: int64(len(r.sums)) * 8} }

// Steps is the number of steps that have run.
func (r *Runner) Steps() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.steps
}

// Poison marks pages that were freed: reading them before they are written anew is a violation.
func (r *Runner) Poison(pages ...int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range pages {
		r.pages[p] = held{poisoned: true}
	}
}

// Submit hands over a step. A third step in flight, or one after Close, does not run: its Wait says why.
func (r *Runner) Submit(s *device.Step) {
	r.mu.Lock()
	if len(r.flight) >= 2 || r.closed {
		err := r.violation(errors.New("submitted with two steps in flight, or after Close"))
		r.flight = append(r.flight, flying{step: s, err: err, ran: true})
		r.mu.Unlock()
		return
	}
	r.flight = append(r.flight, flying{step: s})
	r.mu.Unlock()
	switch r.device.Run {
	case AtSubmit:
		r.runNext()
	case Concurrent:
		r.work <- struct{}{}
	}
}

// Wait returns when the step has run. Steps are waited for in the order they were submitted.
func (r *Runner) Wait(s *device.Step) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.flight) == 0 || r.flight[0].step != s {
		return r.violation(errors.New("Wait is not for the oldest step in flight"))
	}
	if r.device.Run == AtWait && !r.flight[0].ran {
		r.mu.Unlock()
		r.runNext()
		r.mu.Lock()
	}
	for !r.flight[0].ran {
		r.ran.Wait()
	}
	err := r.flight[0].err
	r.flight = slices.Delete(r.flight, 0, 1)
	return err
}

// Close ends the runner's goroutine. A step in flight runs first.
func (r *Runner) Close() error {
	r.mu.Lock()
	closed := r.closed
	r.closed = true
	r.mu.Unlock()
	if !closed {
		close(r.work)
		r.worker.Wait()
	}
	return nil
}

// runNext runs the oldest step that has not run. Only one goroutine calls it at a time.
func (r *Runner) runNext() {
	r.mu.Lock()
	defer r.mu.Unlock()
	fault := r.fault()
	if fault.Delay > 0 {
		r.mu.Unlock()
		time.Sleep(fault.Delay)
		r.mu.Lock()
	}
	for i := range r.flight {
		if f := &r.flight[i]; !f.ran {
			f.err, f.ran = r.run(f.step, fault), true
			r.ran.Broadcast()
			return
		}
	}
}

func (r *Runner) fault() (f Fault) {
	if r.device.Fault != nil {
		f = r.device.Fault(r.steps)
	}
	r.steps++
	return f
}

func (r *Runner) run(s *device.Step, f Fault) error {
	if r.lost {
		return device.ErrLost
	}
	r.lost = errors.Is(f.Err, device.ErrLost)
	if !r.device.Trusting {
		if err := r.checker.Check(s); err != nil {
			return r.violation(err)
		}
	}
	s.ResizeResults()
	garbage := uint64(0)
	if f.Err != nil {
		garbage = mix(uint64(r.steps))
	}
	for _, c := range s.Copies {
		if err := r.copyPage(c); err != nil {
			return r.violation(err)
		}
	}
	for _, reset := range s.Resets {
		r.slots[reset.Slot].history = newHistory(reset.Prompt, reset.Output)
	}
	for i := range s.Sequences {
		if err := r.runSequence(s, &s.Sequences[i], garbage); err != nil {
			return r.violation(fmt.Errorf("sequence %d: %w", i, err))
		}
	}
	for i := range s.Outputs {
		r.output(&s.Results[i], &s.Outputs[i], f.NaN != nil && f.NaN(i))
	}
	return f.Err
}

func (r *Runner) violation(err error) error {
	if !errors.Is(err, device.ErrContract) {
		err = fmt.Errorf("%w: %w", device.ErrContract, err)
	}
	err = fmt.Errorf("fake: step %d: %w", r.steps-1, err)
	if r.device.OnViolation != nil {
		r.device.OnViolation(err)
	}
	return err
}

func (r *Runner) copyPage(c device.PageCopy) error {
	src := r.pages[c.Src]
	if src.tokens < c.Tokens {
		return fmt.Errorf("copy of %d positions of page %d, which holds %d%s", c.Tokens, c.Src, src.tokens, src.poison())
	}
	copy(r.pageSums(c.Dst)[:c.Tokens], r.pageSums(c.Src))
	r.pages[c.Dst] = held{tokens: c.Tokens, position: src.position}
	return nil
}

func (p held) poison() string {
	if p.poisoned {
		return " (it was freed)"
	}
	return ""
}

func (r *Runner) pageSums(page int32) []uint64 {
	size := r.options.PageSize
	return r.sums[int(page)*size : (int(page)+1)*size]
}

// runSequence reads the KV that the sequence has stored, then writes that of its rows and notes each row's digest.
func (r *Runner) runSequence(s *device.Step, q *device.Sequence, garbage uint64) error {
	digest, err := r.read(q)
	if err != nil {
		return err
	}
	size := int32(r.options.PageSize)
	for i, token := range s.Tokens[q.First : q.First+q.Rows] {
		if token < 0 {
			from := -1 - token
			if !r.slots[from].has {
				return fmt.Errorf("row %d takes the token sampled last in slot %d, where none was", int(q.First)+i, from)
			}
			token = max(r.slots[from].sampled, 0)
		}
		position := q.Position + int32(i)
		page, offset := &r.pages[q.Pages[position/size]], position%size
		sums := r.pageSums(q.Pages[position/size])
		kv := entry(token, position, digest) ^ garbage
		digest += kv
		switch {
		case r.device.Trusting:
			sums[offset] = digest
		case offset > 0:
			sums[offset] = sums[offset-1] + kv
		default:
			sums[offset] = kv
		}
		*page = held{tokens: offset + 1, position: position - offset}
		r.digests[int(q.First)+i] = digest
	}
	return nil
}

// read returns the digest of positions [0, q.Position).
func (r *Runner) read(q *device.Sequence) (digest uint64, err error) {
	size := int32(r.options.PageSize)
	if r.device.Trusting {
		if q.Position == 0 {
			return 0, nil
		}
		last := q.Position - 1
		return r.pageSums(q.Pages[last/size])[last%size], nil
	}
	for i := int32(0); i*size < q.Position; i++ {
		id := q.Pages[i]
		p, needed := &r.pages[id], min(size, q.Position-i*size)
		if p.tokens < needed {
			return 0, fmt.Errorf("positions [%d, %d) are read from page %d, which holds %d%s", i*size, i*size+needed, id, p.tokens, p.poison())
		}
		digest += r.sums[int(id)*int(size)+int(needed)-1]
		if p.position != i*size {
			digest = mix(digest) // the KV of other positions
		}
	}
	return digest, nil
}

func (r *Runner) output(result *device.Result, o *device.Output, nan bool) {
	slot := &r.slots[o.Slot]
	answer(result, o, r.digests[o.Row], r.vocab, &slot.history)
	if nan {
		*result = device.Result{Token: device.NoToken, Top: result.Top[:0]}
	}
	if o.Target != device.Sample {
		return
	}
	slot.sampled, slot.has = result.Token, true
	if result.Token != device.NoToken {
		slot.history.output += mix(uint64(result.Token))
	}
}
