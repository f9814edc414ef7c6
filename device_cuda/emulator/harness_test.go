//go:build cuda

package emulator_test

import (
	"encoding/binary"
	"os"
	"testing"
	"unsafe"

	"minisgl/device_cuda/driver"
	"minisgl/device_cuda/emulator"
)

// A bench is an emulated card with the kernels of one file.
type bench struct {
	*driver.Card
	module *driver.Module
	t      testing.TB
}

func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func open(t testing.TB) *driver.Card {
	t.Helper()
	cuda, nvrtc := emulator.Libraries(t)
	card, err := driver.Open(0, driver.Options{CUDA: cuda, NVRTC: nvrtc, Cache: "-"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { card.Close() })
	return card
}

func newBench(t testing.TB, file string, defines ...string) bench {
	t.Helper()
	card := open(t)
	headers := map[string]string{"common.cuh": read(t, "../kernels/common.cuh")}
	module, err := card.Compile(file, read(t, "testdata/"+file), headers, defines)
	if err != nil {
		t.Fatal(err)
	}
	return bench{card, module, t}
}

// params is Params of the kernels in testdata.
type params struct {
	in, out driver.Ptr
	n, m    int32
}

func (b bench) launch(kernel string, grid [3]int, threads, shared int, p params) driver.Launch {
	b.t.Helper()
	f, err := b.module.Function(kernel)
	if err != nil {
		b.t.Fatal(err)
	}
	return driver.Launch{Function: f, Grid: grid, Block: threads, Shared: shared, Params: driver.Bytes(&p)}
}

// upload returns memory of the card with a copy of the values.
func upload[T any](b bench, values []T) driver.Ptr {
	b.t.Helper()
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), len(values)*int(unsafe.Sizeof(values[0])))
	p, err := b.Alloc(int64(len(bytes)))
	if err == nil {
		err = b.Upload(p, bytes)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

// zeros returns memory of the card.
func (b bench) zeros(bytes int) driver.Ptr { return upload(b, make([]byte, bytes)) }

// run launches one kernel of one block or more, and returns its result as 32-bit words.
func (b bench) run(l driver.Launch, out driver.Ptr, words int) []uint32 {
	b.t.Helper()
	bytes := make([]byte, 4*words)
	err := b.Run([]driver.Launch{l})
	if err == nil {
		err = b.Download(bytes, out)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	result := make([]uint32, words)
	for i := range result {
		result[i] = binary.LittleEndian.Uint32(bytes[4*i:])
	}
	return result
}
