package scheduler

import (
	"slices"

	"minisgl/device"
)

// build writes a flight's pieces, copies and resets down as a step. It reuses the step's memory.
func build(step *device.Step, f *flight) {
	step.Tokens = step.Tokens[:0]
	step.Outputs = step.Outputs[:0]
	step.Copies = append(step.Copies[:0], f.copies...)
	step.Resets = append(step.Resets[:0], f.resets...)
	step.Sequences = resize(step.Sequences, len(f.pieces))
	for i := range f.pieces {
		p := &f.pieces[i]
		r := p.request
		first := len(step.Tokens)
		sequence := &step.Sequences[i]
		*sequence = device.Sequence{Slot: r.slot, First: int32(first), Rows: int32(p.rows), Position: int32(p.from),
			Pages: append(slices.Grow(sequence.Pages[:0], cap(r.pages)), r.pages...)}

		end := p.from + p.rows
		known := min(end, len(r.tokens))
		step.Tokens = append(step.Tokens, r.tokens[p.from:max(p.from, known)]...)
		if known < end {
			step.Tokens = append(step.Tokens, device.Sampled(r.slot))
		}

		for target := p.score; target < p.score+p.scores; target++ {
			step.Outputs = append(step.Outputs, device.Output{Row: int32(first + target - 1 - p.from), Slot: r.slot,
				Target: r.Prompt[target], Position: int32(target), Params: r.Sampling})
		}
		if p.draws {
			step.Outputs = append(step.Outputs, device.Output{Row: int32(first + p.rows - 1), Slot: r.slot,
				Target: device.Sample, Position: int32(end), Suppress: r.suppressed(p.output), Params: r.Sampling})
		}
	}
	step.ResizeResults()
}

// resize changes a slice's length and keeps what its elements behind the old length had, for reuse.
func resize[T any](list []T, n int) []T {
	list = list[:cap(list)]
	if n > len(list) {
		list = append(list, make([]T, n-len(list))...)
	}
	return list[:n]
}
