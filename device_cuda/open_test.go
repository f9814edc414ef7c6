//go:build cuda

package cuda

import (
	"testing"

	"minisgl/device"
	"minisgl/device_cuda/emulator"
)

// openTest opens a device: the first card of this machine, or an emulated one where there is none.
func openTest(t testing.TB, variant string) device.Device {
	t.Helper()
	emulator.UseIfNone(t)
	spec := "cuda:0"
	if variant != "" {
		spec += "+" + variant
	}
	d, _, err := device.Open(spec, 0)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
