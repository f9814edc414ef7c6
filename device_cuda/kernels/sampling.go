//go:build cuda

package kernels

import (
	"math"
	"unsafe"

	"minisgl/device"
	"minisgl/device_cuda/driver"
)

// OutputParams is what the upload holds for each output: struct OutputParams in sampling.cuh.
type OutputParams struct {
	Slot, Target, Position int32
	Penalised              int32 // 1: the history counts
	Seed                   uint64
	Temperature            float32 // 0: greedy
	TopP, MinP             float32
	TopK                   int32 // 0: all
	Repetition             float32
	Presence, Frequency    float32
	Logprobs               int32 // -1: none; at most Vocab
	List                   int32 // index in StepLayout.Lists of Biases pairs (token, bits of a float32), then Suppressed tokens
	Biases, Suppressed     int32
	_                      int32
	Result                 driver.Ptr // where the token goes: a device.TokenLogprob in pinned memory
	Top                    driver.Ptr // where the Logprobs likeliest go
}

// ResetParams is what the upload holds for each slot whose history is set: struct ResetParams in sampling.cuh.
type ResetParams struct {
	Slot           int32
	List           int32 // index in StepLayout.Lists of Prompt tokens, then Output tokens
	Prompt, Output int32
}

// tokenBytes is the size of a device.TokenLogprob: struct TokenLogprob in sampling.cuh. Pinned memory holds one for the token of
// each output, and behind them those of each output's likeliest tokens.
const tokenBytes = int(unsafe.Sizeof(device.TokenLogprob{}))

// A Sampling describes the launches that turn the logits of a step's outputs, or of a chunk of them, into results.
type Sampling struct {
	Step        StepLayout
	Logits      driver.Ptr // float32, rows of Stride values, the first that of FirstOutput; only read
	Stride      int        // at least Vocab, a multiple of 4; Logits are aligned to 16 bytes
	FirstOutput int        // of the step, the first one whose logits are there
	Outputs     int        // as many as there may be from FirstOutput on; StepHeader.Outputs says how many there are
	Last        driver.Ptr // (slots) int32: the token sampled last, device.NoToken where there was none
	History     driver.Ptr // HistoryBytes, zeroed once; 0 if no output is penalised
	Scratch     driver.Ptr // SampleScratch(Outputs) bytes; needs no zeroing, lives from RowMaximum to Sample
}

// HistoryBytes is the size of the history of so many slots: (slots, Vocab) uint32, bit 31 set for tokens seen in the prompt,
// below it the token's count in the output.
func (s Shape) HistoryBytes(slots int) int64 { return int64(slots) * int64(s.Vocab) * 4 }

// ResultBytes is how much pinned memory the results of these outputs take. It grows with the log-probabilities that they ask for.
func (s Shape) ResultBytes(outputs []device.Output) int {
	n := len(outputs)
	for i := range outputs {
		n += max(0, s.logprobs(outputs[i].Params))
	}
	return n * tokenBytes
}

func (s Shape) logprobs(p *device.Sampling) int { return min(int(p.Logprobs), s.Vocab) }

// AppendOutputs appends what the card needs to know of the outputs of a step to params, and their tokens to lists (StepLayout.Lists).
// Results is the card's address of ResultBytes(outputs) bytes of pinned memory that nothing else uses until ReadResults.
func (s Shape) AppendOutputs(params []OutputParams, lists []int32, outputs []device.Output, results driver.Ptr) ([]OutputParams, []int32) {
	top := results.Offset(int64(len(outputs) * tokenBytes))
	for i := range outputs {
		o := &outputs[i]
		p := o.Params
		q := OutputParams{
			Slot: o.Slot, Target: o.Target, Position: o.Position,
			Seed: p.Seed, Temperature: p.Temperature, TopP: p.TopP, MinP: min(p.MinP, 1), TopK: max(0, p.TopK),
			Repetition: p.RepetitionPenalty, Presence: p.PresencePenalty, Frequency: p.FrequencyPenalty,
			Logprobs: int32(s.logprobs(p)),
			List:     int32(len(lists)),
			Result:   results.Offset(int64(i * tokenBytes)),
			Top:      top,
		}
		top = top.Offset(int64(max(0, q.Logprobs)) * int64(tokenBytes))
		if o.Target == device.Sample {
			if p.Penalised() {
				q.Penalised = 1
			}
			lists, q.Biases = s.appendBias(lists, p.Bias)
			if o.Suppress {
				lists, q.Suppressed = s.appendTokens(lists, p.Suppress)
			}
		}
		params = append(params, q)
	}
	return params, lists
}

