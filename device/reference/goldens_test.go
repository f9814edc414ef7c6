package reference_test

import (
	"testing"

	"minisgl/device"
	"minisgl/device/reference"
	"minisgl/internal/goldens"
	"minisgl/model"
)

// The goldens keep rotary angles and norms in float32 even in a float64 run, which leaves about 1.5e-6.
const goldenTolerance = 5e-6

func TestGoldens(t *testing.T) {
	for _, m := range goldens.All(t) {
		t.Run(m.Name, func(t *testing.T) {
			checkpoint, err := model.Open(m.Path, model.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer checkpoint.Close()
			if err := checkpoint.Program.Validate(); err != nil {
				t.Fatal(err)
			}
			r, err := reference.New(2).Load(checkpoint.Program, device.LoadOptions{PageSize: 16, Pages: 64, MaxSlots: 1, MaxRows: 512})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			m.Check(t, r, goldenTolerance, false)
		})
	}
}
