//go:build cuda

package cuda

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"unsafe"

	"minisgl/device"
	"minisgl/device_cuda/driver"
	"minisgl/device_cuda/kernels"
	"minisgl/tensor"
)

// An order is how a weight's outputs lie in memory. Outputs that an epilogue needs together lie beside each other.
type order int

const (
	natural order = iota
	gateUp        // kernels.GateUpOrder
	rotated       // kernels.RotateOrder
)

// A matrix is a packed weight on the card.
type matrix struct {
	source  device.Matrix
	order   order
	out, in int
	packed  driver.Ptr
	sources []int32 // for each packed row its row in the checkpoint; nil where the order is natural
}

// sourceOrder lists the checkpoint's row of each packed row.
func (r *runner) sourceOrder(o order, out int) []int32 {
	switch o {
	case gateUp:
		return kernels.GateUpOrder(out / 2)
	case rotated:
		return kernels.RotateOrder(r.program.Heads, r.program.KVHeads, r.program.HeadDim)
	}
	return nil
}

// matrixOf returns the weight's place, the same for operations that share it.
func (r *runner) matrixOf(w device.Matrix, o order) *matrix {
	for _, known := range r.matrices {
		if known.order == o && slices.Equal(known.source.Parts, w.Parts) {
			return known
		}
	}
	m := &matrix{source: w, order: o, out: w.Rows(), in: w.Cols()}
	m.sources = r.sourceOrder(o, m.out)
	r.matrices = append(r.matrices, m)
	return m
}

// vectorOf uploads a bias or a norm's weight as float32, in packed order if sources are given; 0 for none.
func (r *runner) vectorOf(v device.Vector, sources []int32) (driver.Ptr, error) {
	if v.None() {
		return 0, nil
	}
	values := v.Float32()
	if sources != nil {
		inOrder := make([]float32, len(values))
		for i, source := range sources {
			inOrder[i] = values[source]
		}
		values = inOrder
	}
	return r.constant(bytesOf(values))
}

// constant uploads bytes that stay.
func (r *runner) constant(data []byte) (driver.Ptr, error) {
	p, err := r.alloc(int64(len(data)))
	if err != nil {
		return 0, err
	}
	r.memory.Weights += int64(len(data))
	return p, r.card.Upload(p, data)
}

func bytesOf[T any](values []T) []byte {
	if len(values) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&values[0])), len(values)*int(unsafe.Sizeof(values[0])))
}

// rawType is the type in which a weight's rows travel to the card: their own, or float32 where parts differ or are quantised.
func rawType(w device.Matrix) (tensor.DType, error) {
	first := w.Parts[0].DType
	for _, t := range w.Parts {
		if !t.DType.Float() {
			return tensor.Invalid, fmt.Errorf("tensor %q: a weight cannot be of type %s", t.Name, t.DType)
		}
		if t.DType != first || t.DType.Quantised() {
			return tensor.F32, nil
		}
	}
	return first, nil
}

// uploadWeights packs every matrix on the card. It reports whether a value was too large for float16.
func (r *runner) uploadWeights() (overflow bool, err error) {
	var largest, total, done int64
	for _, m := range r.matrices {
		raw, err := rawType(m.source)
		if err != nil {
			return false, err
		}
		largest = max(largest, int64(m.out)*int64(raw.RowBytes(m.in)))
		total += int64(m.out) * int64(m.in)
	}
	staging, err := r.card.Alloc(largest)
	if err != nil {
		return false, fmt.Errorf("staging of weights: %w", err)
	}
	defer r.card.Free(staging)
	flag, err := r.alloc(4)
	if err != nil {
		return false, err
	}
	if err := r.card.Fill(flag, 0, 4); err != nil {
		return false, err
	}
	for _, m := range r.matrices {
		if err := r.uploadMatrix(m, staging, flag); err != nil {
			return false, err
		}
		done += int64(m.out) * int64(m.in)
		r.progress(float64(done) / float64(total))
	}
	var overflowed [4]byte
	err = r.card.Download(overflowed[:], flag)
	return overflowed != [4]byte{}, err
}

func (r *runner) uploadMatrix(m *matrix, staging, overflow driver.Ptr) error {
	raw, err := rawType(m.source)
	if err != nil {
		return err
	}
	at := staging
	for _, t := range m.source.Parts {
		data := t.Data
		if t.DType != raw {
			data = bytesOf(dequantise(t))
		}
		if err := r.card.Upload(at, data); err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		at = at.Offset(int64(len(data)))
	}
	if m.packed, err = r.alloc(kernels.PackedBytes(m.out, m.in, r.kernels.Element)); err != nil {
		return fmt.Errorf("tensor %q: %w", m.source.Parts[0].Name, err)
	}
	r.memory.Weights += kernels.PackedBytes(m.out, m.in, r.kernels.Element)
	var sources driver.Ptr
	if m.sources != nil {
		if sources, err = r.card.Alloc(int64(4 * len(m.sources))); err != nil {
			return err
		}
		defer r.card.Free(sources)
		if err := r.card.Upload(sources, bytesOf(m.sources)); err != nil {
			return err
		}
	}
	return r.card.Run([]driver.Launch{r.kernels.Pack(m.packed, staging, raw, m.out, m.in, sources, overflow)})
}

// dequantise returns a tensor's values, all cores at work.
func dequantise(t *tensor.Tensor) []float32 {
	rows, cols := t.Rows(), t.Cols()
	out := make([]float32, rows*cols)
	share := (rows + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0)
	var all sync.WaitGroup
	for first := 0; first < rows; first += share {
		all.Go(func() {
			for i := first; i < min(first+share, rows); i++ {
				t.Float32Row(out[i*cols:(i+1)*cols], i)
			}
		})
	}
	all.Wait()
	return out
}

// angles uploads the cosines and sines of all positions: (MaxPositions, HeadDim), a position's cosines first.
func (r *runner) angles() (driver.Ptr, error) {
	p := r.program
	if p.Layers == 0 {
		return 0, nil
	}
	table := make([]float32, p.MaxPositions*p.HeadDim)
	share := (p.MaxPositions + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0)
	var all sync.WaitGroup
	for first := 0; first < p.MaxPositions; first += share {
		all.Go(func() {
			half := p.HeadDim / 2
			cos, sin := make([]float64, half), make([]float64, half)
			for position := first; position < min(first+share, p.MaxPositions); position++ {
				p.Rotary.CosSin(position, cos, sin)
				row := table[position*p.HeadDim:]
				for i := range half {
					row[i], row[half+i] = float32(cos[i]), float32(sin[i])
				}
			}
		})
	}
	all.Wait()
	return r.constant(bytesOf(table))
}
