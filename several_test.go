package minisgl_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"minisgl"
	"minisgl/device"
	"minisgl/device/fake"
	"minisgl/internal/goldens"
	"minisgl/scheduler"
)

const fakeVocab = 512 // of the golden tiny-tied

var deviceNames atomic.Int64

// register makes a fake device available under a new name.
func register(o fake.Options) string {
	name := fmt.Sprintf("test%d", deviceNames.Add(1))
	device.Register(device.Driver{Name: name, Open: func(device.OpenOptions) (device.Device, error) { return fake.New(o), nil }})
	return name
}

// paced are the options of a fake device whose steps take a given time.
func paced(step time.Duration) fake.Options {
	return fake.Options{Run: fake.Concurrent, Fault: func(int) fake.Fault { return fake.Fault{Delay: step} }}
}

// breakable are the options of a fake device whose steps all fail once lost is set. They take so long that a busy machine can look at what
// runs before that has ended, until there is a hurry.
func breakable(lost, hurry *atomic.Bool) fake.Options {
	return fake.Options{Run: fake.Concurrent, Fault: func(int) fake.Fault {
		switch {
		case lost.Load():
			return fake.Fault{Err: fmt.Errorf("%w: it fell off the bus", device.ErrLost)}
		case hurry.Load():
			return fake.Fault{}
		}
		return fake.Fault{Delay: 20 * time.Millisecond}
	}}
}

// several opens the tiny model on a list of devices.
func several(t testing.TB, devices ...string) minisgl.Options {
	return minisgl.Options{Model: goldens.Get(t, "tiny-tied").Path, Device: strings.Join(devices, ","), NumPages: 2048, PageSize: 4}
}

func randomPrompt(rng *rand.Rand, n int) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = rng.Int32N(fakeVocab)
	}
	return ids
}

// endless is a request that generates until somebody ends it, or its context does.
func endless(id string, prompt []int32) minisgl.Request {
	return minisgl.Request{ID: id, TokenIDs: prompt, Params: minisgl.Params{MaxTokens: 1000, IgnoreEOS: true}}
}

func start(t testing.TB, llm *minisgl.LLM, r minisgl.Request) *minisgl.Stream {
	t.Helper()
	stream, err := llm.Stream(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// running is how many requests each engine has taken.
func running(llm *minisgl.LLM) (n []int) {
	for _, e := range llm.Engines() {
		n = append(n, e.Stats.Running+e.Stats.Waiting)
	}
	return n
}

// eventually waits until a condition holds: a busy machine may stand still for seconds.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still not: %s", what)
		}
	}
}

func TestSeveralEnginesAnswerAsOne(t *testing.T) {
	golden := goldens.Get(t, "tiny-tied")
	n := 300
	if testing.Short() {
		n = 100
	}
	requests := mixedTraffic(n, int32(len(golden.Prompts[0].Logits[0])))
	options := minisgl.Options{Model: golden.Path, Device: "cpu", MaxSeqLen: 256, NumPages: 90, MaxRunning: 8, MaxStepTokens: 128}
	want := play(t, open(t, options), requests)
	options.Device = "cpu, cpu,cpu"
	llm := open(t, options)
	got := play(t, llm, requests)
	for i, r := range requests {
		drawn := r.Params.Temperature > 0 && r.Params.Seed == nil
		if want[i] != nil && got[i] != nil && !drawn && !slices.Equal(want[i], got[i]) {
			t.Errorf("request %d: one engine says %v, three say %v", i, want[i], got[i])
		}
	}
	eventually(t, "nothing runs", func() bool { s := llm.Stats(); return s.Running+s.Waiting+s.HeldPages == 0 })
	var sum uint64
	for i, e := range llm.Engines() {
		if name := fmt.Sprintf("cpu#%d", i); e.Name != name || e.Err != nil || e.Stats.OutputTokens == 0 || e.Stats.Pages != 90 {
			t.Errorf("engine %d: %+v, want %s with work done", i, e, name)
		}
		sum += e.Stats.OutputTokens
	}
	if s := llm.Stats(); s.OutputTokens != sum || s.Pages != 270 || s.FreePages+s.CachedPages != 270 {
		t.Errorf("in all: %+v, want %d tokens and 270 pages", s, sum)
	}
	if info := llm.DeviceInfo(); info.Name != "cpu,cpu,cpu" {
		t.Errorf("the devices are called %q", info.Name)
	}
}

