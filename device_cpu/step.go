package cpu

import (
	"runtime"

	"minisgl/device"
	"minisgl/tensor"
)

// slabRows is how many rows run through the program at once. A step with more is run as several, which changes no result,
// since rows only meet in the KV cache, and bounds the memory for activations.
const slabRows = 512

// A buffer is a program's buffer: rows of width values, stride apart.
type buffer struct {
	data          []float32
	width, stride int
}

// row returns a row up to the next one, so with the padding behind it: kernels work on multiples of 16 values.
func (b buffer) row(i int) []float32 { return b.data[i*b.stride : (i+1)*b.stride] }

// A piece is a sequence's rows in the slab.
type piece struct {
	row, rows int // in the slab
	position  int // of the first row
	pages     []int32
}

// layout sets the buffers' shapes and returns the bytes they need together.
func (r *runner) layout(threads int) int64 {
	r.slabRows = min(slabRows, r.options.MaxRows)
	var bytes int64
	rows := r.bufferRows()
	for i, info := range r.program.Buffers {
		// An odd number of cache lines, so that a tile's rows spread over the cache's sets.
		stride := (roundUp(info.Width, panelWidth)/(cacheLine/4) | 1) * (cacheLine / 4)
		r.buffers = append(r.buffers, buffer{width: info.Width, stride: stride})
		bytes += room[float32](rows[i] * stride)
	}
	tiledCols := 0 // at most
	for i := range r.ops {
		if w := r.ops[i].weight; w != nil {
			r.rounded.stride = max(r.rounded.stride, w.shape().stride)
			tiledCols = max(tiledCols, w.tiledCols())
		}
	}
	r.tiled.halves = 2
	if r.options.Activations == tensor.BF16 {
		r.tiled.halves = 1
	}
	r.tiled.room = ceil(r.roundedRows(), amxRows) * amxSteps(tiledCols) * r.tiled.halves * amxTile
	bytes += room[uint16](r.tiled.room)
	if r.rounded.stride > 0 {
		bytes += room[byte](r.roundedRows()*r.rounded.stride) + int64(threads)*unpackedRoom()
	}
	return bytes
}

// roundedRows is the most rows that a matrix product has, the LM head's included.
func (r *runner) roundedRows() int { return max(r.slabRows, headRows) }

// bufferRows is the number of rows that each buffer needs.
func (r *runner) bufferRows() []int {
	rows := make([]int, len(r.program.Buffers))
	for i, op := range r.ops {
		n := r.slabRows
		if i >= r.selects {
			n = headRows
		}
		rows[op.Output()] = max(rows[op.Output()], n)
	}
	return rows
}

// allocate makes what layout and the options ask for.
func (r *runner) allocate() {
	half := r.program.HeadDim / 2
	r.slots = make([]slot, r.options.MaxSlots)
	r.tokens = make([]int32, r.options.MaxRows)
	r.cos, r.sin = make([]float32, r.slabRows*half), make([]float32, r.slabRows*half)
	r.angles = [2][]float64{make([]float64, half), make([]float64, half)}
	for i, rows := range r.bufferRows() {
		r.buffers[i].data = take[float32](r.activations, rows*r.buffers[i].stride)
	}
	r.rounded.data = take[byte](r.activations, r.roundedRows()*r.rounded.stride)
	r.tiled.data = take[uint16](r.activations, r.tiled.room)
	r.unpacked = make([]unpacked, r.pool.threads)
	for i := range r.unpacked {
		if r.rounded.stride > 0 {
			r.unpacked[i].allocate(r.activations)
		}
	}
	r.linear = newLinear(r)
	r.gated = newGated(r.linear)
	r.attention = newAttention(r)
	r.rowwise = newRowwise(r)
	r.head = newHead(r)
}

// runStep runs a step slab by slab.
func (r *runner) runStep(s *device.Step) error {
	if err := r.checker.Check(s); err != nil {
		return err
	}
	for _, c := range s.Copies {
		r.kv.copyPage(c)
	}
	for _, reset := range s.Resets {
		r.slots[reset.Slot].history.Reset(reset.Prompt, reset.Output)
	}
	for i, token := range s.Tokens {
		if token < 0 { // device.Sampled
			token = max(r.slots[-1-token].last, 0)
		}
		r.tokens[i] = token
	}
	s.ResizeResults()

	rows := 0
	for i := range s.Sequences {
		rows += int(s.Sequences[i].Rows)
	}
	r.trace.begin(s, r.program, rows <= r.slabRows && len(s.Outputs) <= headRows)
	for first := 0; first < rows; first += r.slabRows {
		r.runSlab(s, first, min(r.slabRows, rows-first))
	}
	r.trace.end()
	return nil
}

