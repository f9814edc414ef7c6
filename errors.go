package minisgl

import (
	"errors"

	"minisgl/scheduler"
	"minisgl/scheduler/engine"
)

// Errors that callers decide by. A prompt that does not fit is a *scheduler.TooLongError, a bad parameter a *ParamError.
var (
	ErrQueueFull = scheduler.ErrQueueFull
	ErrTooLong   = scheduler.ErrTooLong
	ErrDuplicate = scheduler.ErrDuplicate
	ErrClosed    = engine.ErrClosed

	// ErrNoTokenizer is the error of a text given to a checkpoint that has no tokenizer: token ids are what it takes.
	ErrNoTokenizer = errors.New("this checkpoint has no tokenizer: give token ids (input_ids) instead of text")
	// ErrNoChatTemplate is the error of a conversation given to a checkpoint without chat template.
	ErrNoChatTemplate = errors.New("this checkpoint has no chat template: give a prompt instead of messages")
)
