// Package sample defines how a token is drawn from logits: the one order of penalties, bias, temperature and truncation, and
// the random numbers, that every device follows. It is written to be read; devices with a faster way are tested against it.
//
// For one output, in this order:
//
//  1. Log-probabilities that are reported are the log-softmax of the logits as the model gave them.
//  2. Repetition penalty, for tokens seen in the prompt or the output: a positive logit is divided by it, another multiplied.
//  3. Frequency penalty times the token's count in the output, then presence penalty for tokens with a count, are subtracted.
//  4. Logit bias is added; suppressed tokens become -Inf while Output.Suppress. Steps 2 to 4 round to float32 each time.
//  5. Temperature 0 takes the largest logit. Otherwise token i weighs Exp((logitᵢ − largest) / Temperature).
//  6. Top-k keeps the k likeliest; top-p keeps, of these, the likeliest until their weights first reach TopP of the weight
//     that top-k left; min-p keeps, of these, the tokens with at least MinP times the largest weight, which is 1.
//  7. u = Uniform(seed, position) picks, in the order of ids, the first token at which the running sum exceeds u times the
//     total.
//
// Between equal logits the smaller id is the likelier, in every step. This is the order of SGLang (penalties, bias, temperature,
// then flashinfer's top-k and top-p renormalisation and its min-p sampling). vLLM differs in two places: it adds the bias
// before the penalties and cuts by min-p before top-k and top-p.
//
// Sums are float64. Sums in the order of ids go in blocks, ids [1024·b, 1024·(b+1)): ids of a block that are equal modulo 8 are
// summed from left to right, then these eight sums, then the blocks' sums. The running sum of step 7 is that of a token and all
// before it, in the same way. So a device can sum in vectors, and blocks in parallel, and still get the same bits. The exponential
// is defined to the bit, too (Exp).
package sample

import (
	"math"
	"slices"

	"minisgl/device"
)

// A Workspace holds scratch memory, so that drawing allocates nothing in the steady state. The zero value is ready.
type Workspace struct {
	// Weigh and Largest, where a device has faster ones: Weigh gives the bits that Weights gives, Largest the maximum of
	// logits, and a number that is NaN where one is NaN or infinite.
	Weigh   func(dst []float64, logits []float32, max, temperature float64)
	Largest func(logits []float32) (max, check float32)
	// Spread, where several threads are to work on a row, calls do(i, worker) for each i below n and returns when all are done.
	// Calls with the same worker, below Workers, come one after the other.
	Spread  func(n int, do func(i, worker int))
	Workers int

	adjusted []float32
	top      TopK
	kept     []Candidate
	row      row
	sums     []float64 // of the row's blocks
	workers  []worker
	sumPart  func(part, worker int)
}

// Read fills r with what output o asks of its logits, and counts a drawn token in the history: all that a device does with
// the logits of an output. history may be nil for sampling without penalties.
func (w *Workspace) Read(r *device.Result, logits []float32, o *device.Output, history *History) {
	w.ReadWith(r, logits, w.largest(logits), o, history)
}

// ReadWith is Read for a device that knows what Likeliest gives for the logits, but for its Token: any id will do where there is one.
func (w *Workspace) ReadWith(r *device.Result, logits []float32, largest Candidate, o *device.Output, history *History) {
	r.Logprob, r.Top = 0, r.Top[:0]
	if o.Target == device.Sample {
		r.Token = w.draw(logits, largest, o, history)
		if history != nil && o.Params.Penalised() && r.Token != device.NoToken {
			history.Add(r.Token)
		}
	} else if r.Token = o.Target; largest.Token == device.NoToken {
		r.Token = device.NoToken
	}
	if r.Token != device.NoToken && o.Params.Logprobs >= 0 {
		w.logprobs(r, logits, largest, o.Params.Logprobs)
	}
}

// SumsAll reports whether the weights of the whole vocabulary are summed for an output: what Spread is for.
func SumsAll(o *device.Output, vocab int) bool {
	p := o.Params
	draws := o.Target == device.Sample && p.Temperature > 0 && !(p.TopK > 0 && int(p.TopK) < vocab)
	return draws || p.Logprobs >= 0
}

// Draw returns the token for an output from its logits (one for each id of the vocabulary), which it leaves as they are,
// or device.NoToken where a logit is NaN or +Inf or no token is left. history may be nil for sampling without penalties.
func (w *Workspace) Draw(logits []float32, o *device.Output, history *History) int32 {
	return w.draw(logits, w.largest(logits), o, history)
}

