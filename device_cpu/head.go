package cpu

import (
	"math"
	"slices"

	"minisgl/device"
	"minisgl/device/sample"
)

// headRows is how many outputs go through the LM head at once; it bounds the memory for logits.
const headRows = 32

// headPanels is how many panels a thread takes at once: enough to make a claim cheap, 512 logits of each row.
const headPanels = 16

// head is the LM head and the sampling. Rows that want the likeliest token and nothing else keep each unit's largest logit;
// only for the others logits are stored.
type head struct {
	*runner
	work, read, part task

	op      *operation
	in      buffer
	logits  buffer
	step    *device.Step
	chosen  []int32
	plain   [headRows]bool // the row only wants its largest logit
	units   [][]candidate  // of each unit: a candidate of each row
	shares  shares
	scratch [][]float32 // of each worker: (headRows, scratchStride)
	rest    []int32     // rows that are not plain, and are read by a thread each
	shared  []int32     // and those that all threads read together
	alone   []sample.Workspace
	all     sample.Workspace
}

// A candidate is the likeliest of some tokens, NoToken if all their logits are -Inf. It is broken if one is NaN or +Inf. Of rows that
// are not plain, the token is any of them.
type candidate struct {
	token  int32
	logit  float32
	broken bool
}

const headStride = headPanels*panelWidth + cacheLine/4

func newHead(r *runner) *head {
	h := &head{runner: r, shares: make(shares, r.pool.threads)}
	h.work.run = h.runUnit
	h.read.run = func(unit, worker int) { h.readRow(int(h.rest[unit]), &h.alone[worker]) }
	h.alone = make([]sample.Workspace, r.pool.threads)
	for i := range h.alone {
		h.alone[i] = sample.Workspace{Weigh: h.weigh, Largest: r.kernels.largest}
	}
	h.all = h.alone[0]
	h.all.Workers, h.all.Spread = r.pool.threads, func(n int, do func(part, worker int)) {
		h.part.run = do
		h.pool.run(n, &h.part)
	}
	for range r.pool.threads {
		h.scratch = append(h.scratch, make([]float32, headRows*headStride))
	}
	h.units = make([][]candidate, ceil(ceil(r.program.Vocab, panelWidth), headPanels))
	for i := range h.units {
		h.units[i] = make([]candidate, headRows)
	}
	return h
}

// weigh is sample.Weights with the kernel of the path.
func (h *head) weigh(dst []float64, logits []float32, max, temperature float64) {
	whole := len(logits) / 32 * 32
	if whole > 0 {
		h.kernels.weights(dst[:whole], logits[:whole], max, temperature)
	}
	sample.Weights(dst[whole:], logits[whole:], max, temperature)
}

// isPlain reports whether an output's token is the largest logit's and nothing else is asked for.
func isPlain(o *device.Output) bool {
	p := o.Params
	return o.Target == device.Sample && p.Temperature <= 0 && p.Logprobs < 0 && !p.Penalised() && len(p.Bias) == 0 &&
		!(o.Suppress && len(p.Suppress) > 0)
}

// run computes the logits of the chosen outputs and reads their results off.
func (h *head) run(c *operation, op *device.LMHead, s *device.Step, chosen []int32) {
	h.op, h.in, h.logits, h.step, h.chosen = c, h.buffers[op.In], h.buffers[op.Logits], s, chosen
	h.rest = h.rest[:0]
	for k, output := range chosen {
		h.plain[k] = isPlain(&s.Outputs[output]) && !h.trace.on()
		if !h.plain[k] {
			h.rest = append(h.rest, int32(k))
		}
	}
	h.shareRows()
	h.shares.deal(len(h.units))
	h.pool.run(len(h.units), &h.work)
	for k, output := range chosen {
		if h.plain[k] {
			s.Results[output].Token = h.likeliest(k).Token
			s.Results[output].Logprob, s.Results[output].Top = 0, s.Results[output].Top[:0]
		}
	}
	h.pool.run(len(h.rest), &h.read)
	for _, k := range h.shared {
		h.readRow(int(k), &h.all)
	}
	for _, output := range chosen {
		if o := &s.Outputs[output]; o.Target == device.Sample {
			h.slots[o.Slot].last = s.Results[output].Token
		}
	}
}

// shareRows takes rows from those that are read by a thread each if most threads would have none of them.
func (h *head) shareRows() {
	h.shared = h.shared[:0]
	over := len(h.rest) % h.pool.threads
	if over > h.pool.threads/2 {
		return
	}
	for i := len(h.rest) - 1; i >= 0 && len(h.shared) < over; i-- {
		k := h.rest[i]
		if sample.SumsAll(&h.step.Outputs[h.chosen[k]], h.program.Vocab) {
			h.rest, h.shared = slices.Delete(h.rest, i, i+1), append(h.shared, k)
		}
	}
}

func (h *head) runUnit(_, worker int) {
	unit := h.shares.take(worker)
	w := h.op.weight
	panel := unit * headPanels
	panels := min(headPanels, w.panels()-panel)
	rows := len(h.chosen)
	scratch := h.scratch[worker]
	h.multiply(w, h.in, panel, panels, 0, rows, scratch, headStride, worker)
	first := panel * panelWidth
	n := min(panels*panelWidth, w.rows-first)
	for k := range rows {
		logits := scratch[k*headStride:][:n]
		h.units[unit][k] = h.candidate(logits, int32(first), h.plain[k])
		if !h.plain[k] {
			copy(h.logits.row(k)[first:], logits)
		}
	}
}

// candidate finds the largest of some logits; with exact, the first among equals.
func (h *head) candidate(logits []float32, first int32, exact bool) candidate {
	whole := len(logits) / 16 * 16
	if whole < len(logits) || whole == 0 {
		return carefulCandidate(logits, first)
	}
	largest, check := h.kernels.largest(logits)
	if check != check {
		return carefulCandidate(logits, first)
	}
	if exact {
		first += int32(slices.Index(logits, largest))
	}
	return candidate{token: first, logit: largest}
}

func carefulCandidate(logits []float32, first int32) candidate {
	c := sample.Likeliest(logits)
	if c.Token != device.NoToken {
		return candidate{token: first + c.Token, logit: c.Logit}
	}
	nothing := math.IsInf(float64(c.Logit), -1)
	return candidate{token: device.NoToken, logit: c.Logit, broken: !nothing}
}

// likeliest is the candidate of a row.
func (h *head) likeliest(k int) sample.Candidate {
	best := sample.Candidate{Token: device.NoToken, Logit: float32(math.Inf(-1))}
	for _, unit := range h.units {
		c := unit[k]
		if c.broken {
			return sample.Candidate{Token: device.NoToken, Logit: c.logit}
		}
		if c.logit > best.Logit {
			best = sample.Candidate{Token: c.token, Logit: c.logit}
		}
	}
	return best
}

// readRow reads the result of a row off its stored logits.
func (h *head) readRow(k int, w *sample.Workspace) {
	output := h.chosen[k]
	o := &h.step.Outputs[output]
	logits := h.logits.row(k)[:h.program.Vocab]
	w.ReadWith(&h.step.Results[output], logits, h.likeliest(k), o, &h.slots[o.Slot].history)
}
