//go:build cuda

package driver_test

import (
	"strings"
	"testing"

	"minisgl/device_cuda/driver"
)

func TestOpenSaysWhatIsMissing(t *testing.T) {
	const notCUDA = "libm.so.6" // a library that is everywhere
	for _, test := range []struct {
		name    string
		options driver.Options
		env     map[string]string
		ordinal int
		says    []string
	}{
		{"no driver", driver.Options{CUDA: "/nowhere/libcuda.so.1", NVRTC: stub}, nil, 0, []string{"no CUDA driver", "/nowhere/libcuda.so.1"}},
		{"from the environment", driver.Options{NVRTC: stub}, map[string]string{"MINISGL_CUDA_LIBRARY": "/elsewhere.so"}, 0, []string{"no CUDA driver", "/elsewhere.so"}},
		{"not a driver", driver.Options{CUDA: notCUDA, NVRTC: stub}, nil, 0, []string{"libm.so.6 is no CUDA driver", "cuInit"}},
		{"old driver", driver.Options{CUDA: old, NVRTC: stub}, map[string]string{"STUB_VERSION": "11040"}, 0, []string{"too old", "cuLaunchKernelEx", "CUDA 11.8", "CUDA 11.4"}},
		{"old version", driver.Options{CUDA: stub, NVRTC: stub}, map[string]string{"STUB_VERSION": "11080"}, 0, []string{"too old", "for CUDA 11.8", "12.0 or newer"}},
		{"no card", driver.Options{CUDA: stub, NVRTC: stub}, map[string]string{"STUB_CARDS": "0"}, 0, []string{"no CUDA card"}},
		{"too few cards", driver.Options{CUDA: stub, NVRTC: stub}, map[string]string{"STUB_CARDS": "2"}, 2, []string{"no card cuda:2", "finds 2", "cuda:0 to cuda:1"}},
		{"does not start", driver.Options{CUDA: stub, NVRTC: stub}, map[string]string{"STUB_INIT": "999"}, 0, []string{"does not start", "999"}},
		{"negative card", driver.Options{CUDA: stub, NVRTC: stub}, nil, -1, []string{"no card cuda:-1"}},
		{"no compiler", driver.Options{CUDA: stub, NVRTC: "/nowhere/libnvrtc.so"}, nil, 0, []string{"no CUDA compiler", "/nowhere/libnvrtc.so"}},
		{"not a compiler", driver.Options{CUDA: stub, NVRTC: notCUDA}, nil, 0, []string{"libm.so.6 is no NVRTC", "nvrtcVersion"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			card, err := driver.Open(test.ordinal, test.options)
			if err == nil {
				card.Close()
			}
			wantError(t, err, test.says...)
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than a line: %q", err)
			}
		})
	}
}

func TestCount(t *testing.T) {
	for cards, env := range map[int]string{0: "0", 1: "1", 8: "8"} {
		t.Setenv("STUB_CARDS", env)
		if n, err := driver.Count(stubbed(t)); n != cards || err != nil {
			t.Errorf("%d cards, %v; want %d", n, err, cards)
		}
	}
	_, err := driver.Count(driver.Options{CUDA: "/nowhere/libcuda.so.1"})
	wantError(t, err, "no CUDA driver")
}

func TestInfo(t *testing.T) {
	card := open(t, stubbed(t))
	alloc(t, card, 1<<20)
	info := card.Info()
	want := driver.Info{Name: "Stub 0", Major: 9, Multiprocessors: 132, SharedPerBlock: 232448, L2: 50 << 20, MemoryTotal: 1 << 30, MemoryFree: 1<<30 - 1<<20, Driver: info.Driver}
	if info != want || !strings.Contains(info.Driver, "CUDA 12.4") {
		t.Errorf("%+v, want %+v", info, want)
	}
}
