// Package tensor holds what a checkpoint is made of: element types, shapes and host tensors whose bytes usually lie in
// a mapped file. The readers are its sub-packages safetensors and gguf; package model turns their tensors into a
// program, and devices read the bytes once when they load it.
package tensor

import "fmt"

// A Tensor is a dense row-major array: the last dimension is contiguous. Data may alias a mapped file and must not be
// written. A quantised tensor's rows are whole numbers of blocks.
type Tensor struct {
	Name  string
	DType DType
	Shape []int
	Data  []byte
}

// New checks that data is exactly what dtype and shape need and returns the tensor.
func New(name string, dtype DType, shape []int, data []byte) (*Tensor, error) {
	want, err := dtype.Size(shape)
	if err != nil {
		return nil, fmt.Errorf("tensor %q: %w", name, err)
	}
	if int64(len(data)) != want {
		return nil, fmt.Errorf("tensor %q: %s %v needs %d bytes, got %d", name, dtype, shape, want, len(data))
	}
	return &Tensor{Name: name, DType: dtype, Shape: shape, Data: data}, nil
}

// Rows is the product of all dimensions but the last; a vector has one row.
func (t *Tensor) Rows() int {
	n := 1
	for _, d := range t.Shape[:max(len(t.Shape)-1, 0)] {
		n *= d
	}
	return n
}

// Cols is the last dimension; 1 for a scalar.
func (t *Tensor) Cols() int {
	if len(t.Shape) == 0 {
		return 1
	}
	return t.Shape[len(t.Shape)-1]
}

// RowBytes is the number of bytes of one row.
func (t *Tensor) RowBytes() int { return t.DType.RowBytes(t.Cols()) }

// Row returns the bytes of row i.
func (t *Tensor) Row(i int) []byte {
	n := t.RowBytes()
	return t.Data[i*n : (i+1)*n : (i+1)*n]
}

// Float32Row writes row i, dequantised, to dst, which holds at least Cols elements.
func (t *Tensor) Float32Row(dst []float32, i int) {
	t.DType.ToFloat32(dst[:t.Cols()], t.Row(i))
}

// Float32 returns all elements, dequantised, in row-major order.
func (t *Tensor) Float32() []float32 {
	cols := t.Cols()
	out := make([]float32, t.Rows()*cols)
	for i := range t.Rows() {
		t.Float32Row(out[i*cols:(i+1)*cols], i)
	}
	return out
}

func (t *Tensor) String() string { return fmt.Sprintf("%s %s %v", t.Name, t.DType, t.Shape) }
