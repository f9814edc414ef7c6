package cpu

import (
	"math"

	"minisgl/tensor"
)

// Where the cache is bfloat16 and a path multiplies bfloat16 numbers faster than float32, attention does: on path amx, with
// queries and probabilities in two halves unless bfloat16 activations were asked for, and where VDPBF16PS is fast, if they were.
//
// A partition's keys and values are laid out once for all pairs of a unit as panels of weights; scores and weighted values are then
// the same products as a linear operation's. All pairs of a tile go through the same positions: those that a row does not see have
// the probability 0, and kvCache.store sees to it that no stored value makes more than 0 of that.

// A roundedProduct multiplies rows of bfloat16 numbers with panels. Numbers of inputs are multiples of 32.
type roundedProduct interface {
	// most rows of a product, and of a unit of attention.
	most() (rows, unit int)
	// strides are those of a panel: see spreadKernels.
	strides() (pair, half int)
	// at is where a row begins that is a multiple of most among rows that lie behind each other, or, of the row behind the last,
	// how many numbers they take.
	at(row, inputs int) int
	// round makes rows of x, ldx values apart, bfloat16.
	round(dst []uint16, x []float32, ldx, inputs, rows int)
	// multiply: c[r][32·p : 32·p+32] = x[r] · panel p, for panels each numbers apart.
	multiply(c []float32, ldc int, x, panels []uint16, each, count, inputs, rows int)
}

// roundedProduct returns the way in which attention multiplies bfloat16 numbers, nil if it does not.
func (r *runner) roundedProduct() roundedProduct {
	k := r.kernels
	switch {
	case r.kv.dtype != tensor.BF16:
		return nil
	case k.amx != nil:
		return tileRows{k.amx, r.tiled.halves}
	case r.options.Activations == tensor.BF16 && k.pairs != nil && k.pairs.faster(k):
		return pairRows{k.pairs}
	}
	return nil
}

// pairRows are products by pairs of inputs.
type pairRows struct{ *pairKernels }

func (p pairRows) most() (rows, unit int)    { return p.rows, 16 * p.rows }
func (p pairRows) strides() (pair, half int) { return 2 * panelWidth, panelWidth }
func (p pairRows) at(row, inputs int) int    { return row * p.stride(inputs) }

// stride of rows: an odd number of cache lines.
func (p pairRows) stride(inputs int) int { return inputs/64*64 + 32 }

func (p pairRows) round(dst []uint16, x []float32, ldx, inputs, rows int) {
	for row := range rows {
		p.pairKernels.round(x[row*ldx:][:inputs], dst[p.at(row, inputs):])
	}
}

func (p pairRows) multiply(c []float32, ldc int, x, panels []uint16, each, count, inputs, rows int) {
	for i := range count {
		p.dot(c[i*panelWidth:], ldc, x, p.stride(inputs), panels[i*each:], inputs/2, rows, 0)
	}
}

// tileRows are products of AMX's tiles.
type tileRows struct {
	*amxKernels
	halves int
}

func (t tileRows) most() (rows, unit int)    { return amxWide, 7 * amxWide }
func (t tileRows) strides() (pair, half int) { return 2 * amxRows, amxTile }
func (t tileRows) stride(inputs int) int     { return amxSteps(inputs) * t.halves * amxTile } // of 16 rows
func (t tileRows) at(row, inputs int) int    { return ceil(row, amxRows) * t.stride(inputs) }

func (t tileRows) round(dst []uint16, x []float32, ldx, inputs, rows int) {
	const all = 1<<amxInputs - 1
	for row := 0; row < rows; row += amxRows {
		t.split[t.halves-1](dst[t.at(row, inputs):], x[row*ldx:], ldx, amxSteps(inputs), all, min(amxRows, rows-row))
	}
}

