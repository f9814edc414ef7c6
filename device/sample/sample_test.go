package sample

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
	"pgregory.net/rapid"

	"minisgl/device"
)

var inf = float32(math.Inf(1))
var nan = float32(math.NaN())

func params(change func(*device.Sampling)) *device.Sampling {
	p := device.Greedy()
	change(p)
	return p
}

func TestGreedy(t *testing.T) {
	seen := new(History)
	seen.Reset([]int32{0, 3}, []int32{1, 1, 4})
	for _, c := range []struct {
		name     string
		logits   []float32
		params   *device.Sampling
		suppress bool
		want     int32
	}{
		{"largest", []float32{1, 3, 2, 0, 0}, device.Greedy(), false, 1},
		{"smallest id of equals", []float32{1, 2, 2, 2, 0}, device.Greedy(), false, 1},
		{"-Inf is a logit", []float32{-inf, -inf, -5, -inf, -inf}, device.Greedy(), false, 2},
		{"nothing can be drawn", []float32{-inf, -inf, -inf, -inf, -inf}, device.Greedy(), false, device.NoToken},
		{"NaN", []float32{1, 3, 2, 0, nan}, device.Greedy(), false, device.NoToken},
		{"+Inf", []float32{1, inf, 2, 0, 0}, device.Greedy(), false, device.NoToken},
		{"NaN at a suppressed token", []float32{1, nan, 2, 0, 0}, params(func(p *device.Sampling) { p.Suppress = []int32{1} }), true,
			device.NoToken},
		{"suppressed", []float32{1, 3, 2, 0, 0}, params(func(p *device.Sampling) { p.Suppress = []int32{1, 99} }), true, 2},
		{"suppression is over", []float32{1, 3, 2, 0, 0}, params(func(p *device.Sampling) { p.Suppress = []int32{1} }), false, 1},
		{"bias", []float32{1, 3, 2, 0, 0}, params(func(p *device.Sampling) { p.Bias = []device.TokenBias{{Token: 3, Bias: 4}} }), false, 3},
		{"repetition divides positive logits", []float32{3, 3.5, 2, 0, 0}, params(func(p *device.Sampling) { p.RepetitionPenalty = 2 }),
			false, 2},
		{"repetition multiplies negative logits", []float32{-2, -3, -3.5, -4, -4},
			params(func(p *device.Sampling) { p.RepetitionPenalty = 2 }), false, 2},
		{"frequency counts", []float32{0, 2, 0, 0, 1.5}, params(func(p *device.Sampling) { p.FrequencyPenalty = 0.75 }), false, 4},
		{"presence counts once", []float32{0, 2, 0, 0, 1.5}, params(func(p *device.Sampling) { p.PresencePenalty = 0.75 }), false, 1},
		{"presence ignores the prompt", []float32{2, 0, 0, 0, 0}, params(func(p *device.Sampling) { p.PresencePenalty = 9 }), false, 0},
		{"bias comes after the penalties", []float32{2, 0, 1.5, 0, 0}, params(func(p *device.Sampling) {
			p.RepetitionPenalty = 2
			p.Bias = []device.TokenBias{{Token: 0, Bias: 0.75}}
		}), false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := &device.Output{Target: device.Sample, Params: c.params, Suppress: c.suppress}
			before := slices.Clone(c.logits)
			if got := new(Workspace).Draw(c.logits, o, seen); got != c.want {
				t.Errorf("drew %d, want %d", got, c.want)
			}
			if slices.Compare(before, c.logits) != 0 && !slices.ContainsFunc(before, func(l float32) bool { return l != l }) {
				t.Errorf("the logits changed from %v to %v", before, c.logits)
			}
		})
	}
}

