package scheduler

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"minisgl/device"
	"minisgl/device/fake"
	"minisgl/scheduler/page"
)

var (
	simSteps = flag.Int("sim.steps", 30_000, "steps of the simulation")
	simSeed  = flag.Uint64("sim.seed", 1, "seed of the simulation")
)

// TestSimulation runs random requests under random configurations against a device that hashes the KV it reads, with aborts, page
// shortages, device errors and broken logits, and checks the books after every call. Each request must end once, with what
// it would have got alone on an engine without cache. A failure names the seed and the episode that show it.
func TestSimulation(t *testing.T) {
	var total Stats
	reasons := map[FinishReason]int{}
	for episode, left := uint64(0), *simSteps; left > 0; episode++ {
		s := newSimulation(*simSeed, episode)
		if err := s.run(min(left, 2000)); err != nil {
			t.Fatalf("-sim.seed=%d, episode %d: %v\nconfig %+v, overlap %v", *simSeed, episode, err, s.config, s.depth > 1)
		}
		stats := s.Stats()
		left -= int(stats.Steps)
		total.Steps += stats.Steps
		total.PromptTokens += stats.PromptTokens
		total.OutputTokens += stats.OutputTokens
		total.CachedTokens += stats.CachedTokens
		total.Retractions += stats.Retractions
		total.Evictions += stats.Evictions
		for reason, n := range s.reasons {
			reasons[reason] += n
		}
	}
	t.Logf("%+v, ends %v", total, reasons)
	if *simSteps >= 30_000 && (total.Retractions == 0 || total.Evictions == 0 || total.CachedTokens == 0 || len(reasons) < 4) {
		t.Errorf("the simulation does not reach everything")
	}
}

// A simulation is one episode: a scheduler, a fake device and its clients.
type simulation struct {
	*Scheduler
	rng      *rand.Rand
	runner   *fake.Runner
	depth    int // steps in flight at most
	families [][]int32
	clients  map[string]*client
	reasons  map[FinishReason]int
	owners   []page.Owner // before the last call
	faults   map[int]fake.Fault
	errs     []error
	// Chances in 10,000: that a step fails, that a request is aborted, that the cache is flushed. One in so many calls brings a request.
	faulty, fickle, flushy, seldom int

	steps     [2]*device.Step
	submitted int
	arrivals  int
	calm      bool // no new requests, faults or aborts
	lost      bool
}

// A client is a request's sink and remembers what it may expect.
type client struct {
	Request
	sim      *simulation
	got      []int32
	scored   int
	finished bool
	usage    Usage
	aborted  bool
	hit      error // of a fault in a step it was in
}

func newSimulation(seed, episode uint64) *simulation {
	rng := rand.New(rand.NewPCG(seed, episode))
	pick := func(values ...int) int { return values[rng.IntN(len(values))] }
	config := Config{
		PageSize: pick(1, 3, 16), NumPages: pick(2, 4, 8, 20, 60, 60, 300, 300), MaxRunning: pick(1, 2, 4, 12, 12), MaxStepTokens: pick(1, 2, 3, 7, 16, 64, 1000),
		MaxSeqLen: pick(8, 40, 200), MaxQueue: pick(1, 5, 30), Policy: Policy(rng.IntN(2)), LookPast: pick(0, 1, 3), Vocab: pick(3, 5, 30, 1000),
	}
	if rng.IntN(5) == 0 {
		config.Cache = Naive
	}
	config.Planner = Planner(episode % 2)
	s := &simulation{rng: rng, depth: 1 + rng.IntN(2), clients: map[string]*client{}, reasons: map[FinishReason]int{}, faults: map[int]fake.Fault{},
		owners: make([]page.Owner, config.NumPages), steps: [2]*device.Step{{}, {}}}
	s.faulty, s.fickle, s.flushy, s.seldom = pick(0, 10, 100), pick(0, 100, 500), pick(0, 20, 2000), pick(1, 2, 5, 20)
	config.Shadow = s
	var err error
	if s.Scheduler, err = New(config); err != nil {
		panic(err)
	}
	s.growth = pick(0, 2, defaultGrowth)
	runner, err := fake.New(fake.Options{
		Run:         fake.Mode(rng.IntN(2)), // AtSubmit or AtWait
		Fault:       func(step int) fake.Fault { return s.faults[step] },
		OnViolation: func(err error) { s.errs = append(s.errs, err) },
	}).Load(fake.Program(config.Vocab, config.MaxSeqLen), device.LoadOptions{
		PageSize: config.PageSize, Pages: config.NumPages, MaxSlots: config.MaxRunning, MaxRows: config.MaxStepTokens})
	if err != nil {
		panic(err)
	}
	s.runner = runner.(*fake.Runner)
	for range 3 {
		s.families = append(s.families, s.tokens(config.MaxSeqLen+5))
	}
	return s
}

