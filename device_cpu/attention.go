package cpu

import (
	"math"
	"sync/atomic"
	"unsafe"

	"minisgl/device"
)

// Attention works on partitions of 256 positions at fixed places of a sequence. In each partition a query head has its
// own maximum, sum and weighted values; partitions are then merged in ascending order. A thread may do all partitions of some
// rows or only a few of them, and rows may stand together in any tile: the order of a row's operations stays the same.
const partition = 256

// blockPairs is about how many pairs of row and query head a unit of work holds: each partition's keys and values are then
// read from memory once and from the cache for all of them.
const blockPairs = 112

// unitsPerThread is how many units of attention a thread should get at least, so that all end at about the same time.
const unitsPerThread = 8

// A span is a unit of attention: rows of one sequence, one KV head, and a range of partitions.
type span struct {
	piece       *piece
	first, rows int // rows in the piece
	head        int
	from, to    int  // partitions
	whole       bool // it has all of its rows' partitions
	block       int  // of one that is not whole: its place in attention.blocks
	partial     int  // and where the block's partials begin
}

// attention is the plan of one slab, used by all layers, and what the layer at hand needs.
type attention struct {
	*runner
	kv         *kvKernel
	rounded    roundedProduct // instead of kv, if it is not nil
	cache      *kvCache
	blockRows  int // most rows of a unit
	valueWidth int // a head's values in whole panels

	spans    []span
	blocks   []int32        // spans of each block of rows that was split
	left     []atomic.Int32 // of these, those still to run
	partials []float32

	op   *device.Attention
	qkv  buffer
	out  buffer
	work task

	scratch []attentionScratch // of each worker
}

// attentionScratch is what one unit needs. A pair is a row and one of the query heads that share the KV head.
type attentionScratch struct {
	queries  []float32 // (pairs, queryWidth)
	scores   []float32 // (pairs of a tile, scoreWidth)
	part     []float32 // (pairs of a tile, valueWidth): one partition's weighted values
	total    []float32 // (pairs, valueWidth)
	state    []softmaxState
	factors  []float32 // (mostMerged + 16)
	blocks   []*byte   // see readBlocks
	gathered []byte    // a partition's blocks where pages do not hold whole ones
	rounded  roundedScratch
}

// softmaxState is the running maximum of the scaled scores and the sum of their exponentials relative to it.
type softmaxState struct{ max, sum float32 }

// scoreWidth has room for what kernels write behind a partition and is an odd number of cache lines, so that rows do not
// share cache sets.
const scoreWidth = partition + cacheLine/4

// partitionBlocks is the number of blocks of a whole partition, lookBlocks how many blocks behind its own a kernel's list has.
const (
	partitionBlocks = partition / keyTile
	lookBlocks      = 6
)

func newAttention(r *runner) *attention {
	c := r.kv
	a := &attention{runner: r, cache: c, valueWidth: c.panels * panelWidth, kv: r.kernels.attention.of(c.dtype)}
	a.work.run = a.runSpan
	a.rounded = r.roundedProduct()
	rows, pairs := r.kernels.tileRows, blockPairs
	if a.rounded != nil {
		rows, pairs = a.rounded.most()
	}
	a.blockRows = max(pairs/a.group(), 1)
	pairs = a.blockRows * a.group()
	for range r.pool.threads {
		w := attentionScratch{
			queries: make([]float32, pairs*a.queryWidth()),
			scores:  make([]float32, rows*scoreWidth),
			part:    make([]float32, rows*a.valueWidth),
			total:   make([]float32, pairs*a.valueWidth),
			state:   make([]softmaxState, pairs),
			factors: make([]float32, mostMerged+16),
			blocks:  make([]*byte, 0, (1+c.panels)*partitionBlocks+lookBlocks),
		}
		if a.rounded != nil {
			w.rounded = a.newRounded(pairs)
		}
		if c.lanes != keyTile {
			w.gathered = make([]byte, partitionBlocks*c.read.bytes)
		}
		a.scratch = append(a.scratch, w)
	}
	return a
}

// group is the number of query heads that share a KV head.
func (a *attention) group() int { return a.program.Heads / a.program.KVHeads }

// partialRoom is the number of float32 values in which a pair's result for one partition is kept.
func (a *attention) partialRoom() int { return a.valueWidth + 2 }