func (t tileRows) multiply(c []float32, ldc int, x, panels []uint16, each, count, inputs, rows int) {
	for i := 0; i < count; i++ {
		sums, panel := c[i*panelWidth:], panels[i*each:]
		if rows > amxRows {
			t.wide[t.halves-1](sums, ldc, x, t.stride(inputs), panel, amxSteps(inputs), rows, 1, 0, 0, 0)
			continue
		}
		two := min(2, count-i)
		t.narrow[t.halves-1](sums, ldc, panelWidth, x, panel, each, amxSteps(inputs), rows, two, 0, 0)
		i += two - 1
	}
}

// roundedScratch is what a worker needs for a unit.
type roundedScratch struct {
	queries []uint16 // (pairs, inputs)
	weights []uint16 // (most, partition): a tile's probabilities
	keys    []uint16 // (partition/32, queryWidth, 32): the partition's panels
	values  []uint16 // (value panels, partition, 32)
}

// queryWidth is the number of a query's elements, filled up with zeros.
func (a *attention) queryWidth() int { return roundUp(a.cache.headDim, panelWidth) }

func (a *attention) newRounded(pairs int) roundedScratch {
	rows, _ := a.rounded.most()
	return roundedScratch{
		queries: make([]uint16, a.rounded.at(roundUp(pairs, rows), a.queryWidth())),
		weights: make([]uint16, a.rounded.at(rows, partition)),
		keys:    make([]uint16, partition*a.queryWidth()),
		values:  make([]uint16, a.cache.panels*partition*panelWidth),
	}
}

// spread lays the partition's keys and values out.
func (a *attention) spread(w *attentionScratch, blocks int) {
	pair, half := a.rounded.strides()
	for i := 0; i < blocks; i += 2 {
		both := min(blocks-i-1, 1)
		a.kernels.spread.keys(w.rounded.keys[i/2*panelWidth*a.queryWidth():], w.blocks[i:], a.cache.headDim/2, pair, half, both)
	}
	for panel := range a.cache.panels {
		for i := 0; i < blocks; i += 2 {
			both := min(blocks-i-1, 1)
			a.kernels.spread.values(w.rounded.values[(panel*partition+i*keyTile)*panelWidth:], w.blocks[(1+panel)*blocks+i:], pair, half, both)
		}
	}
}

// runRounded does one partition for all of a span's pairs that see it.
func (a *attention) runRounded(s *span, w *attentionScratch, number, blocks, before int) {
	a.spread(w, blocks)
	group, width, inputs := a.group(), a.valueWidth, a.queryWidth()
	pairs := s.rows * group
	tile, _ := a.rounded.most()
	for first := before * group / tile * tile; first < pairs; first += tile {
		n := min(tile, pairs-first)
		panels := ceil(a.seen(s, (first+n-1)/group, number), panelWidth)
		a.rounded.multiply(w.scores, scoreWidth, w.queries16(a, first), w.rounded.keys, inputs*panelWidth, panels, inputs, n)
		var states [amxWide]softmaxState
		for pair := range n {
			scores := w.scores[pair*scoreWidth:][:panels*panelWidth]
			states[pair] = a.exponentials(scores, a.seen(s, (first+pair)/group, number))
		}
		a.rounded.round(w.rounded.weights, w.scores, scoreWidth, panels*panelWidth, n)
		a.rounded.multiply(w.part, width, w.rounded.weights, w.rounded.values, partition*panelWidth, a.cache.panels, panels*panelWidth, n)
		skip := max(before*group-first, 0)
		a.addTile(s, w, number, first+skip, states[skip:n], w.part[skip*width:])
	}
}

func (w *attentionScratch) queries16(a *attention, first int) []uint16 {
	return w.rounded.queries[a.rounded.at(first, a.queryWidth()):]
}

// exponentials makes the scores of the positions seen probabilities, but for their sum, and the others 0.
func (a *attention) exponentials(scores []float32, seen int) softmaxState {
	if seen <= 0 {
		clear(scores)
		return softmaxState{}
	}
	for i := seen; i < roundUp(seen, keyTile); i++ {
		scores[i] = float32(math.Inf(-1))
	}
	largest, sum := a.kernels.softmax(scores[:roundUp(seen, keyTile)], a.op.Scale)
	clear(scores[seen:])
	return softmaxState{largest * a.op.Scale, sum}
}
