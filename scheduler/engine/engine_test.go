package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"minisgl/device"
	"minisgl/device/fake"
	"minisgl/scheduler"
	"minisgl/scheduler/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const vocab = 1000

// patience is how long a test waits for what must come: a busy machine may stand still for seconds.
const patience = time.Minute

// start runs an engine on a fake device; both end with the test.
func start(t testing.TB, o fake.Options, noOverlap bool, change func(*scheduler.Config)) (*engine.Engine, *fake.Runner) {
	t.Helper()
	config := scheduler.Config{PageSize: 4, NumPages: 256, MaxRunning: 16, MaxStepTokens: 32, MaxSeqLen: 512, MaxQueue: 1000, LookPast: 2, Vocab: vocab}
	if change != nil {
		change(&config)
	}
	o.OnViolation = func(err error) { t.Error(err) }
	runner, err := fake.New(o).Load(fake.Program(vocab, config.MaxSeqLen), device.LoadOptions{PageSize: config.PageSize,
		Pages: config.NumPages, MaxSlots: config.MaxRunning, MaxRows: config.MaxStepTokens})
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(runner, engine.Options{Scheduler: config, NoOverlap: noOverlap})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.Close()
		runner.Close()
	})
	return e, runner.(*fake.Runner)
}

// A client collects what its request gets.
type client struct {
	scheduler.Request
	tokens  []int32
	onToken func()
	finish  scheduler.Finish
	done    chan struct{}
}

func newClient(id string, prompt []int32, maxTokens int) *client {
	c := &client{Request: scheduler.Request{ID: id, Prompt: prompt, MaxTokens: maxTokens, ScoreFrom: -1, Sampling: device.Greedy()}, done: make(chan struct{})}
	c.Sink = c
	return c
}

func (c *client) Score(int, device.Result) {}

func (c *client) Token(r device.Result) {
	c.tokens = append(c.tokens, r.Token)
	if c.onToken != nil {
		c.onToken()
	}
}

func (c *client) Start(int) {}

func (c *client) Finish(f scheduler.Finish) {
	c.finish = f
	close(c.done) // a second Finish panics
}

func (c *client) wait(t testing.TB) scheduler.Finish {
	t.Helper()
	select {
	case <-c.done:
	case <-time.After(patience):
		t.Fatalf("request %s does not end", c.ID)
	}
	if want := fake.Continue(c.Prompt, len(c.tokens), vocab, c.Sampling); !slices.Equal(c.tokens, want) {
		t.Errorf("request %s got %v, want %v", c.ID, c.tokens, want)
	}
	return c.finish
}

func submit(t testing.TB, e *engine.Engine, c *client) *client {
	t.Helper()
	if err := e.Submit(&c.Request); err != nil {
		t.Fatal(err)
	}
	return c
}

func idle(t *testing.T, e *engine.Engine) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		s := e.Stats()
		if s.Running+s.Waiting+s.HeldPages == 0 || s.LeakedPages > 0 {
			if s.FreePages+s.CachedPages != s.Pages {
				t.Errorf("pages are lost: %+v", s)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("does not become idle: %+v", s)
		}
	}
}

func TestManyClientsAtOnce(t *testing.T) {
	for _, noOverlap := range []bool{false, true} {
		for mode, name := range map[fake.Mode]string{fake.AtSubmit: "at submit", fake.Concurrent: "concurrent"} {
			t.Run(fmt.Sprintf("%s/no overlap %v", name, noOverlap), func(t *testing.T) {
				e, _ := start(t, fake.Options{Run: mode}, noOverlap, nil)
				shared := make([]int32, 40)
				var wg sync.WaitGroup
				for i := range 50 {
					wg.Go(func() {
						rng := rand.New(rand.NewPCG(7, uint64(i)))
						prompt := append(slices.Clone(shared[:rng.IntN(40)]), int32(i), int32(rng.IntN(vocab)))
						c := newClient(fmt.Sprint(i), prompt, 1+rng.IntN(60))
						if err := e.Submit(&c.Request); err != nil {
							t.Error(err)
							return
						}
						if i%5 == 0 {
							e.Abort(c.ID)
							e.Abort(c.ID)
						}
						f := c.wait(t)
						if i%5 != 0 && (f.Reason != scheduler.Length || len(c.tokens) != c.MaxTokens || f.Output != c.MaxTokens) {
							t.Errorf("request %d: %+v with %d tokens, want %d", i, f, len(c.tokens), c.MaxTokens)
						}
					})
				}
				wg.Wait()
				idle(t, e)
			})
		}
	}
}

