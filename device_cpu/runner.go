package cpu

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"minisgl/device"
	"minisgl/device/sample"
)

// A runner runs steps on a goroutine of its own, which is worker 0 of its pool.
type runner struct {
	program *device.Program
	kernels *kernels
	options device.LoadOptions
	memory  device.MemoryUse

	weights, kvMemory, activations *arena
	large                          []*arena // weights that did not fit their type

	checker  *device.Checker
	pool     *pool
	kv       *kvCache
	ops      []operation
	buffers  []buffer
	rounded  rounded    // the rows that are being multiplied
	tiled    tiled      // the same for weights that are tiles
	unpacked []unpacked // of each worker
	selects  int        // index of the first SelectRows, from which on there is a row for each output
	tail     tail

	slabRows int
	slots    []slot
	tokens   []int32 // of the step, sampled ones resolved
	pieces   []piece
	outputs  []int32 // of the slab: indices in Step.Outputs
	cos, sin []float32
	angles   [2][]float64

	linear    *linear
	gated     *gated
	attention *attention
	rowwise   *rowwise
	head      *head
	trace     trace

	submitted chan *device.Step
	finished  chan outcome
	stopped   chan struct{}
	closing   sync.Once
}

// A slot is what the device remembers of a request between steps.
type slot struct {
	last    int32 // the token sampled last
	history sample.History
}

type outcome struct {
	step *device.Step
	err  error
}

// stepsInFlight is what device.Runner allows.
const stepsInFlight = 2

func (r *runner) start() {
	r.submitted = make(chan *device.Step, stepsInFlight)
	r.finished = make(chan outcome, stepsInFlight)
	r.stopped = make(chan struct{})
	go func() {
		defer close(r.stopped)
		for s := range r.submitted {
			r.finished <- outcome{s, r.runGuarded(s)}
		}
	}()
}

// runGuarded turns a panic, which is a fault of ours, into an error that ends the runner's use.
func (r *runner) runGuarded(s *device.Step) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("%w: fault in the CPU device: %v\n%s", device.ErrLost, fault, debug.Stack())
		}
	}()
	return r.runStep(s)
}

func (r *runner) Pages() int               { return r.kv.pages }
func (r *runner) Memory() device.MemoryUse { return r.memory }
func (r *runner) Submit(s *device.Step)    { r.submitted <- s }

func (r *runner) Wait(s *device.Step) error {
	o := <-r.finished
	if o.step != s {
		return errors.New("steps must be waited for in the order in which they were submitted")
	}
	return o.err
}

// Close waits for the steps in flight and gives the memory back. A second call does nothing.
func (r *runner) Close() error {
	r.closing.Do(func() {
		close(r.submitted)
		for {
			select {
			case <-r.finished:
			case <-r.stopped:
				r.release()
				return
			}
		}
	})
	return nil
}

func (r *runner) release() {
	if r.pool != nil {
		r.pool.close()
	}
	for _, a := range append(r.large, r.weights, r.kvMemory, r.activations) {
		a.free()
	}
}
