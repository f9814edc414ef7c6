package scheduler

import (
	"errors"
	"fmt"
	"slices"

	"minisgl/device"
	"minisgl/scheduler/page"
	"minisgl/scheduler/radix"
)

// A Scheduler decides which requests run in which step, and where their KV lives.
//
// A request waits, runs and ends. When pages run out, the youngest of the lowest priority is retracted: it leaves its KV to
// the tree, waits again, and resumes with its prompt and output as the prompt.
//
// Plan fills a step and advances the requests in it; Commit takes the step's results. At most two steps are in flight, that is
// planned and not yet committed, so a request may be planned once more before it is known that it has ended: what that step
// draws for it is dropped. Slot, pages and lock of a request that has left are released when the last step that it is in has been
// committed, and pages it gave up before (duplicates) when the steps in flight at that time have.
//
// A Scheduler is not safe for concurrent use. Sinks are called from Abort, AbortAll and Commit.
type Scheduler struct {
	config Config
	pool   *page.Pool
	tree   *radix.Tree // stays empty if config.Cache is Naive

	byID    map[string]*request // waiting and running
	waiting []*request          // in the order of (*request).before
	running []*request          // likewise; the last is retracted first
	leaving int                 // requests that no longer run, but are in a step in flight
	slots   []int32             // free ones, a stack

	flights  [2]flight
	inFlight int    // how many of flights are planned and not committed: the oldest is flights[0]
	arrivals uint64 // requests added so far
	counters Stats  // those since the start

	planState
}

// Stats is what a scheduler holds and has done.
type Stats struct {
	Running, Waiting int // requests
	// Pages, and how many of them are free, in the prefix cache but evictable, and held by running requests and steps in flight.
	Pages, FreePages, CachedPages, HeldPages int
	TokensInUse                              int // tokens whose KV running requests hold

	Steps, PromptTokens, CachedTokens, OutputTokens uint64 // since the start
	Retractions, Evictions                          uint64 // requests and pages, since the start

	// LeakedPages are held though no request runs and no step is in flight. It is 0 unless the scheduler has a bug.
	LeakedPages int
}

// Add adds what another scheduler holds and has done.
func (st *Stats) Add(o Stats) {
	st.Running += o.Running
	st.Waiting += o.Waiting
	st.Pages += o.Pages
	st.FreePages += o.FreePages
	st.CachedPages += o.CachedPages
	st.HeldPages += o.HeldPages
	st.TokensInUse += o.TokensInUse
	st.Steps += o.Steps
	st.PromptTokens += o.PromptTokens
	st.CachedTokens += o.CachedTokens
	st.OutputTokens += o.OutputTokens
	st.Retractions += o.Retractions
	st.Evictions += o.Evictions
	st.LeakedPages += o.LeakedPages
}

// A flight is a step between Plan and Commit.
type flight struct {
	step   *device.Step
	pieces []piece
	copies []device.PageCopy
	resets []device.SlotReset
	// Released once the step has been committed.
	pages []int32
	locks []*radix.Node
}

// New returns a scheduler without requests.
func New(c Config) (*Scheduler, error) {
	for _, v := range []struct {
		name       string
		value, low int
	}{
		{"PageSize", c.PageSize, 1}, {"NumPages", c.NumPages, 1}, {"MaxRunning", c.MaxRunning, 1}, {"MaxStepTokens", c.MaxStepTokens, 1},
		{"MaxSeqLen", c.MaxSeqLen, 1}, {"MaxQueue", c.MaxQueue, 1}, {"LookPast", c.LookPast, 0}, {"Vocab", c.Vocab, 1},
	} {
		if v.value < v.low {
			return nil, fmt.Errorf("scheduler config: %s is %d, it must be at least %d", v.name, v.value, v.low)
		}
	}
	s := &Scheduler{config: c, pool: page.NewPool(c.NumPages), byID: make(map[string]*request)}
	s.growth = defaultGrowth
	s.tree = radix.New(c.PageSize, s.pool)
	for slot := c.MaxRunning - 1; slot >= 0; slot-- {
		s.slots = append(s.slots, int32(slot))
	}
	return s, nil
}

