//go:build cuda

package emulator

import (
	"strconv"
	"testing"
)

// Use makes the emulated cards those that every opening of the CUDA driver finds while the test runs, and keeps the cache of
// compiled kernels out of the user's folder.
func Use(t testing.TB) {
	t.Helper()
	cuda, nvrtc := Libraries(t)
	t.Setenv("MINISGL_CUDA_LIBRARY", cuda)
	t.Setenv("MINISGL_NVRTC_LIBRARY", nvrtc)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
}

// Cards sets how many cards there are, and the memory of each in bytes.
func Cards(t testing.TB, cards int, memory int64) {
	t.Helper()
	t.Setenv("EMULATED_CUDA_DEVICES", strconv.Itoa(cards))
	t.Setenv("EMULATED_CUDA_MEMORY", strconv.FormatInt(memory, 10))
}

// Fault asks for a failure while the test runs: "nodevice", "init", "old-driver", "alloc:3" for the third allocation from now
// on, or "softmax:2" for the second launch of the kernel softmax.
func Fault(t testing.TB, fault string) {
	t.Helper()
	t.Setenv("EMULATED_CUDA_FAULT", fault)
}

// Order lets threads and blocks run in an order drawn from the seed, for the rest of the test; 0 is their own order.
func Order(t testing.TB, seed uint64) {
	t.Helper()
	t.Setenv("EMULATED_ORDER", strconv.FormatUint(seed, 10))
}

// Late lets the cards do their work only when the host waits for it, for the rest of the test.
func Late(t testing.TB) {
	t.Helper()
	t.Setenv("EMULATED_CUDA_LATE", "1")
}
