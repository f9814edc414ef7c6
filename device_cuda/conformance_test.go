//go:build cuda

package cuda

import (
	"testing"

	"minisgl/device"
	"minisgl/device/devicetest"
	"minisgl/tensor"
)

// Inputs of matrix products, keys and values are rounded to 8 bits (bfloat16) or 11 (float16), which shows; float32 does not.
func TestConformance(t *testing.T) {
	for _, c := range []struct {
		name, variant string
		devicetest.Options
	}{
		{"bfloat16", "", devicetest.Options{DTypes: []tensor.DType{tensor.BF16}, Tolerance: 2e-2}},
		{"float16", "", devicetest.Options{DTypes: []tensor.DType{tensor.F16, tensor.F32, tensor.Q8_0, tensor.Q4_K}, Tolerance: 6e-3}},
		{"float32", float32Variant, devicetest.Options{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			devicetest.Run(t, func(t testing.TB) device.Device { return openTest(t, c.variant) }, c.Options)
		})
	}
}