// Add queues a request. If it returns an error, the request's Sink is never called.
func (s *Scheduler) Add(r *Request) error {
	if err := s.validate(r); err != nil {
		return err
	}
	if s.byID[r.ID] != nil {
		return fmt.Errorf("%w: %q", ErrDuplicate, r.ID)
	}
	if len(s.waiting) >= s.config.MaxQueue {
		return ErrQueueFull
	}
	q := &request{Request: r, tokens: slices.Clone(r.Prompt), arrival: s.arrivals, nextScore: len(r.Prompt)}
	if r.ScoreFrom >= 0 {
		q.nextScore = max(r.ScoreFrom, 1)
	}
	if r.MaxTokens > 0 {
		q.maxTokens = min(r.MaxTokens, s.maxLength()-len(r.Prompt))
	}
	q.tokens = slices.Grow(q.tokens, min(q.maxTokens, foresight))
	s.arrivals++
	s.byID[r.ID] = q
	s.waiting = enqueue(s.waiting, q)
	return nil
}

// maxLength is how long prompt and output can become: the token drawn last needs no KV.
func (s *Scheduler) maxLength() int {
	return min(s.config.MaxSeqLen, s.config.NumPages*s.config.PageSize+1)
}

func (s *Scheduler) validate(r *Request) error {
	invalid := func(format string, args ...any) error {
		return fmt.Errorf("%w %q: %s", ErrInvalid, r.ID, fmt.Sprintf(format, args...))
	}
	switch {
	case len(r.Prompt) == 0:
		return invalid("the prompt is empty")
	case r.Sink == nil || r.Sampling == nil:
		return invalid("Sink and Sampling must be set")
	case r.MaxTokens < 0 || r.MinTokens < 0:
		return invalid("MaxTokens %d and MinTokens %d must not be negative", r.MaxTokens, r.MinTokens)
	case r.MinTokens > r.MaxTokens:
		return invalid("MinTokens %d exceeds MaxTokens %d", r.MinTokens, r.MaxTokens)
	}
	for i, t := range r.Prompt {
		if t < 0 || int(t) >= s.config.Vocab {
			return invalid("token %d of the prompt is %d, outside [0, %d)", i, t, s.config.Vocab)
		}
	}
	limit := min(s.config.MaxSeqLen, s.config.NumPages*s.config.PageSize)
	if r.MaxTokens > 0 {
		limit = s.maxLength() - 1
	}
	if len(r.Prompt) > limit {
		return &TooLongError{Prompt: len(r.Prompt), Limit: limit}
	}
	return nil
}

// Abort ends a request, whatever it is doing. Unknown and ended ids are ignored.
func (s *Scheduler) Abort(id string) {
	if r := s.byID[id]; r != nil {
		s.finish(r, Aborted, nil)
	}
}

// AbortAll ends every request.
func (s *Scheduler) AbortAll() { s.endAll(Aborted, nil) }

func (s *Scheduler) endAll(reason FinishReason, err error) {
	all := make([]*request, 0, len(s.byID))
	for _, r := range s.byID {
		all = append(all, r)
	}
	slices.SortFunc(all, compare)
	for _, r := range all {
		s.finish(r, reason, err)
	}
}

// finish ends a request and tells its sink. What it holds is released now, or when its last step has been committed.
func (s *Scheduler) finish(r *request, reason FinishReason, err error) {
	delete(s.byID, r.ID)
	if reason == Failed {
		r.spoilt = true
	}
	switch r.state {
	case waiting:
		s.waiting = dequeue(s.waiting, r)
		r.state = ended
	case running:
		s.leave(r, ended)
	case retracted:
		r.state = ended
	}
	r.Sink.Finish(Finish{Reason: reason, Err: err, Usage: Usage{Prompt: len(r.Prompt), Cached: r.cached, Output: r.outputs()}})
}

// retract makes a running request wait again, first in line among its priority. Its KV stays in the tree as long as there is room.
func (s *Scheduler) retract(r *request) {
	s.counters.Retractions++
	s.leave(r, retracted)
}

// leave takes a request out of the running ones.
func (s *Scheduler) leave(r *request, to state) {
	s.running = dequeue(s.running, r)
	r.state = to
	s.leaving++
	if r.flights == 0 {
		s.release(r)
	}
}

// release gives back what a request that has left holds: no step in flight touches it any more.
func (s *Scheduler) release(r *request) {
	s.leaving--
	if !r.spoilt {
		s.cache(r, min(r.stored, len(r.tokens)))
	}
	for _, p := range r.pages[r.shared:] {
		s.pool.Release(p)
	}
	s.tree.Unlock(r.node)
	s.slots = append(s.slots, r.slot)
	r.pages, r.shared, r.node = r.pages[:0], 0, nil
	if r.state == retracted {
		r.state = waiting
		r.resumes = true
		s.waiting = enqueue(s.waiting, r)
	}
}

