//go:build cuda

package kernels

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
	"pgregory.net/rapid"

	"minisgl/device"
	"minisgl/device/sample"
	"minisgl/device_cuda/driver"
)

var inf = float32(math.Inf(1))

// A sampler runs the three kernels as a step does: upload, reset_history, row_maximum, sample.
type sampler struct {
	onCard
	step                           StepLayout
	logits, last, history, scratch driver.Ptr
	stride, rows                   int
	results                        driver.Pinned

	params []OutputParams
	resets []ResetParams
	lists  []int32
}

const samplerLists = 1 << 20

func newSampler(t testing.TB, vocab, stride, rows, slots int) *sampler {
	b := onCard{t, compiled(t, Shape{Heads: 4, KVHeads: 2, HeadDim: 64, PageSize: 16, Vocab: vocab}, "sampling")}
	s := &sampler{
		onCard: b, stride: stride, rows: rows,
		logits:  b.alloc(rows * stride * 4),
		last:    put(b, make([]int32, slots)),
		history: put(b, make([]uint32, slots*vocab)),
		scratch: b.alloc(int(b.SampleScratch(rows))),
		step: StepLayout{
			Header:  put(b, make([]StepHeader, 1)),
			Outputs: put(b, make([]OutputParams, 3*rows)),
			Resets:  put(b, make([]ResetParams, slots)),
			Lists:   put(b, make([]int32, samplerLists)),
		},
	}
	var err error
	if s.results, err = b.card.AllocPinned(3 * rows * (1 + vocab) * tokenBytes); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.card.FreePinned(s.results) })
	return s
}

func (s *sampler) upload(outputs []device.Output, resets []device.SlotReset) {
	s.Helper()
	s.lists = append(s.lists[:0], 1, 2, 3) // others use the lists, too
	s.params, s.lists = s.AppendOutputs(s.params[:0], s.lists, outputs, s.results.Ptr)
	s.resets, s.lists = s.AppendResets(s.resets[:0], s.lists, resets)
	putAt(s.onCard, s.step.Header, []StepHeader{{Outputs: int32(len(outputs)), Resets: int32(len(resets))}})
	putAt(s.onCard, s.step.Outputs, s.params)
	putAt(s.onCard, s.step.Resets, s.resets)
	putAt(s.onCard, s.step.Lists, s.lists)
}

// chunk describes the launches for the outputs whose logits are there.
func (s *sampler) chunk(first int) Sampling {
	return Sampling{Step: s.step, Logits: s.logits, Stride: s.stride, FirstOutput: first, Outputs: s.rows,
		Last: s.last, History: s.history, Scratch: s.scratch}
}

// read runs a step, its outputs in chunks of s.rows.
func (s *sampler) read(logits [][]float32, outputs []device.Output, resets []device.SlotReset) []device.Result {
	s.Helper()
	s.upload(outputs, resets)
	s.run(s.ResetHistory(s.step, s.history))
	for first := 0; first < len(outputs); first += s.rows {
		for i, row := range logits[first:min(first+s.rows, len(outputs))] {
			putAt(s.onCard, s.logits.Offset(int64(i*s.stride*4)), row)
		}
		s.run(s.RowMaximum(s.chunk(first)), s.Sample(s.chunk(first)))
	}
	results := make([]device.Result, len(outputs))
	s.ReadResults(results, outputs, s.results.Bytes)
	return results
}

// checkResult compares with package sample.
func checkResult(t rapid.TB, got, want device.Result, o *device.Output, kind string) {
	t.Helper()
	ok := got.Token == want.Token && near(got.Logprob, want.Logprob) && len(got.Top) == len(want.Top)
	for i := range want.Top {
		ok = ok && got.Top[i].Token == want.Top[i].Token && near(got.Top[i].Logprob, want.Top[i].Logprob)
	}
	if !ok {
		p := *o.Params
		p.Bias, p.Suppress = p.Bias[:min(len(p.Bias), 5)], p.Suppress[:min(len(p.Suppress), 5)]
		got.Top, want.Top = got.Top[:min(len(got.Top), 30)], want.Top[:min(len(want.Top), 30)]
		t.Fatalf("%+v, want %+v, of %s logits and output %+v with %+v", got, want, kind, *o, p)
	}
}

func near(a, b float32) bool {
	return a == b || math.Abs(float64(a)-float64(b)) <= 1e-6*(1+math.Abs(float64(b)))
}

func sampling(change func(*device.Sampling)) *device.Sampling {
	p := device.Greedy()
	change(p)
	return p
}

