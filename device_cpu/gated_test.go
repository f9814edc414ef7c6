package cpu

import (
	"fmt"
	"reflect"
	"testing"

	"minisgl/device"
	"minisgl/device/devicetest"
	"minisgl/tensor"
)

// A gate is computed together with its product or apart, to the same bits.
func TestGatesTogetherAndApart(t *testing.T) {
	const rows = 150
	for _, v := range usableVariants() {
		for _, c := range []devicetest.Config{{DType: tensor.BF16, Intermediate: 96}, {DType: tensor.Q8_0, Intermediate: 160}, {DType: tensor.BF16, Intermediate: 80}} {
			t.Run(fmt.Sprintf("%s/%s, %d wide", v.name, c.DType, c.Intermediate), func(t *testing.T) {
				c.MaxPositions = 256
				loaded := load(t, v.name, 2, devicetest.TinyProgram(c), device.LoadOptions{PageSize: 16, Pages: 16, MaxSlots: 1, MaxRows: rows})
				defer loaded.Close()
				r := loaded.(*runner)
				gates := 0
				for i := range r.ops {
					if r.ops[i].gate != nil {
						gates++
					}
				}
				if together := c.Intermediate%panelWidth == 0; together != (gates > 0) {
					t.Fatalf("%d gates are computed with their products", gates)
				}
				tokens := make([]int32, rows)
				for i := range tokens {
					tokens[i] = int32(i % r.program.Vocab)
				}
				want := scoreAndDecode(t, r, tokens, 16, rows, 0)
				for i := range r.ops {
					r.ops[i].gate = nil
				}
				if got := scoreAndDecode(t, r, tokens, 16, rows, 0); !reflect.DeepEqual(got, want) {
					t.Error("results differ")
				}
			})
		}
	}
}