// runSlab runs some of the step's rows through the whole program.
func (r *runner) runSlab(s *device.Step, first, rows int) {
	r.pieces = r.pieces[:0]
	for i := range s.Sequences {
		q := &s.Sequences[i]
		from := max(int(q.First), first)
		end := min(int(q.First+q.Rows), first+rows)
		if from < end {
			r.pieces = append(r.pieces, piece{row: from - first, rows: end - from,
				position: int(q.Position) + from - int(q.First), pages: q.Pages})
		}
	}
	r.rotate()
	r.attention.plan(r.pieces)
	r.outputs = r.outputs[:0]
	for i := range s.Outputs {
		if row := int(s.Outputs[i].Row); row >= first && row < first+rows {
			r.outputs = append(r.outputs, int32(i))
		}
	}
	r.runOps(0, r.tail.first, r.tokens[first:first+rows], rows)
	if r.trace.on() {
		r.tail.keep(rows)
	} else {
		r.tail.choose(s.Outputs, r.outputs, first, rows, r.buffers)
	}
	r.runOps(r.tail.first, r.selects, nil, len(r.tail.rows))
	for chosen := r.outputs; len(chosen) > 0; {
		n := min(len(chosen), headRows)
		r.runOutputs(s, chosen[:n], first)
		chosen = chosen[n:]
	}
}

// rotate computes the cosines and sines of the slab's positions.
func (r *runner) rotate() {
	half := r.program.HeadDim / 2
	for _, p := range r.pieces {
		for i := range p.rows {
			r.program.Rotary.CosSin(p.position+i, r.angles[0], r.angles[1])
			at := (p.row + i) * half
			for j := range half {
				r.cos[at+j], r.sin[at+j] = float32(r.angles[0][j]), float32(r.angles[1][j])
			}
		}
	}
}

// runOps runs the operations [from, to) on the first rows of their buffers.
func (r *runner) runOps(from, to int, tokens []int32, rows int) {
	for i := from; i < to && rows > 0; i++ {
		if r.ops[i].gate != nil && rows > gatedRows && !r.trace.on() {
			r.gated.run(&r.ops[i], rows)
			i++
			continue
		}
		r.runOp(i, tokens, rows)
		r.trace.tap(i, r.buffers, rows)
	}
}

// runOp runs an operation on rows of the slab or, behind SelectRows, of the outputs.
func (r *runner) runOp(i int, tokens []int32, rows int) {
	c := &r.ops[i]
	switch op := c.Op.(type) {
	case *device.Embed:
		r.rowwise.embed(c, tokens, r.buffers[op.Out])
	case *device.RMSNorm:
		r.rowwise.norm(c, op, rows)
	case *device.Linear:
		r.linear.run(c, op, rows)
		runtime.Gosched() // every fraction of a millisecond, others may have this core
	case *device.RotaryStore:
		r.rowwise.rotaryStore(c, op)
	case *device.Attention:
		r.attention.run(op, r.buffers[op.QKV], r.buffers[op.Out])
	case *device.GatedSiLU:
		r.rowwise.gatedSiLU(op, rows)
	}
}

// runOutputs runs the operations from SelectRows on for some of the slab's outputs.
func (r *runner) runOutputs(s *device.Step, chosen []int32, first int) {
	for i := r.selects; i < len(r.ops); i++ {
		switch op := r.ops[i].Op.(type) {
		case *device.SelectRows:
			in, out := r.buffers[op.In], r.buffers[op.Out]
			for k, output := range chosen {
				copy(out.row(k)[:out.width], in.row(r.tail.place(int(s.Outputs[output].Row) - first))[:in.width])
			}
		case *device.LMHead:
			r.linear.convert(r.ops[i].weight, r.buffers[op.In], len(chosen))
			r.head.run(&r.ops[i], op, s, chosen)
		default:
			r.runOp(i, nil, len(chosen))
		}
		r.trace.tap(i, r.buffers, len(chosen))
	}
}
