//go:build cuda

package cuda

import (
	"fmt"

	"minisgl/device"
	"minisgl/tensor"
)

// A tracer runs operations one by one and collects what they write.
type tracer struct {
	planner
	emit func(device.Tap)
	taps map[int]*device.Tap
}

// run runs operation i alone, on outputs from first on behind SelectRows, and keeps its output's rows.
func (t *tracer) run(i, first, rows int) error {
	if err := t.card.Run(t.plain(i, first)); err != nil {
		return err
	}
	if t.err != nil {
		return t.err
	}
	op := &t.operations[i]
	b := &t.buffers[op.Output()]
	values, err := t.read(b, rows)
	if err != nil {
		return err
	}
	if op.weight != nil && op.weight.sources != nil { // back to the checkpoint's order, which the next operation by itself expects
		unpermute(values, b.stride, op.weight.sources)
		if err := t.card.Upload(b.ptr, bytesOf(values)); err != nil {
			return err
		}
	}
	tap := t.tap(i, b.width)
	for row := range rows {
		for _, v := range values[row*b.stride:][:b.width] {
			tap.Data = append(tap.Data, float64(v))
		}
	}
	tap.Rows += rows
	return nil
}

// read returns the first rows of a buffer, strides and all.
func (t *tracer) read(b *buffer, rows int) ([]float32, error) {
	values := make([]float32, rows*b.stride)
	if len(values) == 0 {
		return values, nil
	}
	dtype := tensor.F32
	if b.element {
		dtype = t.kernels.Element
	}
	raw := make([]byte, dtype.RowBytes(len(values)))
	if err := t.card.Download(raw, b.ptr); err != nil {
		return nil, err
	}
	dtype.ToFloat32(values, raw)
	return values, nil
}

// unpermute puts value sources[n] of each row where n is.
func unpermute(values []float32, stride int, sources []int32) {
	inOrder := make([]float32, len(sources))
	for ; len(values) > 0; values = values[stride:] {
		for n, source := range sources {
			inOrder[source] = values[n]
		}
		copy(values, inOrder)
	}
}

func (t *tracer) tap(i, width int) *device.Tap {
	if t.taps == nil {
		t.taps = make(map[int]*device.Tap)
	}
	if t.taps[i] == nil {
		t.taps[i] = &device.Tap{Op: i, Label: t.operations[i].Label(), Width: width}
	}
	return t.taps[i]
}

// flush hands over what operation i wrote, if that has not been done.
func (t *tracer) flush(i int) {
	tap := t.tap(i, t.buffers[t.operations[i].Output()].width)
	if tap.Label != "" {
		t.emit(*tap)
		*tap = device.Tap{}
	}
}

// runTraced runs a step one operation at a time and hands each one's output to Step.Trace.
func (r *runner) runTraced(s *device.Step, b bucket, upload []byte) error {
	for i := range r.buffers {
		if buf := &r.buffers[i]; buf.ptr == 0 {
			p, err := r.zeroed(r.bufferBytes(buf))
			if err != nil {
				return fmt.Errorf("buffer %s of a traced step: %w", r.program.Buffers[i].Name, err)
			}
			buf.ptr = p
		}
	}
	if err := r.card.Upload(r.uploads, upload); err != nil {
		return err
	}
	t := &tracer{planner: planner{runner: r, bucket: b, upload: r.uploadLayout(b)}, emit: s.Trace}
	for i := range r.selects {
		if err := t.run(i, 0, stepRows(s)); err != nil {
			return err
		}
		t.flush(i)
	}
	for first := 0; first < len(s.Outputs); first += headRows {
		rows := min(headRows, len(s.Outputs)-first)
		for i := r.selects; i < len(r.operations); i++ {
			if err := t.run(i, first, rows); err != nil {
				return err
			}
			if len(s.Outputs) <= headRows {
				t.flush(i)
			}
		}
		if err := r.card.Run(t.sample(first, rows)); err != nil {
			return err
		}
	}
	for i := range r.operations {
		t.flush(i)
	}
	return nil
}
