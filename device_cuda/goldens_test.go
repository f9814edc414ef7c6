//go:build cuda

package cuda

import (
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
				m.Check(t, r, c.limit, c.variant != "")
			})
		}
	}
}