func (w *Workspace) draw(logits []float32, largest Candidate, o *device.Output, history *History) int32 {
	if largest.Token == device.NoToken {
		return device.NoToken
	}
	if adjusted := w.adjust(logits, o, history); adjusted != nil {
		logits = adjusted
		largest = w.largest(logits)
	}
	p := o.Params
	if largest.Token == device.NoToken {
		return device.NoToken
	}
	if p.Temperature <= 0 {
		return int32(slices.Index(logits, largest.Logit))
	}
	s := softmax{max: float64(largest.Logit), temperature: float64(p.Temperature)}
	u := Uniform(p.Seed, o.Position)
	if k := int(p.TopK); k > 0 && k < len(logits) {
		return s.pick(w.truncateTop(logits, k, s, p), u)
	}
	w.row = row{softmax: s, logits: logits}
	if p.TopP < 1 {
		w.row.last, w.row.cut = w.nucleus(float64(p.TopP)), true
	}
	w.row.minP = float64(p.MinP)
	return w.pick(u * w.sum())
}

// largest is a candidate with the largest logit, as Likeliest, but its Token may be any id.
func (w *Workspace) largest(logits []float32) Candidate {
	whole := len(logits) / 16 * 16
	if w.Largest == nil || whole == 0 {
		return Likeliest(logits)
	}
	largest, check := w.Largest(logits[:whole])
	if check != check || largest != largest { // some are infinite or NaN
		return Likeliest(logits)
	}
	for _, l := range logits[whole:] {
		if l != l || l > math.MaxFloat32 {
			return Candidate{Token: device.NoToken, Logit: l}
		}
		largest = max(largest, l)
	}
	return Candidate{Logit: largest}
}

// Likeliest returns the candidate with the largest logit, the smallest id among equals. Its Token is device.NoToken where a
// logit is NaN or +Inf, or all are -Inf.
func Likeliest(logits []float32) Candidate {
	best := Candidate{Token: device.NoToken, Logit: float32(math.Inf(-1))}
	for i, l := range logits {
		if l > best.Logit {
			best = Candidate{int32(i), l}
		} else if l != l {
			return Candidate{Token: device.NoToken, Logit: l}
		}
	}
	if best.Logit > math.MaxFloat32 {
		best.Token = device.NoToken
	}
	return best
}

// adjust returns a copy of logits with penalties, bias and suppression, or nil if the output has none of them.
func (w *Workspace) adjust(logits []float32, o *device.Output, history *History) []float32 {
	p := o.Params
	penalised := history != nil && len(history.seen) > 0 && p.Penalised()
	suppressed := o.Suppress && len(p.Suppress) > 0
	if !penalised && !suppressed && len(p.Bias) == 0 {
		return nil
	}
	w.adjusted = append(w.adjusted[:0], logits...)
	if penalised {
		history.penalise(w.adjusted, p)
	}
	for _, b := range p.Bias {
		if within(b.Token, logits) {
			w.adjusted[b.Token] += b.Bias
		}
	}
	if suppressed {
		for _, token := range p.Suppress {
			if within(token, logits) {
				w.adjusted[token] = float32(math.Inf(-1))
			}
		}
	}
	return w.adjusted
}

func within(token int32, logits []float32) bool { return token >= 0 && int(token) < len(logits) }

// truncateTop returns the candidates that top-k, top-p and min-p keep, in the order of ids.
func (w *Workspace) truncateTop(logits []float32, k int, s softmax, p *device.Sampling) []Candidate {
	kept := w.top.Select(logits, k)
	if p.TopP < 1 {
		w.kept = append(w.kept[:0], kept...)
		sortByID(w.kept)
		kept = s.nucleus(kept, 0, float64(p.TopP)*s.sum(w.kept))
	}
	if p.MinP > 0 {
		kept = slices.DeleteFunc(kept, func(c Candidate) bool { return s.weight(c.Logit) < float64(p.MinP) })
	}
	sortByID(kept)
	return kept
}

// logprobs fills r.Logprob and r.Top for r.Token with the log-softmax of the raw logits.
func (w *Workspace) logprobs(r *device.Result, logits []float32, largest Candidate, n int32) {
	s := softmax{max: float64(largest.Logit), temperature: 1}
	w.row = row{softmax: s, logits: logits}
	logSum := math.Log(w.sum())
	r.Logprob = s.logprob(logits[r.Token], logSum)
	r.Top = r.Top[:0]
	for _, c := range w.top.Select(logits, min(int(n), len(logits))) {
		r.Top = append(r.Top, device.TokenLogprob{Token: c.Token, Logprob: s.logprob(c.Logit, logSum)})
	}
}
