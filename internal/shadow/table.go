package shadow

import "minisgl/device"

// A table knows what the primary device's KV pages and slots hold, from the steps that it has run, and which of the KV the shadow
// device has computed, too. A place is page · page size + offset.
type table struct {
	pageSize int
	token    []int32 // by place: the token whose KV the primary holds there, or unknown
	have     []bool  // by place: the shadow has computed the KV of just that token
	whole    []int32 // by page: how many of its places the shadow has
	slots    []slot
}

// unknown is a token that nobody can tell: a failed step has left it behind.
const unknown = device.NoToken

// A slot is what a device remembers of a request.
type slot struct {
	last           int32   // the token sampled last
	prompt, output []int32 // what penalties count. Elements are never changed, so that slices of them can be handed on.
}

func newTable(pages, pageSize, slots int) *table {
	return &table{pageSize: pageSize, token: make([]int32, pages*pageSize), have: make([]bool, pages*pageSize),
		whole: make([]int32, pages), slots: make([]slot, slots)}
}

// forget drops all that the shadow has computed.
func (t *table) forget() {
	clear(t.have)
	clear(t.whole)
}

// store notes what the step has put into pages and slots before it sampled. Of a failed step nothing is known.
func (t *table) store(s *device.Step, failed bool) {
	for _, c := range s.Copies {
		for offset := range c.Tokens {
			t.set(int(place(c.Dst, offset, t.pageSize)), t.token[place(c.Src, offset, t.pageSize)], failed)
		}
	}
	for _, reset := range s.Resets {
		t.slots[reset.Slot].prompt = append([]int32(nil), reset.Prompt...)
		t.slots[reset.Slot].output = append([]int32(nil), reset.Output...)
	}
	for i := range s.Sequences {
		q := &s.Sequences[i]
		for row := range q.Rows {
			token := s.Tokens[q.First+row]
			if token < 0 {
				token = t.slots[-1-token].last
			}
			t.set(t.place(q, q.Position+row), token, failed)
		}
	}
}

func (t *table) set(place int, token int32, failed bool) {
	if failed {
		token = unknown
	}
	t.token[place] = token
	t.mark(place, false)
}

func (t *table) mark(place int, have bool) {
	if t.have[place] == have {
		return
	}
	t.have[place] = have
	if have {
		t.whole[place/t.pageSize]++
	} else {
		t.whole[place/t.pageSize]--
	}
}

// sampled notes the tokens that the step has drawn. NoToken is unknown: its request ends.
func (t *table) sampled(s *device.Step) {
	for i := range s.Outputs {
		o := &s.Outputs[i]
		if o.Target != device.Sample {
			continue
		}
		slot, token := &t.slots[o.Slot], s.Results[i].Token
		slot.last = token
		if o.Params.Penalised() && token != device.NoToken {
			slot.output = append(slot.output, token)
		}
	}
}

// lacks returns the first position of a sequence, below end, that the shadow has no KV for.
func (t *table) lacks(q *device.Sequence, end int32) int32 {
	size := int32(t.pageSize)
	position := int32(0)
	for position < end && t.whole[q.Pages[position/size]] == size {
		position += size
	}
	for position < end && t.have[t.place(q, position)] {
		position++
	}
	return min(position, end)
}

// compute notes that the shadow computes a sequence's positions, and appends their tokens. What it has behind them in the last page is
// forgotten: pages are filled from their start. If a token is unknown it does nothing and reports false.
func (t *table) compute(tokens []int32, q *device.Sequence, from, end int32) ([]int32, bool) {
	n := len(tokens)
	for position := from; position < end; position++ {
		token := t.token[t.place(q, position)]
		if token == unknown {
			return tokens[:n], false
		}
		tokens = append(tokens, token)
	}
	for position := from; position < end; position++ {
		t.mark(t.place(q, position), true)
	}
	for position := end; int(position)%t.pageSize != 0; position++ {
		t.mark(t.place(q, position), false)
	}
	return tokens, true
}

func (t *table) place(q *device.Sequence, position int32) int {
	return int(place(q.Pages[int(position)/t.pageSize], position%int32(t.pageSize), t.pageSize))
}
