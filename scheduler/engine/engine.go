// Package engine runs a scheduler against a device: one goroutine that plans a step, submits it, and commits the one
// before while the device works (overlap scheduling). Its methods may be called from any goroutine.
package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"minisgl/device"
	"minisgl/scheduler"
)

// ErrClosed is the error of an engine that no longer takes requests.
var ErrClosed = errors.New("the engine is shutting down")

// Options of an engine.
type Options struct {
	Scheduler scheduler.Config
	// NoOverlap commits every step before the next is planned.
	NoOverlap bool
}

// Stats is a snapshot of the engine, for metrics and load reports.
type Stats = scheduler.Stats

// An Engine owns a runner and a scheduler.
type Engine struct {
	runner device.Runner
	depth  int // steps in flight at most

	mu        sync.Mutex // guards what follows; the loop holds it to plan and to commit, not while the device works
	scheduler *scheduler.Scheduler
	closed    bool          // no more requests
	idle      chan struct{} // Drain waits for it to be closed
	err       error

	mailbox struct {
		sync.Mutex
		aborts         []string
		abortAll, quit bool
	}
	wake     chan struct{} // holds one: there is something new for an idle loop
	snapshot struct {
		sync.Mutex
		Stats
	}
	done chan struct{}
}

// New starts the engine's goroutine. Close ends it.
func New(runner device.Runner, o Options) (*Engine, error) {
	if pages := runner.Pages(); o.Scheduler.NumPages > pages {
		return nil, fmt.Errorf("engine: the scheduler is to use %d pages, the runner has %d", o.Scheduler.NumPages, pages)
	}
	s, err := scheduler.New(o.Scheduler)
	if err != nil {
		return nil, err
	}
	e := &Engine{runner: runner, depth: 2, scheduler: s, wake: make(chan struct{}, 1), done: make(chan struct{})}
	if o.NoOverlap {
		e.depth = 1
	}
	e.snapshot.Stats = s.Stats()
	go e.run()
	return e, nil
}

// Submit queues a request; its Sink hears the rest. The error is one of the scheduler's (ErrQueueFull, ErrTooLong,
// ErrInvalid, ErrDuplicate) or ErrClosed, and then the Sink is never called. A Sink must not call Submit.
func (e *Engine) Submit(r *scheduler.Request) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return errors.Join(ErrClosed, e.err)
	}
	if err := e.scheduler.Add(r); err != nil {
		return err
	}
	e.publish()
	e.nudge()
	return nil
}

// CachedPrefix is how many of the first tokens of a prompt are in the prefix cache now; -1 if the engine takes no more requests. It
// does not wait for the device.
func (e *Engine) CachedPrefix(tokens []int32) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return -1
	}
	return e.scheduler.CachedPrefix(tokens)
}

// Abort ends a request wherever it is; its Sink's Finish is called within one step. Unknown and ended ids are ignored. A
// Sink may call it.
func (e *Engine) Abort(id string) {
	e.mailbox.Lock()
	e.mailbox.aborts = append(e.mailbox.aborts, id)
	e.mailbox.Unlock()
	e.nudge()
}

// AbortAll aborts every request.
func (e *Engine) AbortAll() {
	e.mailbox.Lock()
	e.mailbox.abortAll = true
	e.mailbox.Unlock()
	e.nudge()
}

// Stats returns a recent snapshot without waiting for the engine.
func (e *Engine) Stats() Stats {
	e.snapshot.Lock()
	defer e.snapshot.Unlock()
	return e.snapshot.Stats
}

// FlushCache drops the prefix cache's unlocked part. It reports whether nothing was running.
func (e *Engine) FlushCache() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	idle := e.scheduler.FlushCache()
	e.publish()
	return idle
}

// Err is the error that ended the engine by itself (device.ErrLost), or nil. Done is closed when it has ended.
func (e *Engine) Err() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}

// Done is closed when the engine's goroutine has ended.
func (e *Engine) Done() <-chan struct{} { return e.done }

// Drain takes no more requests and returns when those it has are done, or the context is.
func (e *Engine) Drain(ctx context.Context) error {
	e.mu.Lock()
	e.closed = true
	if e.idle == nil {
		e.idle = make(chan struct{})
	}
	idle := e.idle
	e.mu.Unlock()
	e.nudge()
	select {
	case <-idle:
		return nil
	case <-e.done:
		return e.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close aborts what is left, waits for the steps in flight and ends the goroutine. It does not close the runner.
func (e *Engine) Close() error {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.mailbox.Lock()
	e.mailbox.quit = true
	e.mailbox.Unlock()
	e.nudge()
	<-e.done
	return e.Err()
}

// run is the loop: it plans steps up to the depth, then commits the oldest. With nothing to do it sleeps.
func (e *Engine) run() {
	defer close(e.done)
	steps := [2]*device.Step{new(device.Step), new(device.Step)}
	for inFlight := 0; ; {
		planned, quit := e.plan(steps[inFlight])
		if planned {
			e.runner.Submit(steps[inFlight])
			inFlight++
		}
		switch {
		case inFlight == e.depth || !planned && inFlight > 0:
			err := e.runner.Wait(steps[0])
			e.commit(steps[0], err)
			steps[0], steps[1] = steps[1], steps[0]
			inFlight--
		case planned:
		case quit:
			return
		default:
			<-e.wake
		}
	}
}

// plan does what the mailbox asks for and fills the step. It reports whether there is a step to submit, and whether the loop
// is to end.
func (e *Engine) plan(step *device.Step) (planned, quit bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.readMail()
	e.mailbox.Lock()
	quit = e.mailbox.quit || errors.Is(e.err, device.ErrLost)
	e.mailbox.Unlock()
	if quit {
		e.scheduler.AbortAll()
	} else {
		planned = e.scheduler.Plan(step)
	}
	if e.idle != nil && e.scheduler.Idle() {
		select {
		case <-e.idle:
		default:
			close(e.idle)
		}
	}
	e.publish()
	return planned, quit
}

func (e *Engine) readMail() {
	e.mailbox.Lock()
	aborts, all := e.mailbox.aborts, e.mailbox.abortAll
	e.mailbox.aborts, e.mailbox.abortAll = nil, false
	e.mailbox.Unlock()
	if all {
		e.scheduler.AbortAll()
	}
	for _, id := range aborts {
		e.scheduler.Abort(id)
	}
}

func (e *Engine) commit(step *device.Step, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if errors.Is(err, device.ErrLost) && e.err == nil {
		e.err, e.closed = err, true
	}
	e.scheduler.Commit(step, err)
	e.publish()
}

// publish makes the scheduler's numbers the snapshot. The caller holds mu.
func (e *Engine) publish() {
	s := e.scheduler.Stats()
	e.snapshot.Lock()
	e.snapshot.Stats = s
	e.snapshot.Unlock()
}

func (e *Engine) nudge() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}
