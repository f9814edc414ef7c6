package shadow_test

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"minisgl/device"
	"minisgl/device/devicetest"
	"minisgl/device/fake"
	"minisgl/device/reference"
	"minisgl/internal/shadow"
	"minisgl/scheduler"
	"minisgl/scheduler/engine"
)

const vocab = 97

// A pair is an engine on a primary device that a second one follows.
type pair struct {
	*engine.Engine
	*shadow.Shadow
	mirror *shadow.Mirror
	report string
}

// pairOptions say what runs. The devices are fakes, which hash the KV they read and complain about steps that break the contract, unless
// a model is given.
type pairOptions struct {
	program         *device.Program // nil: none
	primary, second func(device.Runner) device.Runner
	everyN, queue   int
	pages           int
	fault           func(step int) fake.Fault // of the primary
}

func newPair(t *testing.T, o pairOptions) *pair {
	t.Helper()
	const pageSize, slots, rows = 4, 8, 24
	load := func(f fake.Options) device.Runner {
		t.Helper()
		l := device.LoadOptions{PageSize: pageSize, Pages: cmp.Or(o.pages, 64), MaxSlots: slots, MaxRows: rows}
		var runner device.Runner
		var err error
		if o.program != nil {
			runner, err = reference.New(1).Load(o.program, l)
		} else {
			f.OnViolation = func(err error) { t.Error(err) }
			runner, err = fake.New(f).Load(fake.Program(vocab, 200), l)
		}
		if err != nil {
			t.Fatal(err)
		}
		return runner
	}
	wrap := func(r device.Runner, f func(device.Runner) device.Runner) device.Runner {
		if f == nil {
			return r
		}
		return f(r)
	}
	p := &pair{report: filepath.Join(t.TempDir(), "report.jsonl")}
	p.Shadow = shadow.New(shadow.Options{PageSize: pageSize, Planner: true, Report: p.report, MaxDiffs: 1000, EveryN: max(o.everyN, 1)})
	p.mirror = p.Beside(wrap(load(fake.Options{Fault: o.fault, Run: fake.Concurrent}), o.primary), wrap(load(fake.Options{}), o.second),
		shadow.MirrorOptions{Primary: "cuda:0", Second: "cpu", MaxRows: rows, MaxSlots: slots, Queue: o.queue})
	var err error
	p.Engine, err = engine.New(p.mirror, engine.Options{Scheduler: scheduler.Config{PageSize: pageSize, NumPages: cmp.Or(o.pages, 64), MaxRunning: slots, MaxStepTokens: rows,
		MaxSeqLen: 200, MaxQueue: 10_000, LookPast: 2, Vocab: vocab, Shadow: p.Shadow}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// finish waits for the requests and returns what the report says.
func (p *pair) finish(t *testing.T) []shadow.Record {
	t.Helper()
	if err := p.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	for _, end := range []func() error{p.Engine.Close, p.mirror.Close, p.Shadow.Close} {
		if err := end(); err != nil {
			t.Error(err)
		}
	}
	return records(t, p.report)
}

// A client is a request and what it got.
type client struct {
	scheduler.Request
	engine  *engine.Engine
	abortAt int // tokens after which it leaves; 0: never
	tokens  []int32
	finish  scheduler.Finish
}

func (c *client) Score(int, device.Result)  {}
func (c *client) Start(int)                 {}
func (c *client) Finish(f scheduler.Finish) { c.finish = f }
func (c *client) Token(r device.Result) {
	if c.tokens = append(c.tokens, r.Token); len(c.tokens) == c.abortAt {
		c.engine.Abort(c.ID)
	}
}

func (p *pair) submit(t *testing.T, c *client) *client {
	t.Helper()
	c.Sink, c.engine = c, p.Engine
	if c.Sampling == nil {
		c.Sampling, c.ScoreFrom = device.Greedy(), -1
	}
	if err := p.Submit(&c.Request); err != nil {
		t.Fatal(err)
	}
	return c
}

// traffic submits requests of all sorts: shared prefixes, several chunks, temperature, penalties, bias, stops, scores, aborts.
func (p *pair) traffic(t *testing.T, rng *rand.Rand, n int) (clients []*client) {
	t.Helper()
	ids := func(n int) []int32 {
		list := make([]int32, n)
		for i := range list {
			list[i] = int32(rng.IntN(vocab))
		}
		return list
	}
	families := [][]int32{ids(60), ids(60), ids(60)}
	for i := range n {
		c := &client{Request: scheduler.Request{ID: fmt.Sprint("request-", i), ScoreFrom: -1, Sampling: device.Greedy(), MaxTokens: rng.IntN(30)}}
		c.Prompt = append(slices.Clone(families[rng.IntN(3)][:rng.IntN(61)]), ids(1+rng.IntN(8))...)
		if rng.IntN(8) == 0 {
			c.MaxTokens = 80
		}
		s := c.Sampling
		if rng.IntN(4) == 0 {
			s.Temperature, s.Seed = 1, rng.Uint64()
		}
		if rng.IntN(3) == 0 {
			s.PresencePenalty, s.FrequencyPenalty = 1, 0.5
		}
		if rng.IntN(4) == 0 {
			s.Bias = []device.TokenBias{{Token: int32(rng.IntN(vocab)), Bias: 2}}
		}
		if rng.IntN(3) == 0 {
			c.StopIDs = ids(2)
			s.Suppress, c.MinTokens = c.StopIDs, rng.IntN(c.MaxTokens+1)
		}
		if rng.IntN(4) == 0 {
			c.ScoreFrom, s.Logprobs = rng.IntN(len(c.Prompt)), 2
		}
		if rng.IntN(6) == 0 {
			c.abortAt = 1 + rng.IntN(10)
		}
		clients = append(clients, p.submit(t, c))
		if rng.IntN(8) == 0 {
			time.Sleep(time.Duration(rng.IntN(300)) * time.Microsecond)
		}
	}
	return clients
}

func TestMixedTrafficDoesNotDiverge(t *testing.T) {
	slow := func(r device.Runner) device.Runner {
		return &altered{Runner: r, wait: func(*device.Step) { time.Sleep(300 * time.Microsecond) }}
	}
	for name, o := range map[string]pairOptions{
		"all steps":        {queue: 1 << 20},
		"few pages":        {queue: 1 << 20, pages: 30},
		"every third step": {queue: 1 << 20, everyN: 3},
		"behind":           {queue: 1, second: slow},
		"behind and rare":  {queue: 2, second: slow, everyN: 5},
		"the primary fails at times": {queue: 4, fault: func(step int) (f fake.Fault) {
			switch step % 50 {
			case 20:
				f.Err = errors.New("broken")
			case 40:
				f.NaN = func(output int) bool { return output == 1 }
			}
			return f
		}},
		"the second fails at times": {queue: 4, second: func(r device.Runner) device.Runner { return &failing{Runner: r, every: 25} }},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, o)
			rng := rand.New(rand.NewPCG(7, 8))
			clients := p.traffic(t, rng, 400)
			for _, r := range p.finish(t) {
				nan := o.fault != nil && strings.Contains(r.Reason, ": -1 != ") // the primary's NaN is a divergence, rightly
				failed := o.second != nil && r.Kind == "sampled_tokens_exception" && r.Reason == "broken"
				if !nan && !failed {
					t.Errorf("%+v", r)
				}
			}
			for _, c := range clients {
				if want := fake.ContinueMin(c.Prompt, len(c.tokens), c.MinTokens, vocab, c.Sampling); !slices.Equal(c.tokens, want) {
					t.Errorf("request %s got %v, want %v", c.ID, c.tokens, want)
				}
			}
			c := p.Counts()
			stats := p.Stats()
			t.Logf("%v; %+v", c, stats)
			if stats.CachedTokens == 0 || o.pages > 0 && stats.Retractions == 0 {
				t.Errorf("the traffic does not reach everything: %+v", stats)
			}
			if c.Outputs == 0 || o.queue == 1<<20 && o.everyN == 0 && c.Skipped > c.Outputs/10 {
				t.Errorf("too little was compared: %+v", c)
			}
		})
	}
}

