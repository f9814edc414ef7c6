//go:build cuda

package driver_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"minisgl/device_cuda/driver"
)

// compilations returns how often the stub has compiled so far.
func compilations(t *testing.T) func() int {
	file := filepath.Join(t.TempDir(), "compilations")
	t.Setenv("STUB_COMPILED", file)
	return func() int {
		text, _ := os.ReadFile(file)
		return len(text)
	}
}

func TestCompileError(t *testing.T) {
	card := open(t, stubbed(t))
	_, err := card.Compile("linear.cu", "an error", nil, nil)
	wantError(t, err, "compile linear.cu for sm_90a", "NVRTC_ERROR_COMPILATION", `linear.cu(3): error: identifier "wram" is undefined`)
	module, err := card.Compile("linear.cu", "kernels", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = module.Function("absent")
	wantError(t, err, "kernel absent of linear.cu", "CUDA_ERROR_NOT_FOUND")
}

func TestArchitectures(t *testing.T) {
	for _, test := range []struct{ major, minor, want string }{ // the stub's NVRTC knows 80, 90 and 100
		{"8", "0", "--gpu-architecture=sm_80 "},
		{"8", "9", "--gpu-architecture=compute_80 "},
		{"9", "0", "--gpu-architecture=sm_90a "},
		{"10", "0", "--gpu-architecture=sm_100 "},
		{"12", "0", "--gpu-architecture=compute_100 "},
		{"7", "5", ""},
	} {
		t.Run(test.major+"."+test.minor, func(t *testing.T) {
			t.Setenv("STUB_MAJOR", test.major)
			t.Setenv("STUB_MINOR", test.minor)
			o := stubbed(t)
			card := open(t, o)
			_, err := card.Compile("kernels.cu", "kernels", nil, []string{"HEADS=14"})
			if test.want == "" {
				wantError(t, err, "NVRTC 12.4", "8.0 and newer", "7.5")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			cached, _ := os.ReadFile(cachedFile(t, o.Cache))
			if !strings.Contains(string(cached), test.want) || !strings.Contains(string(cached), "-DHEADS=14") {
				t.Errorf("compiled with %q, want %s", cached, test.want)
			}
		})
	}
}

func cachedFile(t *testing.T, folder string) string {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(folder, "*"))
	if len(files) != 1 {
		t.Fatalf("cache holds %q, want one file", files)
	}
	return files[0]
}

func TestCache(t *testing.T) {
	count := compilations(t)
	o := stubbed(t)
	o.Cache = filepath.Join(o.Cache, "to be made")
	compile := func(source string, headers map[string]string, defines ...string) {
		t.Helper()
		card := open(t, o)
		if _, err := card.Compile("kernels.cu", source, headers, defines); err != nil {
			t.Error(err)
		}
	}
	expect := func(what string, want int) {
		t.Helper()
		if got := count(); got != want {
			t.Errorf("%s: %d compilations so far, want %d", what, got, want)
		}
	}
	compile("kernels", nil)
	compile("kernels", nil)
	expect("the same twice", 1)

	file := cachedFile(t, o.Cache)
	content, _ := os.ReadFile(file)
	content[len(content)-1] ^= 1
	for _, damaged := range [][]byte{content, content[:40], content[:3], nil} {
		if err := os.WriteFile(file, damaged, 0o644); err != nil {
			t.Fatal(err)
		}
		compile("kernels", nil)
	}
	expect("damaged four times", 5)
	compile("kernels", nil)
	expect("mended", 5)

	compile("other kernels", nil)
	compile("kernels", map[string]string{"common.cuh": "a"})
	compile("kernels", map[string]string{"common.cuh": "b"})
	compile("kernels", nil, "HEADS=14")
	compile("kernels", nil, "HEADS=2")
	t.Setenv("STUB_MAJOR", "8")
	compile("kernels", nil)
	expect("other source, header twice, define twice, card", 11)

	notAFolder := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(notAFolder, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, o.Cache = range []string{"-", filepath.Join(notAFolder, "below"), "/proc/none"} {
		compile("kernels", nil)
	}
	expect("caches that cannot be", 14)
}

func TestCompileAtOnce(t *testing.T) {
	count := compilations(t)
	card := open(t, stubbed(t))
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			if _, err := card.Compile("kernels.cu", strings.Repeat("kernel ", i), nil, nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := count(); n != 8 {
		t.Errorf("%d compilations, want 8", n)
	}
}

func TestResources(t *testing.T) {
	card := open(t, stubbed(t))
	got := launches(t, card, 0, 0, "add")[0].Function.Resources()
	if want := (driver.Resources{Registers: 40, StaticShared: 48, MaxShared: 232400, MaxThreads: 256}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// With MINISGL_NVRTC_LIBRARY set, or NVRTC installed, real kernels are compiled for each generation of cards, without a card.
func TestCompileFor(t *testing.T) {
	const source = `#include "scale.cuh"
extern "C" __global__ void scale(const __grid_constant__ Params p) { p.x[threadIdx.x] *= FACTOR; }`
	headers := map[string]string{"scale.cuh": "struct Params { float* x; };"}
	for architecture, magic := range map[string]string{"sm_80": "\x7fELF", "sm_90a": "\x7fELF", "sm_100": "\x7fELF", "compute_90": "//"} {
		image, err := driver.CompileFor("", architecture, "scale.cu", source, headers, []string{"FACTOR=2.f"})
		if err != nil && strings.HasPrefix(err.Error(), "no CUDA compiler") {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		if text := strings.TrimLeft(string(image), "\n"); !strings.HasPrefix(text, magic) {
			t.Errorf("%s: got %.20q…", architecture, text)
		}
	}
	_, err := driver.CompileFor("", "sm_90a", "scale.cu", source, headers, nil)
	wantError(t, err, "compile scale.cu for sm_90a", `scale.cu(2): error: identifier "FACTOR" is undefined`)
	_, err = driver.CompileFor("", "sm_1", "scale.cu", source, headers, []string{"FACTOR=2.f"})
	wantError(t, err, "sm_1", "invalid value for --gpu-architecture")
	_, err = driver.CompileFor("/nowhere/libnvrtc.so", "sm_90a", "scale.cu", source, headers, nil)
	wantError(t, err, "no CUDA compiler")
}
