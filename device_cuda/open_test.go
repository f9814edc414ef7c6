//go:build cuda

package cuda

import (
	"os"
	"sync"
	"testing"

	"minisgl/device"
	"minisgl/device_cuda/driver"
	"minisgl/device_cuda/emulator"
)

var emulated sync.Once

// openTest opens a device: the first card of this machine, or an emulated one where there is none.
func openTest(t testing.TB, variant string) device.Device {
	t.Helper()
	emulated.Do(func() {
		if n, err := driver.Count(driver.Options{}); err == nil && n > 0 {
			return
		}
		cuda, nvrtc := emulator.Libraries(t)
		os.Setenv("MINISGL_CUDA_LIBRARY", cuda)
		os.Setenv("MINISGL_NVRTC_LIBRARY", nvrtc)
	})
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
