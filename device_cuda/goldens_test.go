//go:build cuda

package cuda

import (
	"math"
	"testing"

	"minisgl/device"
	"minisgl/internal/goldens"
	"minisgl/model"
)

// The logits and the greedy tokens of every golden model, as transformers computed them in float64. In float32 all tokens are
// equal. In 16 bits a token may differ where the two likeliest are closer to each other than twice the device's error.
func TestGoldens(t *testing.T) {
	for _, c := range []struct {
		variant string
		limit   float64 // relative L2 distance of logits
	}{{float32Variant, 2e-4}, {"", 2e-2}} {
		for _, m := range goldens.All(t) {
			t.Run("cuda+"+c.variant+"/"+m.Name, func(t *testing.T) {
				checkpoint, err := model.Open(m.Path, model.Options{})
				if err != nil {
					t.Fatal(err)
				}
				defer checkpoint.Close()
				d := openTest(t, c.variant)
				defer d.Close()
				r, err := d.Load(checkpoint.Program, device.LoadOptions{PageSize: 16, Pages: 64, MaxSlots: 1, MaxRows: 512, GraphMaxBatch: 1})
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				worst := 0.0
				for i, p := range m.Prompts {
					distance, furthest := compareLogits(t, r, p)
					worst = max(worst, distance)
					if !(distance > 0 && distance <= c.limit) {
						t.Errorf("prompt %d: logits are off by %g of their length, the limit is %g", i, distance, c.limit)
					}
					if token := firstDifference(t, r, p); token >= 0 && (c.variant != "" || p.MinMargin > 2*furthest) {
						t.Errorf("prompt %d: greedy token %d differs; a logit is off by %g, the smallest margin is %g", i, token, furthest, p.MinMargin)
					} else if token >= 0 {
						t.Logf("prompt %d: greedy token %d differs; a logit is off by %g, the smallest margin is %g", i, token, furthest, p.MinMargin)
					}
				}
				t.Logf("largest relative L2 distance of logits: %.2g", worst)
			})
		}
	}
}

// compareLogits runs a prompt and returns the largest relative L2 distance of its logits and the largest difference of one.
func compareLogits(t *testing.T, r device.Runner, p goldens.Prompt) (distance, furthest float64) {
	s := promptStep(p)
	s.Trace = func(tap device.Tap) {
		if tap.Rows != len(p.Logits) || tap.Width != len(p.Logits[0]) {
			return
		}
		for k, want := range p.Logits {
			got := tap.Data[k*tap.Width:][:tap.Width]
			var difference, size float64
			for j, w := range want {
				d := got[j] - float64(w)
				difference += d * d
				size += float64(w) * float64(w)
				furthest = max(furthest, math.Abs(d))
			}
			distance = max(distance, math.Sqrt(difference/size))
		}
	}
	runStep(t, r, s)
	return distance, furthest
}

// firstDifference generates greedily and returns the index of the first token that differs from the golden ones, or -1.
func firstDifference(t *testing.T, r device.Runner, p goldens.Prompt) int {
	s := promptStep(p)
	runStep(t, r, s)
	token := s.Results[len(s.Results)-1].Token
	for i, want := range p.Greedy {
		if token != want {
			return i
		}
		position := int32(len(p.IDs) + i)
		next := &device.Step{
			Tokens:    []int32{device.Sampled(0)},
			Sequences: []device.Sequence{{Rows: 1, Position: position, Pages: consecutivePages(64)}},
			Outputs:   []device.Output{{Target: device.Sample, Position: position + 1, Params: device.Greedy()}},
		}
		runStep(t, r, next)
		token = next.Results[0].Token
	}
	return -1
}

// promptStep has an output for each row whose logits the golden prompt has; the last one draws.
func promptStep(p goldens.Prompt) *device.Step {
	s := &device.Step{Tokens: p.IDs, Sequences: []device.Sequence{{Rows: int32(len(p.IDs)), Pages: consecutivePages(64)}}}
	for row := p.FirstRow(); row < len(p.IDs); row++ {
		s.Outputs = append(s.Outputs, device.Output{Row: int32(row), Position: int32(row + 1), Params: device.Greedy()})
	}
	s.Outputs[len(s.Outputs)-1].Target = device.Sample
	return s
}

func consecutivePages(n int) []int32 {
	pages := make([]int32, n)
	for i := range pages {
		pages[i] = int32(i)
	}
	return pages
}

func runStep(t testing.TB, r device.Runner, s *device.Step) {
	t.Helper()
	r.Submit(s)
	if err := r.Wait(s); err != nil {
		t.Fatal(err)
	}
}
