package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"minisgl/device"
	"minisgl/tensor"
)

// encode makes a tensor of a plain type.
func encode(t testing.TB, name string, dtype tensor.DType, rows, cols int, values []float32) *tensor.Tensor {
	t.Helper()
	var data []byte
	for _, v := range values {
		switch dtype {
		case tensor.F32:
			bits := math.Float32bits(v)
			data = append(data, byte(bits), byte(bits>>8), byte(bits>>16), byte(bits>>24))
		case tensor.F16:
			h := tensor.Float32ToF16(v)
			data = append(data, byte(h), byte(h>>8))
		case tensor.BF16:
			b := tensor.Float32ToBF16(v)
			data = append(data, byte(b), byte(b>>8))
		}
	}
	x, err := tensor.New(name, dtype, []int{rows, cols}, data)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// pack packs a weight as Load does.
func pack(t testing.TB, kernels *kernels, parts ...*tensor.Tensor) *matrix {
	t.Helper()
	return packAs(t, keeping{kernels: kernels}, parts...)
}

func packAs(t testing.TB, keep keeping, parts ...*tensor.Tensor) *matrix {
	t.Helper()
	r := &runner{pool: newPool(2), kernels: keep.kernels}
	defer r.pool.close()
	w := device.Matrix{Parts: parts}
	m, err := newMatrix(w, keep)
	if err != nil {
		t.Fatal(err)
	}
	if r.weights, err = newArena(m.bytes()); err != nil {
		t.Fatal(err)
	}
	if err := r.pack([]packing{{w, m}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.pool = nil; r.release() })
	return m
}

// Whatever the shape and the parts, the rows that are read back are the tensors'.
func TestPackedRows(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var u unpacked
	for _, c := range []struct {
		parts []tensor.DType
		rows  []int
		cols  int
		want  []tensor.DType
	}{
		{[]tensor.DType{tensor.BF16}, []int{64}, 32, []tensor.DType{tensor.BF16}},
		{[]tensor.DType{tensor.BF16, tensor.BF16, tensor.BF16}, []int{33, 7, 24}, 13, []tensor.DType{tensor.BF16}},
		{[]tensor.DType{tensor.F16}, []int{1}, 1, []tensor.DType{tensor.F16}},
		{[]tensor.DType{tensor.F16, tensor.F16}, []int{31, 40}, 50, []tensor.DType{tensor.F16}},
		{[]tensor.DType{tensor.F32}, []int{70}, 9, []tensor.DType{tensor.F32}},
		{[]tensor.DType{tensor.F32, tensor.BF16, tensor.F16}, []int{5, 50, 3}, 10, []tensor.DType{tensor.F32}},
	} {
		t.Run(fmt.Sprint(c.parts, c.rows, c.cols), func(t *testing.T) {
			var parts []*tensor.Tensor
			var want []float32
			for i, dtype := range c.parts {
				parts = append(parts, encode(t, fmt.Sprint(i), dtype, c.rows[i], c.cols, randomFloats(r, c.rows[i]*c.cols)))
				want = append(want, parts[i].Float32()...)
			}
			m := pack(t, &generic, parts...)
			var types []tensor.DType
			for _, p := range m.parts {
				types = append(types, p.dtype)
			}
			if !slices.Equal(types, c.want) {
				t.Errorf("packed as %s, want %s", types, c.want)
			}
			got := make([]float32, c.cols)
			for i := range m.rows {
				m.row(got, i, &u)
				if !slices.Equal(got, want[i*c.cols:(i+1)*c.cols]) {
					t.Fatalf("row %d is %v, want %v", i, got, want[i*c.cols:(i+1)*c.cols])
				}
			}
		})
	}
}

// A Q8_0 block whose scale times its largest value leaves the range of f16 is kept as f32.
func TestPackedBeyondF16(t *testing.T) {
	block := make([]byte, 34)
	h := tensor.Float32ToF16(1000)
	block[0], block[1] = byte(h), byte(h>>8)
	block[2], block[3] = 127, 1
	x, err := tensor.New("w", tensor.Q8_0, []int{1, 32}, block)
	if err != nil {
		t.Fatal(err)
	}
	kernels := generic
	kernels.quantised = nil
	m := pack(t, &kernels, x)
	got := make([]float32, 32)
	m.row(got, 0, nil)
	if m.parts[0].dtype != tensor.F32 || got[0] != 127000 || got[1] != 1000 {
		t.Errorf("packed as %s, row %v", m.parts[0].dtype, got)
	}
}

func BenchmarkPack(b *testing.B) {
	const rows, cols = 4096, 896
	x := encode(b, "w", tensor.BF16, rows, cols, make([]float32, rows*cols))
	for _, v := range []variant{{kernels: &generic}, tiles()} {
		b.Run(v.name, func(b *testing.B) {
			m := pack(b, v.kernels, x)
			var scratch packScratch
			b.SetBytes(2 * rows * cols)
			for b.Loop() {
				for panel := range m.panels() {
					m.parts[0].packPanel(panel, &scratch)
				}
			}
		})
	}
}