func TestSubmitAnswersAtOnce(t *testing.T) {
	e, _ := start(t, fake.Options{Run: fake.Concurrent, Fault: func(int) fake.Fault { return fake.Fault{Delay: 20 * time.Millisecond} }}, false,
		func(c *scheduler.Config) { c.MaxQueue, c.MaxRunning = 1, 1 })
	running := submit(t, e, newClient("running", []int32{1, 2}, 400))
	for e.Stats().Running == 0 {
		time.Sleep(time.Millisecond)
	}
	submit(t, e, newClient("waiting", []int32{1, 2}, 3))
	bad := newClient("bad", []int32{1, vocab}, 3)
	for _, c := range []struct {
		client *client
		want   error
	}{
		{newClient("third", []int32{1}, 3), scheduler.ErrQueueFull},
		{newClient("running", []int32{1}, 3), scheduler.ErrDuplicate},
		{newClient("long", make([]int32, 512), 3), scheduler.ErrTooLong},
		{bad, scheduler.ErrInvalid},
	} {
		if err := e.Submit(&c.client.Request); !errors.Is(err, c.want) {
			t.Errorf("request %s: error %v, want %v", c.client.ID, err, c.want)
		}
	}
	e.Abort("running")
	running.wait(t)
}

// A stop string is found by the sink, so it is the sink that aborts.
func TestSinkMayAbort(t *testing.T) {
	e, _ := start(t, fake.Options{Run: fake.Concurrent}, false, nil)
	c := newClient("c", []int32{1, 2, 3}, 400)
	c.onToken = func() {
		if len(c.tokens) == 5 {
			e.Abort("c")
		}
	}
	if f := submit(t, e, c).wait(t); f.Reason != scheduler.Aborted || f.Output > 7 {
		t.Errorf("ended with %+v, want an abort within a step of the fifth token", f)
	}
	idle(t, e)
}

func TestLostDevice(t *testing.T) {
	var unplug atomic.Bool
	var stepsWhenLost atomic.Int32
	e, _ := start(t, fake.Options{Run: fake.Concurrent, Fault: func(int) fake.Fault {
		if unplug.Load() {
			stepsWhenLost.Add(1)
			return fake.Fault{Err: fmt.Errorf("%w: unplugged", device.ErrLost)}
		}
		return fake.Fault{Delay: time.Millisecond}
	}}, false, func(c *scheduler.Config) { c.MaxRunning = 2 })
	var clients []*client
	for i := range 5 {
		clients = append(clients, submit(t, e, newClient(fmt.Sprint(i), []int32{int32(i)}, 400)))
	}
	unplug.Store(true)
	for _, c := range clients {
		if f := c.wait(t); f.Reason != scheduler.Failed || !errors.Is(f.Err, device.ErrLost) {
			t.Errorf("request %s: %+v", c.ID, f)
		}
	}
	<-e.Done()
	if err := e.Err(); !errors.Is(err, device.ErrLost) {
		t.Errorf("Err: %v", err)
	}
	if err := e.Submit(&newClient("late", []int32{1}, 1).Request); !errors.Is(err, engine.ErrClosed) || !errors.Is(err, device.ErrLost) {
		t.Errorf("Submit: %v", err)
	}
	if err := e.Drain(t.Context()); !errors.Is(err, device.ErrLost) {
		t.Errorf("Drain: %v", err)
	}
	if n := stepsWhenLost.Load(); n > 2 {
		t.Errorf("%d steps were submitted to a lost device, want no more than those in flight", n)
	}
}

func TestDeviceErrorFailsOnlyItsStep(t *testing.T) {
	broken := errors.New("broken")
	e, _ := start(t, fake.Options{Fault: func(step int) (f fake.Fault) {
		if step == 0 {
			f.Err = broken
		}
		return f
	}}, false, nil)
	if f := submit(t, e, newClient("first", []int32{1, 2, 3, 4, 5}, 9)).wait(t); f.Reason != scheduler.Failed || !errors.Is(f.Err, broken) {
		t.Errorf("first: %+v", f)
	}
	if f := submit(t, e, newClient("second", []int32{1, 2, 3, 4, 5}, 9)).wait(t); f.Reason != scheduler.Length || f.Cached != 0 {
		t.Errorf("second: %+v", f)
	}
	idle(t, e)
}

