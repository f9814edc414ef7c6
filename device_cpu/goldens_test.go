package cpu

import (
	"math"
	"testing"

	"minisgl/device"
	"minisgl/internal/goldens"
	"minisgl/model"
)

// The logits and the greedy tokens of every golden model, as transformers computed them, on every path.
func TestGoldens(t *testing.T) {
	for _, v := range usableVariants() {
		for _, m := range goldens.All(t) {
			t.Run(v.name+"/"+m.Name, func(t *testing.T) {
				checkpoint, err := model.Open(m.Path, model.Options{})
				if err != nil {
					t.Fatal(err)
				}
				defer checkpoint.Close()
				d := openVariant(t, v.name, 2)
				defer d.Close()
				r, err := d.Load(checkpoint.Program, device.LoadOptions{PageSize: 16, Pages: 64, MaxSlots: 1, MaxRows: 512})
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				worst := 0.0
				for i, p := range m.Prompts {
					worst = max(worst, comparePrompt(t, i, r, p))
				}
				t.Logf("largest relative L2 distance of logits: %.2g", worst)
			})
		}
	}
}

// comparePrompt runs a prompt and its greedy continuation and returns the largest distance of its logits.
func comparePrompt(t *testing.T, number int, r device.Runner, p goldens.Prompt) (worst float64) {
	s := device.Step{Tokens: p.IDs, Sequences: []device.Sequence{{Rows: int32(len(p.IDs)), Pages: consecutivePages(64)}}}
	for row := p.FirstRow(); row < len(p.IDs); row++ {
		s.Outputs = append(s.Outputs, device.Output{Row: int32(row), Position: int32(row + 1), Params: device.Greedy()})
	}
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
			if 2*furthest >= p.MinMargin {
				t.Logf("prompt %d: a logit is off by %g, the smallest margin is %g", number, furthest, p.MinMargin)
			}
		}
	}
	runStep(t, r, &s)
	if !(worst > 0 && worst <= 2e-4) {
		t.Errorf("prompt %d: logits are off by %g of their length, the limit is 2e-4", number, worst)
	}
	position := int32(len(p.IDs))
	token := s.Results[len(s.Results)-1].Token
	for i, want := range p.Greedy {
		if token != want {
			t.Errorf("prompt %d: greedy token %d is %d, want %d", number, i, token, want)
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