// A conversation goes back to the engine that has it, however many others are idle.
func TestPrefixAffinity(t *testing.T) {
	llm := open(t, several(t, "fake", "fake", "fake"))
	rng := rand.New(rand.NewPCG(3, 4))
	const conversations, turns = 9, 5
	for c := range conversations {
		prompt := randomPrompt(rng, 40)
		for turn := range turns {
			out, err := llm.Run(context.Background(), []minisgl.Request{{TokenIDs: prompt, Params: minisgl.Params{MaxTokens: 8, IgnoreEOS: true}}})
			if err != nil {
				t.Fatal(err)
			}
			if turn > 0 && out[0].Usage.Cached < 40 {
				t.Errorf("conversation %d, turn %d: %d of %d tokens were cached", c, turn, out[0].Usage.Cached, len(prompt))
			}
			prompt = append(append(slices.Clone(prompt), out[0].TokenIDs...), randomPrompt(rng, 10)...)
		}
	}
	for _, e := range llm.Engines() {
		if e.Stats.PromptTokens != llm.Stats().PromptTokens/3 {
			t.Errorf("engine %s computed %d of %d prompt tokens, want a third: new conversations take turns", e.Name, e.Stats.PromptTokens, llm.Stats().PromptTokens)
		}
	}
}

// A prefix of 400 tokens is worth three requests; then its engine is overloaded, and the other computes it, too.
func TestOverloadSpills(t *testing.T) {
	slow := register(paced(10 * time.Millisecond))
	llm := open(t, several(t, slow, slow))
	prefix := randomPrompt(rand.New(rand.NewPCG(5, 6)), 400)
	if _, err := llm.Run(context.Background(), []minisgl.Request{{TokenIDs: prefix, Params: minisgl.Params{MaxTokens: 1}}}); err != nil {
		t.Fatal(err)
	}
	var streams []*minisgl.Stream
	var loads [][]int
	for i := range 6 {
		streams = append(streams, start(t, llm, endless(fmt.Sprint(i), append(slices.Clone(prefix), int32(i)))))
		loads = append(loads, running(llm))
	}
	if want := [][]int{{1, 0}, {2, 0}, {3, 0}, {4, 0}, {4, 1}, {5, 1}}; !slices.EqualFunc(loads[:5], want[:5], slices.Equal[[]int]) {
		t.Errorf("requests are at %v, want %v", loads, want)
	}
	eventually(t, "the other has computed it, too", func() bool { return llm.Engines()[1].Stats.OutputTokens > 0 })
	for _, stream := range streams {
		stream.Close()
	}
	eventually(t, "all have ended", func() bool { return llm.Stats().Running+llm.Stats().Waiting == 0 })
	// What has ended weighs nothing: the engine that computed the prefix first and the one that did later are equals now.
	for i := range 8 {
		defer start(t, llm, endless(fmt.Sprint("again", i), append(slices.Clone(prefix), int32(i)))).Close()
	}
	if got := running(llm); !slices.Equal(got, []int{4, 4}) {
		t.Errorf("requests for what both have cached are at %v", got)
	}
}

func TestQueuesOfSeveralEngines(t *testing.T) {
	slow := register(paced(10 * time.Millisecond))
	options := several(t, slow, slow)
	options.MaxRunning, options.MaxQueue = 1, 1
	llm := open(t, options)
	prefix := randomPrompt(rand.New(rand.NewPCG(7, 8)), 600) // worth more than both have room for
	for i := range 4 {
		defer start(t, llm, endless(fmt.Sprint(i), prefix)).Close()
		eventually(t, "nobody waits for an idle engine", func() bool {
			return !slices.ContainsFunc(llm.Engines(), func(e minisgl.EngineState) bool { return e.Stats.Running == 0 && e.Stats.Waiting > 0 })
		})
	}
	if _, err := llm.Stream(context.Background(), endless("more", prefix)); !errors.Is(err, minisgl.ErrQueueFull) {
		t.Errorf("a fifth request: %v", err)
	}
	if _, err := llm.Stream(context.Background(), endless("long", make([]int32, 3000))); !errors.Is(err, minisgl.ErrTooLong) {
		t.Errorf("a prompt that fits nowhere: %v", err)
	}
	if _, err := llm.Stream(context.Background(), endless("2", []int32{1})); !errors.Is(err, minisgl.ErrDuplicate) {
		t.Errorf("an id that runs, maybe on the other engine: %v", err)
	}
	llm.Abort("nobody")
	llm.Abort("2")
	eventually(t, "2 has ended", func() bool { return llm.Stats().Running+llm.Stats().Waiting == 3 })
	stream := start(t, llm, endless("2", []int32{1}))
	llm.AbortAll()
	out, err := stream.Output()
	if err != nil || out.Reason != scheduler.Aborted {
		t.Errorf("aborted with all: %+v, %v", out.Finish, err)
	}
	eventually(t, "nothing runs", func() bool { return llm.FlushCache() })
	if s := llm.Stats(); s.FreePages != 2*2048 {
		t.Errorf("after a flush of both caches: %+v", s)
	}
}

