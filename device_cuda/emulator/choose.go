//go:build cuda

package emulator

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"minisgl/device_cuda/driver"
)

var chosen sync.Once

// UseIfNone makes the emulated cards those that the process finds from now on, unless this machine has a card. Kernels that are
// compiled for them are kept between processes.
func UseIfNone(t testing.TB) {
	t.Helper()
	chosen.Do(func() {
		if n, err := driver.Count(driver.Options{}); err == nil && n > 0 {
			return
		}
		cuda, nvrtc := Libraries(t)
		for name, value := range map[string]string{"MINISGL_CUDA_LIBRARY": cuda, "MINISGL_NVRTC_LIBRARY": nvrtc,
			"XDG_CACHE_HOME": filepath.Join(os.TempDir(), "minisgl-emulated-cards")} {
			if err := os.Setenv(name, value); err != nil {
				t.Fatal(err)
			}
		}
	})
}
