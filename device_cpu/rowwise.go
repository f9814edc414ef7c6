package cpu

import (
	"math"

	"minisgl/device"
	"minisgl/tensor"
)

// rowwise are the operations that work on each row by itself. Few rows are not worth waking a thread for.
type rowwise struct {
	*runner

	op      *operation
	in, out buffer
	tokens  []int32
	rows    int
	stored  [][]uint16 // of each worker: a row's keys and values

	embedding, normalising, gating, rotating task
}

// rowsPerUnit is how many rows a thread takes at once.
const rowsPerUnit = 8

func newRowwise(r *runner) *rowwise {
	w := &rowwise{runner: r}
	w.embedding.run = w.eachRow(w.embedRow)
	w.normalising.run = w.eachRow(w.normRow)
	w.rotating.run = w.eachRow(w.rotaryStoreRow)
	w.gating.run = w.gatePart
	for range r.pool.threads {
		w.stored = append(w.stored, make([]uint16, 2*r.program.KVHeads*r.program.HeadDim))
	}
	return w
}

// eachRow makes a unit's work of a row's.
func (w *rowwise) eachRow(do func(row, worker int)) func(unit, worker int) {
	return func(unit, worker int) {
		for row := unit * rowsPerUnit; row < min((unit+1)*rowsPerUnit, w.rows); row++ {
			do(row, worker)
		}
	}
}

func (w *rowwise) runRows(t *task) { w.pool.run(ceil(w.rows, rowsPerUnit), t) }

func (w *rowwise) embed(c *operation, tokens []int32, out buffer) {
	w.op, w.tokens, w.out, w.rows = c, tokens, out, len(tokens)
	w.runRows(&w.embedding)
}

func (w *rowwise) embedRow(row, worker int) {
	w.op.weight.row(w.out.row(row), int(w.tokens[row]), &w.unpacked[worker])
}

func (w *rowwise) norm(c *operation, op *device.RMSNorm, rows int) {
	w.op, w.in, w.out, w.rows = c, w.buffers[op.In], w.buffers[op.Out], rows
	w.runRows(&w.normalising)
}

func (w *rowwise) normRow(row, _ int) {
	w.normalise(w.out.row(row), w.in.row(row), w.op.vector, w.in.width, w.op.Op.(*device.RMSNorm).Eps)
}

// normalise: out = x / sqrt(mean(x²) + eps) · weight over n values; the slices reach beyond them where n is no multiple of 16.
func (w *rowwise) normalise(out, x, weight []float32, n int, eps float32) {
	whole := n / 16 * 16
	var sum float32
	if whole > 0 {
		sum = w.kernels.sumSquares(x[:whole])
	}
	for _, v := range x[whole:n] {
		sum += float32(v * v)
	}
	factor := float32(1 / math.Sqrt(float64(sum)/float64(n)+float64(eps)))
	if whole > 0 {
		w.kernels.scale(out[:whole], x, weight, factor)
	}
	for i := whole; i < n; i++ {
		out[i] = float32(factor*x[i]) * weight[i]
	}
}

// gateWidth is how many values of a row a thread takes at once.
const gateWidth = 1024

func (w *rowwise) gatedSiLU(op *device.GatedSiLU, rows int) {
	w.in, w.out, w.rows = w.buffers[op.GateUp], w.buffers[op.Out], rows
	w.pool.run(rows*ceil(w.out.width, gateWidth), &w.gating)
}

func (w *rowwise) gatePart(unit, _ int) {
	parts := ceil(w.out.width, gateWidth)
	row, first := unit/parts, unit%parts*gateWidth
	n := roundUp(min(gateWidth, w.out.width-first), 16)
	in := w.in.row(row)
	w.kernels.silu(w.out.row(row)[first:first+n], in[first:], in[w.out.width+first:])
}

func (w *rowwise) rotaryStore(c *operation, op *device.RotaryStore) {
	w.op, w.in, w.rows = c, w.buffers[op.QKV], 0
	for _, p := range w.pieces {
		w.rows += p.rows
	}
	w.runRows(&w.rotating)
}

func (w *rowwise) rotaryStoreRow(row, worker int) {
	op := w.op.Op.(*device.RotaryStore)
	p := w.program
	dim, half := p.HeadDim, p.HeadDim/2
	cos, sin := w.cos[row*half:][:half], w.sin[row*half:][:half]
	values := w.in.row(row)
	for head := range p.Heads + p.KVHeads {
		norm := w.op.qNorm
		if head >= p.Heads {
			norm = w.op.kNorm
		}
		if norm != nil {
			x := values[head*dim:][:dim]
			w.normalise(x, x, norm, dim, op.Eps)
		}
	}
	rotate := w.kernels.rotate
	if half%16 != 0 {
		rotate = rotateGeneric
	}
	rotate(values, p.Heads+p.KVHeads, cos, sin)
	page, offset := w.place(row)
	keys := values[p.Heads*dim:][:2*p.KVHeads*dim]
	rounded := w.stored[worker]
	if w.kv.dtype == tensor.BF16 && len(keys)%16 == 0 && w.kernels.toBF16(rounded, keys) == 0 {
		for head := range p.KVHeads {
			w.kv.storeRounded(page, offset, op.Layer, head, rounded[head*dim:][:dim], rounded[(p.KVHeads+head)*dim:][:dim])
		}
		return
	}
	for head := range p.KVHeads {
		w.kv.store(page, offset, op.Layer, head, keys[head*dim:], keys[(p.KVHeads+head)*dim:])
	}
}

// place returns the page of a slab's row and its place in the page.
func (w *rowwise) place(row int) (page int32, offset int) {
	for i := range w.pieces {
		p := &w.pieces[i]
		if row < p.row+p.rows {
			position := p.position + row - p.row
			return p.pages[position/w.kv.pageSize], position % w.kv.pageSize
		}
	}
	return 0, 0
}
