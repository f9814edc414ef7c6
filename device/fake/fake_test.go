package fake

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"minisgl/device"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const vocab = 1000

func load(t testing.TB, o Options, l device.LoadOptions) *Runner {
	t.Helper()
	r, err := New(o).Load(Program(vocab, 4096), l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r.(*Runner)
}

// one returns a step with one sequence in slot 0 that samples behind its last row.
func one(tokens []int32, position int32, pages []int32, p *device.Sampling) *device.Step {
	n := int32(len(tokens))
	return &device.Step{
		Tokens:    tokens,
		Sequences: []device.Sequence{{Rows: n, Position: position, Pages: pages}},
		Outputs:   []device.Output{{Row: n - 1, Target: device.Sample, Position: position + n, Params: p}},
	}
}

func run(t testing.TB, r *Runner, s *device.Step) []device.Result {
	t.Helper()
	r.Submit(s)
	if err := r.Wait(s); err != nil {
		t.Fatal(err)
	}
	return s.Results
}

func TestTokensAreThoseOfContinue(t *testing.T) {
	prompt := []int32{5, 6, 7, 8, 9, 10, 11}
	warm := device.Greedy()
	warm.Temperature, warm.Seed = 1, 99
	penalised := device.Greedy()
	penalised.PresencePenalty = 1
	for name, p := range map[string]*device.Sampling{"greedy": device.Greedy(), "warm": warm, "penalised": penalised} {
		want := Continue(prompt, 12, vocab, p)
		for _, mode := range []Mode{AtSubmit, AtWait, Concurrent} {
			for _, pageSize := range []int{1, 3, 16} {
				for _, chunk := range []int{1, 2, 7} {
					t.Run(fmt.Sprintf("%s/mode %d/pages of %d/chunks of %d", name, mode, pageSize, chunk), func(t *testing.T) {
						r := load(t, Options{Run: mode}, device.LoadOptions{PageSize: pageSize, Pages: 32, MaxSlots: 1, MaxRows: 8})
						pages := make([]int32, 32)
						for i := range pages {
							pages[i] = int32(31 - i)
						}
						resets := []device.SlotReset{{Prompt: prompt}}
						var got []int32
						position := int32(0)
						for part := range slices.Chunk(prompt, chunk) {
							s := one(part, position, pages, p)
							s.Resets, resets = resets, nil
							position += int32(len(part))
							if int(position) < len(prompt) {
								s.Outputs = nil
								run(t, r, s)
								continue
							}
							got = append(got, run(t, r, s)[0].Token)
						}
						for len(got) < len(want) {
							got = append(got, run(t, r, one([]int32{device.Sampled(0)}, position, pages, p))[0].Token)
							position++
						}
						if !slices.Equal(got, want) {
							t.Errorf("got %v, want %v", got, want)
						}
					})
				}
			}
		}
	}
}

func TestSeedsCountOnlyWhenWarm(t *testing.T) {
	draw := func(temperature float32, seed uint64) []int32 {
		p := device.Greedy()
		p.Temperature, p.Seed = temperature, seed
		return Continue([]int32{1}, 8, vocab, p)
	}
	if !slices.Equal(draw(0, 1), draw(0, 2)) {
		t.Error("a greedy request depends on its seed")
	}
	if slices.Equal(draw(1, 1), draw(1, 2)) || slices.Equal(draw(1, 1), draw(0, 1)) {
		t.Error("a warm request does not depend on its seed")
	}
}

func TestSuppressedTokensAreNotDrawn(t *testing.T) {
	free := Continue([]int32{1, 2}, 4, vocab, device.Greedy())
	p := device.Greedy()
	p.Suppress = []int32{free[0], free[0] + 1, free[1]}
	if got := ContinueMin([]int32{1, 2}, 4, 1, vocab, p); got[0] != free[0]+2 {
		t.Errorf("drew %v, want %d first", got, free[0]+2)
	}
	if got := Continue([]int32{1, 2}, 4, vocab, p); !slices.Equal(got, free) {
		t.Errorf("without min tokens drew %v, want %v", got, free)
	}
}

func TestScoresAndLogprobs(t *testing.T) {
	p := device.Greedy()
	p.Logprobs = 3
	r := load(t, Options{}, device.LoadOptions{PageSize: 4, Pages: 4, MaxSlots: 1, MaxRows: 8})
	s := one([]int32{5, 6, 7}, 0, []int32{2}, p)
	s.Outputs = append(s.Outputs, device.Output{Row: 0, Target: 6, Position: 1, Params: p})
	results := run(t, r, s)

	want := NewSequence(vocab, []int32{5, 6, 7}).Draw(p, false)
	if got := results[0]; got.Token != want.Token || got.Logprob != want.Logprob || !slices.Equal(got.Top, want.Top) {
		t.Errorf("drew %+v, want %+v", got, want)
	}
	if want.Token != want.Top[0].Token || want.Logprob != want.Top[0].Logprob || want.Top[1].Logprob >= want.Logprob {
		t.Errorf("a greedy token is not the likeliest: %+v", want)
	}
	want = NewSequence(vocab, []int32{5}).Score(6, p)
	if got := results[1]; got.Token != 6 || got.Logprob != want.Logprob || !slices.Equal(got.Top, want.Top) {
		t.Errorf("scored %+v, want %+v", got, want)
	}
}

// Whatever goes wrong with pages must show: as an error, or as other tokens than Continue's.
func TestCorruptionShows(t *testing.T) {
	prompt := []int32{5, 6, 7, 8, 9, 10}
	want := Continue(prompt, 1, vocab, device.Greedy())[0]
	pages := []int32{0, 1, 2, 3}
	for _, c := range []struct {
		name    string
		corrupt func(t *testing.T, r *Runner) []int32 // returns the page table of the last row
		err     string                                // "" expects another token
	}{
		{"foreign page", func(t *testing.T, r *Runner) []int32 {
			run(t, r, one([]int32{1, 2}, 0, []int32{7}, device.Greedy()))
			return []int32{7, 1, 2}
		}, ""},
		{"pages swapped", func(*testing.T, *Runner) []int32 { return []int32{1, 0, 2} }, ""},
		{"page never written", func(*testing.T, *Runner) []int32 { return []int32{0, 9, 2} }, "from page 9, which holds 0"},
		{"freed page", func(_ *testing.T, r *Runner) []int32 { r.Poison(1); return pages }, "from page 1, which holds 0 (it was freed)"},
		{"overwritten page", func(t *testing.T, r *Runner) []int32 {
			run(t, r, one([]int32{6, 5}, 0, []int32{0}, device.Greedy()))
			return pages
		}, ""},
		{"half a page", func(t *testing.T, r *Runner) []int32 {
			run(t, r, one([]int32{5}, 0, []int32{0}, device.Greedy()))
			return pages
		}, "positions [0, 2) are read from page 0, which holds 1"},
		{"copy of another place", func(t *testing.T, r *Runner) []int32 {
			r.Submit(&device.Step{Copies: []device.PageCopy{{Src: 0, Dst: 1, Tokens: 2}}})
			_ = r.Wait(r.flight[0].step)
			return pages
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := load(t, Options{}, device.LoadOptions{PageSize: 2, Pages: 10, MaxSlots: 1, MaxRows: 8})
			run(t, r, one(prompt[:5], 0, pages, device.Greedy()))
			s := one(prompt[5:], 5, c.corrupt(t, r), device.Greedy())
			r.Submit(s)
			switch err := r.Wait(s); {
			case c.err == "" && (err != nil || s.Results[0].Token == want):
				t.Errorf("error %v, results %+v; want another token than %d", err, s.Results, want)
			case c.err != "" && (!errors.Is(err, device.ErrContract) || !strings.Contains(err.Error(), c.err)):
				t.Errorf("error %v, want %q", err, c.err)
			}
		})
	}
}

func TestCopiedTailContinuesAsTheOriginal(t *testing.T) {
	r := load(t, Options{}, device.LoadOptions{PageSize: 4, Pages: 8, MaxSlots: 2, MaxRows: 8})
	run(t, r, one([]int32{1, 2, 3, 4, 5, 6, 7}, 0, []int32{0, 1}, device.Greedy()))
	s := one([]int32{9, 9}, 6, []int32{0, 5}, device.Greedy())
	s.Copies = []device.PageCopy{{Src: 1, Dst: 5, Tokens: 2}}
	if got, want := run(t, r, s)[0].Token, Continue([]int32{1, 2, 3, 4, 5, 6, 9, 9}, 1, vocab, device.Greedy())[0]; got != want {
		t.Errorf("drew %d, want %d", got, want)
	}
}

func TestFaults(t *testing.T) {
	broken := errors.New("broken")
	var violations []error
	r := load(t, Options{
		Run: Concurrent,
		Fault: func(step int) Fault {
			return map[int]Fault{
				1: {Err: broken},
				2: {NaN: func(output int) bool { return output == 0 }},
				4: {Delay: 5 * time.Millisecond},
				5: {Err: fmt.Errorf("%w: unplugged", device.ErrLost)},
			}[step]
		},
		OnViolation: func(err error) { violations = append(violations, err) },
	}, device.LoadOptions{PageSize: 4, Pages: 8, MaxSlots: 1, MaxRows: 8})

	step := func(position int32) (*device.Step, error) {
		s := one([]int32{1}, position, []int32{0, 1}, device.Greedy())
		r.Submit(s)
		return s, r.Wait(s)
	}
	if s, err := step(0); err != nil || s.Results[0].Token != Continue([]int32{1}, 1, vocab, device.Greedy())[0] {
		t.Errorf("step 0: %v, %+v", err, s.Results)
	}
	if _, err := step(1); !errors.Is(err, broken) {
		t.Errorf("step 1: error %v", err)
	}
	if s, err := step(2); err != nil || s.Results[0].Token != device.NoToken {
		t.Errorf("step 2: %v, %+v, want NoToken", err, s.Results)
	}
	if s, err := step(2); err != nil || s.Results[0].Token == Continue([]int32{1, 1, 1}, 1, vocab, device.Greedy())[0] {
		t.Errorf("step 3 reads what the broken step wrote: %v, %+v", err, s.Results)
	}
	if start := time.Now(); true {
		if _, err := step(3); err != nil || time.Since(start) < 5*time.Millisecond {
			t.Errorf("step 4: %v after %v", err, time.Since(start))
		}
	}
	for range 2 {
		if _, err := step(4); !errors.Is(err, device.ErrLost) {
			t.Errorf("a lost device: %v", err)
		}
	}
	if len(violations) > 0 {
		t.Errorf("violations: %v", violations)
	}
}

func TestTwoStepsInFlight(t *testing.T) {
	want := Continue([]int32{3, 4}, 40, vocab, device.Greedy())
	for _, mode := range []Mode{AtSubmit, AtWait, Concurrent} {
		r := load(t, Options{Run: mode}, device.LoadOptions{PageSize: 4, Pages: 16, MaxSlots: 1, MaxRows: 2})
		pages := []int32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
		before := one([]int32{3, 4}, 0, pages, device.Greedy())
		r.Submit(before)
		var got []int32
		for i := range int32(39) {
			next := one([]int32{device.Sampled(0)}, 2+i, pages, device.Greedy())
			r.Submit(next)
			if err := r.Wait(before); err != nil {
				t.Fatal(err)
			}
			got = append(got, before.Results[0].Token)
			before = next
		}
		if err := r.Wait(before); err != nil || !slices.Equal(append(got, before.Results[0].Token), want) {
			t.Errorf("mode %d: %v, got %v, want %v", mode, err, got, want)
		}
	}
}

func TestMisuse(t *testing.T) {
	for _, mode := range []Mode{AtSubmit, AtWait, Concurrent} {
		r := load(t, Options{Run: mode}, device.LoadOptions{PageSize: 4, Pages: 16, MaxSlots: 1, MaxRows: 2})
		var steps []*device.Step
		for i := range int32(3) {
			steps = append(steps, one([]int32{1}, i, []int32{0}, device.Greedy()))
			r.Submit(steps[i])
		}
		if err := r.Wait(steps[1]); !errors.Is(err, device.ErrContract) || !strings.Contains(err.Error(), "oldest") {
			t.Errorf("mode %d, waiting in another order: %v", mode, err)
		}
		for i, want := range []bool{true, true, false} {
			if err := r.Wait(steps[i]); (err == nil) != want {
				t.Errorf("mode %d, step %d of three in flight: %v", mode, i, err)
			}
		}
		r.Close()
		r.Submit(steps[0])
		if err := r.Wait(steps[0]); !errors.Is(err, device.ErrContract) {
			t.Errorf("mode %d, after Close: %v", mode, err)
		}
	}
}

func TestLoadThatDoesNotFit(t *testing.T) {
	_, err := New(Options{Memory: 1 << 20}).Load(Program(vocab, 64), device.LoadOptions{PageSize: 16, Pages: 1 << 20, MaxSlots: 1, MaxRows: 1})
	if !errors.Is(err, device.ErrMemory) {
		t.Errorf("error %v, want ErrMemory", err)
	}
}

func TestOpenByName(t *testing.T) {
	for _, spec := range []string{"fake", "fake+wait", "fake+concurrent"} {
		if d, _, err := device.Open(spec, 0); err != nil || d.Info().Name != "fake" {
			t.Errorf("%s: %v, %v", spec, d, err)
		}
	}
	if _, _, err := device.Open("fake+slow", 0); err == nil || !strings.Contains(err.Error(), `variant "slow"`) {
		t.Errorf("fake+slow: %v", err)
	}
}

// decodeStep has 256 rows that have read 512 positions each.
func decodeStep(t testing.TB, o Options) (*Runner, *device.Step) {
	const rows, context, pageSize = 256, 512, 16
	r := load(t, o, device.LoadOptions{PageSize: pageSize, Pages: rows * (context/pageSize + 1), MaxSlots: rows, MaxRows: context})
	s := &device.Step{}
	for i := range int32(rows) {
		pages := make([]int32, context/pageSize+1)
		for j := range pages {
			pages[j] = i*int32(len(pages)) + int32(j)
		}
		run(t, r, one(make([]int32, context), 0, pages, device.Greedy()))
		s.Tokens = append(s.Tokens, 1)
		s.Sequences = append(s.Sequences, device.Sequence{Slot: i, First: i, Rows: 1, Position: context, Pages: pages})
		s.Outputs = append(s.Outputs, device.Output{Row: i, Slot: i, Target: device.Sample, Position: context + 1, Params: device.Greedy()})
	}
	return r, s
}

func TestStepsAllocateNothing(t *testing.T) {
	for _, trusting := range []bool{false, true} {
		r, s := decodeStep(t, Options{Trusting: trusting})
		if n := testing.AllocsPerRun(10, func() { run(t, r, s) }); n != 0 {
			t.Errorf("trusting %v: %v allocations a step", trusting, n)
		}
	}
}

func TestTrustingGivesTheSameTokens(t *testing.T) {
	r, s := decodeStep(t, Options{})
	trusting, same := decodeStep(t, Options{Trusting: true})
	want, got := run(t, r, s), run(t, trusting, same)
	for i := range want {
		if got[i].Token != want[i].Token {
			t.Fatalf("output %d: %d, want %d", i, got[i].Token, want[i].Token)
		}
	}
}

func BenchmarkDecodeStep(b *testing.B) {
	for _, trusting := range []bool{false, true} {
		b.Run(fmt.Sprintf("256 rows, trusting %v", trusting), func(b *testing.B) {
			r, s := decodeStep(b, Options{Trusting: trusting})
			for b.Loop() {
				run(b, r, s)
			}
		})
	}
}