// plan cuts the slab's pieces into spans: blocks of rows with all their partitions, or a few partitions of them where a block
// is too much for the threads to end together.
func (a *attention) plan(pieces []piece) {
	a.spans, a.blocks = a.spans[:0], a.blocks[:0]
	group := a.group()
	blockRows := a.blockRows
	total := 0 // in rows of a partition
	for i := range pieces {
		p := &pieces[i]
		for first := 0; first < p.rows; first += blockRows {
			rows := min(blockRows, p.rows-first)
			total += rows * ceil(p.position+first+rows, partition) * a.cache.heads
		}
	}
	most := max(total/(a.pool.threads*unitsPerThread), 1) // that a span should hold
	if a.pool.threads == 1 {
		most = total
	}
	partials := 0
	for i := range pieces {
		p := &pieces[i]
		for first := (p.rows - 1) / blockRows * blockRows; first >= 0; first -= blockRows { // the longest context first
			rows := min(blockRows, p.rows-first)
			partitions := ceil(p.position+first+rows, partition)
			each := min(max(most/rows, 2), partitions)
			for head := range a.cache.heads {
				block := span{piece: p, first: first, rows: rows, head: head, to: partitions, whole: each == partitions}
				if !block.whole {
					block.partial, block.block = partials, len(a.blocks)
					partials += partitions * rows * group * a.partialRoom()
					a.blocks = append(a.blocks, int32(ceil(partitions, each)))
				}
				for block.from = 0; block.from < partitions; block.from += each {
					part := block
					part.to = min(block.from+each, partitions)
					a.spans = append(a.spans, part)
				}
			}
		}
	}
	if len(a.partials) < partials {
		a.partials = make([]float32, partials+partials/2)
	}
	if len(a.left) < len(a.blocks) {
		a.left = make([]atomic.Int32, 2*len(a.blocks))
	}
}

// run computes one attention operation.
func (a *attention) run(op *device.Attention, qkv, out buffer) {
	a.op, a.qkv, a.out = op, qkv, out
	for i, spans := range a.blocks {
		a.left[i].Store(spans)
	}
	a.pool.run(len(a.spans), &a.work)
}

func (a *attention) runSpan(unit, worker int) {
	s := &a.spans[unit]
	w := &a.scratch[worker]
	a.takeQueries(s, w)
	clear(w.state)
	for p := s.from; p < s.to; p++ {
		a.runPartition(s, w, p)
	}
	if s.whole {
		a.finish(s, w)
	} else if a.left[s.block].Add(-1) == 0 {
		a.mergeBlock(s, w) // the last to come puts the block together
	}
}

// takeQueries copies the queries of the span's pairs.
func (a *attention) takeQueries(s *span, w *attentionScratch) {
	group, dim, width := a.group(), a.cache.headDim, a.queryWidth()
	for i := range s.rows {
		row := a.qkv.row(s.piece.row + s.first + i)[s.head*group*dim:]
		for head := range group {
			copy(w.queries[(i*group+head)*width:][:dim], row[head*dim:])
		}
	}
	if a.rounded != nil {
		a.rounded.round(w.rounded.queries, w.queries, width, width, s.rows*group)
	}
}

// finish writes the outputs of the span's pairs.
func (a *attention) finish(s *span, w *attentionScratch) {
	group, dim, width := a.group(), a.cache.headDim, a.valueWidth
	for pair := range s.rows * group {
		row := a.out.row(s.piece.row + s.first + pair/group)
		out, total := row[(s.head*group+pair%group)*dim:][:dim], w.total[pair*width:][:width]
		a.kernels.attention.blend(total, total, 1/w.state[pair].sum, 0)
		copy(out, total)
	}
}

// readBlocks lists the blocks of a partition in the order in which they are read: keys, then panel by panel of values. Behind
// them come the first keys of the span's next partition, for kernels to prefetch. It returns the number of blocks.
func (a *attention) readBlocks(s *span, w *attentionScratch, number, count int) int {
	c, layer := a.cache, a.op.Layer
	n := ceil(count, keyTile)
	list := w.blocks[:0]
	for i := range n {
		block := number*partitionBlocks + i
		if c.lanes == keyTile {
			list = append(list, c.block(s.piece.pages, layer, s.head, block))
		} else {
			list = append(list, c.gather(w.gathered[i*c.read.bytes:], s.piece.pages, layer, s.head, block, count-i*keyTile))
		}
	}
	for panel := range c.panels {
		for _, block := range list[:n] {
			list = append(list, (*byte)(unsafe.Add(unsafe.Pointer(block), c.read.values+panel*c.read.panel)))
		}
	}
	last := ceil(s.piece.position+s.first+s.rows, keyTile) - 1
	for i := range lookBlocks {
		next := list[0]
		if block := (number+1)*partitionBlocks + i; number+1 < s.to && block <= last && c.lanes == keyTile {
			next = c.block(s.piece.pages, layer, s.head, block)
		}
		list = append(list, next)
	}
	w.blocks = list
	return n
}

