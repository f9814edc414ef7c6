//go:build cuda

package cuda

import (
	"fmt"

	"minisgl/device"
	"minisgl/device_cuda/driver"
	"minisgl/device_cuda/kernels"
)

// An operation is an op of the program with its weights on the card.
type operation struct {
	device.Op
	weight       *matrix
	vector       driver.Ptr // bias or norm's weight
	qNorm, kNorm driver.Ptr

	// How the operation joins the one behind it, in plans that are not traced.
	epilogue kernels.Epilogue // of a Linear: what it does for the next operation
	joined   bool             // the operation before does all of this one's work
}

// compile turns the program's operations into those of the card and uploads their vectors.
func (r *runner) compile() (err error) {
	r.layout()
	ops := r.program.Ops
	r.selects = len(ops)
	for i, op := range ops {
		c := operation{Op: op}
		switch op := op.(type) {
		case *device.SelectRows:
			r.selects = min(r.selects, i)
		case *device.Embed:
			c.weight = r.matrixOf(op.Table, natural)
		case *device.LMHead:
			c.weight = r.matrixOf(op.Weight, natural)
		case *device.RMSNorm:
			c.vector, err = r.vectorOf(op.Weight, nil)
		case *device.RotaryStore:
			if c.qNorm, err = r.vectorOf(op.QNorm, nil); err == nil {
				c.kNorm, err = r.vectorOf(op.KNorm, nil)
			}
			c.joined = i > 0 && r.operations[i-1].epilogue == kernels.Rotate
		case *device.GatedSiLU:
			c.joined = i > 0 && r.operations[i-1].epilogue == kernels.SiLU
		case *device.Linear:
			var o order
			c.epilogue, o = r.epilogue(op, i)
			c.weight = r.matrixOf(op.Weight, o)
			c.vector, err = r.vectorOf(op.Bias, c.weight.sources)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", op.Label(), err)
		}
		r.operations = append(r.operations, c)
	}
	r.cosSin, err = r.angles()
	return err
}

// epilogue says what a Linear can do for the operation behind it, and the order of its outputs that this needs.
func (r *runner) epilogue(op *device.Linear, i int) (kernels.Epilogue, order) {
	if op.Residual {
		return kernels.Residual, natural
	}
	switch next := r.program.Ops[i+1].(type) {
	case *device.RotaryStore:
		if next.QKV == op.Out && next.QNorm.None() && next.KNorm.None() && kernels.RotateFusable(r.program.HeadDim) {
			return kernels.Rotate, rotated
		}
	case *device.GatedSiLU:
		if next.GateUp == op.Out {
			return kernels.SiLU, gateUp
		}
	}
	return kernels.Store, natural
}

// onlyTraced reports whether a buffer holds what joined operations keep to themselves: it is needed when a step is traced.
func (r *runner) onlyTraced(b device.Buffer) bool {
	for i := range r.operations {
		if c := &r.operations[i]; c.Output() == b && c.epilogue != kernels.SiLU {
			return false
		}
	}
	return true
}

// A bucket is the largest step that a plan serves.
type bucket struct{ rows, outputs int }

// bucketOf rounds sizes up, so that few plans serve all steps.
func (r *runner) bucketOf(rows, outputs int) bucket {
	return bucket{min(bucketSize(rows), r.options.MaxRows), min(bucketSize(outputs), r.options.MaxRows)}
}

// bucketSize rounds up to a power of two or, from 32 on, to one and a half of one.
func bucketSize(n int) int {
	size := 1
	for size < n {
		if size >= 32 && size+size/2 >= n {
			return size + size/2
		}
		size *= 2
	}
	return size
}

// A program's operations in a plan: each one's launches.
type planner struct {
	*runner
	bucket
	upload uploadLayout
	err    error
}