// More requests than fit at once, all in one call: their answers come in order, from both engines.
func TestBatchOnSeveralEngines(t *testing.T) {
	options := several(t, "fake", "fake+concurrent")
	options.MaxRunning, options.MaxQueue = 4, 4
	llm := open(t, options)
	rng := rand.New(rand.NewPCG(9, 10))
	seed := uint64(0)
	requests := make([]minisgl.Request, 100)
	for i := range requests {
		requests[i] = minisgl.Request{TokenIDs: randomPrompt(rng, 1+rng.IntN(50)),
			Params: minisgl.Params{MaxTokens: 1 + rng.IntN(20), IgnoreEOS: true, Seed: &seed}}
	}
	outputs, err := llm.Run(context.Background(), requests)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range requests {
		if want := fake.Continue(r.TokenIDs, r.Params.MaxTokens, fakeVocab, device.Greedy()); !slices.Equal(outputs[i].TokenIDs, want) {
			t.Errorf("request %d: %v, want %v", i, outputs[i].TokenIDs, want)
		}
	}
	for _, e := range llm.Engines() {
		if e.Stats.PromptTokens == 0 {
			t.Errorf("engine %s had nothing to do", e.Name)
		}
	}
}

func TestLostDeviceAmongOthers(t *testing.T) {
	var lost [2]atomic.Bool
	var hurry atomic.Bool
	llm, err := minisgl.Open(context.Background(), several(t, register(breakable(&lost[0], &hurry)), register(breakable(&lost[1], &hurry))))
	if err != nil {
		t.Fatal(err)
	}
	defer llm.Close()
	ctx, seed := context.Background(), uint64(0)
	rng := rand.New(rand.NewPCG(11, 12))
	prompts := make([][]int32, 8)
	streams := make([]*minisgl.Stream, 8)
	for i := range streams {
		prompts[i] = randomPrompt(rng, 20)
		streams[i] = start(t, llm, minisgl.Request{TokenIDs: prompts[i], Params: minisgl.Params{MaxTokens: 300, IgnoreEOS: true, Seed: &seed}})
		if !streams[i].Next() {
			t.Fatal(streams[i].Err())
		}
	}
	if got := running(llm); !slices.Equal(got, []int{4, 4}) {
		t.Fatalf("requests are at %v", got)
	}
	lost[0].Store(true)
	hurry.Store(true)
	var failed, ended atomic.Int32
	var readers sync.WaitGroup
	for i, stream := range streams {
		readers.Go(func() {
			var tokens []int32
			add := func() {
				for _, token := range stream.Chunk().Tokens {
					tokens = append(tokens, token.ID)
				}
			}
			for add(); stream.Next(); {
				add()
			}
			want := fake.Continue(prompts[i], len(tokens), fakeVocab, device.Greedy())
			switch err := stream.Err(); {
			case !slices.Equal(tokens, want):
				t.Errorf("request %d: %v, want %v", i, tokens, want)
			case err == nil && len(tokens) == 300:
				ended.Add(1)
			case errors.Is(err, device.ErrLost) && strings.Contains(err.Error(), "device fake#0:") && strings.Contains(err.Error(), "fell off the bus"):
				failed.Add(1)
			default:
				t.Errorf("request %d: %d tokens, %v", i, len(tokens), err)
			}
		})
	}
	readers.Wait()
	if failed.Load() != 4 || ended.Load() != 4 {
		t.Errorf("%d requests failed and %d ended, want 4 of each", failed.Load(), ended.Load())
	}
	eventually(t, "it is taken out", func() bool { return llm.Engines()[0].Err != nil })
	if e := llm.Engines(); !errors.Is(e[0].Err, device.ErrLost) || e[1].Err != nil || llm.Err() != nil || llm.Stats().Pages != 2048 {
		t.Errorf("one is lost: %+v, %v, %+v", e, llm.Err(), llm.Stats())
	}
	select {
	case <-llm.Done():
		t.Error("the end, although one engine is left")
	default:
	}
	for range 5 { // also what the lost one had cached
		out, err := llm.Run(ctx, []minisgl.Request{{TokenIDs: prompts[0], Params: minisgl.Params{MaxTokens: 3, IgnoreEOS: true, Seed: &seed}}})
		if err != nil || !slices.Equal(out[0].TokenIDs, fake.Continue(prompts[0], 3, fakeVocab, device.Greedy())) {
			t.Errorf("a later request: %v, %v", out, err)
		}
	}
	if err := llm.Probe(ctx); err != nil {
		t.Errorf("the one that is left: %v", err)
	}

	last := start(t, llm, endless("last", []int32{1}))
	lost[1].Store(true)
	if _, err := last.Output(); !errors.Is(err, device.ErrLost) || !strings.Contains(err.Error(), "request last: device fake#1:") {
		t.Errorf("the last one: %v", err)
	}
	<-llm.Done()
	if err := llm.Err(); !errors.Is(err, device.ErrLost) || strings.Count(err.Error(), "device fake#") != 2 {
		t.Errorf("none is left: %v", err)
	}
	if _, err := llm.Stream(ctx, endless("", []int32{1})); !errors.Is(err, minisgl.ErrClosed) || !errors.Is(err, device.ErrLost) {
		t.Errorf("a request that nobody can take: %v", err)
	}
}

