//go:build cuda

package driver

/*
#include "driver.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"
)

// A step is what Submit was given, on its way to the owner.
type step struct {
	number uint64
	plan   *Plan
	to     Ptr
	from   unsafe.Pointer
	bytes  int
}

// A Ticket stands for a step that was submitted.
type Ticket struct {
	card   *Card
	number uint64 // of the step, from 1
	err    error  // it was refused
}

// Submit copies src[:bytes] to dst and runs the plan, on the card and in the order of calls; it returns at once. src may
// change when the ticket's Wait has returned, and the plan may be closed at any time.
func (c *Card) Submit(p *Plan, dst Ptr, src Pinned, bytes int) Ticket {
	if bytes < 0 || bytes > len(src.Bytes) {
		return Ticket{err: fmt.Errorf("cuda:%d: submit: %d bytes of a buffer of %d", c.ordinal, bytes, len(src.Bytes))}
	}
	c.gate.Lock()
	defer c.gate.Unlock()
	if c.closed {
		return Ticket{err: errClosed}
	}
	if p.closed {
		return Ticket{err: fmt.Errorf("cuda:%d: submit: the plan is closed", c.ordinal)}
	}
	c.sent++
	s := step{number: c.sent, plan: p, to: dst, from: unsafe.Pointer(unsafe.SliceData(src.Bytes)), bytes: bytes}
	c.requests <- request{step: s}
	return Ticket{card: c, number: s.number}
}

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
	c.state.Lock()
	defer c.state.Unlock()
	for c.finished < t.number && c.lost == nil {
		c.changed.Wait()
	}
	if c.finished >= t.number {
		return nil
	}
	return c.lost
}

// submit queues a step; on the owner's thread. A plan's launches are known to be sound, so a failure here is the card's.
func (c *Card) submit(s step) {
	if c.failed() != nil {
		return
	}
	var check C.int
	if c.options.Check {
		check = 1
	}
	event := c.events[s.number%uint64(len(c.events))]
	code := C.plan_step(c.api, s.plan.plan, c.stream, C.device_pointer(s.to), s.from, C.size_t(s.bytes), event, check)
	if code == 0 && c.options.Check && s.number == c.options.FailStep {
		code, s.plan.plan.failed = launchFailed, s.plan.plan.count-1
	}
	if code != 0 {
		c.loseStep(s.number, s.plan.culprit(), code)
		return
	}
	c.waiting <- s.number
}

// wait is the goroutine that waits for steps, on a thread of its own so that the owner's can queue the next ones meanwhile.
func (c *Card) wait(done chan<- struct{}) {
	runtime.LockOSThread()
	defer close(done)
	if code := C.do_cuCtxSetCurrent(c.api, c.context); code != 0 {
		c.loseStep(1, ": the waiting thread", code)
	}
	for number := range c.waiting {
		if c.failed() != nil {
			continue
		}
		code := C.do_cuEventSynchronize(c.api, c.events[number%uint64(len(c.events))])
		if number == c.options.FailStep {
			code = launchFailed
		}
		if code != 0 {
			c.loseStep(number, "", code)
			continue
		}
		c.state.Lock()
		c.finished = number
		c.changed.Broadcast()
		c.state.Unlock()
	}
}

// loseStep makes any failure of a step one of the card: a step that half ran cannot be taken back.
func (c *Card) loseStep(number uint64, culprit string, code C.int) {
	hint := ""
	if culprit == "" {
		hint = "; MINISGL_CUDA_CHECK=1 finds the kernel"
	}
	c.lose(fmt.Errorf("cuda:%d: %w: step %d%s: %w%s", c.ordinal, ErrLost, number, culprit, failure(c.api, code), hint))
}
