//go:build cuda

package driver

/*
#include "driver.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"unsafe"
)

// A Ticket stands for a step that was submitted.
type Ticket struct {
	card   *Card
	number uint64 // of the step, from 1
	err    error  // it was refused
}

// Submit queues the copy of src[:bytes] to dst, then the plan, and returns. src may change when the ticket's Wait has returned;
// the plan may be closed at any time.
//
// The call into C happens on the caller's own thread: handing it to the owner's and back costs 16 µs a time.
func (c *Card) Submit(p *Plan, dst Ptr, src Pinned, bytes int) Ticket {
	if p == nil || p.card != c {
		return Ticket{err: fmt.Errorf("cuda:%d: submit: the plan is not of this card", c.ordinal)}
	}
	if bytes < 0 || bytes > len(src.Bytes) {
		return Ticket{err: fmt.Errorf("cuda:%d: submit: %d bytes of a buffer of %d", c.ordinal, bytes, len(src.Bytes))}
	}
	c.gate.Lock()
	defer c.gate.Unlock()
	switch {
	case c.closed:
		return Ticket{err: errClosed}
	case p.closed:
		return Ticket{err: fmt.Errorf("cuda:%d: submit: the plan is closed", c.ordinal)}
	}
	c.sent++
	t := Ticket{card: c, number: c.sent}
	if c.failed() != nil {
		return t
	}
	var check C.int
	if c.options.Check {
		check = 1
	}
	code := C.plan_step(c.api, c.context, p.plan, c.stream, C.device_pointer(dst), unsafe.Pointer(unsafe.SliceData(src.Bytes)), C.size_t(bytes),
		t.event(), check)
	if code == 0 && c.options.Check && t.number == c.options.FailStep {
		code, p.plan.failed = launchFailed, p.plan.count-1 // say that it was the last kernel
	}
	switch {
	case code != 0: // the plan's launches are known to be sound, so that this is the card's failure
		c.loseStep(t.number, p.culprit(code), code)
	case c.options.Check: // it has run
		c.finish(t.number)
	}
	return t
}

func (t Ticket) event() unsafe.Pointer { return t.card.events[t.number%uint64(len(t.card.events))] }

// Wait returns when the step has run, any number of times. An error means that nothing of it can be trusted; one that wraps
// ErrLost, that nothing runs on this card any more.
func (t Ticket) Wait() error {
	if t.err != nil {
		return t.err
	}
	if t.card == nil {
		return errors.New("this ticket is of no step")
	}
	c := t.card
	c.waits.RLock()
	defer c.waits.RUnlock()
	if c.finished.Load() >= t.number {
		return nil
	}
	if err := c.failed(); err != nil {
		return err
	}
	if code := C.wait_event(c.api, c.context, t.event()); code != 0 {
		return c.loseStep(t.number, "", code)
	}
	return c.finish(t.number)
}

// finish notes that all steps up to one have run.
func (c *Card) finish(number uint64) error {
	if fail := c.options.FailStep; fail != 0 && fail <= number {
		return c.loseStep(fail, "", launchFailed)
	}
	for {
		last := c.finished.Load()
		if last >= number || c.finished.CompareAndSwap(last, number) {
			return nil
		}
	}
}

// loseStep makes any failure of a step one of the card: a step that half ran cannot be taken back.
func (c *Card) loseStep(number uint64, culprit string, code C.int) error {
	hint := ""
	if culprit == "" {
		hint = "; MINISGL_CUDA_CHECK=1 finds the kernel"
	}
	return c.lose(fmt.Errorf("cuda:%d: %w: step %d%s: %w%s", c.ordinal, ErrLost, number, culprit, failure(c.api, code), hint))
}