// cache hands the whole pages of a request's first tokens over to the tree and moves its lock there. Pages that the tree has
// already are replaced by the tree's in the request's page table; a step in flight may still read the replaced ones.
func (s *Scheduler) cache(r *request, tokens int) {
	whole := tokens / s.config.PageSize
	if s.config.Cache == Naive || whole <= r.shared {
		return
	}
	node, duplicates := s.tree.Insert(r.tokens[:whole*s.config.PageSize], r.pages[:whole], s.scratch[:0])
	s.tree.Lock(node)
	s.tree.Unlock(r.node)
	r.node, r.shared = node, whole
	if r.flights > 0 {
		last := &s.flights[s.inFlight-1]
		last.pages = append(last.pages, duplicates...)
	} else {
		s.free(duplicates)
	}
	s.scratch = duplicates
}

func (s *Scheduler) free(pages []int32) {
	for _, p := range pages {
		s.pool.Release(p)
	}
}

// FlushCache drops all of the tree that no request holds. It reports whether nothing was running.
func (s *Scheduler) FlushCache() bool {
	s.tree.Evict(s.tree.Evictable())
	return len(s.running) == 0 && s.leaving == 0
}

// CachedPrefix is how many of the first tokens have their KV in the tree.
func (s *Scheduler) CachedPrefix(tokens []int32) int { return s.tree.Prefix(tokens) }

// Idle reports whether there is nothing to plan and nothing in flight.
func (s *Scheduler) Idle() bool { return len(s.byID) == 0 && s.inFlight == 0 }

// Stats returns what the scheduler holds at the moment.
func (s *Scheduler) Stats() Stats {
	st := s.counters
	st.Running, st.Waiting = len(s.running), len(s.waiting)
	st.Pages, st.FreePages = s.pool.Total(), s.pool.Count(page.Free)
	st.CachedPages, st.HeldPages = s.tree.Evictable(), s.pool.Count(page.Held)+s.tree.Protected()
	st.Evictions = s.tree.Evictions()
	for _, r := range s.running {
		st.TokensInUse += r.planned
	}
	if len(s.running)+s.leaving+s.inFlight == 0 {
		st.LeakedPages = st.HeldPages
	}
	return st
}

// Check returns what does not add up: pages that nobody or two own, locks that nobody holds. It walks everything, for tests.
func (s *Scheduler) Check() error {
	if err := s.pool.Check(); err != nil {
		return err
	}
	locks := make(map[*radix.Node]int)
	holder := make(map[int32]string)
	var errs []error
	hold := func(p int32, who string) {
		if other, twice := holder[p]; twice {
			errs = append(errs, fmt.Errorf("page %d is held by %s and by %s", p, other, who))
		}
		if s.pool.Owner(p) != page.Held {
			errs = append(errs, fmt.Errorf("page %d of %s is %v", p, who, s.pool.Owner(p)))
		}
		holder[p] = who
	}
	requests := make(map[*request]bool)
	for _, r := range s.running {
		requests[r] = true
	}
	for i := range s.flights[:s.inFlight] {
		f := &s.flights[i]
		for _, p := range f.pages {
			hold(p, "a step in flight")
		}
		for _, n := range f.locks {
			locks[n]++
		}
		for _, p := range f.pieces {
			requests[p.request] = true
		}
	}
	slots := slices.Clone(s.slots)
	for r := range requests {
		for _, p := range r.pages[r.shared:] {
			hold(p, "request "+r.ID)
		}
		for _, p := range r.pages[:r.shared] {
			if s.pool.Owner(p) != page.Cached {
				errs = append(errs, fmt.Errorf("page %d, shared by request %s, is %v", p, r.ID, s.pool.Owner(p)))
			}
		}
		locks[r.node]++
		slots = append(slots, r.slot)
	}
	if len(holder) != s.pool.Count(page.Held) {
		errs = append(errs, fmt.Errorf("%d pages are held, holders have %d", s.pool.Count(page.Held), len(holder)))
	}
	slices.Sort(slots)
	if len(slices.Compact(slots)) != s.config.MaxRunning {
		errs = append(errs, fmt.Errorf("slots in use and free are %v of %d", slots, s.config.MaxRunning))
	}
	if len(s.running)+s.leaving != len(requests) {
		errs = append(errs, fmt.Errorf("%d run and %d leave, but %d hold something", len(s.running), s.leaving, len(requests)))
	}
	if len(s.byID) < len(s.waiting)+len(s.running) {
		errs = append(errs, fmt.Errorf("%d ids for %d waiting and %d running requests", len(s.byID), len(s.waiting), len(s.running)))
	}
	return errors.Join(append(errs, s.tree.Check(locks))...)
}
