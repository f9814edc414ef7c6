// Package scheduler turns requests into device steps. It is a state machine without goroutine, clock or I/O: Add, Abort,
// Plan, Commit. The loop that owns a goroutine and a device is its sub-package engine; the prefix cache and the KV pages
// are radix and page. Nothing here knows text or HTTP.
package scheduler

import (
	"errors"
	"fmt"

	"minisgl/device"
)

// A Request asks for the continuation of a prompt. The scheduler reads it from Add until its Sink's Finish returns; the
// caller does not change it meanwhile.
type Request struct {
	ID     string
	Prompt []int32 // token ids, at least one

	MaxTokens int     // tokens to generate at most; 0 only scores the prompt
	MinTokens int     // until so many are generated, Sampling.Suppress cannot be drawn and StopIDs do not end the request
	StopIDs   []int32 // drawing one of them ends the request; it is delivered like any token
	Sampling  *device.Sampling

	// ScoreFrom asks for the log-probabilities of the prompt tokens from this index on: the Sink's Score gets one call for
	// each index from max(ScoreFrom, 1) on (nothing predicts token 0). Negative: none.
	ScoreFrom int

	Priority int // higher runs first; equal ones in the order of arrival
	Sink     Sink
}

// A Sink receives what happens to a request, in order, on the engine's goroutine. Its methods must not block, and must
// copy what they keep of a Result's slices. Finish is called exactly once and last, also for aborts and errors.
type Sink interface {
	Start(cached int)                 // the request runs for the first time; so many of its tokens were in the prefix cache
	Score(index int, r device.Result) // the prompt's token at index was scored
	Token(r device.Result)            // the next token was drawn
	Finish(f Finish)
}

// Finish tells how a request ended.
type Finish struct {
	Reason FinishReason
	Err    error // set if Reason is Failed
	Usage
}

// Usage counts a request's tokens.
type Usage struct {
	Prompt int // tokens of the prompt
	Cached int // of these, how many had their KV in the prefix cache when the request first ran
	Output int // tokens delivered
}

// FinishReason says why a request ended.
type FinishReason uint8

const (
	Stop    FinishReason = iota // drew one of its StopIDs
	Length                      // reached MaxTokens or the end of the context
	Aborted                     // Abort was called
	Failed                      // the device failed, or its logits were not numbers: see Finish.Err
)

func (r FinishReason) String() string {
	return [...]string{"stop", "length", "abort", "error"}[r]
}

var (
	// ErrQueueFull is Add's error when as many requests wait as the queue holds.
	ErrQueueFull = errors.New("the queue is full")
	// ErrTooLong is Add's error for a prompt that leaves no room in the context, or whose KV can never fit.
	ErrTooLong = errors.New("the prompt is too long")
	// ErrInvalid is Add's error for a request that contradicts itself.
	ErrInvalid = errors.New("invalid request")
	// ErrDuplicate is Add's error for an ID that is in use.
	ErrDuplicate = errors.New("request id in use")
	// ErrNaN is the Finish.Err of a request whose logits were not numbers.
	ErrNaN = errors.New("the model's logits are not numbers")
)

// TooLongError says by how much a prompt exceeds the room there is. It unwraps to ErrTooLong.
type TooLongError struct{ Prompt, Limit int }

func (e *TooLongError) Error() string {
	return fmt.Sprintf("the prompt has %d tokens, the limit is %d", e.Prompt, e.Limit)
}
func (e *TooLongError) Unwrap() error { return ErrTooLong }
