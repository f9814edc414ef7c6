package shadow

import (
	"fmt"

	"minisgl/device"
)

// A kind is one aspect of a step, read off as a list of numbers. Together the kinds are all that a device learns from a step.
type kind struct {
	name string
	read func(list []int64, s *device.Step, pageSize int) []int64
}

// kinds are compared in this order. Their names are the seed's.
var kinds = []kind{
	{"positions", positions},
	{"input_mapping", inputMapping},
	{"input_positions", inputPositions},
	{"write_req_mapping", writeReqMapping},
	{"write_pos", writePos},
}

// positions: the position of each row in its sequence.
func positions(list []int64, s *device.Step, _ int) []int64 {
	for i := range s.Sequences {
		q := &s.Sequences[i]
		for row := range q.Rows {
			list = append(list, int64(q.Position+row))
		}
	}
	return list
}

// inputMapping: what each row reads as its token, an id or -1-slot for the token that was sampled last in a slot. Then the history of
// each slot that is reset: slot, number of prompt tokens, number of output tokens, the tokens.
func inputMapping(list []int64, s *device.Step, _ int) []int64 {
	for _, token := range s.Tokens {
		list = append(list, int64(token))
	}
	for _, reset := range s.Resets {
		list = append(list, int64(reset.Slot), int64(len(reset.Prompt)), int64(len(reset.Output)))
		for _, tokens := range [2][]int32{reset.Prompt, reset.Output} {
			for _, token := range tokens {
				list = append(list, int64(token))
			}
		}
	}
	return list
}

// inputPositions: where KV is read. For each sequence the pages that hold its positions, from 0 to its last row's. Then the place (page ·
// page size + offset) of each position that is copied.
func inputPositions(list []int64, s *device.Step, pageSize int) []int64 {
	for i := range s.Sequences {
		q := &s.Sequences[i]
		for _, page := range q.Pages[:pagesFor(q.Position+q.Rows, pageSize)] {
			list = append(list, int64(page))
		}
	}
	for _, c := range s.Copies {
		for offset := range c.Tokens {
			list = append(list, place(c.Src, offset, pageSize))
		}
	}
	return list
}

// writeReqMapping: whose results are written. For each row the slot of its sequence. Then for each output its row, slot, target,
// position, whether tokens are suppressed, and the seed, which stands for the request's sampling parameters.
func writeReqMapping(list []int64, s *device.Step, _ int) []int64 {
	for i := range s.Sequences {
		for range s.Sequences[i].Rows {
			list = append(list, int64(s.Sequences[i].Slot))
		}
	}
	for i := range s.Outputs {
		o := &s.Outputs[i]
		suppress := int64(0)
		if o.Suppress {
			suppress = 1
		}
		list = append(list, int64(o.Row), int64(o.Slot), int64(o.Target), int64(o.Position), suppress, int64(o.Params.Seed))
	}
	return list
}

// writePos: the place at which each row writes its KV, and each copied position lands.
func writePos(list []int64, s *device.Step, pageSize int) []int64 {
	for i := range s.Sequences {
		q := &s.Sequences[i]
		for position := q.Position; position < q.Position+q.Rows; position++ {
			list = append(list, place(q.Pages[int(position)/pageSize], position%int32(pageSize), pageSize))
		}
	}
	for _, c := range s.Copies {
		for offset := range c.Tokens {
			list = append(list, place(c.Dst, offset, pageSize))
		}
	}
	return list
}

func place(page, offset int32, pageSize int) int64 {
	return int64(page)*int64(pageSize) + int64(offset)
}

func pagesFor(positions int32, pageSize int) int { return (int(positions) + pageSize - 1) / pageSize }

// difference says how b differs from a, in the seed's words; "" if it does not.
func difference(a, b []int64) string {
	if len(a) != len(b) {
		return fmt.Sprintf("shape mismatch: (%d,) != (%d,)", len(a), len(b))
	}
	for i := range a {
		if a[i] != b[i] {
			return fmt.Sprintf("value mismatch at idx=%d: %d != %d", i, a[i], b[i])
		}
	}
	return ""
}
