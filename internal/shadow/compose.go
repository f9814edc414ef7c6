package shadow

import "minisgl/device"

// A job is a step for the shadow device, and what the primary sampled where the job samples.
type job struct {
	step    device.Step
	number  uint64 // of the primary's step
	epoch   int64
	answers []answer // by output of step
}

// An answer is a token that the primary device sampled.
type answer struct {
	token    int32
	output   int      // its index in the primary's step
	requests []string // the request it belongs to, if that is known
}

// A composer makes jobs of the primary's steps. A sequence in a job begins at the first position whose KV the shadow lacks, be it because
// the step that computed it was not followed, or because it was copied: so the shadow catches up by itself. It is given the tokens
// that the primary sampled, so that one token that differs is reported once.
type composer struct {
	*table
	maxRows int
	compare []int32 // by slot: 1 + index of the output in the step that is compared; 0: none
	draws   []bool  // by slot: something is sampled there in the step
	// By page: the last sequence that reads or writes it, as a running number, and whether it is written.
	toucher  []uint64
	written  []bool
	sequence uint64 // of all jobs
	first    uint64 // number of the first sequence of the job
}

func newComposer(t *table, maxRows int) *composer {
	return &composer{table: t, maxRows: maxRows, compare: make([]int32, len(t.slots)), draws: make([]bool, len(t.slots)),
		toucher: make([]uint64, len(t.whole)), written: make([]bool, len(t.whole))}
}

// compared reports whether an output's token is compared: only greedy ones are, for others a small difference may show or not.
func compared(o *device.Output) bool {
	return o.Target == device.Sample && o.Params.Temperature <= 0
}

// compose makes a job of a step of which only the KV has been noted, not yet what it sampled. skipped counts the outputs that should be
// compared but are not.
func (c *composer) compose(s *device.Step, request func(sequence int) []string) (j *job, skipped uint64) {
	for i := range s.Outputs {
		o := &s.Outputs[i]
		if o.Target == device.Sample {
			c.draws[o.Slot] = true
		}
		if compared(o) {
			c.compare[o.Slot] = int32(i) + 1
		}
	}
	j = new(job)
	c.first = c.sequence + 1
	for i := range s.Sequences {
		q := &s.Sequences[i]
		index := c.compare[q.Slot] - 1
		wanted := index >= 0 || !c.draws[q.Slot] // pieces of prompts are followed at once; a request that is not greedy, never
		c.compare[q.Slot], c.draws[q.Slot] = 0, false
		if !wanted {
			continue
		}
		whole := c.add(j, q)
		switch {
		case index < 0:
		case !whole:
			skipped++
		default:
			c.ask(j, s, index, request(i))
		}
	}
	return j, skipped
}

// add lets the job compute what the shadow lacks of a sequence. It reports whether that is all of it.
func (c *composer) add(j *job, q *device.Sequence) bool {
	end := q.Position + q.Rows
	from := c.lacks(q, end)
	until := min(end, from+int32(c.maxRows-len(j.step.Tokens)))
	pages := q.Pages[:pagesFor(until, c.pageSize)]
	c.sequence++
	if from >= until || c.conflicts(pages, int(from)/c.pageSize) {
		return false
	}
	first := len(j.step.Tokens)
	tokens, ok := c.compute(j.step.Tokens, q, from, until)
	j.step.Tokens = tokens
	if !ok {
		return false
	}
	for i, page := range pages {
		c.written[page] = i >= int(from)/c.pageSize
		c.toucher[page] = c.sequence
	}
	j.step.Sequences = append(j.step.Sequences, device.Sequence{Slot: q.Slot, First: int32(first), Rows: until - from, Position: from,
		Pages: append([]int32(nil), pages...)})
	return until == end
}

// conflicts reports whether another sequence of the job writes one of the pages, or reads one that would be written: in one step that is
// not allowed, and happens where two requests share a prefix that the shadow lacks.
func (c *composer) conflicts(pages []int32, firstWritten int) bool {
	for i, page := range pages {
		if c.toucher[page] >= c.first && (c.written[page] || i >= firstWritten) {
			return true
		}
	}
	return false
}

// ask lets the job sample behind the last row it has, as the primary's step does in the output at index.
func (c *composer) ask(j *job, s *device.Step, index int32, request []string) {
	o := s.Outputs[index]
	last := j.step.Sequences[len(j.step.Sequences)-1]
	o.Row = last.First + o.Position - 1 - last.Position
	j.step.Outputs = append(j.step.Outputs, o)
	j.answers = append(j.answers, answer{token: s.Results[index].Token, output: int(index), requests: request})
	if o.Params.Penalised() {
		history := &c.slots[o.Slot]
		j.step.Resets = append(j.step.Resets, device.SlotReset{Slot: o.Slot, Prompt: history.prompt, Output: history.output[:len(history.output):len(history.output)]})
	}
}