// runPartition adds one partition to the totals of the span's pairs, or stores it among the partials.
func (a *attention) runPartition(s *span, w *attentionScratch, number int) {
	base := number * partition
	last := s.piece.position + s.first + s.rows // the first position behind the span's last row's own
	blocks := a.readBlocks(s, w, number, min(partition, last-base))
	group := a.group()
	before := a.before(s, number)
	if a.rounded != nil {
		a.runRounded(s, w, number, blocks, before)
		return
	}
	if group <= a.kernels.tileRows {
		tile := a.kernels.tileRows / group
		for row := before; row < s.rows; row += tile {
			a.runTile(s, w, number, blocks, row, min(tile, s.rows-row), 0, group)
		}
		return
	}
	tiles := ceil(group, a.kernels.tileRows)
	for row := before; row < s.rows; row++ {
		for t := range tiles {
			first, end := share(group, tiles, t)
			a.runTile(s, w, number, blocks, row, 1, first, end-first)
		}
	}
}

// runTile does one partition for a tile of pairs: the query heads head to head+heads of each of a few rows, whose pairs lie
// one behind the other. Each row sees at least one position of the partition.
func (a *attention) runTile(s *span, w *attentionScratch, number, blocks, row, rows, head, heads int) {
	dim, width := a.cache.headDim, a.valueWidth
	group := a.group()
	first, pairs := row*group+head, rows*heads
	seen := func(r int) int { return a.seen(s, r, number) }
	a.kv.scores(w.scores, scoreWidth, w.queries[first*a.queryWidth():], a.queryWidth(), w.blocks, ceil(seen(row+rows-1), keyTile), dim, pairs)
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
	for panel := range a.cache.panels {
		values := w.blocks[(1+panel)*blocks:]
		part := w.part[panel*panelWidth:]
		a.kv.weigh(part, width, w.scores, scoreWidth, values, 0, common, pairs, 0)
		for r := 1; r < rows; r++ {
			if end := seen(row + r); common < end {
				a.kv.weigh(part[r*heads*width:], width, w.scores[r*heads*scoreWidth:], scoreWidth, values, common, end, heads, 1)
			}
		}
	}
	a.addTile(s, w, number, first, states[:pairs], w.part)
}

// before is how many of the span's rows end before a partition.
func (a *attention) before(s *span, number int) int {
	return max(number*partition-s.piece.position-s.first, 0)
}

// seen is how many positions of a partition a span's row sees; less than 1 if none.
func (a *attention) seen(s *span, row, number int) int {
	return min(s.piece.position+s.first+row+1-number*partition, partition)
}

// addTile adds a partition's weighted values of some pairs to their totals, or puts them among the partials.
func (a *attention) addTile(s *span, w *attentionScratch, number, first int, states []softmaxState, parts []float32) {
	width := a.valueWidth
	if s.whole {
		a.merge(w, first, states, parts, width)
		return
	}
	room := a.partialRoom()
	at := a.partials[s.partial+(number*s.rows*a.group()+first)*room:]
	for i, state := range states {
		at := at[i*room:][:room]
		at[width], at[width+1] = state.max, state.sum
		copy(at, parts[i*width:][:width])
	}
}

// mostMerged is the most pairs that are merged at once.
const mostMerged = 2 * maxTileRows

// merge adds a partition's states and weighted values, stride apart, to the totals of pairs from first on; an empty total (sum 0)
// becomes the partition. The pairs' factors are computed together.
func (a *attention) merge(w *attentionScratch, first int, parts []softmaxState, values []float32, stride int) {
	width, totals, factors := a.valueWidth, w.state[first:], w.factors[:roundUp(len(parts)+1, 16)]
	clear(factors) // of which one stays 0, the largest
	for i, part := range parts {
		if d := -float32(math.Abs(float64(totals[i].max - part.max))); d <= 0 { // not NaN
			factors[i] = max(d, -math.MaxFloat32)
		}
	}
	a.kernels.softmax(factors, 1)
	for i, part := range parts {
		total, sum, value := &totals[i], w.total[(first+i)*width:][:width], values[i*stride:][:width]
		switch factor := factors[i]; {
		case total.sum == 0:
			*total = part
			copy(sum, value)
		case part.max > total.max:
			a.kernels.attention.blend(sum, value, factor, 1)
			*total = softmaxState{part.max, float32(total.sum*factor) + part.sum}
		default:
			a.kernels.attention.blend(sum, value, 1, factor)
			total.sum += float32(part.sum * factor)
		}
	}
}

// mergeBlock merges the partials of a block that several units computed.
func (a *attention) mergeBlock(s *span, w *attentionScratch) {
	group, room, width := a.group(), a.partialRoom(), a.valueWidth
	pairs := s.rows * group
	last := s.piece.position + s.first + s.rows - 1
	for number := range last/partition + 1 {
		for first := a.before(s, number) * group; first < pairs; first += mostMerged {
			n := min(mostMerged, pairs-first)
			parts := a.partials[s.partial+(number*pairs+first)*room:]
			var states [mostMerged]softmaxState
			for i := range n {
				state := parts[i*room+width:]
				states[i] = softmaxState{state[0], state[1]}
			}
			a.merge(w, first, states[:n], parts, room)
		}
	}
	a.finish(s, w)
}
