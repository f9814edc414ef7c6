package device

import (
	"errors"
	"fmt"
)

// ErrContract is what every error of Step.Validate and Checker.Check wraps.
var ErrContract = errors.New("the step breaks the device's contract")

// Validate checks all that a device may rely on and that the step alone can show: ranges, coverage of the page tables, and
// that no sequence writes KV that another one writes or reads. If o.Pages is 0, page ids are only checked from below. It is
// for tests and check modes; see Checker for many steps.
func (s *Step) Validate(p *Program, o LoadOptions) error { return NewChecker(p, o).Check(s) }

// A Checker validates steps of one program without allocating. It holds no state of its own from one step to the next.
type Checker struct {
	program *Program
	options LoadOptions

	step    int         // number of the check: stamps of other checks are void
	pages   []pageStamp // by page id
	slots   []slotStamp // by slot
	rowSlot []int32     // by row: the slot of its sequence
	rowNext []int32     // by row: the position behind it
}

type pageStamp struct {
	writtenStep, readStep int
	writer, reader        int32 // sequences
	offset                int32 // the first offset that writer writes
}

type slotStamp struct{ sequenceStep, outputStep int }

// NewChecker returns a checker of steps for a runner that was loaded with these options; o.Pages is the runner's Pages.
func NewChecker(p *Program, o LoadOptions) *Checker {
	return &Checker{program: p, options: o, pages: make([]pageStamp, o.Pages), slots: make([]slotStamp, o.MaxSlots)}
}

// Check returns the first fault of a step, as an error that wraps ErrContract, or nil.
func (c *Checker) Check(s *Step) error {
	c.step++
	for _, check := range []func(*Checker, *Step) error{
		(*Checker).tokens, (*Checker).sequences, (*Checker).sharing, (*Checker).copies, (*Checker).resets, (*Checker).outputs,
	} {
		if err := check(c, s); err != nil {
			return err
		}
	}
	return nil
}

func fault(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrContract, fmt.Sprintf(format, args...))
}

func (c *Checker) tokens(s *Step) error {
	if len(s.Tokens) > c.options.MaxRows {
		return fault("%d rows, the most are %d", len(s.Tokens), c.options.MaxRows)
	}
	for row, token := range s.Tokens {
		if int(token) >= c.program.Vocab || token < Sampled(int32(c.options.MaxSlots-1)) {
			return fault("row %d: token %d is neither in [0, %d) nor that of a slot in [0, %d)", row, token, c.program.Vocab,
				c.options.MaxSlots)
		}
	}
	return nil
}

// sequences also stamps the pages that each sequence writes, and notes what outputs need to know of a row.
func (c *Checker) sequences(s *Step) error {
	c.rowSlot, c.rowNext = c.rowSlot[:0], c.rowNext[:0]
	for i := range s.Sequences {
		q := &s.Sequences[i]
		end := int(q.Position) + int(q.Rows)
		switch {
		case int(q.First) != len(c.rowSlot) || q.Rows < 1 || int(q.First)+int(q.Rows) > len(s.Tokens):
			return fault("sequence %d: rows [%d, %d) do not follow row %d, or exceed the step's %d", i, q.First, q.First+q.Rows,
				len(c.rowSlot)-1, len(s.Tokens))
		case q.Slot < 0 || int(q.Slot) >= c.options.MaxSlots:
			return fault("sequence %d: slot %d is not in [0, %d)", i, q.Slot, c.options.MaxSlots)
		case c.slots[q.Slot].sequenceStep == c.step:
			return fault("sequence %d: slot %d has another sequence in this step", i, q.Slot)
		case q.Position < 0 || end > c.program.MaxPositions:
			return fault("sequence %d: positions [%d, %d) are not in [0, %d)", i, q.Position, end, c.program.MaxPositions)
		case len(q.Pages)*c.options.PageSize < end:
			return fault("sequence %d: %d pages of %d do not cover %d positions", i, len(q.Pages), c.options.PageSize, end)
		}
		c.slots[q.Slot].sequenceStep = c.step
		for row := range q.Rows {
			c.rowSlot = append(c.rowSlot, q.Slot)
			c.rowNext = append(c.rowNext, q.Position+row+1)
		}
		if err := c.table(int32(i), q, end); err != nil {
			return err
		}
	}
	return nil
}

