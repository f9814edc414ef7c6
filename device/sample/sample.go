// Package sample defines how a token is drawn from logits: the one order of penalties, bias, temperature and truncation, and
// the random numbers, that every device follows. It is written to be read; devices with a faster way are tested against it.
//
// For one output, in this order:
//
//  1. Log-probabilities that are reported are the log-softmax of the logits as the model gave them.
//  2. Repetition penalty, for tokens seen in the prompt or the output: a positive logit is divided by it, another multiplied.
//  3. Frequency penalty times the token's count in the output, then presence penalty for tokens with a count, are subtracted.
//  4. Logit bias is added; suppressed tokens become -Inf while Output.Suppress. Steps 2 to 4 round to float32 each time.
//  5. Temperature 0 takes the largest logit. Otherwise token i weighs exp((logitᵢ − largest) / Temperature).
//  6. Top-k keeps the k likeliest; top-p keeps, of these, the likeliest until their weights first reach TopP of the weight
//     that top-k left; min-p keeps, of these, the tokens with at least MinP times the largest weight, which is 1.
//  7. u = Uniform(seed, position) picks, in the order of ids, the first token at which the running sum exceeds u times the
//     total.
//
// Between equal logits the smaller id is the likelier, in every step. This is the order of SGLang (penalties, bias, temperature,
// then flashinfer's top-k and top-p renormalisation and its min-p sampling). vLLM differs in two places: it adds the bias
// before the penalties and cuts by min-p before top-k and top-p.
//
// Sums are float64. Sums in the order of ids go in blocks: ids [1024·b, 1024·(b+1)) are summed from left to right, then the
// blocks' sums from left to right, so that a device can sum blocks in parallel and still get the same bits.
package sample

import (
	"math"
	"slices"

	"minisgl/device"
)

// Block is the number of ids whose weights are summed from left to right before the sum joins those of other blocks.
const Block = 1024

// A Workspace holds scratch memory, so that drawing allocates nothing in the steady state. The zero value is ready.
type Workspace struct {
	adjusted  []float32
	blockSums []float64
	top       TopK
	kept      []Candidate
}

// Read fills r with what output o asks of its logits, and counts a drawn token in the history: all that a device does with
// the logits of an output. history may be nil for sampling without penalties.
func (w *Workspace) Read(r *device.Result, logits []float32, o *device.Output, history *History) {
	r.Logprob, r.Top = 0, r.Top[:0]
	if o.Target == device.Sample {
		r.Token = w.Draw(logits, o, history)
		if history != nil && o.Params.Penalised() && r.Token != device.NoToken {
			history.Add(r.Token)
		}
	} else if r.Token = o.Target; Likeliest(logits).Token == device.NoToken {
		r.Token = device.NoToken
	}
	if r.Token != device.NoToken && o.Params.Logprobs >= 0 {
		w.Logprobs(r, logits, o.Params.Logprobs)
	}
}

