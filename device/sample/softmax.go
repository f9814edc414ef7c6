package sample

import (
	"cmp"
	"slices"

	"minisgl/device"
)

// softmax turns logits into weights Exp((logit − max) / temperature), which are at most 1.
type softmax struct{ max, temperature float64 }

func (s softmax) weight(logit float32) float64 {
	return Exp((float64(logit) - s.max) / s.temperature)
}

// Weights writes the weights Exp((logit − max) / temperature) of some logits to dst.
func Weights(dst []float64, logits []float32, max, temperature float64) {
	s := softmax{max, temperature}
	for i, l := range logits {
		dst[i] = s.weight(l)
	}
}

// logprob is the logarithm of a probability; logSum is that of the sum of weights at temperature 1.
func (s softmax) logprob(logit float32, logSum float64) float32 {
	return float32(float64(logit) - s.max - logSum)
}

// sum adds the weights of candidates, which are in the order of ids.
func (s softmax) sum(candidates []Candidate) (total float64) {
	for rest := candidates; len(rest) > 0; {
		n := 0
		var sum lanes
		for block := rest[0].Token / Block; n < len(rest) && rest[n].Token/Block == block; n++ {
			sum[rest[n].Token%8] += s.weight(rest[n].Logit)
		}
		total += sum.total()
		rest = rest[n:]
	}
	return total
}

// pick returns the first of the candidates, which are in the order of ids, at which the running sum exceeds u of the total.
func (s softmax) pick(candidates []Candidate, u float64) int32 {
	goal := u * s.sum(candidates)
	before, block := 0.0, int32(0)
	var sum lanes
	for _, c := range candidates {
		if c.Token/Block != block {
			before, sum, block = before+sum.total(), lanes{}, c.Token/Block
		}
		sum[c.Token%8] += s.weight(c.Logit)
		if before+sum.total() > goal {
			return c.Token
		}
	}
	return device.NoToken // not reached: u < 1, so that the last sum exceeds the goal
}

// nucleus cuts candidates, the likeliest first, behind the one with which their weights, on top of sum, reach goal.
func (s softmax) nucleus(candidates []Candidate, sum, goal float64) []Candidate {
	for i, c := range candidates {
		if sum += s.weight(c.Logit); sum >= goal {
			return candidates[:i+1]
		}
	}
	return candidates
}

func sortByID(c []Candidate) {
	slices.SortFunc(c, func(a, b Candidate) int { return cmp.Compare(a.Token, b.Token) })
}