// altered is a runner whose steps something happens to, once they have run.
type altered struct {
	device.Runner
	wait func(*device.Step)
}

func (a *altered) Wait(s *device.Step) error {
	err := a.Runner.Wait(s)
	if err == nil {
		a.wait(s)
	}
	return err
}

// failing is a runner that fails each so many steps, without running them.
type failing struct {
	device.Runner
	every, steps int
}

func (f *failing) Submit(s *device.Step) {
	if f.steps++; f.steps%f.every != 0 {
		f.Runner.Submit(s)
	}
}

func (f *failing) Wait(s *device.Step) error {
	if f.steps%f.every == 0 {
		return errors.New("broken")
	}
	return f.Runner.Wait(s)
}

// A token that the primary gets wrong is reported once, with what the shadow device thinks of it: the shadow goes on with the
// primary's token.
func TestFlippedTokenIsFound(t *testing.T) {
	var once sync.Once
	wrong := func(r device.Runner) device.Runner {
		step := 0
		return &altered{Runner: r, wait: func(s *device.Step) {
			if step++; step == 6 {
				once.Do(func() { s.Results[0].Token = (s.Results[0].Token + 1) % vocab })
			}
		}}
	}
	p := newPair(t, pairOptions{program: devicetest.TinyProgram(devicetest.Config{Vocab: vocab}), second: wrong, queue: 1000})
	c := p.submit(t, &client{Request: scheduler.Request{ID: "flipped", Prompt: []int32{1, 2, 3}, MaxTokens: 20}})
	list := p.finish(t)
	if len(list) != 1 || len(c.tokens) != 20 {
		t.Fatalf("%d tokens, records %+v", len(c.tokens), list)
	}
	r := list[0]
	want := fmt.Sprintf("value mismatch at idx=0: %d != %d", c.tokens[5], (c.tokens[5]+1)%vocab)
	if r.Kind != "sampled_tokens" || r.Reason != want || *r.Step != 5 || !slices.Equal(r.RequestIDs, []string{"flipped"}) ||
		r.PrimaryBackend != "cuda:0" || r.ShadowBackend != "cpu" {
		t.Errorf("got %+v, want %s at step 5", r, want)
	}
	if got, want := *r.Margin, margin(t, append([]int32{1, 2, 3}, c.tokens[:5]...), (c.tokens[5]+1)%vocab, c.tokens[5]); got != want || got >= 0 {
		t.Errorf("margin %v, want %v: the shadow claims a token that is not its likeliest", got, want)
	}
	if counts := p.Counts(); counts.Outputs != 20 || counts.Divergences != 1 {
		t.Errorf("%+v", counts)
	}
}

