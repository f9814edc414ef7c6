package sample

import (
	"cmp"
	"slices"
)

// A Candidate is a token with its logit.
type Candidate struct {
	Token int32
	Logit float32
}

// Compare orders candidates: the likelier first, equal ones by id. Logits are not NaN.
func (c Candidate) Compare(d Candidate) int {
	if c.Logit != d.Logit {
		return cmp.Compare(d.Logit, c.Logit)
	}
	return cmp.Compare(c.Token, d.Token)
}

// A TopK selects the k likeliest of many candidates without sorting them all. The selection does not depend on the order in
// which they are offered, so a device can select in parts of the vocabulary and merge the parts. The zero value is ready.
type TopK struct {
	k    int
	heap []Candidate // the least likely on top
}

// Reset starts a selection of k candidates.
func (t *TopK) Reset(k int) { t.k, t.heap = k, t.heap[:0] }

// Select returns the k likeliest of logits, the likeliest first. The slice is valid until the next use of t.
func (t *TopK) Select(logits []float32, k int) []Candidate {
	t.Reset(k)
	t.OfferAll(0, logits)
	return t.Sorted()
}

// OfferAll offers the logits of the ids from first on.
func (t *TopK) OfferAll(first int32, logits []float32) {
	i := 0
	for ; i < len(logits) && len(t.heap) < t.k; i++ {
		t.Offer(Candidate{first + int32(i), logits[i]})
	}
	if t.k == 0 || i == len(logits) {
		return
	}
	least := t.heap[0].Logit
	for ; i < len(logits); i++ {
		if l := logits[i]; l >= least {
			t.Offer(Candidate{first + int32(i), l})
			least = t.heap[0].Logit
		}
	}
}

// Offer considers one candidate.
func (t *TopK) Offer(c Candidate) {
	switch {
	case len(t.heap) < t.k:
		t.heap = append(t.heap, c)
		t.up(len(t.heap) - 1)
	case t.k > 0 && c.Compare(t.heap[0]) < 0:
		t.heap[0] = c
		t.down()
	}
}

// Sorted ends the selection and returns it, the likeliest first. The slice is valid until the next use of t.
func (t *TopK) Sorted() []Candidate {
	slices.SortFunc(t.heap, Candidate.Compare)
	return t.heap
}

func (t *TopK) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if t.heap[i].Compare(t.heap[parent]) <= 0 {
			return
		}
		t.heap[i], t.heap[parent] = t.heap[parent], t.heap[i]
		i = parent
	}
}

func (t *TopK) down() {
	for i := 0; ; {
		child := 2*i + 1
		if child >= len(t.heap) {
			return
		}
		if child+1 < len(t.heap) && t.heap[child+1].Compare(t.heap[child]) > 0 {
			child++
		}
		if t.heap[child].Compare(t.heap[i]) <= 0 {
			return
		}
		t.heap[i], t.heap[child] = t.heap[child], t.heap[i]
		i = child
	}
}