func TestDrainSeveralEngines(t *testing.T) {
	var never, lost, hurry atomic.Bool
	slow := register(breakable(&never, &hurry))
	llm, err := minisgl.Open(context.Background(), several(t, slow, register(breakable(&lost, &hurry)), slow))
	if err != nil {
		t.Fatal(err)
	}
	defer llm.Close()
	var streams []*minisgl.Stream
	for i := range 6 {
		streams = append(streams, start(t, llm, minisgl.Request{TokenIDs: []int32{int32(i)}, Params: minisgl.Params{MaxTokens: 60, IgnoreEOS: true}}))
	}
	lost.Store(true) // which is no reason to complain when the others have drained
	over, cancel := context.WithDeadline(context.Background(), time.Now())
	defer cancel()
	if err := llm.Drain(over); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a drain that has no time: %v", err)
	}
	if _, err := llm.Stream(context.Background(), endless("", []int32{1})); !errors.Is(err, minisgl.ErrClosed) {
		t.Errorf("a request while draining: %v", err)
	}
	hurry.Store(true)
	if err := llm.Drain(context.Background()); err != nil {
		t.Error(err)
	}
	whole := 0
	for _, stream := range streams {
		if out, err := stream.Output(); err == nil && len(out.TokenIDs) == 60 {
			whole++
		}
	}
	if whole != 4 {
		t.Errorf("%d of the 4 requests on the engines that drained have ended", whole)
	}
}

// Each engine has a shadow of its own; what they find adds up.
func TestShadowsOfSeveralEngines(t *testing.T) {
	options := several(t, "fake", "fake")
	options.Shadow = minisgl.Shadow{Planner: true, Device: "fake"}
	llm, err := minisgl.Open(context.Background(), options)
	if err != nil {
		t.Fatal(err)
	}
	play(t, llm, mixedTraffic(100, fakeVocab))
	stats := llm.Stats()
	if err := llm.Close(); err != nil {
		t.Error(err)
	}
	if c := llm.ShadowCounts(); c.Divergences != 0 || c.Steps < stats.Steps || c.Outputs == 0 {
		t.Errorf("%v, want nothing found in %d steps", c, stats.Steps)
	}
}

// What a request pays before it is submitted, for two engines beside one.
func BenchmarkRouting(b *testing.B) {
	for _, devices := range [][]string{{"fake"}, {"fake", "fake"}, slices.Repeat([]string{"fake"}, 8)} {
		b.Run(fmt.Sprint(len(devices)), func(b *testing.B) {
			llm := open(b, several(b, devices...))
			prompt := randomPrompt(rand.New(rand.NewPCG(1, 2)), 1000)
			request := minisgl.Request{TokenIDs: prompt, Params: minisgl.Params{MaxTokens: 1, IgnoreEOS: true}}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := llm.Run(context.Background(), []minisgl.Request{request}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