// naiveWeights is the definition once more, with every step over all tokens and a sort.
func naiveWeights(logits []float32, p *device.Sampling) []float64 {
	ids := make([]int, len(logits))
	for i := range ids {
		ids[i] = i
	}
	slices.SortStableFunc(ids, func(a, b int) int {
		if logits[a] > logits[b] {
			return -1
		} else if logits[a] < logits[b] {
			return 1
		}
		return 0
	})
	weights := make([]float64, len(logits))
	for _, i := range ids {
		weights[i] = Exp((float64(logits[i]) - float64(logits[ids[0]])) / float64(p.Temperature))
	}
	if p.TopK > 0 {
		for _, i := range ids[min(int(p.TopK), len(ids)):] {
			weights[i] = 0
		}
	}
	if p.TopP < 1 {
		goal, sum := float64(p.TopP)*naiveSum(weights), 0.0
		for n, i := range ids {
			if n > 0 && sum >= goal {
				weights[i] = 0
			}
			sum += weights[i]
		}
	}
	for i := range weights {
		if weights[i] < float64(p.MinP) {
			weights[i] = 0
		}
	}
	return weights
}

func naiveSum(weights []float64) float64 {
	total := 0.0
	for block := range slices.Chunk(weights, Block) {
		var lanes [8]float64
		for i, w := range block {
			lanes[i%8] += w
		}
		sum := 0.0
		for _, lane := range lanes {
			sum += lane
		}
		total += sum
	}
	return total
}

func naiveDraw(logits []float32, p *device.Sampling, position int32) int32 {
	weights := naiveWeights(logits, p)
	goal := Uniform(p.Seed, position) * naiveSum(weights)
	for i := range weights {
		if naiveSum(weights[:i+1]) > goal {
			return int32(i)
		}
	}
	return device.NoToken
}

func TestDrawAgreesWithSortingEverything(t *testing.T) {
	var w Workspace
	rapid.Check(t, func(t *rapid.T) {
		// Few distinct values make ties at every threshold; several blocks make the order of sums matter.
		distinct := rapid.SliceOfN(rapid.Float32Range(-8, 8), 1, 6).Draw(t, "distinct")
		logits := rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom(append(distinct, -inf)), rapid.Float32Range(-8, 8)), 1, 80).Draw(t, "logits")
		logits[rapid.IntRange(0, len(logits)-1).Draw(t, "finite")] = 1
		if rapid.Bool().Draw(t, "several blocks") {
			logits = slices.Repeat(logits, 1+3000/len(logits))
		}
		p := params(func(p *device.Sampling) {
			p.Temperature = rapid.SampledFrom([]float32{0.1, 0.7, 1, 3}).Draw(t, "temperature")
			p.TopK = rapid.SampledFrom([]int32{-1, 0, 1, 2, 5, 20, 2000, 1 << 30}).Draw(t, "top k")
			p.TopP = rapid.SampledFrom([]float32{0, 0.1, 0.5, 0.9, 0.999, 1}).Draw(t, "top p")
			p.MinP = rapid.SampledFrom([]float32{0, 0, 0.05, 0.5, 1}).Draw(t, "min p")
			p.Seed = rapid.Uint64().Draw(t, "seed")
		})
		position := rapid.Int32Range(0, 1<<20).Draw(t, "position")
		o := &device.Output{Target: device.Sample, Position: position, Params: p}
		if got, want := w.Draw(logits, o, nil), naiveDraw(logits, p, position); got != want {
			t.Fatalf("drew %d, want %d", got, want)
		}
	})
}

func TestDrawsFollowTheWeights(t *testing.T) {
	logits := []float32{0.3, 2, -1, 1.2, -inf, 0.9, 1.2, -3, 0}
	const draws = 40_000
	for name, p := range map[string]*device.Sampling{
		"plain":         params(func(p *device.Sampling) { p.Temperature = 1 }),
		"hot":           params(func(p *device.Sampling) { p.Temperature = 2.5; p.Seed = 7 }),
		"top k":         params(func(p *device.Sampling) { p.Temperature = 1; p.TopK = 3 }),
		"top p":         params(func(p *device.Sampling) { p.Temperature = 1; p.TopP = 0.8 }),
		"min p":         params(func(p *device.Sampling) { p.Temperature = 1; p.MinP = 0.2 }),
		"all together":  params(func(p *device.Sampling) { p.Temperature = 1.5; p.TopK = 6; p.TopP = 0.9; p.MinP = 0.3 }),
		"a large seed":  params(func(p *device.Sampling) { p.Temperature = 1; p.Seed = math.MaxUint64 }),
		"close to zero": params(func(p *device.Sampling) { p.Temperature = 0.3; p.Seed = 42 }),
	} {
		t.Run(name, func(t *testing.T) {
			var w Workspace
			counts := make([]float64, len(logits))
			for position := range int32(draws) {
				counts[w.Draw(logits, &device.Output{Target: device.Sample, Position: position, Params: p}, nil)]++
			}
			weights := naiveWeights(logits, p)
			chi2, kept := 0.0, 0
			for i, weight := range weights {
				if weight == 0 {
					if counts[i] > 0 {
						t.Errorf("token %d was drawn %v times and has no weight", i, counts[i])
					}
					continue
				}
				expected := draws * weight / naiveSum(weights)
				chi2 += (counts[i] - expected) * (counts[i] - expected) / expected
				kept++
			}
			if p := 1 - (distuv.ChiSquared{K: float64(kept - 1)}).CDF(chi2); kept > 1 && p < 1e-4 {
				t.Errorf("chi² = %.1f with %d degrees of freedom (p = %g): counts %v", chi2, kept-1, p, counts)
			}
		})
	}
}

