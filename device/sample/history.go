package sample

import "minisgl/device"

// History is what a slot has seen, for penalties. The zero value has seen nothing.
type History struct {
	index map[int32]int32 // token → index in seen
	seen  []seenToken
}

type seenToken struct{ token, outputs int32 }

// Reset starts the history of a request.
func (h *History) Reset(prompt, output []int32) {
	clear(h.index)
	h.seen = h.seen[:0]
	for _, token := range prompt {
		h.count(token, 0)
	}
	for _, token := range output {
		h.count(token, 1)
	}
}

// Add counts a token that was drawn.
func (h *History) Add(token int32) { h.count(token, 1) }

func (h *History) count(token, outputs int32) {
	if h.index == nil {
		h.index = make(map[int32]int32)
	}
	i, ok := h.index[token]
	if !ok {
		i = int32(len(h.seen))
		h.index[token] = i
		h.seen = append(h.seen, seenToken{token: token})
	}
	h.seen[i].outputs += outputs
}

// penalise applies the three penalties. Each result is rounded to float32 by a conversion, which also keeps the compiler
// from fusing a multiplication with an addition.
func (h *History) penalise(logits []float32, p *device.Sampling) {
	for _, s := range h.seen {
		if !within(s.token, logits) {
			continue
		}
		l := logits[s.token]
		if p.RepetitionPenalty != 1 {
			if l > 0 {
				l = float32(l / p.RepetitionPenalty)
			} else {
				l = float32(l * p.RepetitionPenalty)
			}
		}
		if s.outputs > 0 {
			l -= float32(p.FrequencyPenalty * float32(s.outputs))
			l -= p.PresencePenalty
		}
		logits[s.token] = l
	}
}
