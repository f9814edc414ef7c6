package sample

import (
	"math"
	"slices"
)

// depthsPerUnit is the resolution of nucleus: how many parts a factor of e in the weight is cut into; deepest is their number.
const (
	depthsPerUnit = 64
	deepest       = 64 * depthsPerUnit
)

// perLogit is how many depths a logit of 1 is away from one of 0.
func (s softmax) perLogit() float64 { return depthsPerUnit / s.temperature }

func (s softmax) depth(logit float32, perLogit float64) int {
	return int(min((s.max-float64(logit))*perLogit, deepest-1))
}

func (s softmax) addDepths(depths []float64, logits []float32, weights []float64) {
	perLogit := s.perLogit()
	for i, l := range logits {
		depths[s.depth(l, perLogit)] += weights[i]
	}
}

// nucleus returns the last of the row's likeliest candidates whose weights first reach topP of the whole. It adds weights up by their
// depth below the largest, which is enough to know the depth at which the goal is reached, and sorts no more than the candidates
// there. The definition sums one by one in the order of likelihood; where the goal is so close to a sum that the order of additions
// could matter, everything is sorted.
func (w *Workspace) nucleus(topP float64) Candidate {
	s, logits := w.row.softmax, w.row.logits
	goal := topP * w.sumDepths()
	depths := w.workers[0].depths
	reached, above := 0, 0.0
	for reached < deepest-1 && above+depths[reached] < goal {
		above += depths[reached]
		reached++
	}
	w.collect(reached)
	kept := s.nucleus(w.kept, above, goal)
	doubt := 4 * float64(len(logits)) * 0x1p-53 * goal // twice the most that two orders of additions can differ by
	sum := above
	for _, c := range kept[:max(len(kept)-1, 0)] {
		sum += s.weight(c.Logit)
	}
	if n := len(kept); n > 0 && sum < goal-doubt && sum+s.weight(kept[n-1].Logit) > goal+doubt {
		return kept[n-1]
	}
	w.kept = w.kept[:0]
	for i, l := range logits {
		w.kept = append(w.kept, Candidate{int32(i), l})
	}
	slices.SortFunc(w.kept, Candidate.Compare)
	kept = s.nucleus(w.kept, 0, goal)
	return kept[len(kept)-1]
}

// sumDepths returns the sum of the row's weights, and leaves those of each depth with the first worker.
func (w *Workspace) sumDepths() float64 {
	w.prepare()
	for i := range w.workers {
		memory := &w.workers[i]
		memory.depths = slices.Grow(memory.depths[:0], deepest)[:deepest]
		clear(memory.depths)
	}
	w.row.depths = true
	total := w.sum()
	w.row.depths = false
	depths := w.workers[0].depths
	for _, other := range w.workers[1:] {
		for i, sum := range other.depths {
			depths[i] += sum
		}
	}
	return total
}

// collect lists the candidates of a depth in w.kept, the likeliest first.
func (w *Workspace) collect(depth int) {
	s := w.row.softmax
	perLogit := s.perLogit()
	// A little more than the logits of the depth: most others are passed over by two comparisons.
	bound := func(depth int, towards float64) float32 {
		below := float64(depth) / perLogit
		logit := s.max - below + math.Copysign((math.Abs(s.max)+below)*1e-12, towards)
		return math.Nextafter32(float32(logit), float32(towards))
	}
	most, least := bound(depth, math.Inf(1)), bound(depth+1, math.Inf(-1))
	if depth == deepest-1 {
		least = float32(math.Inf(-1))
	}
	w.kept = w.kept[:0]
	for i, l := range w.row.logits {
		if l <= most && l >= least && s.depth(l, perLogit) == depth {
			w.kept = append(w.kept, Candidate{int32(i), l})
		}
	}
	slices.SortFunc(w.kept, Candidate.Compare)
}