func (c *Checker) table(sequence int32, q *Sequence, end int) error {
	size := c.options.PageSize
	firstWritten := int(q.Position) / size
	for i, page := range q.Pages[:(end+size-1)/size] {
		if err := c.page(page); err != nil {
			return fmt.Errorf("%w (sequence %d, entry %d of its page table)", err, sequence, i)
		}
		if c.options.Pages == 0 {
			continue
		}
		stamp := &c.pages[page]
		if stamp.readStep == c.step && stamp.reader == sequence {
			return fault("sequence %d: page %d is in its page table twice", sequence, page)
		}
		stamp.readStep, stamp.reader = c.step, sequence
		if i < firstWritten {
			continue
		}
		if stamp.writtenStep == c.step {
			return fault("sequences %d and %d both write page %d", stamp.writer, sequence, page)
		}
		stamp.writtenStep, stamp.writer, stamp.offset = c.step, sequence, 0
		if i == firstWritten {
			stamp.offset = q.Position % int32(size)
		}
	}
	return nil
}

// sharing looks for sequences that read what another one writes in the same step: nothing says which comes first.
func (c *Checker) sharing(s *Step) error {
	if c.options.Pages == 0 {
		return nil
	}
	for i := range s.Sequences {
		q := &s.Sequences[i]
		end := int(q.Position + q.Rows)
		for j := 0; j*c.options.PageSize < end; j++ {
			page := q.Pages[j]
			stamp := &c.pages[page]
			if stamp.writtenStep == c.step && int(stamp.writer) != i && j*c.options.PageSize+int(stamp.offset) < end {
				return fault("sequence %d reads page %d, which sequence %d writes from offset %d on", i, page, stamp.writer, stamp.offset)
			}
		}
	}
	return nil
}

func (c *Checker) copies(s *Step) error {
	for i, copied := range s.Copies {
		if err := errors.Join(c.page(copied.Src), c.page(copied.Dst)); err != nil {
			return fmt.Errorf("%w (copy %d)", err, i)
		}
		if copied.Src == copied.Dst || copied.Tokens < 0 || int(copied.Tokens) > c.options.PageSize {
			return fault("copy %d: %d positions of page %d to page %d, pages have %d", i, copied.Tokens, copied.Src, copied.Dst,
				c.options.PageSize)
		}
	}
	return nil
}

func (c *Checker) page(page int32) error {
	if page < 0 || c.options.Pages > 0 && int(page) >= c.options.Pages {
		return fault("page %d is not in [0, %d)", page, c.options.Pages)
	}
	return nil
}

func (c *Checker) resets(s *Step) error {
	for i, reset := range s.Resets {
		if reset.Slot < 0 || int(reset.Slot) >= c.options.MaxSlots {
			return fault("reset %d: slot %d is not in [0, %d)", i, reset.Slot, c.options.MaxSlots)
		}
		for _, tokens := range [2][]int32{reset.Prompt, reset.Output} {
			for _, token := range tokens {
				if token < 0 || int(token) >= c.program.Vocab {
					return fault("reset %d: token %d is not in [0, %d)", i, token, c.program.Vocab)
				}
			}
		}
	}
	return nil
}

func (c *Checker) outputs(s *Step) error {
	for i := range s.Outputs {
		o := &s.Outputs[i]
		switch {
		case o.Row < 0 || int(o.Row) >= len(c.rowSlot):
			return fault("output %d: row %d belongs to no sequence", i, o.Row)
		case o.Slot != c.rowSlot[o.Row]:
			return fault("output %d: slot %d, but row %d is of slot %d", i, o.Slot, o.Row, c.rowSlot[o.Row])
		case o.Position != c.rowNext[o.Row]:
			return fault("output %d: position %d, but the token behind row %d takes %d", i, o.Position, o.Row, c.rowNext[o.Row])
		case o.Target != Sample && (o.Target < 0 || int(o.Target) >= c.program.Vocab):
			return fault("output %d: target %d is not in [0, %d)", i, o.Target, c.program.Vocab)
		case o.Params == nil:
			return fault("output %d: no sampling parameters", i)
		case o.Target == Sample && c.slots[o.Slot].outputStep == c.step:
			return fault("output %d: slot %d samples a second token in this step", i, o.Slot)
		}
		if o.Target == Sample {
			c.slots[o.Slot].outputStep = c.step
		}
	}
	return nil
}