func TestReadScoresTargetsWithRawLogprobs(t *testing.T) {
	logits := []float32{1, 3, 2, -inf}
	p := params(func(p *device.Sampling) {
		p.Logprobs = 2
		p.Bias = []device.TokenBias{{Token: 2, Bias: 100}}
	})
	logZ := math.Log(math.Exp(1) + math.Exp(3) + math.Exp(2))
	top := []device.TokenLogprob{{Token: 1, Logprob: float32(3 - logZ)}, {Token: 2, Logprob: float32(2 - logZ)}}
	for _, c := range []struct {
		target, want int32
		logprob      float32
	}{
		{device.Sample, 2, float32(2 - logZ)},
		{0, 0, float32(1 - logZ)},
		{3, 3, -inf},
	} {
		var r device.Result
		new(Workspace).Read(&r, logits, &device.Output{Target: c.target, Params: p}, nil)
		if r.Token != c.want || !near(r.Logprob, c.logprob) || len(r.Top) != 2 ||
			r.Top[0].Token != 1 || !near(r.Top[0].Logprob, top[0].Logprob) ||
			r.Top[1].Token != 2 || !near(r.Top[1].Logprob, top[1].Logprob) {
			t.Errorf("target %d: %+v, want token %d, logprob %v, top %v", c.target, r, c.want, c.logprob, top)
		}
	}
	r := device.Result{Top: make([]device.TokenLogprob, 3)}
	if new(Workspace).Read(&r, []float32{1, nan}, &device.Output{Target: 0, Params: p}, nil); r.Token != device.NoToken || len(r.Top) != 0 {
		t.Errorf("scoring a NaN gave %+v", r)
	}
}

func near(a, b float32) bool { return a == b || math.Abs(float64(a-b)) < 1e-6 }

func TestReadCountsWhatItDraws(t *testing.T) {
	p := params(func(p *device.Sampling) { p.FrequencyPenalty = 1 })
	var w Workspace
	var h History
	h.Reset([]int32{0}, nil)
	var got []int32
	for range 6 {
		var r device.Result
		w.Read(&r, []float32{2, 3.5, 0}, &device.Output{Target: device.Sample, Params: p}, &h)
		got = append(got, r.Token)
	}
	if want := []int32{1, 1, 0, 1, 0, 1}; !slices.Equal(got, want) {
		t.Errorf("drew %v, want %v", got, want)
	}
	h.Reset(nil, nil)
	if got := w.Draw([]float32{2, 3.5, 0}, &device.Output{Target: device.Sample, Params: p}, &h); got != 1 {
		t.Errorf("after a reset drew %d, want 1", got)
	}
}

// A device may select in parts of the vocabulary, in any order, and merge them.
func TestTopKOfPartsIsTopKOfTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		logits := rapid.SliceOfN(rapid.Float32Range(-2, 2), 1, 200).Draw(t, "logits")
		for i := range logits {
			logits[i] = float32(math.Round(float64(logits[i])*8) / 8)
		}
		k := rapid.IntRange(0, 40).Draw(t, "k")
		cut := rapid.IntRange(0, len(logits)).Draw(t, "cut")
		var whole, parts TopK
		want := whole.Select(logits, k)
		parts.Reset(k)
		parts.OfferAll(int32(cut), logits[cut:])
		parts.OfferAll(0, logits[:cut])
		if got := parts.Sorted(); !slices.Equal(got, want) {
			t.Fatalf("parts %v, whole %v", got, want)
		}
		if !slices.IsSortedFunc(want, Candidate.Compare) || len(want) != min(k, len(logits)) {
			t.Fatalf("the %d likeliest are %v", k, want)
		}
	})
}

