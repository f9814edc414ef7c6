// Package engine runs a scheduler against a device: one goroutine that plans a step, submits it, and commits the one
// before while the device works (overlap scheduling). Its methods may be called from any goroutine.
package engine

import (
	"context"
	"errors"

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
type Stats struct {
	Running, Waiting int // requests
	// Pages, and how many of them are free, in the prefix cache but evictable, and held by running requests.
	Pages, FreePages, CachedPages, HeldPages int
	TokensInUse                              int // tokens whose KV running requests hold

	Steps, PromptTokens, CachedTokens, OutputTokens uint64 // since the start
	Retractions, Evictions                          uint64
}

// An Engine owns a runner and a scheduler.
type Engine struct{ _ struct{} }

// New starts the engine's goroutine. Close ends it.
func New(runner device.Runner, o Options) (*Engine, error) { panic("TODO") }

// Submit queues a request; its Sink hears the rest. The error is one of the scheduler's (ErrQueueFull, ErrTooLong,
// ErrInvalid, ErrDuplicate) or ErrClosed, and then the Sink is never called.
func (e *Engine) Submit(r *scheduler.Request) error { panic("TODO") }

// Abort ends a request wherever it is; its Sink's Finish is called within one step. Unknown and ended ids are ignored.
func (e *Engine) Abort(id string) { panic("TODO") }

// AbortAll aborts every request.
func (e *Engine) AbortAll() { panic("TODO") }

// Stats returns a recent snapshot without waiting for the engine.
func (e *Engine) Stats() Stats { panic("TODO") }

// FlushCache drops the prefix cache's unlocked part. It reports whether nothing was running.
func (e *Engine) FlushCache() bool { panic("TODO") }

// Err is the error that ended the engine by itself (device.ErrLost), or nil. Done is closed when it has ended.
func (e *Engine) Err() error { panic("TODO") }

// Done is closed when the engine's goroutine has ended.
func (e *Engine) Done() <-chan struct{} { panic("TODO") }

// Drain takes no more requests and returns when those it has are done, or the context is.
func (e *Engine) Drain(ctx context.Context) error { panic("TODO") }

// Close aborts what is left, waits for the step in flight and ends the goroutine. It does not close the runner.
func (e *Engine) Close() error { panic("TODO") }