// AppendResets does for slots what AppendOutputs does for outputs.
func (s Shape) AppendResets(params []ResetParams, lists []int32, resets []device.SlotReset) ([]ResetParams, []int32) {
	for _, r := range resets {
		q := ResetParams{Slot: r.Slot, List: int32(len(lists))}
		lists, q.Prompt = s.appendTokens(lists, r.Prompt)
		lists, q.Output = s.appendTokens(lists, r.Output)
		params = append(params, q)
	}
	return params, lists
}

func (s Shape) appendBias(lists []int32, bias []device.TokenBias) ([]int32, int32) {
	before := len(lists)
	for _, b := range bias {
		if s.knows(b.Token) {
			lists = append(lists, b.Token, int32(math.Float32bits(b.Bias)))
		}
	}
	return lists, int32(len(lists)-before) / 2
}

func (s Shape) appendTokens(lists, tokens []int32) ([]int32, int32) {
	before := len(lists)
	for _, token := range tokens {
		if s.knows(token) {
			lists = append(lists, token)
		}
	}
	return lists, int32(len(lists) - before)
}

func (s Shape) knows(token int32) bool { return token >= 0 && int(token) < s.Vocab }

// ReadResults decodes what the card wrote for the outputs that AppendOutputs was given. The slices in results are reused.
func (s Shape) ReadResults(results []device.Result, outputs []device.Output, pinned []byte) {
	read := unsafe.Slice((*device.TokenLogprob)(unsafe.Pointer(unsafe.SliceData(pinned))), len(pinned)/tokenBytes)
	tops := read[len(outputs):]
	for i := range outputs {
		r := &results[i]
		n := max(0, s.logprobs(outputs[i].Params))
		r.Token, r.Logprob, r.Top = read[i].Token, read[i].Logprob, r.Top[:0]
		if r.Token != device.NoToken {
			r.Top = append(r.Top, tops[:n]...)
		}
		tops = tops[n:]
	}
}

// As in sampling.cuh and the files that include it.
const (
	samplingParts  = 32 // pieces of the vocabulary
	partBytes      = 32
	maximumThreads = 256
	maximumShared  = 128
	drawThreads    = 1024
	drawShared     = 29 << 10
	resetBlocks    = 32
	resetThreads   = 512
)

// SampleScratch is the size of Sampling.Scratch for so many outputs: what RowMaximum found, and a row of adjusted logits for each.
func (s Shape) SampleScratch(outputs int) int64 {
	return int64(outputs) * (samplingParts*partBytes + int64(s.adjustedStride())*4)
}

func (s Shape) adjustedStride() int { return (s.Vocab + 3) / 4 * 4 }

type resetHistoryParams struct{ Step, Resets, Lists, History driver.Ptr }

type samplingParams struct {
	Step, Outputs, Lists, Logits, Last, History, Parts, Adjusted driver.Ptr
	Stride, FirstOutput                                          int32
}

// ResetHistory sets the history of the slots in StepLayout.Resets. It comes before the step's RowMaximum, and may be left out of
// plans for steps without resets.
func (s *Set) ResetHistory(step StepLayout, history driver.Ptr) driver.Launch {
	return s.launch("sampling", "reset_history", [3]int{resetBlocks, 1, 1}, resetThreads, 0, driver.Bytes(&resetHistoryParams{
		step.Header, step.Resets, step.Lists, history}))
}

// RowMaximum looks at all parts of all rows of logits at once. Sample has to follow it.
func (s *Set) RowMaximum(p Sampling) driver.Launch {
	return s.launch("sampling", "row_maximum", [3]int{samplingParts, p.Outputs, 1}, maximumThreads, maximumShared, s.samplingParams(p))
}

// Sample draws or scores the outputs: tokens to Last, counts to History, results to pinned memory.
func (s *Set) Sample(p Sampling) driver.Launch {
	return s.launch("sampling", "sample", [3]int{p.Outputs, 1, 1}, drawThreads, drawShared, s.samplingParams(p))
}

func (s Shape) samplingParams(p Sampling) []byte {
	return driver.Bytes(&samplingParams{
		p.Step.Header, p.Step.Outputs, p.Step.Lists, p.Logits, p.Last, p.History,
		p.Scratch, p.Scratch.Offset(int64(p.Outputs) * samplingParts * partBytes),
		int32(p.Stride), int32(p.FirstOutput)})
}
