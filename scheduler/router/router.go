// Package router decides which of several engines takes a request: the one that has the longest prefix of the prompt in its cache,
// unless it is overloaded; among equals the one with the fewest open requests, and then each in turn.
//
// An engine's load is the number of its open requests, running and waiting. It is overloaded for a request when its load exceeds
// that of another by more than its longer prefix is worth: one open request for each TokensPerRequest tokens, MaxWorth requests at
// most. So a long conversation goes back to where it was, the few tokens that all chats begin with decide nothing but ties, and a
// prompt that everybody sends is soon cached by all.
//
// The router keeps no tree of its own. Whoever routes asks each engine for the prefix that it has, under the engine's own lock: that is
// exact after evictions, flushes and failures, takes no memory, and costs a walk down the tree (microseconds) for each
// engine and request. What a tree of the router's would add is prompts that are being computed at this moment; without it,
// a burst of one new prompt is computed once on each engine instead of once.
package router

import (
	"errors"
	"fmt"
	"sync"

	"minisgl/scheduler"
)

// What a cached prefix is worth. To compute so many tokens takes a device about as long as a further request in all its steps.
const (
	TokensPerRequest = 128
	MaxWorth         = 32 // open requests
)

// Unavailable, in place of a prefix, is an engine that cannot take the request.
const Unavailable = -1

// ErrUnavailable is the error of a request that no engine can take.
var ErrUnavailable = errors.New("no engine can take the request")

// A Router counts the open requests of engines. Its methods may be called from any goroutine, and none waits for an engine.
type Router struct {
	mu   sync.Mutex
	open map[string]int // ids of open requests → engine
	load []int          // open requests by engine
	next int            // the engine that wins if all are equal
}

// New returns a router for so many engines.
func New(engines int) *Router {
	return &Router{open: map[string]int{}, load: make([]int, engines)}
}

// Route chooses an engine for a request and counts it there until Done. cached has, for each engine, how many of the prompt's first tokens
// are in its cache, or Unavailable. The error is scheduler.ErrDuplicate for an id that is open, or ErrUnavailable.
func (r *Router) Route(id string, cached []int) (engine int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, used := r.open[id]; used {
		return 0, fmt.Errorf("%w: %q", scheduler.ErrDuplicate, id)
	}
	best := -1
	for k := range r.load {
		i := (r.next + k) % len(r.load)
		if cached[i] != Unavailable && (best < 0 || r.better(i, best, cached)) {
			best = i
		}
	}
	if best < 0 {
		return 0, ErrUnavailable
	}
	r.next = (best + 1) % len(r.load)
	r.open[id] = best
	r.load[best]++
	return best, nil
}

// better reports whether engine a suits a request better than engine b.
func (r *Router) better(a, b int, cached []int) bool {
	worthA := min(cached[a]/TokensPerRequest, MaxWorth) - r.load[a]
	worthB := min(cached[b]/TokensPerRequest, MaxWorth) - r.load[b]
	if worthA != worthB {
		return worthA > worthB
	}
	return cached[a] > cached[b]
}

// Done says that a request has ended, or that its engine has refused it.
func (r *Router) Done(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if engine, ok := r.open[id]; ok {
		delete(r.open, id)
		r.load[engine]--
	}
}

// Engine is where an open request is.
func (r *Router) Engine(id string) (engine int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	engine, ok = r.open[id]
	return engine, ok
}