// kindsOfLogits fill a row.
var kindsOfLogits = map[string]func(r *rand.Rand, row []float32){
	"normal": func(r *rand.Rand, row []float32) {
		for i := range row {
			row[i] = float32(r.NormFloat64() * 2.5)
		}
	},
	"peaked": func(r *rand.Rand, row []float32) {
		for i := range row {
			row[i] = float32(r.NormFloat64() - 5)
		}
		for range 8 {
			row[r.IntN(len(row))] = 10 + r.Float32()*5
		}
	},
	"flat": func(r *rand.Rand, row []float32) {
		level := float32(r.NormFloat64())
		for i := range row {
			row[i] = level
		}
	},
	"ties": func(r *rand.Rand, row []float32) {
		levels := []float32{0, float32(math.Copysign(0, -1)), 1, -2.5, 1.0000001, -inf, 3}[:2+r.IntN(6)]
		for i := range row {
			row[i] = levels[r.IntN(len(levels))]
		}
		row[r.IntN(len(row))] = 0.5
	},
	"close": func(r *rand.Rand, row []float32) {
		for i := range row {
			row[i] = math.Float32frombits(math.Float32bits(7) + uint32(r.IntN(40)))
		}
	},
	"wide": func(r *rand.Rand, row []float32) {
		for i := range row {
			row[i] = float32(math.Ldexp(r.NormFloat64(), r.IntN(40)-20))
		}
	},
	"mostly -Inf": func(r *rand.Rand, row []float32) {
		for i := range row {
			row[i] = -inf
			if r.IntN(9) == 0 {
				row[i] = r.Float32()
			}
		}
	},
	"bad": func(r *rand.Rand, row []float32) {
		for i := range row {
			row[i] = r.Float32()
		}
		row[r.IntN(len(row))] = []float32{inf, float32(math.NaN()), math.Float32frombits(0xffc00001), -inf}[r.IntN(4)]
	},
}

func drawSampling(t *rapid.T, vocab int) *device.Sampling {
	p := device.Greedy()
	pick := func(name string, values ...float32) float32 { return rapid.SampledFrom(values).Draw(t, name) }
	p.Temperature = pick("temperature", 0, 0.01, 0.3, 0.7, 1, 1, 1, 3, 100)
	p.TopK = rapid.SampledFrom([]int32{-1, 0, 0, 0, 1, 2, 20, 50, 2048, 2049, 2400, int32(vocab) - 1, int32(vocab), 1 << 30}).Draw(t, "top k")
	p.TopP = pick("top p", 1, 1, 1, 0, 0.1, 0.5, 0.9, 0.999, 0.9999999)
	p.MinP = pick("min p", 0, 0, 0, 1e-9, 0.05, 0.5, 1)
	p.Seed = rapid.Uint64().Draw(t, "seed")
	p.RepetitionPenalty = pick("repetition", 1, 1, 1, 1.1, 0.5, 3)
	p.FrequencyPenalty = pick("frequency", 0, 0, 0, 0.7, -1)
	p.PresencePenalty = pick("presence", 0, 0, 0, 1.5)
	p.Logprobs = rapid.SampledFrom([]int32{-1, -1, -1, 0, 1, 5, 20, 70, int32(vocab)}).Draw(t, "logprobs")
	if rapid.IntRange(0, 3).Draw(t, "biased") == 0 {
		for range rapid.IntRange(1, 10).Draw(t, "biases") {
			p.Bias = append(p.Bias, device.TokenBias{Token: rapid.Int32Range(-1, int32(vocab)).Draw(t, "token"), Bias: pick("bias", -100, -1.3, 0.7, 100)})
		}
	}
	if rapid.IntRange(0, 3).Draw(t, "suppresses") == 0 {
		p.Suppress = rapid.SliceOfN(rapid.Int32Range(-1, int32(vocab)), 1, 50).Draw(t, "suppress")
	}
	return p
}

// A sampledStep is outputs of slots 0 to 2 with the kinds of their logits.
type sampledStep struct {
	resets  []device.SlotReset
	outputs []device.Output
	kinds   []string
	seed    uint64 // of the logits
}

const (
	stepSlots   = 3
	stepOutputs = 3 * stepSlots // at most
)

