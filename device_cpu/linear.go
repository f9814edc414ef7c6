package cpu

import "minisgl/device"

const (
	// inputBlock is how many inputs of a panel are read at once when several tiles of rows share them: 64 KB of bfloat16
	// weights, which stay in the second-level cache with the rows' activations.
	inputBlock = 1024
	// rowBlock is about how many rows share a panel's weights while they are in the cache.
	rowBlock = 128
	// unitPanels is how many panels a thread takes at once. For few rows it is as many as have unitBytes, but not more than
	// unitPanelsFew, since each unit's first lines come from memory without a prefetch.
	unitPanels    = 2
	unitPanelsFew = 8
	unitBytes     = 128 << 10
)

// A cut says how a product becomes units of work: blocks of rows by some panels each.
type cut struct{ rows, panels int }

// stride is the distance of rows in a unit's sums, an odd number of cache lines.
func (c cut) stride() int { return c.panels*panelWidth + cacheLine/4 }

// cutFor decides how rows are multiplied by a weight.
func (r *runner) cutFor(w *matrix, rows int) cut {
	if w.tiledCols() > 0 {
		return r.tiled.cut(w, rows, r.pool.threads)
	}
	panels := unitPanels
	if rows <= maxTileRows {
		panels = max(unitPanels, min(unitPanelsFew, unitBytes*w.panels()/int(w.bytes())))
	}
	block := ceil(rows, ceil(rows, rowBlock))
	if r.roundedFor(w, rows).tiles {
		block = roundUp(block, amxRows)
	}
	return cut{block, panels}
}

// linear runs products of matrices. A unit of work is a block of rows by a few panels.
type linear struct {
	*runner
	work task
	sums [][]float32 // of each worker: of a unit

	op      *operation
	in, out buffer
	rows    int
	cut     cut
	add     bool
	shares  shares

	rounding, tiling task
}

func newLinear(r *runner) *linear {
	l := &linear{runner: r, shares: make(shares, r.pool.threads)}
	l.work.run = l.runUnit
	l.rounding.run = l.roundUnit
	l.tiling.run = l.tileUnit
	room := rowBlock * cut{panels: unitPanels}.stride()
	if r.tiled.room > 0 {
		room = amxRowBlock * cut{panels: amxUnitPanels}.stride()
	}
	for range r.pool.threads {
		l.sums = append(l.sums, make([]float32, room))
	}
	return l
}

func (l *linear) run(c *operation, op *device.Linear, rows int) {
	l.op, l.in, l.out, l.rows, l.add = c, l.buffers[op.In], l.buffers[op.Out], rows, op.Residual
	l.cut = l.cutFor(c.weight, rows)
	l.convert(c.weight, l.in, rows)
	units := ceil(rows, l.cut.rows) * ceil(c.weight.panels(), l.cut.panels)
	l.shares.deal(units)
	l.pool.run(units, &l.work)
}

// runUnit does one of the units; which is the worker's matter, not the pool's.
func (l *linear) runUnit(_, worker int) {
	unit := l.shares.take(worker)
	w := l.op.weight
	groups := ceil(w.panels(), l.cut.panels)
	first := unit / groups * l.cut.rows
	end := min(first+l.cut.rows, l.rows)
	panel := unit % groups * l.cut.panels
	panels := min(l.cut.panels, w.panels()-panel)
	if l.op.vector == nil && !l.add {
		l.multiply(w, l.in, panel, panels, first, end, l.out.data[first*l.out.stride+panel*panelWidth:], l.out.stride, worker)
		return
	}
	sums, stride := l.sums[worker], l.cut.stride()
	l.multiply(w, l.in, panel, panels, first, end, sums, stride, worker)
	from, n := panel*panelWidth, panels*panelWidth
	for row := first; row < end; row++ {
		sum := sums[(row-first)*stride:][:n]
		if l.op.vector != nil {
			l.kernels.add(sum, l.op.vector[from:from+n])
		}
		out := l.out.row(row)[from : from+n]
		if l.add {
			l.kernels.add(out, sum)
		} else {
			copy(out, sum)
		}
	}
}

// convert makes of the rows of in what a weight that is to be multiplied with them wants: rounded ones, tiles or nothing.
func (l *linear) convert(w *matrix, in buffer, rows int) {
	l.in, l.rows = in, rows
	if shape := l.roundedFor(w, rows); shape.stride > 0 {
		l.rounded = shape
		l.pool.run(ceil(rows, rowsPerUnit), &l.rounding)
	}
	if cols := w.tiledCols(); cols > 0 {
		l.tiled.cols, l.tiled.steps = cols, amxSteps(cols)
		l.pool.run(ceil(rows, amxRows), &l.tiling)
	}
}

func (l *linear) tileUnit(unit, _ int) {
	row := unit * amxRows
	l.tiled.setRows(l.kernels.amx, l.in, row, min(amxRows, l.rows-row))
}

func (l *linear) roundUnit(unit, _ int) {
	for row := unit * rowsPerUnit; row < min((unit+1)*rowsPerUnit, l.rows); row++ {
		l.rounded.setRow(l.kernels, row, l.in.row(row))
	}
}

// multiply computes the outputs of some panels of a weight for rows first to end of in, into c.
func (r *runner) multiply(w *matrix, in buffer, panel, panels, first, end int, c []float32, stride, worker int) {
	for from := 0; from < panels; {
		p := w.part(panel + from)
		local := panel + from - p.first/panelWidth
		n := min(panels-from, p.panels()-local)
		switch c := c[from*panelWidth:]; {
		case p.format != nil:
			r.multiplyQuantised(p, local, n, first, end, c, stride, &r.unpacked[worker])
		case p.tiles:
			r.multiplyTiles(p, local, n, first, end, c, stride)
		default:
			r.multiplyPlain(p, in, local, n, first, end, c, stride)
		}
		from += n
	}
}

func (r *runner) multiplyPlain(w *packed, in buffer, panel, panels, first, end int, c []float32, stride int) {
	tiles := ceil(end-first, r.kernels.tileRows)
	block := inputBlock
	if tiles == 1 {
		block = 8 * inputBlock // one tile has no use for weights in the cache, only for short calls
	}
	for k := 0; k < w.cols; k += block {
		n, add := min(block, w.cols-k), min(k, 1)
		for p := range panels {
			for t := range tiles {
				from, to := share(end-first, tiles, t)
				sums := c[from*stride+p*panelWidth:]
				if w.pairs {
					r.kernels.pairs.dot(sums, stride, r.rounded.halves(first+from, k), r.rounded.stride/2,
						as[uint16](w.panel(panel + p))[k*panelWidth:], ceil(n, 2), to-from, add)
					continue
				}
				w.tile(r.kernels, panel+p, k, n, sums, stride, in.data[(first+from)*in.stride+k:], in.stride, to-from, add)
			}
		}
	}
}
