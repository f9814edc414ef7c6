package reference

import (
	"minisgl/device"
	"minisgl/tensor"
)

// A matrix has one slice of inputs for each output.
type matrix [][]float32

// weights are a program's tensors as float32, which loses nothing: no type holds more.
type weights map[*tensor.Tensor][]float32

func expand(p *device.Program, progress func(float64)) weights {
	w := make(weights)
	for i, op := range p.Ops {
		for _, t := range tensors(op) {
			if w[t] == nil {
				w[t] = t.Float32()
			}
		}
		if progress != nil {
			progress(float64(i+1) / float64(len(p.Ops)))
		}
	}
	return w
}

func tensors(op device.Op) (all []*tensor.Tensor) {
	switch o := op.(type) {
	case *device.Embed:
		all = o.Table.Parts
	case *device.RMSNorm:
		all = o.Weight.Parts
	case *device.Linear:
		all = append(all, o.Weight.Parts...)
		all = append(all, o.Bias.Parts...)
	case *device.RotaryStore:
		all = append(all, o.QNorm.Parts...)
		all = append(all, o.KNorm.Parts...)
	case *device.LMHead:
		all = o.Weight.Parts
	}
	return all
}

func (w weights) bytes() (n int64) {
	for _, values := range w {
		n += int64(len(values)) * 4
	}
	return n
}

func (w weights) matrix(m device.Matrix) (rows matrix) {
	for _, t := range m.Parts {
		values, cols := w[t], t.Cols()
		for i := range t.Rows() {
			rows = append(rows, values[i*cols:(i+1)*cols])
		}
	}
	return rows
}

func (w weights) vector(v device.Vector) (values []float32) {
	for _, t := range v.Parts {
		values = append(values, w[t]...)
	}
	return values
}
