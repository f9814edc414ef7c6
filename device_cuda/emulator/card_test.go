//go:build cuda && linux

package emulator_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"minisgl/device_cuda/driver"
	"minisgl/device_cuda/emulator"
)

// TestCalls compiles and runs testdata/calls.cpp, which knows what CUDA answers.
func TestCalls(t *testing.T) {
	cuda, nvrtc := emulator.Libraries(t)
	compiler := "c++"
	if named := os.Getenv("CXX"); named != "" {
		compiler = named
	}
	program := filepath.Join(t.TempDir(), "calls")
	if said, err := exec.Command(compiler, "-std=c++17", "-pthread", "-o", program, "testdata/calls.cpp", "-ldl").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if said, err := exec.Command(program, cuda, nvrtc).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
}

func TestFaultsOnDemand(t *testing.T) {
	t.Run("an allocation", func(t *testing.T) {
		card := open(t)
		emulator.Fault(t, "alloc:2")
		for i, want := range []error{nil, driver.ErrMemory, nil} {
			if _, err := card.Alloc(100); !errors.Is(err, want) {
				t.Errorf("allocation %d: the error is %v, want %v", i, err, want)
			}
		}
	})
	t.Run("a kernel", func(t *testing.T) {
		b := newBench(t, "words.cu", "ELEMENT_BF16")
		launch := b.launch("remember", [3]int{1, 1, 1}, 1, 0, params{out: b.zeros(4)})
		emulator.Fault(t, "other:1,remember:3")
		if err := b.Run([]driver.Launch{launch, launch}); err != nil {
			t.Error(err)
		}
		if err := b.Run([]driver.Launch{launch}); !errors.Is(err, driver.ErrLost) || !strings.Contains(err.Error(), "kernel remember") {
			t.Errorf("the third launch: %v", err)
		}
	})
	for _, test := range []struct{ fault, want string }{
		{"nodevice", "no CUDA card"},
		{"init", "does not start"},
	} {
		t.Run(test.fault, func(t *testing.T) {
			cuda, nvrtc := emulator.Libraries(t)
			emulator.Fault(t, test.fault)
			_, err := driver.Open(0, driver.Options{CUDA: cuda, NVRTC: nvrtc})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v does not say %q", err, test.want)
			}
		})
	}
}

func TestOldDriver(t *testing.T) {
	_, err := driver.Open(0, driver.Options{CUDA: emulator.OldDriver(t)})
	if err == nil || !strings.Contains(err.Error(), "too old") || !strings.Contains(err.Error(), "11.0") {
		t.Errorf("the error is %v", err)
	}
}

func TestSeveralCards(t *testing.T) {
	cuda, nvrtc := emulator.Libraries(t)
	emulator.Cards(t, 2, 1<<20)
	var cards []*driver.Card
	for i := range 2 {
		card, err := driver.Open(i, driver.Options{CUDA: cuda, NVRTC: nvrtc, Cache: "-"})
		if err != nil {
			t.Fatal(err)
		}
		defer card.Close()
		cards = append(cards, card)
	}
	if _, err := driver.Open(2, driver.Options{CUDA: cuda, NVRTC: nvrtc}); err == nil {
		t.Error("there is a third card")
	}
	if _, err := cards[0].Alloc(1 << 19); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int64{1 << 19, 1 << 20} {
		if got := cards[i].Info().MemoryFree; got != want {
			t.Errorf("cuda:%d has %d bytes left, want %d", i, got, want)
		}
	}
	if _, err := cards[0].Alloc(1<<19 + 1); !errors.Is(err, driver.ErrMemory) {
		t.Errorf("more than there is: %v", err)
	}
}

// Memory that is never written takes none of the host's.
func TestLargeMemoryIsLazy(t *testing.T) {
	b := newBench(t, "words.cu", "ELEMENT_BF16")
	began := time.Now()
	large, err := b.Alloc(3 << 30)
	if err == nil {
		err = b.Fill(large, 0, 3<<30)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, fill := range []byte{0xff, 0, 7} {
		if err := b.Fill(large.Offset(12345), fill, 2<<20); err != nil {
			t.Fatal(err)
		}
		var got [3]byte
		for i, at := range []int64{12344, 12345, 12345 + 2<<20 - 1} {
			if err := b.Download(got[i:i+1], large.Offset(at)); err != nil {
				t.Fatal(err)
			}
		}
		if want := [3]byte{0, fill, fill}; got != want {
			t.Errorf("filled with %d it reads %v, want %v", fill, got, want)
		}
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

// Cards run in turn, whichever threads their work comes from.
func TestCardsAtOnce(t *testing.T) {
	cuda, nvrtc := emulator.Libraries(t)
	emulator.Cards(t, 2, 1<<30)
	errs := make(chan error)
	headers := map[string]string{"common.cuh": read(t, "../kernels/common.cuh")}
	source := read(t, "testdata/words.cu")
	for i := range 2 {
		go func() {
			errs <- func() error {
				card, err := driver.Open(i, driver.Options{CUDA: cuda, NVRTC: nvrtc, Cache: "-"})
				if err != nil {
					return err
				}
				defer card.Close()
				module, err := card.Compile("words.cu", source, headers, []string{"ELEMENT_BF16"})
				if err != nil {
					return err
				}
				f, err := module.Function("sums")
				if err != nil {
					return err
				}
				out, err := card.Alloc(8 * 50)
				if err != nil {
					return err
				}
				p := params{out: out}
				launch := driver.Launch{Function: f, Grid: [3]int{50, 1, 1}, Block: 128, Shared: 512, Params: driver.Bytes(&p)}
				for range 20 {
					if err := card.Run([]driver.Launch{launch}); err != nil {
						return err
					}
				}
				return nil
			}()
		}()
	}
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func BenchmarkLaunch(b *testing.B) {
	for _, threads := range []int{32, 1024} {
		b.Run(strconv.Itoa(threads), func(b *testing.B) {
			bench := newBench(b, "words.cu", "ELEMENT_BF16")
			launch := bench.launch("indices", [3]int{8, 1, 1}, threads, 0, params{out: bench.zeros(4 * 8 * threads)})
			for b.Loop() {
				if err := bench.Run([]driver.Launch{launch}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
