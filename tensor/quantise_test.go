package tensor_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"minisgl/tensor"
	"minisgl/tensor/safetensors"
)

// The blocks are those of the gguf package.
func TestQuantise(t *testing.T) {
	goldens, err := safetensors.Open("testdata/quantise.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer goldens.Close()
	values := goldens.Tensors["values"].Float32()
	for _, d := range []tensor.DType{tensor.Q8_0, tensor.Q4_0} {
		got, want := tensor.Quantise(d, values), goldens.Tensors[d.String()].Data
		if len(got) != len(want) {
			t.Fatalf("%s: %d bytes, want %d", d, len(got), len(want))
		}
		for i := 0; i < len(got); i += d.BlockBytes() {
			if block := i / d.BlockBytes(); !bytes.Equal(got[i:][:d.BlockBytes()], want[i:][:d.BlockBytes()]) {
				t.Errorf("%s, block %d: %x, want %x, of %v", d, block, got[i:][:d.BlockBytes()], want[i:][:d.BlockBytes()], values[32*block:][:32])
			}
		}
	}
}

func BenchmarkQuantise(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 0))
	values := make([]float32, 4864)
	for i := range values {
		values[i] = float32(random.NormFloat64() / 50)
	}
	for _, d := range []tensor.DType{tensor.Q8_0, tensor.Q4_0} {
		b.Run(d.String(), func(b *testing.B) {
			b.SetBytes(int64(4 * len(values)))
			for b.Loop() {
				tensor.Quantise(d, values)
			}
		})
	}
}
