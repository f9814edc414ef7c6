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
// Sums are float64. Sums in the order of ids go in blocks: ids [1024·b, 1024·(b+1)) are summed from left to right, then the
// blocks' sums from left to right, so that a device can sum blocks in parallel and still get the same bits. The exponential is
// defined to the bit, too (Exp), so that a device can compute it in vectors.
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
	// Weigh and Largest, where a device has faster ones: Weigh gives the bits that Weights gives, Largest the maximum of
	// logits, and a number that is NaN where one is NaN or infinite.
	Weigh   func(dst []float64, logits []float32, max, temperature float64)
	Largest func(logits []float32) (max, check float32)

	adjusted  []float32
	weights   []float64 // of each id
	blockSums []float64
	depths    []float64 // see nucleus
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
	largest := w.largest(logits)
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
	total := w.weigh(logits, s)
	if p.TopP < 1 {
		w.keep(logits, w.nucleus(logits, s, float64(p.TopP)*total))
	}
	if p.MinP > 0 {
		for i, weight := range w.weights {
			if weight < float64(p.MinP) {
				w.weights[i] = 0
			}
		}
	}
	if p.TopP < 1 || p.MinP > 0 {
		total = w.sumBlocks()
	}
	return w.pick(u * total)
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

// weigh fills w.weights and the sums of their blocks, and returns the total.
func (w *Workspace) weigh(logits []float32, s softmax) (total float64) {
	w.weights = slices.Grow(w.weights[:0], len(logits))[:len(logits)]
	if w.Weigh != nil {
		w.Weigh(w.weights, logits, s.max, s.temperature)
	} else {
		Weights(w.weights, logits, s.max, s.temperature)
	}
	return w.sumBlocks()
}

// sumBlocks sums the weights block by block. Four blocks at a time: additions of one wait for each other.
func (w *Workspace) sumBlocks() (total float64) {
	w.blockSums = w.blockSums[:0]
	rest := w.weights
	for ; len(rest) >= 4*Block; rest = rest[4*Block:] {
		var sums [4]float64
		a, b, c, d := (*[Block]float64)(rest), (*[Block]float64)(rest[Block:]), (*[Block]float64)(rest[2*Block:]), (*[Block]float64)(rest[3*Block:])
		for i := range Block {
			sums[0] += a[i]
			sums[1] += b[i]
			sums[2] += c[i]
			sums[3] += d[i]
		}
		w.blockSums = append(w.blockSums, sums[:]...)
	}
	for block := range slices.Chunk(rest, Block) {
		sum := 0.0
		for _, weight := range block {
			sum += weight
		}
		w.blockSums = append(w.blockSums, sum)
	}
	for _, sum := range w.blockSums {
		total += sum
	}
	return total
}

// pick returns the first id at which the running sum of the weights exceeds goal.
func (w *Workspace) pick(goal float64) int32 {
	before := 0.0
	for b, sum := range w.blockSums {
		if before+sum <= goal {
			before += sum
			continue
		}
		running := 0.0
		for i, weight := range w.weights[b*Block : min((b+1)*Block, len(w.weights))] {
			if running += weight; before+running > goal {
				return int32(b*Block + i)
			}
		}
	}
	return device.NoToken // not reached: u < 1, so that the last sum exceeds the goal
}

// keep sets the weights of all ids behind last, in the order of likelihood, to 0.
func (w *Workspace) keep(logits []float32, last Candidate) {
	for i, l := range logits {
		if l < last.Logit || l == last.Logit && int32(i) > last.Token {
			w.weights[i] = 0
		}
	}
}

// depthsPerUnit is the resolution of nucleus: how many parts a factor of e in the weight is cut into; deepest is their number.
const (
	depthsPerUnit = 64
	deepest       = 64 * depthsPerUnit
)

func (s softmax) depth(logit float32) int {
	return int(min((s.max-float64(logit))*(depthsPerUnit/s.temperature), deepest-1))
}

// nucleus returns the last of the likeliest candidates whose weights first reach goal. It adds weights up by their depth below
// the largest, which is enough to know the depth at which the goal is reached, and sorts no more than the candidates there.
// The definition sums one by one in the order of likelihood; where the goal is so close to a sum that the order of additions
// could matter, everything is sorted.
func (w *Workspace) nucleus(logits []float32, s softmax, goal float64) Candidate {
	w.depths = slices.Grow(w.depths[:0], deepest)[:deepest]
	clear(w.depths)
	for i, l := range logits {
		w.depths[s.depth(l)] += w.weights[i]
	}
	reached, above := 0, 0.0
	for reached < deepest-1 && above+w.depths[reached] < goal {
		above += w.depths[reached]
		reached++
	}
	w.kept = w.kept[:0]
	for i, l := range logits {
		if s.depth(l) == reached {
			w.kept = append(w.kept, Candidate{int32(i), l})
		}
	}
	slices.SortFunc(w.kept, Candidate.Compare)
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

// Logprobs fills r.Logprob and r.Top for r.Token with the log-softmax of the raw logits.
func (w *Workspace) Logprobs(r *device.Result, logits []float32, n int32) {
	s := softmax{max: float64(w.largest(logits).Logit), temperature: 1}
	logSum := math.Log(w.weigh(logits, s))
	r.Logprob = s.logprob(logits[r.Token], logSum)
	r.Top = r.Top[:0]
	for _, c := range w.top.Select(logits, min(int(n), len(logits))) {
		r.Top = append(r.Top, device.TokenLogprob{Token: c.Token, Logprob: s.logprob(c.Logit, logSum)})
	}
}
