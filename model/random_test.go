package model

import (
	"bytes"
	"encoding/json"
	"math"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"minisgl/device"
	"minisgl/internal/goldens"
	"minisgl/tensor"
)

func random(t testing.TB, config fields, o Options) *Checkpoint {
	t.Helper()
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	o.RandomFill = true
	c, err := OpenFS(fstest.MapFS{"config.json": {Data: text}}, ".", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// small is a config whose matrices take several chunks of the generator.
var small = with(qwen25, fields{"num_hidden_layers": 1, "vocab_size": 1000})

func TestRandomFill(t *testing.T) {
	for _, d := range []tensor.DType{tensor.Invalid, tensor.F16, tensor.F32} {
		c := random(t, small, Options{DType: d})
		want := d
		if d == tensor.Invalid {
			want = tensor.BF16 // the config's
		}
		if err := c.Program.Validate(); err != nil {
			t.Fatal(err)
		}
		if c.Config.DType != want || c.Program.DType != want {
			t.Errorf("types %s and %s, want %s", c.Config.DType, c.Program.DType, want)
		}
		matrix := find[*device.Linear](t, c.Program, "layers.0.gate_up").Weight.Parts[1]
		if matrix.DType != want {
			t.Errorf("%v, want %s", matrix, want)
		}
		var sum, squares, largest float64
		values := matrix.Float32()
		for _, v := range values {
			sum += float64(v)
			squares += float64(v) * float64(v)
			largest = max(largest, math.Abs(float64(v)))
		}
		n := float64(len(values))
		if mean, deviation := sum/n, math.Sqrt(squares/n); math.Abs(mean) > 2e-4 || math.Abs(deviation-0.02) > 1e-4 || largest < 0.06 || largest > 0.1 {
			t.Errorf("%s: mean %v, deviation %v, largest %v; want 0, 0.02 and some four deviations", want, mean, deviation, largest)
		}
		for _, v := range find[*device.RMSNorm](t, c.Program, "norm").Weight.Float32() {
			if v != 1 {
				t.Fatalf("%s: a norm's weight is %v", want, v)
			}
		}
	}
}

func TestRandomFillFollowsItsSeed(t *testing.T) {
	table := func(o Options, label string) []byte {
		c := random(t, small, o)
		return bytes.Clone(find[*device.Linear](t, c.Program, label).Weight.Parts[0].Data)
	}
	want := table(Options{Seed: 1}, "layers.0.down")
	if !bytes.Equal(table(Options{Seed: 1}, "layers.0.down"), want) {
		t.Error("the same seed gives other weights")
	}
	threads := runtime.GOMAXPROCS(1)
	alone := table(Options{Seed: 1}, "layers.0.down")
	runtime.GOMAXPROCS(threads)
	if !bytes.Equal(alone, want) {
		t.Error("one thread gives other weights")
	}
	if bytes.Equal(table(Options{Seed: 2}, "layers.0.down"), want) {
		t.Error("another seed gives the same weights")
	}
	if o := table(Options{Seed: 1}, "layers.0.o"); bytes.Equal(o, want[:len(o)]) {
		t.Error("two tensors are alike")
	}
}

func TestRandomFillNeedsNoWeights(t *testing.T) {
	c := open(t, goldens.Get(t, "tiny-tied").Path, Options{RandomFill: true})
	stored := open(t, goldens.Get(t, "tiny-tied").Path, Options{})
	got, want := find[*device.Embed](t, c.Program, "embed").Table.Parts[0], find[*device.Embed](t, stored.Program, "embed").Table.Parts[0]
	if bytes.Equal(got.Data, want.Data) || len(got.Data) != len(want.Data) {
		t.Error("the weights were read")
	}
	if open(t, "testdata/gguf/tiny-tied-q8_0.gguf", Options{RandomFill: true}).Config.DType != tensor.BF16 {
		t.Error("a GGUF file's random weights are not bfloat16")
	}
	if _, err := OpenFS(fstest.MapFS{"config.json": {Data: []byte("{}")}}, ".", Options{RandomFill: true}); err == nil || !strings.Contains(err.Error(), "model_type") {
		t.Errorf("error %v", err)
	}
}

// BenchmarkRandomFill makes Qwen2.5-0.5B's 988 MB.
func BenchmarkRandomFill(b *testing.B) {
	for b.Loop() {
		c := random(b, qwen25, Options{})
		var size int64
		for _, parts := range weightsOf(c.Program) {
			for _, part := range parts {
				size += int64(len(part.Data))
			}
		}
		b.SetBytes(size)
		if err := c.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