func drawStep(t *rapid.T, vocab int) sampledStep {
	step := sampledStep{seed: rapid.Uint64().Draw(t, "logits' seed")}
	tokens := rapid.SliceOfN(rapid.Int32Range(0, int32(vocab)-1), 0, 30)
	kind := rapid.SampledFrom(slices.Sorted(maps.Keys(kindsOfLogits)))
	for slot := range int32(stepSlots) {
		step.resets = append(step.resets, device.SlotReset{Slot: slot, Prompt: tokens.Draw(t, "prompt"), Output: tokens.Draw(t, "output")})
		for range rapid.IntRange(0, 2).Draw(t, "scored") {
			step.outputs = append(step.outputs, device.Output{Slot: slot, Target: rapid.Int32Range(0, int32(vocab)-1).Draw(t, "target"), Params: drawSampling(t, vocab)})
		}
		step.outputs = append(step.outputs, device.Output{Slot: slot, Target: device.Sample, Position: rapid.Int32Range(0, 1<<20).Draw(t, "position"),
			Suppress: rapid.Bool().Draw(t, "suppress now"), Params: drawSampling(t, vocab)})
	}
	for range step.outputs {
		step.kinds = append(step.kinds, kind.Draw(t, "kind"))
	}
	return step
}

// checkStep runs a step, and once more what it drew, so that it is counted.
func (s *sampler) checkStep(t rapid.TB, step sampledStep) {
	t.Helper()
	random := rand.New(rand.NewPCG(step.seed, 0))
	var histories [stepSlots]sample.History
	for _, r := range step.resets {
		histories[r.Slot].Reset(r.Prompt, r.Output)
	}
	var w sample.Workspace
	for range 2 {
		var logits [][]float32
		want := make([]device.Result, len(step.outputs))
		last := get[int32](s.onCard, s.last, stepSlots)
		for i := range step.outputs {
			o := &step.outputs[i]
			row := make([]float32, s.Vocab)
			kindsOfLogits[step.kinds[i]](random, row)
			logits = append(logits, row)
			w.Read(&want[i], row, o, &histories[o.Slot])
			if o.Target == device.Sample {
				last[o.Slot] = want[i].Token
			}
		}
		got := s.read(logits, step.outputs, step.resets)
		for i := range got {
			checkResult(t, got[i], want[i], &step.outputs[i], step.kinds[i])
		}
		if got := get[int32](s.onCard, s.last, stepSlots); !slices.Equal(got, last) {
			t.Fatalf("the tokens sampled last are %v, want %v", got, last)
		}
		step.resets = nil
	}
}

func TestSamplingAgreesWithItsDefinition(t *testing.T) {
	for _, c := range []struct{ vocab, stride int }{{1, 4}, {7, 8}, {60, 64}, {2500, 2500}, {5003, 5024}} {
		t.Run(fmt.Sprint(c.vocab), func(t *testing.T) {
			s := newSampler(t, c.vocab, c.stride, 4, stepSlots)
			rapid.Check(t, func(t *rapid.T) { s.checkStep(t, drawStep(t, c.vocab)) })
		})
	}
}

func TestSamplingOfALargeVocabulary(t *testing.T) {
	const vocab = 151_936
	s := newSampler(t, vocab, vocab, stepOutputs, stepSlots)
	steps := rapid.Custom(func(t *rapid.T) sampledStep { return drawStep(t, vocab) })
	for seed := range 8 {
		s.checkStep(t, steps.Example(seed))
	}
}

// What an output gets does not depend on its neighbours, nor on the order in which threads and blocks run.
func TestSamplingIsDeterministic(t *testing.T) {
	const vocab = 5003
	s := newSampler(t, vocab, 5024, stepOutputs, stepSlots)
	var outputs []device.Output
	var logits [][]float32
	for i, p := range []*device.Sampling{
		sampling(func(p *device.Sampling) { p.Temperature, p.Logprobs = 1, 20 }),
		sampling(func(p *device.Sampling) { p.Temperature, p.TopP, p.Logprobs = 5, 0.9, 0 }), // more tokens than can be listed
		sampling(func(p *device.Sampling) { p.Temperature, p.TopK, p.TopP, p.MinP = 1, 40, 0.9, 0.01 }),
		sampling(func(p *device.Sampling) { p.Temperature, p.TopK, p.TopP = 9, 3000, 0.99 }),
		sampling(func(p *device.Sampling) { p.Temperature, p.MinP = 30, 0.5 }),
	} {
		row := make([]float32, vocab)
		kindsOfLogits["normal"](rand.New(rand.NewPCG(1, uint64(i))), row)
		outputs, logits = append(outputs, device.Output{Target: device.Sample, Position: int32(i), Params: p}), append(logits, row)
	}
	want := s.read(logits, outputs, nil)
	for _, seed := range []string{"1", "2", "3"} {
		t.Setenv("EMULATED_ORDER", seed)
		if got := s.read(logits, outputs, nil); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("in order %s: %v, want %v", seed, got, want)
		}
	}
	for i := range outputs {
		if got := s.read(logits[i:i+1], outputs[i:i+1], nil); fmt.Sprint(got[0]) != fmt.Sprint(want[i]) {
			t.Errorf("output %d alone: %v, want %v", i, got[0], want[i])
		}
	}
}