// Draw returns the token for an output from its logits (one for each id of the vocabulary), which it leaves as they are,
// or device.NoToken where a logit is NaN or +Inf or no token is left. history may be nil for sampling without penalties.
func (w *Workspace) Draw(logits []float32, o *device.Output, history *History) int32 {
	best := Likeliest(logits)
	if best.Token == device.NoToken {
		return device.NoToken
	}
	if adjusted := w.adjust(logits, o, history); adjusted != nil {
		logits = adjusted
		best = Likeliest(logits)
	}
	p := o.Params
	if best.Token == device.NoToken || p.Temperature <= 0 {
		return best.Token
	}
	s := softmax{max: float64(best.Logit), temperature: float64(p.Temperature)}
	u := Uniform(p.Seed, o.Position)
	if kept, all := w.truncate(logits, s, p); !all {
		return s.pick(kept, u)
	}
	return w.pickAny(logits, s, u)
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

// truncate returns the candidates that top-k, top-p and min-p keep, in the order of ids; all says that they keep everything.
func (w *Workspace) truncate(logits []float32, s softmax, p *device.Sampling) (kept []Candidate, all bool) {
	k := int(p.TopK)
	topK := k > 0 && k < len(logits)
	switch {
	case topK:
		kept = w.top.Select(logits, k)
		if p.TopP < 1 {
			w.kept = append(w.kept[:0], kept...)
			sortByID(w.kept)
			kept, _ = s.nucleus(kept, float64(p.TopP)*s.sum(w.kept))
		}
	case p.TopP < 1:
		kept = w.nucleus(logits, s, float64(p.TopP)*w.sumAll(logits, s))
	case p.MinP > 0:
		return w.atLeast(logits, s, float64(p.MinP)), false
	default:
		return nil, true
	}
	for p.MinP > 0 && len(kept) > 1 && s.weight(kept[len(kept)-1].Logit) < float64(p.MinP) {
		kept = kept[:len(kept)-1]
	}
	sortByID(kept)
	return kept, false
}

// nucleus returns the likeliest candidates whose weights first reach goal. It sorts no more of the vocabulary than it must:
// it looks deeper and deeper below the largest logit until what it has found is enough.
func (w *Workspace) nucleus(logits []float32, s softmax, goal float64) []Candidate {
	const deepest = 750 // below it weights are 0: e⁻⁷⁴⁶ is no float64
	for depth := 2.0; ; depth *= 1.5 {
		w.kept = w.kept[:0]
		sum, least := 0.0, s.max-depth*s.temperature
		for i, l := range logits {
			if float64(l) >= least {
				w.kept = append(w.kept, Candidate{int32(i), l})
				sum += s.weight(l)
			}
		}
		all := depth > deepest || len(w.kept) == len(logits)
		if sum < goal && !all {
			continue
		}
		slices.SortFunc(w.kept, Candidate.Compare)
		if kept, reached := s.nucleus(w.kept, goal); reached || all {
			return kept
		}
	}
}

// atLeast returns the candidates with a weight of least or more, in the order of ids.
func (w *Workspace) atLeast(logits []float32, s softmax, least float64) []Candidate {
	w.kept = w.kept[:0]
	hopeless := s.max + s.temperature*(math.Log(least)-1) // below it, there is no need to compute the weight
	for i, l := range logits {
		if x := float64(l); x == s.max || x >= hopeless && s.weight(l) >= least {
			w.kept = append(w.kept, Candidate{int32(i), l})
		}
	}
	return w.kept
}

// sumAll returns the sum of all weights and leaves the sums of the blocks in w.blockSums.
func (w *Workspace) sumAll(logits []float32, s softmax) (total float64) {
	w.blockSums = w.blockSums[:0]
	for block := range slices.Chunk(logits, Block) {
		sum := s.blockSum(block)
		w.blockSums = append(w.blockSums, sum)
		total += sum
	}
	return total
}

func (w *Workspace) pickAny(logits []float32, s softmax, u float64) int32 {
	goal := u * w.sumAll(logits, s)
	before := 0.0
	for b, sum := range w.blockSums {
		if before+sum <= goal {
			before += sum
			continue
		}
		running := 0.0
		for i, l := range logits[b*Block : min((b+1)*Block, len(logits))] {
			if running += s.weight(l); before+running > goal {
				return int32(b*Block + i)
			}
		}
	}
	return device.NoToken // not reached: u < 1, so that the last sum exceeds the goal
}

// Logprobs fills r.Logprob and r.Top for r.Token with the log-softmax of the raw logits.
func (w *Workspace) Logprobs(r *device.Result, logits []float32, n int32) {
	s := softmax{max: float64(slices.Max(logits)), temperature: 1}
	logSum := math.Log(w.sumAll(logits, s))
	r.Logprob = s.logprob(logits[r.Token], logSum)
	r.Top = r.Top[:0]
	for _, c := range w.top.Select(logits, min(int(n), len(logits))) {
		r.Top = append(r.Top, device.TokenLogprob{Token: c.Token, Logprob: s.logprob(c.Logit, logSum)})
	}
}
