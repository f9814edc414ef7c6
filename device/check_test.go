package device_test

import (
	"errors"
	"strings"
	"testing"

	"minisgl/device"
)

var (
	checkProgram = &device.Program{Vocab: 100, MaxPositions: 40}
	checkOptions = device.LoadOptions{PageSize: 4, Pages: 10, MaxSlots: 3, MaxRows: 8}
)

// validStep has a decode row of slot 2 at position 9, four rows of a prompt in slot 0 from position 6 on, and padding.
func validStep() *device.Step {
	return &device.Step{
		Tokens: []int32{device.Sampled(2), 5, 6, 7, 99, 0},
		Sequences: []device.Sequence{
			{Slot: 2, First: 0, Rows: 1, Position: 9, Pages: []int32{3, 1, 7}},
			{Slot: 0, First: 1, Rows: 4, Position: 6, Pages: []int32{3, 5, 8, 9}},
		},
		Copies: []device.PageCopy{{Src: 1, Dst: 5, Tokens: 2}},
		Resets: []device.SlotReset{{Slot: 0, Prompt: []int32{1, 2}, Output: []int32{3}}},
		Outputs: []device.Output{
			{Row: 4, Slot: 0, Target: device.Sample, Position: 10, Params: device.Greedy()},
			{Row: 0, Slot: 2, Target: device.Sample, Position: 10, Params: device.Greedy()},
			{Row: 1, Slot: 0, Target: 6, Position: 7, Params: device.Greedy()},
		},
	}
}

func TestValidSteps(t *testing.T) {
	c := device.NewChecker(checkProgram, checkOptions)
	for _, s := range []*device.Step{validStep(), {}, validStep(), {Tokens: []int32{1, 2}}} {
		if err := c.Check(s); err != nil {
			t.Error(err)
		}
	}
	unknownPages := checkOptions
	unknownPages.Pages = 0
	if err := validStep().Validate(checkProgram, unknownPages); err != nil {
		t.Errorf("without a number of pages: %v", err)
	}
}

func TestInvalidSteps(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*device.Step)
		want   string
	}{
		{"rows", func(s *device.Step) { s.Tokens = append(s.Tokens, 1, 1, 1) }, "9 rows, the most are 8"},
		{"token", func(s *device.Step) { s.Tokens[5] = 100 }, "row 5: token 100"},
		{"token of a slot", func(s *device.Step) { s.Tokens[1] = device.Sampled(3) }, "row 1: token -4"},
		{"gap", func(s *device.Step) { s.Sequences[1].First = 2 }, "sequence 1: rows [2, 6) do not follow row 0"},
		{"more rows than tokens", func(s *device.Step) { s.Sequences[1].Rows = 6 }, "rows [1, 7) do not follow row 0, or exceed the step's 6"},
		{"no rows", func(s *device.Step) { s.Sequences[0].Rows = 0 }, "sequence 0: rows [0, 0)"},
		{"slot", func(s *device.Step) { s.Sequences[0].Slot = 3 }, "sequence 0: slot 3 is not in [0, 3)"},
		{"slot twice", func(s *device.Step) { s.Sequences[1].Slot = 2 }, "sequence 1: slot 2 has another sequence"},
		{"position", func(s *device.Step) { s.Sequences[1].Position = 37 }, "positions [37, 41) are not in [0, 40)"},
		{"short table", func(s *device.Step) { s.Sequences[0].Pages = []int32{3, 1} }, "sequence 0: 2 pages of 4 do not cover 10 positions"},
		{"page", func(s *device.Step) { s.Sequences[0].Pages[1] = 10 }, "page 10 is not in [0, 10) (sequence 0, entry 1 of its page table)"},
		{"negative page", func(s *device.Step) { s.Sequences[0].Pages[0] = -1 }, "page -1 is not"},
		{"page twice", func(s *device.Step) { s.Sequences[0].Pages[1] = 3 }, "sequence 0: page 3 is in its page table twice"},
		{"two writers", func(s *device.Step) { s.Sequences[1].Pages[2] = 7 }, "sequences 0 and 1 both write page 7"},
		{"reader of what is written", func(s *device.Step) { s.Sequences[0].Pages[1] = 5 }, "sequence 0 reads page 5, which sequence 1 writes from offset 2 on"},
		{"copy", func(s *device.Step) { s.Copies[0].Dst = 10 }, "page 10 is not in [0, 10) (copy 0)"},
		{"copy of too much", func(s *device.Step) { s.Copies[0].Tokens = 5 }, "copy 0: 5 positions of page 1 to page 5, pages have 4"},
		{"copy onto itself", func(s *device.Step) { s.Copies[0].Dst = 1 }, "copy 0"},
		{"reset", func(s *device.Step) { s.Resets[0].Slot = -1 }, "reset 0: slot -1 is not in [0, 3)"},
		{"history", func(s *device.Step) { s.Resets[0].Output[0] = -1 }, "reset 0: token -1 is not in [0, 100)"},
		{"output of padding", func(s *device.Step) { s.Outputs[0].Row = 5 }, "output 0: row 5 belongs to no sequence"},
		{"output of another slot", func(s *device.Step) { s.Outputs[0].Slot = 2 }, "output 0: slot 2, but row 4 is of slot 0"},
		{"output's position", func(s *device.Step) { s.Outputs[0].Position = 9 }, "output 0: position 9, but the token behind row 4 takes 10"},
		{"target", func(s *device.Step) { s.Outputs[2].Target = -2 }, "output 2: target -2 is not in [0, 100)"},
		{"parameters", func(s *device.Step) { s.Outputs[1].Params = nil }, "output 1: no sampling parameters"},
		{"two draws", func(s *device.Step) { s.Outputs[2].Target = device.Sample }, "output 2: slot 0 samples a second token"},
	} {
		s := validStep()
		c.change(s)
		if err := s.Validate(checkProgram, checkOptions); !errors.Is(err, device.ErrContract) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
}

func TestReadingBelowWhatAnotherSequenceWritesIsFine(t *testing.T) {
	s := validStep()
	s.Sequences[0] = device.Sequence{Slot: 2, Rows: 1, Position: 5, Pages: []int32{3, 7}}
	s.Sequences[1].Pages = []int32{3, 5, 8, 9}
	s.Outputs = nil
	if err := s.Validate(checkProgram, checkOptions); err != nil {
		t.Error(err)
	}
}

func TestCheckerAllocatesNothing(t *testing.T) {
	c, s := device.NewChecker(checkProgram, checkOptions), validStep()
	if n := testing.AllocsPerRun(20, func() { _ = c.Check(s) }); n != 0 {
		t.Errorf("%v allocations a step", n)
	}
}

func TestResizeResultsKeepsMemory(t *testing.T) {
	s := validStep()
	s.ResizeResults()
	if len(s.Results) != 3 {
		t.Fatalf("%d results, want 3", len(s.Results))
	}
	s.Results[2].Top = make([]device.TokenLogprob, 5)
	s.Outputs = s.Outputs[:1]
	s.ResizeResults()
	s.Outputs = s.Outputs[:3]
	s.ResizeResults()
	if cap(s.Results[2].Top) != 5 {
		t.Error("the memory of a result was lost")
	}
}
