package cpu

import (
	"math"

	"minisgl/device"
)

// Attention works on partitions of 256 positions at fixed places of a sequence. In each partition a query head has its
// own maximum, sum and weighted values; partitions are then merged in ascending order. A thread may do all partitions of some
// rows or only a few of them, and rows may stand together in any tile: the order of a row's operations stays the same.
const partition = 256

// blockPairs is about how many pairs of row and query head a unit of work holds: each partition's keys and values are then
// read from memory once and from the cache for all of them.
const blockPairs = 112

// A span is a unit of attention: rows of one sequence, one KV head, and a range of partitions.
type span struct {
	piece           *piece
	first, rows     int // rows in the piece
	head            int
	from, to        int // partitions
	partial         int // where the results of each partition go if the span does not hold all of them
	whole           bool
	blockPartitions int
}

// attention is the plan of one slab, used by all layers, and what the layer at hand needs.
type attention struct {
	*runner
	spans    []span
	split    []int // index in spans of the last span of each block that was split
	partials []float32

	op    *device.Attention
	qkv   buffer
	out   buffer
	work  task
	merge task

	scratch []attentionScratch // of each worker
}

// attentionScratch is what one unit needs. A pair is a row and one of the query heads that share the KV head.
type attentionScratch struct {
	queries []float32 // (pairs, headDim)
	scores  []float32 // (tileRows, scoreWidth)
	part    []float32 // (tileRows, valueWidth): one partition's weighted values
	total   []float32 // (pairs, valueWidth)
	state   []softmaxState
	tiles   [partition / keyTile][]float32 // the partition's keys
	keys    []float32                      // what tiles point to where pages do not hold whole ones
	values  []float32                      // the partition's values then
}

// softmaxState is the running maximum of the scaled scores and the sum of their exponentials relative to it.
type softmaxState struct{ max, sum float32 }

const scoreWidth = partition + cacheLine/4 // an odd number of cache lines, so that rows do not share cache sets

func newAttention(r *runner) *attention {
	a := &attention{runner: r}
	a.work.run = a.runSpan
	a.merge.run = a.mergeBlock
	c := r.kv
	pairs := max(blockPairs, a.group())
	for range r.pool.threads {
		a.scratch = append(a.scratch, attentionScratch{
			queries: make([]float32, pairs*c.headDim),
			scores:  make([]float32, r.kernels.tileRows*scoreWidth),
			part:    make([]float32, r.kernels.tileRows*c.valueWidth),
			total:   make([]float32, pairs*c.valueWidth),
			state:   make([]softmaxState, pairs),
			keys:    make([]float32, partition*c.headDim),
			values:  make([]float32, partition*c.valueWidth),
		})
	}
	return a
}

// group is the number of query heads that share a KV head.
func (a *attention) group() int { return a.program.Heads / a.program.KVHeads }

// partialRoom is the number of float32 values in which a pair's result for one partition is kept.
func (a *attention) partialRoom() int { return a.kv.valueWidth + 2 }

// plan cuts the slab's pieces into spans: blocks of rows with all their partitions where there are enough blocks to keep the
// threads busy, else a few partitions each.
func (a *attention) plan(pieces []piece) {
	a.spans, a.split = a.spans[:0], a.split[:0]
	group := a.group()
	blockRows := max(blockPairs/group, 1)
	blocks := 0
	for i := range pieces {
		blocks += ceil(pieces[i].rows, blockRows) * a.kv.heads
	}
	each := math.MaxInt
	if a.pool.threads > 1 && blocks < 4*a.pool.threads {
		each = 2
	}
	partials := 0
	for i := range pieces {
		p := &pieces[i]
		for first := (p.rows - 1) / blockRows * blockRows; first >= 0; first -= blockRows { // the longest context first
			rows := min(blockRows, p.rows-first)
			partitions := ceil(p.position+first+rows, partition)
			for head := range a.kv.heads {
				for from := 0; from < partitions; from += min(each, partitions) {
					to := min(partitions-from, each) + from
					a.spans = append(a.spans, span{piece: p, first: first, rows: rows, head: head, from: from, to: to,
						whole: from == 0 && to == partitions, partial: partials, blockPartitions: partitions})
				}
				if each < partitions {
					a.split = append(a.split, len(a.spans)-1)
					partials += partitions * rows * group * a.partialRoom()
				}
			}
		}
	}
	if len(a.partials) < partials {
		a.partials = make([]float32, partials+partials/2)
	}
}

