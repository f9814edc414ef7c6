package scheduler

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"minisgl/device"
	"minisgl/internal/shadow"
)

type silent struct{}

func (silent) Score(int, device.Result) {}
func (silent) Token(device.Result)      {}
func (silent) Start(int)                {}
func (silent) Finish(Finish)            {}

// decoding returns a scheduler whose 256 requests have all drawn their first token, with contexts of 512 to 2048 tokens, and
// a function that plans and commits one step and says how long Plan took. The requests go on for 500 tokens.
func decoding(t testing.TB, beside Shadow) (*Scheduler, func() time.Duration) {
	const rows = 256
	s, err := New(Config{PageSize: 16, NumPages: rows * 2600 / 16, MaxRunning: rows, MaxStepTokens: 8192, MaxSeqLen: 4096, MaxQueue: rows, Vocab: 1000,
		Shadow: beside})
	if err != nil {
		t.Fatal(err)
	}
	for i := range rows {
		prompt := make([]int32, 512+i*6)
		for j := range prompt {
			prompt[j] = int32(i)
		}
		prompt[0] = int32(i) // nothing is shared
		if err := s.Add(&Request{ID: fmt.Sprint(i), Prompt: prompt, MaxTokens: 501, ScoreFrom: -1, Sampling: device.Greedy(), Sink: silent{}}); err != nil {
			t.Fatal(err)
		}
	}
	steps := []*device.Step{{}, {}}
	step := func() time.Duration {
		start := time.Now()
		if !s.Plan(steps[0]) {
			t.Fatal("nothing to plan")
		}
		took := time.Since(start)
		if s.inFlight == 2 {
			s.Commit(steps[1], nil)
		}
		steps[0], steps[1] = steps[1], steps[0]
		return took
	}
	for len(s.running) < rows || slices.ContainsFunc(s.running, func(r *request) bool { return r.outputs() == 0 }) {
		step()
	}
	return s, step
}

func BenchmarkDecodeStep(b *testing.B) { benchmarkDecodeStep(b, nil) }

// BenchmarkShadowedDecodeStep also compares every step with the plain planner's.
func BenchmarkShadowedDecodeStep(b *testing.B) {
	benchmarkDecodeStep(b, shadow.New(shadow.Options{PageSize: 16, Planner: true, EveryN: 1, MaxDiffs: 1}))
}

func benchmarkDecodeStep(b *testing.B, beside Shadow) {
	var s *Scheduler
	var step func() time.Duration
	var planning time.Duration
	left := 0
	b.ReportAllocs()
	for range b.N {
		if left == 0 {
			b.StopTimer()
			s, step = decoding(b, beside)
			for range 10 {
				step()
			}
			left = 400
			b.StartTimer()
		}
		planning += step()
		left--
	}
	if st := s.Stats(); st.Running != 256 {
		b.Fatalf("%+v", st)
	}
	b.ReportMetric(float64(planning.Nanoseconds())/float64(b.N), "ns/plan")
}

func TestDecodeAllocatesNothing(t *testing.T) {
	_, step := decoding(t, nil)
	for range 20 {
		step()
	}
	if n := testing.AllocsPerRun(200, func() { step() }); n > 0 {
		t.Errorf("%v allocations a step of 256 tokens", n)
	}
}
