package cpu

import (
	"testing"

	"minisgl/device"
	"minisgl/internal/goldens"
	"minisgl/model"
	"minisgl/tensor"
)

// How far logits may be from those of transformers, relative to their length, with each type of the KV cache. The models are
// small and random, so that attention weighs more in them than in models that were trained.
var goldenLimits = []struct {
	kv     tensor.DType
	logits float64
	exact  bool // greedy tokens are equal, even where two logits are closer to each other than to transformers'
}{{tensor.F32, 2e-4, true}, {tensor.BF16, 1e-2, true}, {tensor.I8, 2e-2, false}}

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
					m.Check(t, r, l.logits, l.exact)
				})
			}
		}
	}
}