// run computes one attention operation.
func (a *attention) run(op *device.Attention, qkv, out buffer) {
	a.op, a.qkv, a.out = op, qkv, out
	a.pool.run(len(a.spans), &a.work)
	a.pool.run(len(a.split), &a.merge)
}

func (a *attention) runSpan(unit, worker int) {
	s := &a.spans[unit]
	w := &a.scratch[worker]
	group, dim := a.group(), a.kv.headDim
	pairs := s.rows * group
	for i := range s.rows {
		row := a.qkv.row(s.piece.row + s.first + i)
		copy(w.queries[i*group*dim:][:group*dim], row[s.head*group*dim:])
	}
	for pair := range pairs {
		w.state[pair] = softmaxState{max: float32(math.Inf(-1))}
	}
	for p := s.from; p < s.to; p++ {
		a.runPartition(s, w, p)
	}
	if !s.whole {
		return
	}
	for pair := range pairs {
		a.finish(s, pair, w.state[pair], w.total[pair*a.kv.valueWidth:])
	}
}

// finish writes a pair's output.
func (a *attention) finish(s *span, pair int, state softmaxState, total []float32) {
	group, dim := a.group(), a.kv.headDim
	row := a.out.row(s.piece.row + s.first + pair/group)
	out := row[(s.head*group+pair%group)*dim:][:dim]
	inverse := 1 / state.sum
	for d := range out {
		out[d] = total[d] * inverse
	}
}

// runPartition adds one partition to the totals of the span's pairs, or stores it among the partials.
func (a *attention) runPartition(s *span, w *attentionScratch, number int) {
	base := number * partition
	last := s.piece.position + s.first + s.rows // the first position behind the span's last row's own
	count := min(partition, last-base)
	for t := range ceil(count, keyTile) {
		scratch := w.keys[t*keyTile*a.kv.headDim:][:keyTile*a.kv.headDim]
		w.tiles[t] = a.kv.keys(s.piece.pages, a.op.Layer, s.head, base/keyTile+t, count-t*keyTile, scratch)
	}
	if !a.kv.tiled {
		a.kv.gatherValues(w.values, s.piece.pages, a.op.Layer, s.head, base, count)
	}
	group := a.group()
	before := max(base-s.piece.position-s.first, 0) // rows that end before the partition
	if group <= a.kernels.tileRows {
		tile := a.kernels.tileRows / group
		for row := before; row < s.rows; row += tile {
			a.runTile(s, w, number, row, min(tile, s.rows-row), 0, group)
		}
		return
	}
	tiles := ceil(group, a.kernels.tileRows)
	for row := before; row < s.rows; row++ {
		for t := range tiles {
			first, end := share(group, tiles, t)
			a.runTile(s, w, number, row, 1, first, end-first)
		}
	}
}

