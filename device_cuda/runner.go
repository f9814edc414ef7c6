//go:build cuda

package cuda

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"minisgl/device"
	"minisgl/device_cuda/driver"
	"minisgl/device_cuda/kernels"
)

// A runner runs steps of one program on one card. Submit packs a step and hands it to the card's thread; Wait waits for the card
// and decodes what it wrote into pinned memory. Two steps are in flight at most, so there are two of what they use.
type runner struct {
	card     *driver.Card
	program  *device.Program
	options  device.LoadOptions
	kernels  *kernels.Set
	memory   device.MemoryUse
	progress func(done float64)
	free     int64 // bytes that were free before loading

	operations  []operation
	selects     int // index of SelectRows, from which on there is a row for each output
	matrices    []*matrix
	buffers     []buffer
	allocations []driver.Ptr

	pages                                    int
	kv, cosSin, lastTokens, history          driver.Ptr
	sampleScratch, attentionScratch, uploads driver.Ptr
	uploadBytes                              int64
	plans                                    map[bucket]*driver.Plan
	prologue                                 *driver.Plan
	checker                                  *device.Checker
	poison                                   bool // check mode: no kernel may rely on what earlier steps left

	// Scratch of Submit.
	params      []kernels.OutputParams
	resets      []kernels.ResetParams
	items       []kernels.AttentionItem
	lists       []int32
	firstTables []int32

	stages  [stepsInFlight]stage
	steps   int // submitted so far
	waiting chan submitted
	closing sync.Once
}

// stepsInFlight is what device.Runner allows.
const stepsInFlight = 2

// A stage is a step's pinned memory from Submit to Wait.
type stage struct {
	upload, results staged
	prologues       []staged
}

type submitted struct {
	step   *device.Step
	stage  *stage
	ticket driver.Ticket
	err    error // the step was not submitted
	traced bool  // it has run
}

// start makes a loaded runner ready for Submit.
func (r *runner) start() {
	checked := r.options
	checked.Pages = r.pages
	r.checker = device.NewChecker(r.program, checked)
	r.waiting = make(chan submitted, stepsInFlight)
	r.poison = os.Getenv("MINISGL_CUDA_CHECK") == "1"
}

// listRoom is the first size of what an upload holds beside the arrays of fixed places, in bytes.
const listRoom = 1 << 20

// allocateUpload makes the memory on the card that steps are uploaded to, and drops the plans that used another.
func (r *runner) allocateUpload() error {
	for i := range r.stages {
		r.stages[i].upload.card, r.stages[i].results.card = r.card, r.card
	}
	most := r.uploadLayout(bucket{r.options.MaxRows, r.options.MaxRows})
	front := r.prologueLayout()
	return r.growUpload(max(int64(most.Lists-most.base), int64(front.Lists-front.base)) + listRoom)
}

func (r *runner) growUpload(bytes int64) error {
	if err := r.dropPlans(); err != nil {
		return err
	}
	if r.uploads != 0 {
		if err := r.card.Free(r.uploads); err != nil {
			return err
		}
		r.allocations = slices.DeleteFunc(r.allocations, func(p driver.Ptr) bool { return p == r.uploads })
	}
	var err error
	r.uploads, err = r.alloc(bytes)
	r.uploadBytes = bytes
	return err
}

func (r *runner) dropPlans() error {
	var errs []error
	for _, p := range r.plans {
		errs = append(errs, p.Close())
	}
	if r.prologue != nil {
		errs = append(errs, r.prologue.Close())
	}
	r.plans, r.prologue = make(map[bucket]*driver.Plan), nil
	return errors.Join(errs...)
}

// plan returns the plan of a bucket: a graph where steps are small and all of their rows have an output, as when decoding.
func (r *runner) plan(b bucket) (*driver.Plan, error) {
	if p := r.plans[b]; p != nil {
		return p, nil
	}
	launches, err := r.launches(b)
	if err != nil {
		return nil, err
	}
	p, err := r.card.NewPlan(launches, b.rows == b.outputs && b.rows <= r.options.GraphMaxBatch)
	if err == nil {
		r.plans[b] = p
	}
	return p, err
}

// captureTime bounds what Load spends on graphs; those of other buckets are captured when they are first needed.
const captureTime = time.Second

func (r *runner) captureDecode() error {
	began := time.Now()
	most := min(r.options.GraphMaxBatch, r.options.MaxRows, r.options.MaxSlots)
	for n := 1; n <= most && time.Since(began) < captureTime; n = bucketSize(n + 1) {
		if _, err := r.plan(r.bucketOf(n, n)); err != nil {
			return fmt.Errorf("the graph for %d rows: %w", n, err)
		}
	}
	return nil
}

func (r *runner) Pages() int               { return r.pages }
func (r *runner) Memory() device.MemoryUse { return r.memory }

func (r *runner) Submit(s *device.Step) {
	stage := &r.stages[r.steps%stepsInFlight]
	r.steps++
	w := submitted{step: s, stage: stage, traced: s.Trace != nil}
	w.ticket, w.err = r.submit(s, stage)
	r.waiting <- w
}