// margin is how much likelier the reference device finds token a than b behind a text, computed in one step.
func margin(t *testing.T, text []int32, a, b int32) float64 {
	t.Helper()
	r, err := reference.New(1).Load(devicetest.TinyProgram(devicetest.Config{Vocab: vocab}), device.LoadOptions{PageSize: 64, Pages: 1, MaxSlots: 1, MaxRows: 64})
	if err != nil {
		t.Fatal(err)
	}
	p := device.Greedy()
	p.Logprobs = 0
	n := int32(len(text))
	s := &device.Step{Tokens: text, Sequences: []device.Sequence{{Rows: n, Pages: []int32{0}}}}
	for _, token := range []int32{a, b} {
		s.Outputs = append(s.Outputs, device.Output{Row: n - 1, Target: token, Position: n, Params: p})
	}
	r.Submit(s)
	if err := r.Wait(s); err != nil {
		t.Fatal(err)
	}
	return float64(s.Results[0].Logprob) - float64(s.Results[1].Logprob)
}

// KV that the primary gets wrong shows in the tokens that follow, here a primary that forgets to copy the tail of a shared prefix.
func TestLostPageCopyIsFound(t *testing.T) {
	forgetful := func(r device.Runner) device.Runner { return &withoutCopies{r} }
	p := newPair(t, pairOptions{program: devicetest.TinyProgram(devicetest.Config{Vocab: vocab}), primary: forgetful, queue: 1000})
	p.submit(t, &client{Request: scheduler.Request{ID: "a", Prompt: []int32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, MaxTokens: 20}})
	for deadline := time.Now().Add(time.Minute); p.Engine.Stats().CachedPages == 0 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
	}
	b := p.submit(t, &client{Request: scheduler.Request{ID: "b", Prompt: []int32{1, 2, 3, 4, 5, 6, 7, 50, 51, 52}, MaxTokens: 20}})
	list := p.finish(t)
	if b.finish.Cached != 7 || len(list) == 0 {
		t.Fatalf("%+v, records %+v", b.finish, list)
	}
	for _, r := range list {
		if r.Kind != "sampled_tokens" || r.RequestIDs[0] != "b" || *r.Margin < 0 {
			t.Errorf("%+v", r)
		}
	}
}