// launches lists the kernels of a step, operations joined where that is possible.
func (r *runner) launches(b bucket) ([]driver.Launch, error) {
	p := &planner{runner: r, bucket: b, upload: r.uploadLayout(b)}
	var all []driver.Launch
	for i := 0; i < len(r.operations) && !r.behindSelect(i); i++ {
		if !r.operations[i].joined && !p.normJoins(i) {
			all = append(all, p.joined(i)...)
		}
	}
	for first := 0; first < b.outputs; first += headRows {
		all = append(all, p.head(first)...)
	}
	if len(all) > 0 {
		all[0].Dependent = false // the first kernel waits for all of the step before: the others may then read what that left
	}
	return all, p.err
}

func (r *runner) behindSelect(i int) bool { return i >= r.selects }

// normJoins reports whether the matrix product behind norm i normalises its input itself. The LM head does not: its many blocks
// would repeat the norm too often.
func (p *planner) normJoins(i int) bool {
	norm, ok := p.operations[i].Op.(*device.RMSNorm)
	if !ok || i+1 == len(p.operations) {
		return false
	}
	next, ok := p.operations[i+1].Op.(*device.Linear)
	return ok && next.In == norm.Out && kernels.NormFused(p.rows)
}

// joined lists the launches of an operation in front of SelectRows with what it does for its neighbours.
func (p *planner) joined(i int) []driver.Launch {
	c := &p.operations[i]
	op, ok := c.Op.(*device.Linear)
	if !ok {
		return p.plain(i, 0)
	}
	l := p.linear(c, op)
	l.Epilogue = c.epilogue
	if i > 0 && p.normJoins(i-1) {
		norm := p.operations[i-1].Op.(*device.RMSNorm)
		in := p.buffers[norm.In]
		l.X, l.XStride, l.Norm, l.Eps = in.ptr, in.stride, p.operations[i-1].vector, norm.Eps
	}
	switch c.epilogue {
	case kernels.SiLU:
		out := p.buffers[p.operations[i+1].Output()]
		l.Result, l.Stride = out.ptr, out.stride
	case kernels.Rotate:
		l.Positions, l.Cells, l.CosSin = p.upload.Positions, p.upload.Cells, p.cosSin
		l.Keys, l.Values = p.cache(p.operations[i+1].Op.(*device.RotaryStore).Layer)
	}
	return p.product(l, p.rows)
}

// linear describes the product of a Linear, its outputs stored as they are.
func (p *planner) linear(c *operation, op *device.Linear) kernels.Linear {
	in, out := p.buffers[op.In], p.buffers[op.Out]
	l := kernels.Linear{Out: c.weight.out, In: c.weight.in, Weight: c.weight.packed, Bias: c.vector, X: in.ptr, XStride: in.stride,
		Result: out.ptr, Stride: out.stride, Rows: p.upload.rowCount()}
	if op.Residual {
		l.Epilogue = kernels.Residual
	}
	if out.outputs {
		l.Rows = p.upload.outputCount()
	}
	return l
}

func (p *planner) product(l kernels.Linear, rows int) []driver.Launch {
	launch, err := p.kernels.Linear(l, rows)
	if err != nil && p.err == nil {
		p.err = err
	}
	return []driver.Launch{launch}
}

// head lists the launches from SelectRows on for outputs first, first+1, … of the step, headRows at most.
func (p *planner) head(first int) (all []driver.Launch) {
	rows := min(p.outputs-first, headRows)
	for i := p.selects; i < len(p.operations); i++ {
		if norm := p.normGathers(i); norm != nil {
			i++
			norm.FirstRow = first
			all = append(all, p.kernels.Norm(*norm, rows))
			continue
		}
		all = append(all, p.plain(i, first)...)
	}
	return append(all, p.sample(first, rows)...)
}

// normGathers describes the norm that selects its rows itself, if operation i is a SelectRows for it.
func (p *planner) normGathers(i int) *kernels.Norm {
	selection, ok := p.operations[i].Op.(*device.SelectRows)
	if !ok || i+1 == len(p.operations) {
		return nil
	}
	norm, ok := p.operations[i+1].Op.(*device.RMSNorm)
	if !ok || norm.In != selection.Out {
		return nil
	}
	in, out := p.buffers[selection.In], p.buffers[norm.Out]
	return &kernels.Norm{Rows: p.upload.outputCount(), Selected: p.upload.Selected, X: in.ptr, XStride: in.stride,
		Weight: p.operations[i+1].vector, Width: in.width, Eps: norm.Eps, Out: out.ptr, OutStride: out.stride}
}

