//go:build cuda

package driver_test

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"testing"
	"time"

	"minisgl/device_cuda/driver"
	"minisgl/device_cuda/emulator"
)

// realOrEmulated returns options for this machine's card, or for an emulated one where there is none.
func realOrEmulated(t testing.TB) driver.Options {
	t.Helper()
	if n, err := driver.Count(driver.Options{}); err == nil && n > 0 {
		return driver.Options{Cache: t.TempDir()}
	}
	return emulated(t)
}

func emulated(t testing.TB) driver.Options {
	t.Helper()
	cuda, nvrtc := emulator.Libraries(t)
	return driver.Options{CUDA: cuda, NVRTC: nvrtc, Cache: t.TempDir()}
}

// scaleSource has kernels that wait() as dependent launches must, so that the order of a plan shows in its results.
const scaleSource = `#include "common.cuh"
struct Params { float* x; float factor; int count; };
KERNEL(scale, Params, 128) {
    dependents();
    wait();
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < p.count) p.x[i] *= p.factor;
}
KERNEL(shift, Params, 128) {
    SHARED(float, staged);
    dependents();
    wait();
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < p.count) staged[threadIdx.x] = p.x[i];
    if (i < p.count) p.x[i] = staged[threadIdx.x] + p.factor;
}`

type scaleParams struct {
	X      driver.Ptr
	Factor float32
	Count  int32
}

// compiled compiles source and returns its kernels by name.
func compiled(t testing.TB, card *driver.Card, source string) func(kernel string) driver.Function {
	t.Helper()
	common, err := os.ReadFile("../kernels/common.cuh")
	if err != nil {
		t.Fatal(err)
	}
	module, err := card.Compile("test.cu", source, map[string]string{"common.cuh": string(common)}, []string{"ELEMENT_F32"})
	if err != nil {
		t.Fatal(err)
	}
	return func(kernel string) driver.Function {
		t.Helper()
		f, err := module.Function(kernel)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
}

// scaling returns launches that make 2x+1 of each of count numbers, twice: 4x+3.
func scaling(t testing.TB, card *driver.Card, x driver.Ptr, count int) []driver.Launch {
	kernel := compiled(t, card, scaleSource)
	step := func(name string, factor float32) driver.Launch {
		return driver.Launch{
			Function: kernel(name), Grid: [3]int{(count + 127) / 128, 1, 1}, Block: 128, Shared: 512, Dependent: true,
			Params: driver.Bytes(&scaleParams{x, factor, int32(count)}),
		}
	}
	return []driver.Launch{step("scale", 2), step("shift", 1), step("scale", 2), step("shift", 1)}
}

func TestKernelsOfACard(t *testing.T) {
	const count = 1000
	for name, setting := range map[string]struct{ graph, check, late bool }{
		"launches": {}, "graph": {graph: true}, "check mode": {graph: true, check: true}, "late": {graph: true, late: true},
	} {
		t.Run(name, func(t *testing.T) {
			o := realOrEmulated(t)
			o.Check = setting.check
			if setting.late { // nothing runs before somebody waits for it
				t.Setenv("EMULATED_CUDA_LATE", "1")
			}
			card := open(t, o)
			x := alloc(t, card, 4*count)
			steps := plan(t, card, scaling(t, card, x, count), setting.graph)
			sources := []driver.Pinned{pinned(t, card, 4*count), pinned(t, card, 4*count)}
			var last driver.Ticket
			for n := range 20 { // the next step is submitted before the last is awaited
				source := sources[n%2].Bytes
				for i := range count {
					binary.LittleEndian.PutUint32(source[4*i:], math.Float32bits(float32(n+i)))
				}
				next := card.Submit(steps, x, sources[n%2], 4*count)
				if n > 0 {
					if err := last.Wait(); err != nil {
						t.Fatal(err)
					}
				}
				last = next
			}
			if err := last.Wait(); err != nil {
				t.Fatal(err)
			}
			for i, bits := range numbers(t, card, x, count) {
				if got, want := math.Float32frombits(bits), float32(4*(19+i)+3); got != want {
					t.Fatalf("number %d is %v, want %v", i, got, want)
				}
			}
			for _, p := range sources {
				if err := card.FreePinned(p); err != nil {
					t.Error(err)
				}
			}
			if err := errors.Join(steps.Close(), card.Free(x), card.Close()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTimesOfACard(t *testing.T) {
	card := open(t, realOrEmulated(t))
	const count = 1 << 12
	x := alloc(t, card, 4*count)
	times, err := card.Timed(scaling(t, card, x, count), 3)
	if err != nil {
		t.Fatal(err)
	}
	for i, took := range times {
		if took <= 0 || took > time.Second {
			t.Errorf("launch %d took %v", i, took)
		}
	}
}

func TestEmulatedKernelFails(t *testing.T) {
	for name, check := range map[string]bool{"graph": false, "check mode": true} {
		t.Run(name, func(t *testing.T) {
			o := emulated(t)
			o.Check = check
			card := open(t, o)
			x := alloc(t, card, 4000)
			steps := plan(t, card, scaling(t, card, x, 1000), true)
			if err := card.Submit(steps, 0, driver.Pinned{}, 0).Wait(); err != nil {
				t.Fatal(err)
			}
			t.Setenv("EMULATED_CUDA_FAULT", "shift:4") // the second one of the step after the next
			tickets := []driver.Ticket{
				card.Submit(steps, 0, driver.Pinned{}, 0),
				card.Submit(steps, 0, driver.Pinned{}, 0), card.Submit(steps, 0, driver.Pinned{}, 0),
			}
			if err := tickets[0].Wait(); err != nil && check {
				t.Errorf("the step before: %v", err)
			}
			err := tickets[2].Wait()
			if !errors.Is(err, driver.ErrLost) {
				t.Errorf("the step after: %v, want ErrLost", err)
			}
			wantError(t, err, "ILLEGAL_ADDRESS", "kernel shift")
			if check {
				wantError(t, err, "step 3: kernel 3 of 4, shift")
			}
			if err := card.Upload(x, []byte{1}); !errors.Is(err, driver.ErrLost) {
				t.Errorf("upload: %v, want ErrLost", err)
			}
		})
	}
}

func TestEmulatedWriteBesideMemory(t *testing.T) {
	card := open(t, emulated(t))
	x := alloc(t, card, 4000)
	launches := scaling(t, card, x, 1000)[:1]
	launches[0].Grid[0] = 1 << 10
	launches[0].Params = driver.Bytes(&scaleParams{x, 2, 1 << 17})
	err := card.Run(launches)
	if !errors.Is(err, driver.ErrLost) {
		t.Errorf("%v, want ErrLost", err)
	}
}

func TestEmulatedFaults(t *testing.T) {
	t.Run("old library", func(t *testing.T) {
		o := emulated(t)
		o.CUDA = emulator.OldDriver(t)
		_, err := driver.Open(0, o)
		wantError(t, err, "too old", "CUDA 11.0")
	})
	t.Run("alloc", func(t *testing.T) {
		card := open(t, emulated(t))
		t.Setenv("EMULATED_CUDA_FAULT", "alloc:2")
		alloc(t, card, 100)
		if _, err := card.Alloc(100); !errors.Is(err, driver.ErrMemory) {
			t.Errorf("%v, want ErrMemory", err)
		}
	})
}