func (r *runner) submit(s *device.Step, stage *stage) (driver.Ticket, error) {
	var none driver.Ticket
	if err := r.checker.Check(s); err != nil {
		return none, err
	}
	if err := stage.results.room(r.kernels.ResultBytes(s.Outputs)); err != nil {
		return none, err
	}
	if err := r.submitPrologue(s, stage); err != nil {
		return none, err
	}
	b := r.bucketOf(stepRows(s), len(s.Outputs))
	bytes, err := r.pack(s, b, &stage.upload, stage.results.Ptr)
	if err != nil {
		return none, err
	}
	if int64(bytes) > r.uploadBytes { // all in flight ends first
		if err := r.growUpload(int64(bytes) * 2); err != nil {
			return none, err
		}
		if bytes, err = r.pack(s, b, &stage.upload, stage.results.Ptr); err != nil {
			return none, err
		}
	}
	if s.Trace != nil {
		return none, r.runTraced(s, b, stage.upload.Bytes[:bytes])
	}
	if err := r.poisonBuffers(); err != nil {
		return none, err
	}
	plan, err := r.plan(b)
	if err != nil {
		return none, err
	}
	return r.card.Submit(plan, r.uploads, stage.upload.Pinned, bytes), nil
}

// submitPrologue submits the page copies and history resets of a step.
func (r *runner) submitPrologue(s *device.Step, stage *stage) error {
	copies, resets := s.Copies, s.Resets
	for part := 0; len(copies) > 0 || len(resets) > 0; part++ {
		if part == len(stage.prologues) {
			stage.prologues = append(stage.prologues, staged{card: r.card})
		}
		nc, nr := independent(copies), min(len(resets), prologueRoom)
		bytes, err := r.packPrologue(copies[:nc], resets[:nr], &stage.prologues[part])
		if err != nil {
			return err
		}
		if int64(bytes) > r.uploadBytes {
			if err := r.growUpload(int64(bytes) * 2); err != nil {
				return err
			}
		}
		if r.prologue == nil {
			u := r.prologueLayout()
			copying := r.kernels.CopyPages(kernels.CopyPages{Step: u.StepLayout, Cache: r.kv, Pages: r.pages, Layers: r.program.Layers}, prologueRoom)
			copying.Dependent = false
			if r.prologue, err = r.card.NewPlan([]driver.Launch{copying, r.kernels.ResetHistory(u.StepLayout, r.history)}, false); err != nil {
				return err
			}
		}
		r.card.Submit(r.prologue, r.uploads, stage.prologues[part].Pinned, bytes)
		copies, resets = copies[nc:], resets[nr:]
	}
	return nil
}

// independent is how many copies, from the first on, can be done at once: none touches a page that another one writes.
func independent(copies []device.PageCopy) int {
	for i, c := range copies[:min(len(copies), prologueRoom)] {
		for _, earlier := range copies[:i] {
			if c.Src == earlier.Dst || c.Dst == earlier.Dst || c.Dst == earlier.Src {
				return i
			}
		}
	}
	return min(len(copies), prologueRoom)
}

// poisonBuffers fills activations with NaN in check mode. Inputs of matrix products have padding that must stay zero.
func (r *runner) poisonBuffers() error {
	if !r.poison {
		return nil
	}
	for i := range r.buffers {
		if b := &r.buffers[i]; b.ptr != 0 && !b.element {
			if err := r.card.Fill(b.ptr, 0xff, r.bufferBytes(b)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *runner) Wait(s *device.Step) error {
	w := <-r.waiting
	if w.step != s {
		return errors.New("steps must be waited for in the order in which they were submitted")
	}
	if w.err != nil {
		return fmt.Errorf("device %s: %w", r.program.Name, w.err)
	}
	if !w.traced {
		if err := w.ticket.Wait(); err != nil {
			return err
		}
	}
	s.ResizeResults()
	r.kernels.ReadResults(s.Results, s.Outputs, w.stage.results.Bytes)
	return nil
}

// Close waits for the steps in flight and gives the memory back. A second call does nothing.
func (r *runner) Close() (err error) {
	r.closing.Do(func() {
		for range len(r.waiting) {
			if w := <-r.waiting; w.err == nil && !w.traced {
				w.ticket.Wait()
			}
		}
		err = r.release()
	})
	return err
}

func (r *runner) release() error {
	errs := []error{r.dropPlans()}
	if r.kernels != nil {
		errs = append(errs, r.kernels.Close())
	}
	for _, p := range r.allocations {
		errs = append(errs, r.card.Free(p))
	}
	for i := range r.stages {
		stage := &r.stages[i]
		for _, memory := range append(stage.prologues, stage.upload, stage.results) {
			if len(memory.Bytes) > 0 {
				errs = append(errs, r.card.FreePinned(memory.Pinned))
			}
		}
	}
	if err := errors.Join(errs...); err != nil && !errors.Is(err, device.ErrLost) {
		return err
	}
	return nil
}
