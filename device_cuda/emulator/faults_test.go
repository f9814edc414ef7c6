//go:build cuda

package emulator_test

import (
	"errors"
	"strings"
	"testing"

	"minisgl/device_cuda/driver"
)

func TestFaults(t *testing.T) {
	t.Setenv("EMULATED_TIMEOUT", "1")
	b := newBench(t, "faults.cu", "ELEMENT_BF16")
	const size = 1000 // bytes of the allocations
	tests := []struct {
		kernel          string
		n               int32
		threads, shared int
		want            []string // parts of the error; none: it ends well
	}{
		{"barrier_of_some", 0, 128, 0, []string{"block (0,0,0), thread (0,0,0)", "deadlock", "threads 0 to 39 wait at __syncthreads; threads 40 to 63 wait at __syncwarp with mask 0xffffffff", "threads 64 to 127 have ended"}},
		{"shuffle_of_some", 0, 32, 0, []string{"deadlock", "threads 3 to 3 wait at __syncthreads", "wait at __shfl_sync with mask 0xffffffff"}},
		{"two_masks", 0, 32, 0, []string{"deadlock: threads 0 to 15 wait at __syncthreads; threads 16 to 31 wait at __shfl_xor_sync with mask 0xffffffff"}},
		{"two_calls", 0, 32, 0, []string{"thread (1,0,0)", "__ballot_sync", "meets __syncwarp", "lane 0"}},
		{"not_in_mask", 0, 32, 0, []string{"thread (4,0,0)", "the calling lane 4 is missing"}},
		{"foreign_lane", 0, 32, 0, []string{"reads lane 9, which its mask 0xf lacks"}},
		{"half_a_warp", 0, 32, 0, []string{"mma needs all 32 lanes, but only those of 0xffff are there"}},
		{"write_at", size - 1, 1, 0, nil},
		{"write_at", size, 1, 0, []string{"kernel write_at: wrote byte 1000 of an allocation of 1000 bytes"}},
		{"write_at", -1, 1, 0, []string{"kernel write_at: wrote byte -1 of an allocation of 1000 bytes"}},
		{"write_at", 1024, 1, 0, []string{"illegal memory access", "thread (0,0,0)", "byte 1024 of an allocation of 1000 bytes"}},
		{"write_at", 1 << 30, 1, 0, []string{"illegal address"}},
		{"read_at", size - 1, 1, 0, nil},
		{"read_at", 1024, 1, 0, []string{"illegal address", "byte 1024 of an allocation of 1000 bytes"}},
		{"misaligned", 8, 1, 0, []string{"misaligned address"}},
		{"misaligned", 16, 1, 0, nil},
		{"out_of_bounds", 0, 32, 0, nil},
		{"out_of_bounds", 0, 33, 0, []string{"thread (32,0,0)", "index out of its array's bounds"}},
		{"shared_at", 99, 32, 100, nil},
		{"shared_at", 100, 32, 100, []string{"100 bytes of dynamic shared memory, but byte 100 was written"}},
		{"shared_at", -1, 32, 100, []string{"100 bytes of dynamic shared memory, but byte -1 was written"}},
		{"shared_at", 128, 32, 100, []string{"thread (7,0,0)", "100 bytes of dynamic shared memory, but byte 128 is used"}},
		{"copy_to_global", 0, 32, 0, []string{"copy16 to", "not shared memory"}},
		{"shift", 31, 1, 0, nil},
		{"shift", 32, 1, 0, []string{"a shift by more than the type has"}},
		{"divide", 0, 1, 0, []string{"division of an integer by zero"}},
		{"trap", 0, 32, 0, []string{"illegal instruction", "thread (31,0,0)", "__trap()"}},
		{"deep", 0, 1, 0, []string{"stack overflows"}},
		{"sleeper", 0, 2, 0, []string{"timed out", "runs for more than 1 s"}},
		{"spin", 0, 2, 0, []string{"timed out", "runs for more than 1 s"}},
	}
	for _, test := range tests {
		t.Run(test.kernel, func(t *testing.T) {
			if b.Info().MemoryFree == 0 { // the last kernel failed, so the card is lost
				b.Close()
				b = newBench(t, "faults.cu", "ELEMENT_BF16")
			}
			b.t = t
			p := params{in: b.zeros(size), out: b.zeros(size), n: test.n}
			err := b.Run([]driver.Launch{b.launch(test.kernel, [3]int{1, 1, 1}, test.threads, test.shared, p)})
			if test.want == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, driver.ErrLost) {
				t.Fatalf("%v is not %v", err, driver.ErrLost)
			}
			for _, part := range append(test.want, "kernel "+test.kernel) {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
		})
	}
}

// A kernel that is launched before an earlier one has ended must wait for it.
func TestDependentLaunchMustWait(t *testing.T) {
	b := newBench(t, "faults.cu", "ELEMENT_BF16")
	launch := b.launch("eager", [3]int{1, 1, 1}, 32, 0, params{out: b.zeros(32)})
	if err := b.Run([]driver.Launch{launch}); err != nil {
		t.Error(err)
	}
	launch.Dependent = true
	if err := b.Run([]driver.Launch{launch}); err == nil || !strings.Contains(err.Error(), "no thread called wait()") {
		t.Errorf("the error is %v", err)
	}
}

func TestUseAfterFree(t *testing.T) {
	b := newBench(t, "faults.cu", "ELEMENT_BF16")
	out := b.zeros(1000)
	launch := b.launch("write_at", [3]int{1, 1, 1}, 1, 0, params{out: out})
	if err := b.Free(out); err != nil {
		t.Fatal(err)
	}
	if err := b.Run([]driver.Launch{launch}); err == nil || !strings.Contains(err.Error(), "byte 0 of freed memory of 1000 bytes") {
		t.Errorf("the error is %v", err)
	}
}

func TestCompilerMessages(t *testing.T) {
	card := open(t)
	_, err := card.Compile("broken.cu", "int f() {\n    return nothing;\n}\n", nil, nil)
	if err == nil || !strings.Contains(err.Error(), "broken.cu:2:") || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("the error is %v", err)
	}
}
