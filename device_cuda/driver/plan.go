//go:build cuda

package driver

/*
#include <stdlib.h>
#include "driver.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"slices"
	"time"
	"unsafe"
)

// A Launch is one kernel and its only argument, a struct passed by value.
type Launch struct {
	Function  Function
	Grid      [3]int // blocks
	Block     int    // threads of a block
	Shared    int    // bytes of dynamic shared memory
	Params    []byte // the argument, as laid out in C
	Dependent bool   // programmatic dependent launch: the kernel calls wait() itself
}

// Bytes returns the memory of a parameter struct, for Launch.Params. The struct must be laid out as in C and hold no Go pointers.
func Bytes[T any](params *T) []byte {
	return append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(params)), unsafe.Sizeof(*params))...)
}

// A Plan is a list of launches that is submitted as one.
type Plan struct {
	card    *Card
	plan    *C.plan
	kernels []string // name of each launch
	closed  bool     // guarded by the card's gate
}

// NewPlan prepares launches: with graph as a CUDA graph, which starts them faster. In check mode there are no graphs.
func (c *Card) NewPlan(launches []Launch, graph bool) (*Plan, error) {
	p, err := c.newPlan(launches)
	if err != nil {
		return nil, err
	}
	err = c.on(func() error {
		if graph && len(launches) > 0 && !c.options.Check {
			if code := C.plan_capture(c.api, p.plan, c.stream); code != 0 {
				return c.check("capture a graph"+p.culprit(code), code)
			}
		}
		c.plans[p] = struct{}{}
		return nil
	})
	if err != nil {
		C.free(unsafe.Pointer(p.plan))
		return nil, err
	}
	return p, nil
}

// newPlan copies launches to C memory.
func (c *Card) newPlan(launches []Launch) (*Plan, error) {
	const aligned = 16
	bytes := 0
	for i, l := range launches {
		if err := l.validate(); err != nil {
			return nil, fmt.Errorf("cuda:%d: launch %d, %s: %w", c.ordinal, i, l.Function.Name, err)
		}
		bytes += (len(l.Params) + aligned - 1) &^ (aligned - 1)
	}
	p := &Plan{card: c, plan: C.plan_new(C.int(len(launches)), C.size_t(bytes))}
	if p.plan == nil {
		return nil, fmt.Errorf("%w: a plan of %d launches on the host", ErrMemory, len(launches))
	}
	offset := 0
	for i, l := range launches {
		grid := [3]C.uint{C.uint(l.Grid[0]), C.uint(l.Grid[1]), C.uint(l.Grid[2])}
		var dependent C.int
		if l.Dependent && c.dependent {
			dependent = 1
		}
		C.plan_set(p.plan, C.int(i), l.Function.handle, &grid[0], C.uint(l.Block), C.uint(l.Shared), c.stream, dependent,
			C.size_t(offset), unsafe.Pointer(unsafe.SliceData(l.Params)), C.size_t(len(l.Params)))
		offset += (len(l.Params) + aligned - 1) &^ (aligned - 1)
		p.kernels = append(p.kernels, l.Function.Name)
	}
	return p, nil
}

const maxParams = 4096 // bytes that every card and driver takes

// validate refuses what the card would: past here a launch that fails is the card's failure.
func (l Launch) validate() error {
	limits := [3]int{1<<31 - 1, 65535, 65535} // CUDA C++ Programming Guide, technical specifications
	for i, n := range l.Grid {
		if n < 1 || n > limits[i] {
			return fmt.Errorf("a grid of %v blocks; dimension %d must be 1 to %d", l.Grid, i, limits[i])
		}
	}
	switch r := l.Function.resources; {
	case l.Function.handle == nil:
		return errors.New("no function")
	case l.Block < 1 || l.Block > r.MaxThreads:
		return fmt.Errorf("a block of %d threads; it must have 1 to %d", l.Block, r.MaxThreads)
	case l.Shared < 0 || l.Shared > r.MaxShared:
		return fmt.Errorf("%d bytes of dynamic shared memory; there are %d", l.Shared, r.MaxShared)
	case len(l.Params) > maxParams:
		return fmt.Errorf("parameters of %d bytes; a kernel takes %d", len(l.Params), maxParams)
	}
	return nil
}

// culprit names the launch that the plan failed in: ": kernel 3 of 121, linear"; it is empty where that is not known. Outside
// check mode a launch also answers for kernels before it.
func (p *Plan) culprit(code C.int) string {
	if fatal[code] && !p.card.options.Check {
		return ""
	}
	if i := int(p.plan.failed); i >= 0 && i < len(p.kernels) {
		return fmt.Sprintf(": kernel %d of %d, %s", i, len(p.kernels), p.kernels[i])
	}
	return ""
}

// Close gives the plan back. Steps that were submitted with it still run.
func (p *Plan) Close() error {
	return p.card.on(func() error {
		if p.closed {
			return nil
		}
		p.closed = true
		delete(p.card.plans, p)
		// A graph may only go when it does not run, and neither may its arguments.
		err := p.card.check("close a plan", C.do_cuStreamSynchronize(p.card.api, p.card.stream))
		p.release()
		return err
	})
}

func (p *Plan) release() {
	if p.plan.graph != nil {
		C.do_cuGraphExecDestroy(p.card.api, p.plan.graph)
	}
	C.free(unsafe.Pointer(p.plan))
}

// Run runs launches one after the other and returns when they have: for packing and tests.
func (c *Card) Run(launches []Launch) error {
	p, err := c.newPlan(launches)
	if err != nil {
		return err
	}
	defer C.free(unsafe.Pointer(p.plan))
	return c.on(func() error {
		var check C.int
		if c.options.Check {
			check = 1
		}
		code := C.plan_run(c.api, p.plan, c.stream, check)
		if code == 0 {
			code = C.do_cuStreamSynchronize(c.api, c.stream)
		}
		return c.check("run"+p.culprit(code), code)
	})
}

// queueAhead is memory that Timed fills before each round, and launchesAhead how many launches the host can queue while the
// card fills it once: so that host time is not measured.
const (
	queueAhead    = 64 << 20
	launchesAhead = 4
)

// Timed runs launches `rounds` times and returns the median time that each took on the card. Launches are apart from each
// other (no graph, no dependent launch), so that the sum is more than what a plan of them takes.
func (c *Card) Timed(launches []Launch, rounds int) ([]time.Duration, error) {
	rounds = max(rounds, 1)
	launches = slices.Clone(launches)
	for i := range launches {
		launches[i].Dependent = false
	}
	p, err := c.newPlan(launches)
	if err != nil {
		return nil, err
	}
	defer C.free(unsafe.Pointer(p.plan))
	var times [][]time.Duration // of each launch, in each round
	err = c.on(func() (err error) {
		times, err = c.timed(p, rounds)
		return err
	})
	if err != nil {
		return nil, err
	}
	medians := make([]time.Duration, len(launches))
	for i, t := range times {
		slices.Sort(t)
		medians[i] = t[len(t)/2]
	}
	return medians, nil
}

func (c *Card) timed(p *Plan, rounds int) ([][]time.Duration, error) {
	events, err := c.newEvents(len(p.kernels) + 1)
	if err != nil {
		return nil, err
	}
	defer c.dropEvents(events)
	var scratch C.device_pointer
	if C.do_cuMemAlloc_v2(c.api, &scratch, queueAhead) == 0 {
		defer C.do_cuMemFree_v2(c.api, scratch)
	}
	times := make([][]time.Duration, len(p.kernels))
	for range rounds {
		for range len(p.kernels)/launchesAhead + 1 {
			if scratch == 0 {
				break
			}
			if err := c.check("time", C.do_cuMemsetD8Async(c.api, scratch, 0, queueAhead, c.stream)); err != nil {
				return nil, err
			}
		}
		if code := C.plan_time(c.api, p.plan, c.stream, &events[0]); code != 0 {
			return nil, c.check("time"+p.culprit(code), code)
		}
		for i := range times {
			var milliseconds C.float
			if err := c.check("time", C.do_cuEventElapsedTime(c.api, &milliseconds, events[i], events[i+1])); err != nil {
				return nil, err
			}
			times[i] = append(times[i], time.Duration(float64(milliseconds)*float64(time.Millisecond)))
		}
	}
	return times, nil
}

func (c *Card) newEvents(n int) ([]unsafe.Pointer, error) {
	events := make([]unsafe.Pointer, n)
	for i := range events {
		if err := c.check("create an event", C.do_cuEventCreate(c.api, &events[i], 0)); err != nil {
			c.dropEvents(events)
			return nil, err
		}
	}
	return events, nil
}

func (c *Card) dropEvents(events []unsafe.Pointer) {
	for _, event := range events {
		if event != nil {
			C.do_cuEventDestroy_v2(c.api, event)
		}
	}
}