type withoutCopies struct{ device.Runner }

func (w *withoutCopies) Submit(s *device.Step) {
	s.Copies = nil
	w.Runner.Submit(s)
}

func TestFaultsOfTheSecondDevice(t *testing.T) {
	for name, test := range map[string]struct {
		wait   func(step int)
		reason string
	}{
		"panics": {func(step int) { panic("no such kernel") }, "no such kernel"},
	} {
		t.Run(name, func(t *testing.T) {
			step := 0
			p := newPair(t, pairOptions{queue: 1000, second: func(r device.Runner) device.Runner {
				return &altered{Runner: r, wait: func(*device.Step) {
					if step++; step == 4 {
						test.wait(step)
					}
				}}
			}})
			c := p.submit(t, &client{Request: scheduler.Request{ID: "served", Prompt: []int32{1, 2, 3}, MaxTokens: 20}})
			list := p.finish(t)
			if len(list) != 1 || list[0].Kind != "sampled_tokens_exception" || list[0].Reason != test.reason || *list[0].Step != 3 || list[0].Margin != nil ||
				!slices.Equal(list[0].RequestIDs, []string{"served"}) {
				t.Errorf("%+v", list)
			}
			if want := fake.Continue(c.Prompt, 20, vocab, c.Sampling); !slices.Equal(c.tokens, want) {
				t.Errorf("got %v, want %v", c.tokens, want)
			}
			if counts := p.Counts(); counts.Outputs != 3 || counts.Outputs+counts.Skipped > 20 {
				t.Errorf("%+v", counts)
			}
		})
	}
}

// A Mirror is a runner like its primary, whatever steps it gets.
func TestMirrorConforms(t *testing.T) {
	devicetest.Run(t, func(testing.TB) device.Device { return mirrored{fake.New(fake.Options{Run: fake.Concurrent})} }, devicetest.Options{NoModel: true})
}

// mirrored is a device beside a slower one of its kind.
type mirrored struct{ *fake.Device }

func (d mirrored) Load(p *device.Program, o device.LoadOptions) (device.Runner, error) {
	primary, err := d.Device.Load(p, o)
	if err != nil {
		return nil, err
	}
	o.Pages = primary.Pages()
	second, err := fake.New(fake.Options{Run: fake.AtWait}).Load(p, o)
	if err != nil {
		return nil, err
	}
	s := shadow.New(shadow.Options{PageSize: o.PageSize, EveryN: 1, MaxDiffs: 1})
	m := s.Beside(primary, second, shadow.MirrorOptions{MaxRows: o.MaxRows, MaxSlots: o.MaxSlots})
	return &checked{m, s}, nil
}

// checked is a Mirror that must not have found anything.
type checked struct {
	*shadow.Mirror
	shadow *shadow.Shadow
}

func (c *checked) Close() error {
	err := c.Mirror.Close()
	if counts := c.shadow.Counts(); counts.Divergences > 0 {
		err = errors.Join(err, fmt.Errorf("%+v", counts))
	}
	return err
}
