package scheduler

import (
	"slices"

	"minisgl/device"
)

// buildReference writes the same step down as build does, in the plainest way: position by position, from what the request
// asked for and has got so far. Of a piece it believes only whose it is and which positions it computes. It allocates as it goes.
func buildReference(step *device.Step, f *flight) {
	step.Tokens, step.Sequences, step.Outputs, step.Resets = nil, nil, nil, nil
	step.Copies = slices.Clone(f.copies)
	for _, p := range f.pieces {
		r := p.request
		step.Sequences = append(step.Sequences, device.Sequence{
			Slot: r.slot, First: int32(len(step.Tokens)), Rows: int32(p.rows), Position: int32(p.from), Pages: slices.Clone(r.pages),
		})
		for position := p.from; position < p.from+p.rows; position++ {
			output := device.Output{Row: int32(len(step.Tokens)), Slot: r.slot, Position: int32(position + 1), Params: r.Sampling}
			step.Tokens = append(step.Tokens, inputAt(r, position))
			if wantsScore(r, position+1) {
				output.Target = r.Prompt[position+1]
				step.Outputs = append(step.Outputs, output)
			}
			if wantsDraw(r, position+1) {
				output.Target = device.Sample
				output.Suppress = position+1-len(r.Prompt) < r.MinTokens
				step.Outputs = append(step.Outputs, output)
			}
		}
		for _, reset := range f.resets {
			if reset.Slot == r.slot {
				step.Resets = append(step.Resets, device.SlotReset{Slot: r.slot, Prompt: slices.Clone(r.Prompt), Output: slices.Clone(r.tokens[len(r.Prompt):])})
			}
		}
	}
	step.ResizeResults()
}

// inputAt is the token at a position: of the prompt, of the output, or the one that the step in flight draws.
func inputAt(r *request, position int) int32 {
	switch {
	case position < len(r.Prompt):
		return r.Prompt[position]
	case position < len(r.tokens):
		return r.tokens[position]
	default:
		return device.Sampled(r.slot)
	}
}

// wantsScore reports whether the prompt's token at index is to be scored and has not been delivered yet: a request that was
// retracted computes some positions again.
func wantsScore(r *request, index int) bool {
	return r.ScoreFrom >= 0 && index >= r.ScoreFrom && index < len(r.Prompt) && index >= r.nextScore
}

// wantsDraw reports whether the token at index is an output that nobody has drawn yet.
func wantsDraw(r *request, index int) bool {
	return index >= len(r.tokens) && index-len(r.Prompt) < r.maxTokens
}
