package sample

import (
	"slices"

	"minisgl/device"
)

// Block is the number of ids whose weights are summed before the sum joins those of other blocks.
const Block = 1024

// partBlocks is how many blocks a thread takes at once.
const partBlocks = 8

// lanes are the sums of the weights of a block whose ids are equal modulo 8.
type lanes [8]float64

func (l *lanes) total() float64 {
	return l[0] + l[1] + l[2] + l[3] + l[4] + l[5] + l[6] + l[7]
}

// add adds the weights of ids from a multiple of 8 on.
func (l *lanes) add(weights []float64) {
	a, b, c, d, e, f, g, h := l[0], l[1], l[2], l[3], l[4], l[5], l[6], l[7]
	for ; len(weights) >= 8; weights = weights[8:] {
		w := (*[8]float64)(weights)
		a += w[0]
		b += w[1]
		c += w[2]
		d += w[3]
		e += w[4]
		f += w[5]
		g += w[6]
		h += w[7]
	}
	*l = lanes{a, b, c, d, e, f, g, h}
	for i, weight := range weights {
		l[i] += weight
	}
}

// A row is the logits that are drawn from, and what the cuts leave of them. Weights are computed a block at a time, in memory that
// stays in the cache, and again where they are needed again: to keep all of them costs more.
type row struct {
	softmax
	logits []float32
	cut    bool // top-p keeps the likeliest, up to last
	last   Candidate
	minP   float64 // min-p keeps weights from this on
	depths bool    // weights are also added up by their depth, for nucleus
}

// A worker is the memory of one thread.
type worker struct {
	weights [Block]float64
	depths  []float64
}

func (w *Workspace) prepare() {
	if w.workers == nil {
		w.workers, w.sumPart = make([]worker, max(w.Workers, 1)), w.sumBlocks
	}
}

// sum returns the sum of the row's weights, and leaves those of its blocks in w.sums.
func (w *Workspace) sum() (total float64) {
	w.prepare()
	blocks := (len(w.row.logits) + Block - 1) / Block
	w.sums = slices.Grow(w.sums[:0], blocks)[:blocks]
	parts := (blocks + partBlocks - 1) / partBlocks
	if w.Spread != nil && parts > 1 {
		w.Spread(parts, w.sumPart)
	} else {
		for part := range parts {
			w.sumBlocks(part, 0)
		}
	}
	for _, sum := range w.sums {
		total += sum
	}
	return total
}

func (w *Workspace) sumBlocks(part, worker int) {
	memory := &w.workers[worker]
	for b := part * partBlocks; b < min((part+1)*partBlocks, len(w.sums)); b++ {
		logits, weights := w.block(b, memory)
		var sum lanes
		sum.add(weights)
		w.sums[b] = sum.total()
		if w.row.depths {
			w.row.addDepths(memory.depths, logits, weights)
		}
	}
}

// block computes the weights of a block of the row. Those that were cut off are 0.
func (w *Workspace) block(b int, memory *worker) (logits []float32, weights []float64) {
	r := &w.row
	first := b * Block
	logits = r.logits[first:min(first+Block, len(r.logits))]
	weights = memory.weights[:len(logits)]
	if w.Weigh != nil {
		w.Weigh(weights, logits, r.max, r.temperature)
	} else {
		Weights(weights, logits, r.max, r.temperature)
	}
	if r.cut {
		for i, l := range logits {
			if l < r.last.Logit || l == r.last.Logit && int32(first+i) > r.last.Token {
				weights[i] = 0
			}
		}
	}
	if r.minP > 0 {
		for i, weight := range weights {
			if weight < r.minP {
				weights[i] = 0
			}
		}
	}
	return logits, weights
}

// pick returns the first id at which the running sum of the row's weights exceeds goal, after sum.
func (w *Workspace) pick(goal float64) int32 {
	before := 0.0
	for b, sum := range w.sums {
		if before+sum <= goal {
			before += sum
			continue
		}
		_, weights := w.block(b, &w.workers[0])
		var running lanes
		for i := 0; i < len(weights); i += 8 {
			eight := weights[i:min(i+8, len(weights))]
			passed := running
			if running.add(eight); before+running.total() <= goal {
				continue
			}
			for k, weight := range eight {
				if passed[k] += weight; before+passed.total() > goal {
					return int32(b*Block + i + k)
				}
			}
		}
	}
	return device.NoToken // not reached: u < 1, so that the last sum exceeds the goal
}
