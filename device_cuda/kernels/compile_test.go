//go:build cuda

package kernels

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"minisgl/device_cuda/driver"
	"minisgl/tensor"
)

// testShapes are models as people use them, and one whose sizes are no multiples of anything.
var testShapes = []struct {
	name  string
	shape Shape
}{
	{"Qwen2.5-0.5B", Shape{Heads: 14, KVHeads: 2, HeadDim: 64, PageSize: 16, Vocab: 151936}},
	{"Qwen3-0.6B", Shape{Heads: 16, KVHeads: 8, HeadDim: 128, PageSize: 16, Vocab: 151936}},
	{"odd", Shape{Heads: 3, KVHeads: 1, HeadDim: 18, PageSize: 3, Vocab: 101}},
}

var elements = []tensor.DType{tensor.BF16, tensor.F16, tensor.F32}

// TestEveryKernelCompiles needs NVRTC, but no card.
func TestEveryKernelCompiles(t *testing.T) {
	if _, err := driver.CompileFor("", "sm_90a", "empty.cu", "", nil, nil); err != nil {
		if os.Getenv("MINISGL_NVRTC_LIBRARY") == "" {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	for _, architecture := range []string{"sm_80", "sm_90a", "sm_100"} {
		for _, model := range testShapes {
			for _, element := range elements {
				everything := architecture == "sm_90a" && !testing.Short() // which takes a processor two minutes
				if !everything && (model.name != "Qwen2.5-0.5B" || element != tensor.BF16) {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/%v", architecture, model.name, element), func(t *testing.T) {
					t.Parallel()
					shape := model.shape
					shape.Element = element
					for _, source := range Sources() {
						if _, err := driver.CompileFor("", architecture, source.Name+".cu", source.Text, Headers(), shape.Defines()); err != nil {
							t.Error(err)
						}
					}
				})
			}
		}
	}
}

func TestCompileTellsProgress(t *testing.T) {
	var progress []float64
	const empty = "#include \"common.cuh\"\n"
	sources := []Source{{"one", empty}, {"two", empty}, {"three", empty}, {"four", empty}}
	set, err := compile(testCard(t), testShapes[2].shape, sources, func(done float64) { progress = append(progress, done) })
	if err != nil {
		t.Fatal(err)
	}
	if want := []float64{.25, .5, .75, 1}; !slices.Equal(progress, want) || len(set.modules) != 4 {
		t.Errorf("progress %v of %d modules, want %v of 4", progress, len(set.modules), want)
	}
}

func TestCompileNamesWhatIsBroken(t *testing.T) {
	sources := []Source{{"sound", "#include \"common.cuh\"\n"}, {"broken", "int f() { return HEADS; } int g() { return undeclared_name; }\n"}}
	_, err := compile(testCard(t), testShapes[2].shape, sources, nil)
	if err == nil || !strings.Contains(err.Error(), "broken.cu") || !strings.Contains(err.Error(), "undeclared_name") || strings.Contains(err.Error(), "sound") {
		t.Errorf("error %v, want broken.cu and undeclared_name in it", err)
	}
}

func TestCompileRefusesHeads(t *testing.T) {
	for dim, want := range map[int]string{17: "17 dimensions, want an even number up to 256", 320: "320 dimensions, want an even number up to 256"} {
		_, err := Compile(testCard(t), Shape{Heads: 2, KVHeads: 1, HeadDim: dim, PageSize: 16, Vocab: 10}, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("heads of %d dimensions: error %v, want %q", dim, err, want)
		}
	}
	small := Set{Shape: Shape{Element: tensor.BF16, HeadDim: 256}, info: driver.Info{Name: "a small card", SharedPerBlock: 99 << 10}}
	if err := small.checkAttention(); err == nil || !strings.Contains(err.Error(), "a block of a small card has 101376") {
		t.Errorf("a small card: error %v", err)
	}
}

func TestDefines(t *testing.T) {
	shape := testShapes[0].shape
	shape.Element = tensor.F16
	want := "[ELEMENT_F16=1 HEADS=14 KV_HEADS=2 HEAD_DIM=64 PAGE_SIZE=16 VOCAB=151936]"
	if got := fmt.Sprint(shape.Defines()); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