func (p *planner) lmHead(c *operation, op *device.LMHead, first int) kernels.Linear {
	in, out := p.buffers[op.In], p.buffers[op.Logits]
	return kernels.Linear{Out: c.weight.out, In: c.weight.in, Weight: c.weight.packed, X: in.ptr, XStride: in.stride,
		Result: out.ptr, Stride: out.stride, Rows: p.upload.outputCount(), FirstRow: first}
}

func (p *planner) sample(first, rows int) []driver.Launch {
	logits := p.buffers[p.operations[len(p.operations)-1].Output()]
	s := kernels.Sampling{Step: p.upload.StepLayout, Logits: logits.ptr, Stride: logits.stride, FirstOutput: first, Outputs: rows,
		Last: p.lastTokens, History: p.history, Scratch: p.sampleScratch}
	return []driver.Launch{p.kernels.RowMaximum(s), p.kernels.Sample(s)}
}

// plain lists the launches of one operation by itself, as traced steps run it. Those behind SelectRows work on outputs from
// first on.
func (p *planner) plain(i, first int) []driver.Launch {
	c := &p.operations[i]
	rows, count := p.rows, p.upload.rowCount()
	if p.behindSelect(i) {
		rows, count = min(p.outputs-first, headRows), p.upload.outputCount()
	}
	switch op := c.Op.(type) {
	case *device.Embed:
		out := p.buffers[op.Out]
		return []driver.Launch{p.kernels.Embed(kernels.Embed{Step: p.upload.StepLayout, Table: c.weight.packed, Width: out.width,
			Last: p.lastTokens, Out: out.ptr, Stride: out.stride}, rows)}
	case *device.RMSNorm:
		in, out := p.buffers[op.In], p.buffers[op.Out]
		return []driver.Launch{p.kernels.Norm(kernels.Norm{Rows: count, FirstRow: first, X: in.ptr, XStride: in.stride, Weight: c.vector,
			Width: in.width, Eps: op.Eps, Out: out.ptr, OutStride: out.stride}, rows)}
	case *device.Linear:
		return p.product(p.linear(c, op), rows)
	case *device.RotaryStore:
		qkv := p.buffers[op.QKV]
		keys, values := p.cache(op.Layer)
		return []driver.Launch{p.kernels.Rotary(kernels.Rotary{Step: p.upload.StepLayout, QKV: qkv.ptr, Stride: qkv.stride, CosSin: p.cosSin,
			QNorm: c.qNorm, KNorm: c.kNorm, Eps: op.Eps, Keys: keys, Values: values}, rows)}
	case *device.Attention:
		qkv, out := p.buffers[op.QKV], p.buffers[op.Out]
		keys, values := p.cache(op.Layer)
		return []driver.Launch{p.kernels.Attention(kernels.Attention{Step: p.upload.StepLayout, QKV: qkv.ptr, QKVStride: qkv.stride, Keys: keys,
			Values: values, Out: out.ptr, OutStride: out.stride, Scale: op.Scale, Scratch: p.attentionScratch}, rows)}
	case *device.GatedSiLU:
		in, out := p.buffers[op.GateUp], p.buffers[op.Out]
		return []driver.Launch{p.kernels.GatedSiLU(kernels.GatedSiLU{Rows: count, GateUp: in.ptr, Stride: in.stride, Width: out.width, Out: out.ptr,
			OutStride: out.stride}, rows)}
	case *device.SelectRows:
		in, out := p.buffers[op.In], p.buffers[op.Out]
		return []driver.Launch{p.kernels.Select(kernels.Select{Step: p.upload.StepLayout, FirstRow: first, X: in.ptr, XStride: in.stride,
			Width: in.width, Out: out.ptr, OutStride: out.stride}, rows)}
	case *device.LMHead:
		return p.product(p.lmHead(c, op, first), rows)
	}
	p.err = fmt.Errorf("%s: the CUDA device does not know operations of type %T", c.Label(), c.Op)
	return nil
}
