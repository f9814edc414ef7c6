package cpu

import (
	"fmt"
	"testing"

	"minisgl/device"
	"minisgl/device/devicetest"
	"minisgl/tensor"
)

func openVariant(t testing.TB, name string, threads int) device.Device {
	t.Helper()
	d, _, err := device.Open("cpu+"+name, threads)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Every path that this processor can run passes the suite, alone and with threads. With quantised weights activations are
// rounded to 16 bits, and a path without kernels for them keeps the weights as f16, whose rounding, 2⁻¹¹ at most, shows; so
// does that of keys and values.
func TestConformance(t *testing.T) {
	quantised := []tensor.DType{tensor.Q4_0, tensor.Q4_1, tensor.Q5_0, tensor.Q5_1, tensor.Q8_0, tensor.Q4_K, tensor.Q5_K, tensor.Q6_K}
	for _, v := range usableVariants() {
		tolerance := 2e-4
		if v.quantised == nil {
			tolerance = 3e-3
		}
		for _, threads := range []int{1, 2} {
			for _, o := range []devicetest.Options{
				{DTypes: []tensor.DType{tensor.F32, tensor.F16, tensor.BF16}, KV: tensor.F32},
				{DTypes: []tensor.DType{tensor.BF16}, KV: tensor.BF16, Tolerance: 2e-2},
				{DTypes: []tensor.DType{tensor.BF16}, KV: tensor.I8, Tolerance: 3e-2},
				{DTypes: quantised, KV: tensor.F32, Tolerance: tolerance},
			} {
				t.Run(fmt.Sprintf("%s/%d/%s/KV %s", v.name, threads, o.DTypes[0], o.KV), func(t *testing.T) {
					devicetest.Run(t, func(t testing.TB) device.Device { return openVariant(t, v.name, threads) }, o)
				})
			}
		}
	}
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