func TestResetHistory(t *testing.T) {
	const vocab, prompt = 60, 1 << 31
	s := newSampler(t, vocab, 64, 1, 3)
	s.read(nil, nil, []device.SlotReset{
		{Slot: 0, Prompt: []int32{5, 5, 59, 60, -1}, Output: []int32{0, 5, 0}},
		{Slot: 2, Prompt: []int32{7}},
		{Slot: 2, Output: []int32{8}}, // the last one holds
	})
	want := make([]uint32, 3*vocab)
	want[0], want[5], want[59], want[2*vocab+8] = 2, prompt+1, prompt, 1
	if got := get[uint32](s.onCard, s.history, 3*vocab); !slices.Equal(got, want) {
		t.Errorf("history %v, want %v", got, want)
	}
}

func TestAppendOutputsAllocatesNothing(t *testing.T) {
	shape := Shape{Vocab: 100}
	p := sampling(func(p *device.Sampling) {
		p.Bias, p.Suppress, p.Logprobs = []device.TokenBias{{Token: 3, Bias: 1}}, []int32{1, 2}, 2
	})
	outputs := []device.Output{{Target: device.Sample, Suppress: true, Params: p}, {Target: 4, Params: p}}
	resets := []device.SlotReset{{Prompt: []int32{1}, Output: []int32{2, 3}}}
	pinned := make([]byte, shape.ResultBytes(outputs))
	results := make([]device.Result, len(outputs))
	var params []OutputParams
	var resetParams []ResetParams
	var lists []int32
	if n := testing.AllocsPerRun(5, func() {
		params, lists = shape.AppendOutputs(params[:0], lists[:0], outputs, 4096)
		resetParams, lists = shape.AppendResets(resetParams[:0], lists, resets)
		shape.ReadResults(results, outputs, pinned)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if want := []int32{3, int32(math.Float32bits(1)), 1, 2, 1, 2, 3}; !slices.Equal(lists, want) {
		t.Errorf("lists %v, want %v", lists, want)
	}
	if params[0].Biases != 1 || params[0].Suppressed != 2 || params[1].Biases+params[1].Suppressed != 0 {
		t.Errorf("%+v: a scored output has no bias, the other one has", params)
	}
	if params[1].Result != 4096+8 || params[0].Top != 4096+16 || params[1].Top != 4096+32 {
		t.Errorf("%+v: results do not lie side by side", params)
	}
}

func TestSampledTokensFollowTheirWeights(t *testing.T) {
	const rows, draws = 100, 1000
	s := newSampler(t, 60, 60, rows, 1)
	logits := make([]float32, 60)
	for i := range logits {
		logits[i] = float32(i%7) * 0.4
	}
	for name, p := range map[string]*device.Sampling{
		"temperature": sampling(func(p *device.Sampling) { p.Temperature = 0.8 }),
		"top k":       sampling(func(p *device.Sampling) { p.Temperature, p.TopK = 1, 30 }),
	} {
		t.Run(name, func(t *testing.T) {
			kept := make([]int, len(logits))
			for i := range kept {
				kept[i] = i
			}
			if p.TopK > 0 {
				slices.SortStableFunc(kept, func(a, b int) int { return cmp.Compare(logits[b], logits[a]) })
				kept = kept[:p.TopK]
			}
			total := 0.0
			for _, i := range kept {
				total += math.Exp(float64(logits[i]) / float64(p.Temperature))
			}
			counts := make([]float64, len(logits))
			for first := 0; first < draws; first += rows {
				var outputs []device.Output
				for i := range rows {
					outputs = append(outputs, device.Output{Target: device.Sample, Position: int32(first + i), Params: p})
				}
				for _, r := range s.read(slices.Repeat([][]float32{logits}, rows), outputs, nil) {
					counts[r.Token]++
				}
			}
			chi2, drawn := 0.0, 0.0
			for _, i := range kept {
				expected := draws * math.Exp(float64(logits[i])/float64(p.Temperature)) / total
				chi2 += (counts[i] - expected) * (counts[i] - expected) / expected
				drawn += counts[i]
			}
			if drawn != draws {
				t.Errorf("%v of %v draws are of tokens that were cut", draws-drawn, draws)
			}
			if p := 1 - (distuv.ChiSquared{K: float64(len(kept) - 1)}).CDF(chi2); p < 1e-4 {
				t.Errorf("chi² = %.1f with %d degrees of freedom (p = %g)", chi2, len(kept)-1, p)
			}
		})
	}
}