func (s *simulation) tokens(n int) []int32 {
	list := make([]int32, n)
	for i := range list {
		list[i] = int32(s.rng.IntN(s.config.Vocab))
	}
	return list
}

func (s *simulation) run(steps int) error {
	defer s.runner.Close()
	for limit := 20_000; !s.lost; {
		if s.calm = s.submitted >= steps; s.calm {
			limit--
		}
		if s.calm && s.Idle() {
			break
		}
		if limit == 0 {
			return fmt.Errorf("the rest does not end: %d running, %d waiting", len(s.running), len(s.waiting))
		}
		s.clientsAct()
		step := s.steps[s.inFlight]
		planned := s.Plan(step)
		if planned {
			s.injectFault(step)
			s.runner.Submit(step)
			s.submitted++
		} else if s.inFlight == 0 && len(s.byID) > 0 {
			return fmt.Errorf("step %d: nothing is planned for %d running and %d waiting requests", s.submitted, len(s.running), len(s.waiting))
		}
		s.check()
		s.clientsAct()
		for s.inFlight == s.depth || s.inFlight > 0 && (!planned || s.rng.IntN(8) == 0) {
			s.commit()
		}
		if len(s.errs) > 0 {
			return fmt.Errorf("step %d: %w", s.submitted, errors.Join(s.errs...))
		}
	}
	for s.inFlight > 0 {
		s.commit()
	}
	var output, cached uint64
	for _, c := range s.clients {
		s.expect(c.finished, "request %s never ended", c.ID)
		output += uint64(c.usage.Output)
		cached += uint64(c.usage.Cached)
	}
	st := s.Stats()
	s.expect(s.Idle() && st.HeldPages == 0 && st.LeakedPages == 0 && st.FreePages+st.CachedPages == st.Pages, "idle, but %+v", st)
	s.expect(st.OutputTokens == output && st.CachedTokens == cached, "clients got %d tokens, %d were cached; %+v", output, cached, st)
	return errors.Join(s.errs...)
}

func (s *simulation) commit() {
	step := s.steps[0]
	err := s.runner.Wait(step)
	for _, c := range s.clients {
		if s.lost && c.hit == nil {
			c.hit = device.ErrLost
		}
	}
	s.Commit(step, err)
	s.steps[0], s.steps[1] = s.steps[1], step
	s.check()
}

// clientsAct lets requests arrive and leave.
func (s *simulation) clientsAct() {
	if s.calm {
		return
	}
	for range s.rng.IntN(3) {
		if s.rng.IntN(s.seldom) == 0 {
			s.arrive()
		}
	}
	ids := slices.Sorted(maps.Keys(s.byID))
	switch {
	case len(ids) > 0 && s.rng.IntN(10_000) < s.fickle:
		id := ids[s.rng.IntN(len(ids))]
		s.clients[id].aborted = true
		s.Abort(id)
		s.Abort(id)
	case s.rng.IntN(10_000) < s.flushy:
		s.FlushCache()
	case s.rng.IntN(10_000) < s.fickle/50:
		for _, id := range ids {
			s.clients[id].aborted = true
		}
		s.AbortAll()
	default:
		return
	}
	s.check()
}