func TestDrain(t *testing.T) {
	e, _ := start(t, fake.Options{Run: fake.Concurrent, Fault: func(int) fake.Fault { return fake.Fault{Delay: 5 * time.Millisecond} }}, false, nil)
	c := submit(t, e, newClient("c", []int32{1}, 50))
	over, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	if err := e.Drain(over); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a drain that has no time: %v", err)
	}
	if err := e.Submit(&newClient("late", []int32{1}, 1).Request); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("Submit while draining: %v", err)
	}
	if err := e.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if f := c.wait(t); f.Reason != scheduler.Length || f.Output != 50 {
		t.Errorf("drained: %+v", f)
	}
}

func TestCloseAborts(t *testing.T) {
	e, _ := start(t, fake.Options{Run: fake.Concurrent}, false, func(c *scheduler.Config) { c.MaxRunning = 1 })
	clients := []*client{submit(t, e, newClient("a", []int32{1}, 400)), submit(t, e, newClient("b", []int32{1}, 400))}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	for _, c := range clients {
		if f := c.wait(t); f.Reason != scheduler.Aborted && f.Reason != scheduler.Length {
			t.Errorf("request %s: %+v", c.ID, f)
		}
	}
	if err := e.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

func TestAbortAllAndFlush(t *testing.T) {
	e, _ := start(t, fake.Options{Run: fake.Concurrent}, false, nil)
	var clients []*client
	for i := range 30 {
		clients = append(clients, submit(t, e, newClient(fmt.Sprint(i), make([]int32, 30), 400)))
	}
	e.AbortAll()
	for _, c := range clients {
		c.wait(t)
	}
	idle(t, e)
	if !e.FlushCache() {
		t.Error("FlushCache found something running")
	}
	if s := e.Stats(); s.FreePages != s.Pages {
		t.Errorf("after a flush: %+v", s)
	}
}

// In a synctest bubble Wait returns only when every goroutine is blocked, so an engine that spins hangs this test.
func TestIdleEngineSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, runner := start(t, fake.Options{}, false, nil)
		synctest.Wait()
		submit(t, e, newClient("c", []int32{1}, 3)).wait(t)
		synctest.Wait()
		if n := runner.Steps(); n != 3 {
			t.Errorf("%d steps for 3 tokens", n)
		}
	})
}

func TestPagesOfTheRunner(t *testing.T) {
	runner, err := fake.New(fake.Options{}).Load(fake.Program(vocab, 64), device.LoadOptions{PageSize: 4, Pages: 8, MaxSlots: 1, MaxRows: 8})
	if err != nil {
		t.Fatal(err)
	}
	defer runner.Close()
	_, err = engine.New(runner, engine.Options{Scheduler: scheduler.Config{PageSize: 4, NumPages: 9, MaxRunning: 1, MaxStepTokens: 8, MaxSeqLen: 64, MaxQueue: 1, Vocab: vocab}})
	if err == nil {
		t.Error("an engine may use more pages than there are")
	}
}

// BenchmarkStreams keeps 256 requests running, each with a prompt of 512 tokens and 512 tokens to draw. One operation is one token.
func BenchmarkStreams(b *testing.B) {
	const streams = 256
	for _, noOverlap := range []bool{false, true} {
		b.Run(fmt.Sprintf("no overlap %v", noOverlap), func(b *testing.B) {
			e, runner := start(b, fake.Options{Run: fake.Concurrent, Trusting: true}, noOverlap, func(c *scheduler.Config) {
				*c = scheduler.Config{PageSize: 16, NumPages: streams * 70, MaxRunning: streams, MaxStepTokens: 8192, MaxSeqLen: 2048, MaxQueue: streams, Vocab: vocab}
			})
			ended := make(chan *client, streams)
			tokens, steps := 0, 0
			rng := rand.New(rand.NewPCG(1, 2))
			next := func(id int) {
				prompt := make([]int32, 512)
				for i := range prompt {
					prompt[i] = int32(rng.IntN(vocab))
				}
				c := newClient(fmt.Sprint(id), prompt, 512)
				c.tokens = make([]int32, 0, 512)
				c.Sink = ender{c, ended}
				submit(b, e, c)
			}
			b.ReportAllocs()
			for id := 0; id <= 2*streams || tokens < b.N; id++ {
				if id >= streams {
					tokens += len((<-ended).tokens)
				}
				if id == 2*streams { // the prompts that came at once are done
					tokens, steps = 0, runner.Steps()
					b.ResetTimer()
				}
				next(id)
			}
			b.ReportMetric(float64(tokens)/b.Elapsed().Seconds(), "tokens/s")
			b.ReportMetric(float64(runner.Steps()-steps)/b.Elapsed().Seconds(), "steps/s")
			e.AbortAll()
		})
	}
}

type ender struct {
	*client
	ended chan *client
}

func (c ender) Finish(scheduler.Finish) { c.ended <- c.client }
