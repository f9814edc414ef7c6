package scheduler

import (
	"cmp"
	"slices"

	"minisgl/device"
	"minisgl/scheduler/radix"
)

type state uint8

const (
	waiting state = iota
	running
	retracted // on its way from running to waiting: in a step in flight
	ended
)

// A request is a Request and how far it has come.
type request struct {
	*Request
	state     state
	arrival   uint64
	resumes   bool    // was retracted, and goes before those that never ran
	tokens    []int32 // the prompt and the output so far
	maxTokens int     // MaxTokens, cut to what the context and the pool can hold
	drawn     int     // outputs planned, those in flight included
	nextScore int     // index of the next prompt token to score; len(Prompt) if there is none
	cached    int     // Usage.Cached
	started   bool    // cached has been set
	passed    int     // plans that admitted a later request instead of this one

	// While it runs. Positions up to planned have their KV computed by steps up to the last planned one; up to stored by
	// steps that have been committed.
	slot            int32
	planned, stored int
	prefill         int // tokens there were when it was admitted: when they are stored, their pages go into the tree
	pages           []int32
	shared          int         // of pages, so many in front belong to the tree
	node            *radix.Node // their node, locked
	flights         int         // steps in flight that it is in
	lastStep        uint64      // number of the last step planned with it
	spoilt          bool        // its KV cannot be trusted
}

func (r *request) outputs() int { return len(r.tokens) - len(r.Prompt) }

// todo is the number of positions that could be computed next: those of a prompt, or the one of the token drawn last, known or
// not. The last token of all is not computed.
func (r *request) todo() int {
	known := len(r.Prompt) + r.drawn
	if r.drawn > 0 && r.drawn == r.maxTokens {
		known--
	}
	return known - r.planned
}

// suppressed reports whether an output, counted from 0, comes before MinTokens are reached.
func (r *request) suppressed(output int) bool { return output < r.MinTokens }

// stops reports whether the token drawn last ends the request.
func (r *request) stops() bool {
	last := r.outputs() - 1
	return !r.suppressed(last) && slices.Contains(r.StopIDs, r.tokens[len(r.tokens)-1])
}

// history is what penalties count when the request begins or resumes.
func (r *request) history() device.SlotReset {
	n := len(r.Prompt)
	return device.SlotReset{Slot: r.slot, Prompt: r.tokens[:n:n], Output: r.tokens[n:len(r.tokens):len(r.tokens)]}
}

// compare orders requests: higher priority, retracted ones, earlier arrival.
func compare(a, b *request) int {
	if c := cmp.Compare(b.Priority, a.Priority); c != 0 {
		return c
	}
	if a.resumes != b.resumes {
		if a.resumes {
			return -1
		}
		return 1
	}
	return cmp.Compare(a.arrival, b.arrival)
}

// enqueue inserts r where it belongs in the sorted list.
func enqueue(list []*request, r *request) []*request {
	i, _ := slices.BinarySearchFunc(list, r, compare)
	return slices.Insert(list, i, r)
}

// dequeue takes r out of the sorted list.
func dequeue(list []*request, r *request) []*request {
	i := slices.Index(list, r)
	return slices.Delete(list, i, i+1)
}