func (s *simulation) arrive() {
	rng := s.rng
	family := rng.IntN(len(s.families))
	prompt := slices.Clone(s.families[family][:rng.IntN(s.promptLimit(0)+3)])
	if rng.IntN(2) == 0 {
		prompt = append(prompt, s.tokens(rng.IntN(10))...)
	}
	s.arrivals++
	p := device.Greedy()
	c := &client{sim: s, Request: Request{ID: fmt.Sprint(s.arrivals), Prompt: prompt, MaxTokens: rng.IntN([]int{10, 40, 200}[rng.IntN(3)]), ScoreFrom: -1,
		Priority: rng.IntN(2), Sampling: p}}
	c.Sink = c
	if rng.IntN(3) == 0 {
		p.Temperature, p.Seed = 1, rng.Uint64()
	}
	if rng.IntN(3) == 0 {
		p.PresencePenalty = 1
	}
	if rng.IntN(3) == 0 {
		c.StopIDs = s.tokens(1 + rng.IntN(3))
	}
	if rng.IntN(4) == 0 && s.config.Vocab > 3 {
		c.MinTokens = rng.IntN(c.MaxTokens + 1)
		p.Suppress = c.StopIDs
	}
	if rng.IntN(4) == 0 {
		c.ScoreFrom = rng.IntN(len(prompt) + 2)
		p.Logprobs = int32(rng.IntN(3))
	}
	err := s.Add(&c.Request)
	switch tooLong := len(prompt) > s.promptLimit(c.MaxTokens); {
	case len(prompt) == 0:
		s.expect(errors.Is(err, ErrInvalid), "an empty prompt: %v", err)
	case tooLong:
		s.expect(errors.Is(err, ErrTooLong), "a prompt of %d tokens: %v", len(prompt), err)
	case len(s.waiting) >= s.config.MaxQueue && err != nil:
		s.expect(errors.Is(err, ErrQueueFull), "a full queue: %v", err)
	default:
		s.expect(err == nil, "a good request: %v", err)
		s.clients[c.ID] = c
	}
}

func (s *simulation) promptLimit(maxTokens int) int {
	kv := s.config.PageSize * s.config.NumPages
	if maxTokens == 0 {
		return min(s.config.MaxSeqLen, kv)
	}
	return min(s.config.MaxSeqLen-1, kv)
}

// injectFault decides what goes wrong with the step that has just been planned.
func (s *simulation) injectFault(step *device.Step) {
	if s.calm {
		return
	}
	hit := func(p piece, err error) {
		if c := s.clients[p.request.ID]; c.hit == nil {
			c.hit = err
		}
	}
	pieces := s.flights[s.inFlight-1].pieces
	switch n := s.rng.IntN(10_000); {
	case s.faulty > 0 && n == 0:
		s.faults[s.submitted] = fake.Fault{Err: device.ErrLost}
		s.lost = true
	case n < s.faulty/2:
		broken := errors.New("broken")
		s.faults[s.submitted] = fake.Fault{Err: broken}
		for _, p := range pieces {
			hit(p, broken)
		}
	case n < s.faulty && len(step.Outputs) > 0:
		bad := s.rng.IntN(len(step.Outputs))
		s.faults[s.submitted] = fake.Fault{NaN: func(output int) bool { return output == bad }}
		for _, p := range pieces {
			if p.request.slot == step.Outputs[bad].Slot {
				hit(p, ErrNaN)
			}
		}
	}
}

func (s *simulation) expect(ok bool, format string, args ...any) {
	if !ok {
		s.errs = append(s.errs, fmt.Errorf(format, args...))
	}
}