// runTile does one partition for a tile of pairs: the query heads head to head+heads of each of a few rows, whose pairs lie
// one behind the other. Each row sees at least one position of the partition.
func (a *attention) runTile(s *span, w *attentionScratch, number, row, rows, head, heads int) {
	c := a.kv
	group := a.group()
	first, pairs := row*group+head, rows*heads
	seen := func(r int) int { return min(s.piece.position+s.first+r+1-number*partition, partition) }
	queries := w.queries[first*c.headDim:]
	for t := 0; t*keyTile < seen(row+rows-1); t += 2 {
		lower, upper := w.tiles[t], w.tiles[t]
		if (t+1)*keyTile < seen(row+rows-1) {
			upper = w.tiles[t+1]
		}
		a.kernels.tileF32(w.scores[t*keyTile:], scoreWidth, queries, c.headDim, lower, upper, keyTile, c.headDim, pairs, 0)
	}
	var states [maxTileRows]softmaxState
	for pair := range pairs {
		n := seen(row + pair/heads)
		scores := w.scores[pair*scoreWidth:][:roundUp(n, keyTile)]
		for i := n; i < len(scores); i++ {
			scores[i] = float32(math.Inf(-1))
		}
		largest, sum := a.kernels.softmax(scores, a.op.Scale)
		states[pair] = softmaxState{largest * a.op.Scale, sum}
	}
	// All rows see the positions that the first one sees; those behind are added row by row, so that no row ever touches
	// a value that it does not see.
	common := seen(row)
	a.weigh(s, w, number, 0, common, 0, pairs)
	for r := 1; r < rows; r++ {
		a.weigh(s, w, number, common, seen(row+r), r*heads, heads)
	}
	for pair := range pairs {
		part := w.part[pair*c.valueWidth:][:c.valueWidth]
		if s.whole {
			merge(&w.state[first+pair], w.total[(first+pair)*c.valueWidth:][:c.valueWidth], states[pair], part)
			continue
		}
		room := a.partialRoom()
		at := a.partials[s.partial+(number*s.rows*group+first+pair)*room:][:room]
		at[0], at[1] = states[pair].max, states[pair].sum
		copy(at[2:], part)
	}
}

// weigh adds to the parts of some of a tile's pairs the values of positions from to end of a partition, each times its
// probability.
func (a *attention) weigh(s *span, w *attentionScratch, number, from, end, pair, pairs int) {
	c := a.kv
	for from < end {
		values, n := w.values[from*c.valueWidth:], end-from
		if c.tiled {
			values, n = c.values(s.piece.pages, a.op.Layer, s.head, number*partition+from, end-from)
		}
		add := 0
		if from > 0 {
			add = 1
		}
		for d := 0; d < c.valueWidth; d += panelWidth {
			a.kernels.tileF32(w.part[pair*c.valueWidth+d:], c.valueWidth, w.scores[pair*scoreWidth+from:], scoreWidth,
				values[d:], values[d+panelWidth/2:], c.valueWidth, n, pairs, add)
		}
		from += n
	}
}

// merge adds a partition's state and weighted values to a total; an empty total (maximum -Inf) becomes the partition.
func merge(total *softmaxState, sum []float32, part softmaxState, values []float32) {
	switch {
	case total.sum == 0:
		*total = part
		copy(sum, values)
	case part.max > total.max:
		factor := float32(math.Exp(float64(total.max - part.max)))
		for i, v := range values {
			sum[i] = float32(sum[i]*factor) + v
		}
		*total = softmaxState{part.max, float32(total.sum*factor) + part.sum}
	default:
		factor := float32(math.Exp(float64(part.max - total.max)))
		for i, v := range values {
			sum[i] += float32(v * factor)
		}
		total.sum += float32(part.sum * factor)
	}
}

// mergeBlock merges the partials of a block that several units computed.
func (a *attention) mergeBlock(unit, worker int) {
	s := &a.spans[a.split[unit]]
	w := &a.scratch[worker]
	pairs, room := s.rows*a.group(), a.partialRoom()
	for pair := range pairs {
		var state softmaxState
		total := w.total[:a.kv.valueWidth]
		row := s.piece.position + s.first + pair/a.group()
		for number := range row/partition + 1 {
			at := a.partials[s.partial+(number*pairs+pair)*room:][:room]
			merge(&state, total, softmaxState{at[0], at[1]}, at[2:])
		}
		a.finish(s, pair, state, total)
	}
}
