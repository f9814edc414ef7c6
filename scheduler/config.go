package scheduler

import (
	"fmt"

	"minisgl/device"
)

// A Config bounds what the scheduler does.
type Config struct {
	PageSize int // tokens of a KV page
	NumPages int // page ids are in [0, NumPages)

	MaxRunning int // requests that run at once; slots are in [0, MaxRunning)
	// MaxStepTokens is the token budget of a step: decode rows first, then pieces of prompts. So it is also the largest
	// prefill chunk (SGLang's chunked prefill size, vLLM's max_num_batched_tokens).
	MaxStepTokens int
	MaxSeqLen     int // prompt and output of a request together
	MaxQueue      int // requests that wait; more are refused with ErrQueueFull

	Policy Policy
	Cache  CacheKind
	// LookPast is how many waiting requests that do not fit may be passed over for later ones that do. 0 is strict order.
	LookPast int
	Vocab    int // token ids are in [0, Vocab)

	Planner Planner
	Shadow  Shadow // nil: none
}

// A Planner is a way to write a step down once it is decided who computes what.
type Planner uint8

const (
	Optimized Planner = iota // allocates nothing
	Reference                // the plainest one, to compare with
)

func (p Planner) String() string { return [...]string{"optimized", "reference"}[p] }

// ParsePlanner returns the planner of a name: "optimized" or "reference", or what these were called in the Python system that this one
// follows, "rust_hotpath" and "python".
func ParsePlanner(name string) (Planner, error) {
	switch name {
	case "optimized", "rust_hotpath":
		return Optimized, nil
	case "reference", "python":
		return Reference, nil
	}
	return 0, fmt.Errorf("%q: expected optimized or reference", name)
}

// Other is the planner that does not serve.
func (p Planner) Other() Planner { return Reference - p }

func (p Planner) build(step *device.Step, f *flight) {
	if p == Reference {
		buildReference(step, f)
	} else {
		build(step, f)
	}
}

// A Shadow is shown each step that Plan has filled, before Plan returns. ids[i] is the request of step.Sequences[i]. second fills another
// step as the planner that does not serve would have; it may panic if that one is at fault. The arguments hold during the call.
type Shadow interface {
	Planned(step *device.Step, ids []string, second func(*device.Step))
}

// Policy orders the waiting requests of one priority.
type Policy uint8

const (
	FCFS Policy = iota // first come, first served
	LPM                // longest cached prefix first
)

// CacheKind says what happens to the KV of ended requests.
type CacheKind uint8

const (
	Radix CacheKind = iota // kept in a radix tree until the room is needed
	Naive                  // dropped: every prompt is computed whole
)