// Planned holds the planner that does not serve to the one that does.
func (s *simulation) Planned(step *device.Step, ids []string, second func(*device.Step)) {
	var other device.Step
	second(&other)
	same := slices.Equal(step.Tokens, other.Tokens) && slices.Equal(step.Outputs, other.Outputs) && slices.Equal(step.Copies, other.Copies) &&
		slices.EqualFunc(step.Sequences, other.Sequences, func(a, b device.Sequence) bool {
			return a.Slot == b.Slot && a.First == b.First && a.Rows == b.Rows && a.Position == b.Position && slices.Equal(a.Pages, b.Pages)
		}) &&
		slices.EqualFunc(step.Resets, other.Resets, func(a, b device.SlotReset) bool {
			return a.Slot == b.Slot && slices.Equal(a.Prompt, b.Prompt) && slices.Equal(a.Output, b.Output)
		})
	s.expect(same && len(ids) == len(step.Sequences), "the planners differ on %v:\n%+v\n%+v", ids, step, other)
}

// check audits the scheduler and poisons the pages that were freed since the last check.
func (s *simulation) check() {
	if err := s.Check(); err != nil {
		s.errs = append(s.errs, err)
	}
	for p := range s.owners {
		owner := s.pool.Owner(int32(p))
		if owner == page.Free && s.owners[p] != page.Free {
			s.runner.Poison(int32(p))
		}
		s.owners[p] = owner
	}
	if len(s.waiting) > s.config.MaxQueue+s.config.MaxRunning {
		s.errs = append(s.errs, fmt.Errorf("%d requests wait", len(s.waiting)))
	}
}

func (c *client) Score(index int, r device.Result) {
	want := max(c.ScoreFrom, 1) + c.scored
	c.sim.expect(index == want && r.Token == c.Prompt[index], "request %s: score %d of token %d, want %d", c.ID, index, r.Token, want)
	if s := fake.NewSequence(c.sim.config.Vocab, c.Prompt[:index]).Score(r.Token, c.Sampling); r.Logprob != s.Logprob {
		c.sim.expect(false, "request %s: score %d has logprob %v, want %v", c.ID, index, r.Logprob, s.Logprob)
	}
	c.scored++
	c.sim.expect(!c.finished && len(c.got) == 0, "request %s: score after tokens or its end", c.ID)
}

func (c *client) Token(r device.Result) {
	c.got = append(c.got, r.Token)
	c.sim.expect(!c.finished, "request %s: token after its end", c.ID)
}

func (c *client) Start(int) {}

func (c *client) Finish(f Finish) {
	s := c.sim
	s.reasons[f.Reason]++
	s.expect(!c.finished, "request %s ended twice", c.ID)
	c.finished, c.usage = true, f.Usage
	want := fake.ContinueMin(c.Prompt, len(c.got), c.MinTokens, s.config.Vocab, c.Sampling)
	s.expect(slices.Equal(c.got, want), "request %s: got %v, want %v", c.ID, c.got, want)
	for i, token := range c.got {
		last := f.Reason == Stop && i == len(c.got)-1
		s.expect(last == (i >= c.MinTokens && slices.Contains(c.StopIDs, token)), "request %s ended with %v, %v behind %v, stops %v", c.ID, f.Reason, token, c.got[:i], c.StopIDs)
	}
	s.expect(f.Prompt == len(c.Prompt) && f.Output == len(c.got) && f.Cached < len(c.Prompt), "request %s: usage %+v", c.ID, f.Usage)
	switch f.Reason {
	case Aborted:
		s.expect(c.aborted, "request %s: aborted by nobody", c.ID)
	case Failed:
		s.expect(c.hit != nil && errors.Is(f.Err, c.hit), "request %s failed: %v, want %v", c.ID, f.Err, c.hit)
	case Length, Stop:
		scores := 0
		if c.ScoreFrom >= 0 {
			scores = max(0, len(c.Prompt)-max(c.ScoreFrom, 1))
		}
		s.expect(c.scored == scores, "request %s: %d scores, want %d", c.ID, c.scored, scores)
		room := min(s.config.MaxSeqLen, s.config.NumPages*s.config.PageSize+1) - len(c.Prompt)
		s.expect(f.Reason == Stop || len(c.got) == min(c.MaxTokens, max(0, room)), "request %s: %d tokens of %d, room for %d", c.ID, len(c.got), c.MaxTokens, room)
	}
}
