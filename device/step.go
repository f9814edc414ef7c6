package device

// A Step is one forward pass over a batch in which decode rows and pieces of prompts stand side by side, as packed arrays.
// The scheduler fills it; the device reads it from Submit to Wait, writes Results, and keeps no pointer to it after Wait.
//
// Row t of the step is one token. The rows of sequence s are Sequences[s].First up to First+Rows, at consecutive positions,
// and sequences lie in order without gaps. Rows behind the last sequence are padding: a device may compute them, but they
// write no KV and change no result.
type Step struct {
	Tokens    []int32 // (rows) a token id, or Sampled(slot)
	Sequences []Sequence
	Copies    []PageCopy  // done before any row runs, in order
	Resets    []SlotReset // done before any row runs
	Outputs   []Output    // (outputs) what to read off the step, in any order of rows

	// Results has one entry for each output, written by the device before Wait returns. The device makes it as long as
	// Outputs with ResizeResults; the slices inside it are reused.
	Results []Result

	// Trace, if set, is called with each operation's output as soon as it is computed, in order. It makes the step slow.
	Trace func(Tap)
}

// ResizeResults makes Results as long as Outputs and keeps the memory in it. Devices call it before they write results.
func (s *Step) ResizeResults() {
	for cap(s.Results) < len(s.Outputs) {
		s.Results = append(s.Results[:cap(s.Results)], Result{})
	}
	s.Results = s.Results[:len(s.Outputs)]
}

// Sampled is the value in Step.Tokens that stands for the token that was sampled last in a slot, which the host may not
// have seen yet: it is how step n+1 is submitted before step n is read. Where that was NoToken, the row runs as token 0.
func Sampled(slot int32) int32 { return -1 - slot }

// A Sequence is a run of rows of one request: one row when decoding, many in a chunk of its prompt.
type Sequence struct {
	Slot     int32 // the request's place on the device, in [0, MaxSlots)
	First    int32 // its first row in Step.Tokens
	Rows     int32
	Position int32 // position of the first row: how many tokens of the sequence have their KV stored already
	// Pages is the page table: Pages[i] holds positions i·PageSize up to (i+1)·PageSize. It covers all positions up to
	// the last row's, and may be longer. The step owns the memory.
	Pages []int32
}

// PageCopy copies the KV of the first Tokens positions of page Src to page Dst, all layers.
type PageCopy struct{ Src, Dst, Tokens int32 }

// SlotReset gives a slot the history that penalties count: sent when a request whose Sampling.Penalised begins or resumes
// in the slot. From then on the device counts the tokens it samples there itself.
type SlotReset struct {
	Slot           int32
	Prompt, Output []int32
}

// An Output is a row whose logits are used: to sample the next token, or to score a given one (prompt logprobs).
type Output struct {
	Row    int32
	Slot   int32
	Target int32 // the token to score, or Sample to draw one
	// Position is the position that the token takes, so the row's own plus one; the random numbers are keyed by it.
	Position int32
	Suppress bool // Params.Suppress holds for this row: the request has not reached its min_tokens
	Params   *Sampling
}

// Sample is the Target of an output whose token is to be drawn.
const Sample int32 = -1

// A Result is what a device found for an Output.
type Result struct {
	// Token is the sampled token, or the target. It is NoToken where the row's logits held a NaN or +Inf or nothing could be
	// drawn: the request is broken, its neighbours are not.
	Token   int32
	Logprob float32        // log-softmax of the raw logits at Token, if Params.Logprobs ≥ 0
	Top     []TokenLogprob // the Params.Logprobs likeliest tokens, likeliest first, ties by smaller id
}

// NoToken is the Result.Token of a row whose logits are not numbers.
const NoToken int32 = -1

// TokenLogprob is a token and the natural logarithm of its probability.
type TokenLogprob struct {
	Token   int32
	Logprob float32
}

// Sampling says how to draw a token. It does not change while a request lives. How the fields act, and in which order, is
// defined by package device/sample.
type Sampling struct {
	Temperature float32 // 0: greedy, the smallest id among the largest logits
	TopK        int32   // keep the k likeliest; ≤ 0: all
	TopP        float32 // keep the likeliest whose probabilities first reach p; 1: all
	MinP        float32 // keep those with at least MinP times the likeliest's probability; 0: all
	Seed        uint64

	RepetitionPenalty float32 // 1: none; divides positive and multiplies negative logits of tokens seen in prompt or output
	PresencePenalty   float32 // subtracted once for tokens seen in the output
	FrequencyPenalty  float32 // subtracted for each time a token was seen in the output

	Bias     []TokenBias // added to the logits
	Suppress []int32     // tokens that cannot be drawn while Output.Suppress

	Logprobs int32 // -1: none; n: the token's own and the n likeliest
}

// TokenBias is added to a token's logit.
type TokenBias struct {
	Token int32
	Bias  float32
}

// Penalised reports whether drawing needs the tokens that the request has seen (see SlotReset).
func (s *Sampling) Penalised() bool {
	return s.RepetitionPenalty != 1 || s.PresencePenalty != 0 || s.FrequencyPenalty != 0
}

// Greedy is the sampling of a request that asks for nothing: the likeliest token, no logprobs.
func Greedy() *Sampling { return &Sampling{TopP: 1, RepetitionPenalty: 1, Logprobs: -1} }

// A Tap is one operation's output in a traced step: Data is Rows × Width, row-major. For RotaryStore it is the whole
// rotated row, for LMHead the logits of each output. Padding rows may be missing. It is only valid during the call.
type Tap struct {
	Op          int // index in Program.Ops
	Label       string
	Rows, Width int
	Data        []float64
}