// However many threads work on a row, in whatever order they take its parts: the bits are the same.
func TestSpreadGivesTheSame(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	logits := ramp(20 * partBlocks * Block / 3)
	for _, workers := range []int{1, 2, 5} {
		alone := Workspace{}
		spread := Workspace{Workers: workers, Spread: func(n int, do func(i, worker int)) {
			for _, i := range random.Perm(n) {
				do(i, random.IntN(workers))
			}
		}}
		for _, c := range cases {
			p := *c.params
			p.Logprobs = 2
			for position := range int32(20) {
				o := &device.Output{Target: device.Sample, Position: position, Params: &p}
				var got, want device.Result
				alone.Read(&want, logits, o, nil)
				spread.Read(&got, logits, o, nil)
				if got.Token != want.Token || got.Logprob != want.Logprob || !slices.Equal(got.Top, want.Top) {
					t.Errorf("%s, %d workers, position %d: %+v, want %+v", c.name, workers, position, got, want)
				}
			}
		}
	}
}

func TestExp(t *testing.T) {
	for x := 0.0; x > expLeast; x -= 0.0371 {
		if got, want := Exp(x), math.Exp(x); math.Abs(got-want) > 2*(math.Nextafter(want, 2)-want) {
			t.Fatalf("Exp(%v) is %v, want %v within two units in the last place", x, got, want)
		}
	}
	for x, want := range map[float64]float64{0: 1, -708.01: 0, -1e300: 0, math.Inf(-1): 0} {
		if got := Exp(x); got != want {
			t.Errorf("Exp(%v) is %v, want %v", x, got, want)
		}
	}
}

// ramp returns n logits between -3 and 3 without order.
func ramp(n int) []float32 {
	logits := make([]float32, n)
	for i := range logits {
		logits[i] = float32(math.Sin(float64(i)*1.7)) * 3
	}
	return logits
}

var cases = []struct {
	name   string
	params *device.Sampling
}{
	{"greedy", device.Greedy()},
	{"logprobs", params(func(p *device.Sampling) { p.Logprobs = 5 })},
	{"plain", params(func(p *device.Sampling) { p.Temperature = 0.7 })},
	{"top k 20, top p 0.8", params(func(p *device.Sampling) { p.Temperature, p.TopK, p.TopP = 0.7, 20, 0.8 })},
	{"top p 0.9", params(func(p *device.Sampling) { p.Temperature, p.TopP = 0.7, 0.9 })},
	{"min p 0.1", params(func(p *device.Sampling) { p.Temperature, p.MinP = 0.7, 0.1 })},
	{"repetition penalty", params(func(p *device.Sampling) { p.RepetitionPenalty = 1.1 })},
}

func TestReadAllocatesNothing(t *testing.T) {
	logits := ramp(10_000)
	for _, c := range cases {
		var w Workspace
		var h History
		h.Reset([]int32{1, 2, 3}, []int32{4})
		var r device.Result
		o := &device.Output{Target: device.Sample, Params: c.params}
		if n := testing.AllocsPerRun(20, func() { w.Read(&r, logits, o, &h) }); n != 0 {
			t.Errorf("%s: %v allocations", c.name, n)
		}
		if c.params.RepetitionPenalty == 1 && w.adjusted != nil {
			t.Errorf("%s: the logits were copied", c.name)
		}
	}
}

// BenchmarkRead draws from a vocabulary of Qwen2.5's size, normally distributed logits, whose nuclei are rather large.
func BenchmarkRead(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	logits := make([]float32, 151_936)
	for i := range logits {
		logits[i] = float32(random.NormFloat64() * 2.5)
	}
	for _, c := range cases {
		b.Run(c.name, func(b *testing.B) {
			var w Workspace
			var h History
			var r device.Result
			position := int32(0)
			for b.Loop() {
				w.Read(&r, logits, &device.Output{Target: device.Sample, Position: position, Params: c.params}, &h)
				position++
			}
		})
	}
}
