// Package sample defines how a token is drawn from logits: the one order of penalties, bias, temperature and truncation, and
// the random numbers, that every device follows. It is written to be read; devices with a faster way are tested against it.
package sample

import "minisgl/device"

// History is what a slot has seen, for penalties.
type History struct{ _ struct{} }

// Reset starts the history of a request.
func (h *History) Reset(prompt, output []int32) { panic("TODO") }

// Add counts a token that was drawn.
func (h *History) Add(token int32) { panic("TODO") }

// A Workspace holds scratch memory, so that drawing allocates nothing in the steady state.
type Workspace struct{ _ struct{} }

// Draw returns the token for an output from its logits (one for each id of the vocabulary), which it leaves as they are,
// or device.NoToken where a logit is NaN or +Inf or no token is left. history may be nil for sampling without penalties.
func (w *Workspace) Draw(logits []float32, o *device.Output, history *History) int32 { panic("TODO") }

// Logprobs fills r.Logprob and r.Top for r.Token with the log-softmax of the raw logits.
func (w *Workspace) Logprobs(r *device.Result, logits []float32, n int32) { panic("TODO") }

// Uniform returns the random number in [0, 1) of a seed and a position: Philox4x32-10 (Salmon et al. 2011) with the seed as
// key and the position as counter.
func Uniform(seed uint64, position int32) float64 { panic("TODO") }
