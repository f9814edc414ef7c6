package cpu

import (
	"math"
	"testing"

	"minisgl/device"
	"minisgl/internal/goldens"
	"minisgl/model"
	"minisgl/tensor"
)

// How far logits may be from those of transformers, relative to their length, with each type of the KV cache. The models are
// small and random, so that attention weighs more in them than in models that were trained.
var goldenLimits = []goldenLimit{{tensor.F32, 2e-4, true}, {tensor.BF16, 1e-2, true}, {tensor.I8, 2e-2, false}}

type goldenLimit struct {
	kv     tensor.DType
	logits float64
	tokens bool // greedy tokens are equal, even where two logits are closer to each other than to transformers'
}

// The logits and the greedy tokens of every golden model, as transformers computed them, on every path.
func TestGoldens(t *testing.T) {
	for _, v := range usableVariants() {
		for _, m := range goldens.All(t) {
			for _, l := range goldenLimits {
				t.Run(v.name+"/"+m.Name+"/"+l.kv.String(), func(t *testing.T) {
					checkpoint, err := model.Open(m.Path, model.Options{})
					if err != nil {
						t.Fatal(err)
					}
					defer checkpoint.Close()
					d := openVariant(t, v.name, 2)
					defer d.Close()
					r, err := d.Load(checkpoint.Program, device.LoadOptions{PageSize: 16, KV: l.kv, Pages: 64, MaxSlots: 1, MaxRows: 512})
					if err != nil {
						t.Fatal(err)
					}
					defer r.Close()
					worst := 0.0
					for i, p := range m.Prompts {
						worst = max(worst, comparePrompt(t, i, r, p, l))
					}
					t.Logf("largest relative L2 distance of logits: %.2g", worst)
				})
			}
		}
	}
}

// comparePrompt runs a prompt and its greedy continuation and returns the largest distance of its logits.
func comparePrompt(t *testing.T, number int, r device.Runner, p goldens.Prompt, limit goldenLimit) (worst float64) {
	s := device.Step{Tokens: p.IDs, Sequences: []device.Sequence{{Rows: int32(len(p.IDs)), Pages: consecutivePages(64)}}}
	for row := p.FirstRow(); row < len(p.IDs); row++ {
		s.Outputs = append(s.Outputs, device.Output{Row: int32(row), Position: int32(row + 1), Params: device.Greedy()})
	}
	margin := 0.0 // below which two logits may change places
	last := &s.Outputs[len(s.Outputs)-1]
	last.Target = device.Sample
	s.Trace = func(tap device.Tap) {
		if tap.Rows != len(p.Logits) || tap.Width != len(p.Logits[0]) {
			return
		}
		for k, want := range p.Logits {
			got := tap.Data[k*tap.Width:][:tap.Width]
			var difference, size, furthest float64
			for j, w := range want {
				d := got[j] - float64(w)
				difference += d * d
				size += float64(w) * float64(w)
				furthest = max(furthest, math.Abs(d))
			}
			worst = max(worst, math.Sqrt(difference/size))
			margin = max(margin, 2*furthest)
		}
	}
	runStep(t, r, &s)
	if !(worst > 0 && worst <= limit.logits) {
		t.Errorf("prompt %d: logits are off by %g of their length, the limit is %g", number, worst, limit.logits)
	}
	position := int32(len(p.IDs))
	token := s.Results[len(s.Results)-1].Token
	for i, want := range p.Greedy {
		if token != want && margin > p.MinMargin && !limit.tokens {
			return worst
		}
		if token != want {
			t.Errorf("prompt %d: greedy token %d is %d, want %d (logits are off by %g, the smallest margin is %g)", number, i, token, want,
				margin/2, p.MinMargin)
			return worst
		}
		next := device.Step{
			Tokens:    []int32{device.Sampled(0)},
			Sequences: []device.Sequence{{Rows: 1, Position: position, Pages: consecutivePages(64)}},
			Outputs:   []device.Output{{Target: device.Sample, Position: position + 1, Params: device.Greedy()}},
		}
		runStep(t, r, &next)
		token = next.Results[0].Token
		position++
	}
	return worst
}
