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
	"os"
	"regexp"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"unsafe"

	"minisgl/device"
)

// ErrLost is wrapped by the error of whatever a card could not do because it, or the driver, has failed before: nothing works
// on it any more. ErrMemory is wrapped where memory does not suffice. They are those of package device.
var ErrLost, ErrMemory = device.ErrLost, device.ErrMemory

var errClosed = errors.New("the card is closed")

// A Card is an opened card. Its methods may be called from any goroutine.
type Card struct {
	api      *C.cuda
	compiler *compiler
	options  Options
	ordinal  int
	info     Info

	// Set by the owner when it starts, and then constant.
	device          C.device_id
	context, stream unsafe.Pointer
	dependent       bool               // programmatic dependent launches work, and are wanted
	events          [16]unsafe.Pointer // the event of step n is that of n modulo their number: a later one does for an earlier

	owner chan func() // what the goroutine runs whose thread owns the context
	gate  sync.Mutex  // held while anything is carried out on the card: it gives calls their order
	// Guarded by gate.
	closed  bool
	sent    uint64 // steps submitted
	staging staging
	memory  map[Ptr]int64
	pinned  map[unsafe.Pointer]int64
	modules map[*Module]struct{}
	plans   map[*Plan]struct{}

	waits    sync.RWMutex  // read-locked while waiting for an event, which must live as long
	finished atomic.Uint64 // all steps up to this have run without an error
	lost     atomic.Pointer[error]
}

// Count returns the number of cards.
func Count(o Options) (int, error) {
	_, count, err := openCUDA(o.complete())
	return count, err
}

// Open opens a card: 0 is the first that CUDA_VISIBLE_DEVICES leaves. An error is one line that says what is missing.
func Open(ordinal int, o Options) (*Card, error) {
	o = o.complete()
	api, count, err := openCUDA(o)
	switch {
	case err != nil:
		return nil, err
	case count == 0:
		return nil, errors.New("no CUDA card: the driver finds none (does CUDA_VISIBLE_DEVICES hide them?)")
	case ordinal < 0 || ordinal >= count:
		return nil, fmt.Errorf("no card cuda:%d: the driver finds %d, cuda:0 to cuda:%d", ordinal, count, count-1)
	}
	nvrtc, err := openNVRTC(o.NVRTC, driverVersion(api))
	if err != nil {
		return nil, err
	}
	c := &Card{
		api: api, compiler: nvrtc, options: o, ordinal: ordinal, owner: make(chan func()),
		memory: map[Ptr]int64{}, pinned: map[unsafe.Pointer]int64{}, modules: map[*Module]struct{}{}, plans: map[*Plan]struct{}{},
	}
	go c.own()
	if err := c.on(c.start); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// complete fills in what the environment says.
func (o Options) complete() Options {
	if o.CUDA == "" {
		o.CUDA = os.Getenv("MINISGL_CUDA_LIBRARY")
	}
	if o.NVRTC == "" {
		o.NVRTC = os.Getenv("MINISGL_NVRTC_LIBRARY")
	}
	if o.FailStep == 0 {
		o.FailStep, _ = strconv.ParseUint(os.Getenv("MINISGL_CUDA_FAIL_STEP"), 10, 64)
	}
	o.Check = o.Check || os.Getenv("MINISGL_CUDA_CHECK") == "1"
	return o
}

// own is the goroutine whose thread owns the context. The thread ends with it.
func (c *Card) own() {
	runtime.LockOSThread()
	for call := range c.owner {
		call()
	}
}

// on runs f on the owner's thread, unless the card is closed or lost.
func (c *Card) on(f func() error) error {
	c.gate.Lock()
	defer c.gate.Unlock()
	if c.closed {
		return errClosed
	}
	if err := c.failed(); err != nil {
		return err
	}
	return c.onOwner(f)
}

func (c *Card) onOwner(f func() error) error {
	answer := make(chan error)
	c.owner <- func() { answer <- f() }
	return <-answer
}

// do calls the driver on the owner's thread; what says for an error what was tried.
func (c *Card) do(what string, call func() C.int) error {
	return c.on(func() error { return c.check(what, call()) })
}

func (c *Card) start() error {
	var name [256]C.char
	var major, minor, processors, shared, l2 C.int
	var total C.size_t
	for _, call := range []func() C.int{
		func() C.int { return C.do_cuDeviceGet(c.api, &c.device, C.int(c.ordinal)) },
		func() C.int { return C.do_cuDeviceGetName(c.api, &name[0], C.int(len(name)-1), c.device) },
		func() C.int { return C.do_cuDeviceGetAttribute(c.api, &major, C.DEVICE_MAJOR, c.device) },
		func() C.int { return C.do_cuDeviceGetAttribute(c.api, &minor, C.DEVICE_MINOR, c.device) },
		func() C.int { return C.do_cuDeviceGetAttribute(c.api, &processors, C.DEVICE_MULTIPROCESSORS, c.device) },
		func() C.int { return C.do_cuDeviceGetAttribute(c.api, &shared, C.DEVICE_SHARED_PER_BLOCK, c.device) },
		func() C.int { return C.do_cuDeviceGetAttribute(c.api, &l2, C.DEVICE_L2, c.device) },
		func() C.int { return C.do_cuDeviceTotalMem_v2(c.api, &total, c.device) },
		func() C.int { return C.do_cuDevicePrimaryCtxRetain(c.api, &c.context, c.device) },
		func() C.int { return C.do_cuCtxSetCurrent(c.api, c.context) },
		func() C.int { return C.do_cuStreamCreate(c.api, &c.stream, C.STREAM_NON_BLOCKING) },
	} {
		if code := call(); code != 0 {
			return c.check("open", code)
		}
	}
	for i := range c.events {
		if code := C.do_cuEventCreate(c.api, &c.events[i], C.EVENT_DISABLE_TIMING); code != 0 {
			return c.check("open", code)
		}
	}
	c.info = Info{
		Name: C.GoString(&name[0]), Major: int(major), Minor: int(minor), Multiprocessors: int(processors),
		SharedPerBlock: int(shared), L2: int(l2), MemoryTotal: int64(total), Driver: c.driver(),
	}
	const dependentInGraphs = 12030 // the CUDA version with which they came; the cards came before
	c.dependent = major >= 9 && driverVersion(c.api) >= dependentInGraphs && !c.options.Check
	return nil
}

var versionNumber = regexp.MustCompile(`\d+\.\d+(\.\d+)?`)

// driver names the kernel module, which has told its version in this file since 2000, and the CUDA version.
func (c *Card) driver() string {
	version := driverVersion(c.api)
	text, _ := os.ReadFile("/proc/driver/nvidia/version")
	if number := versionNumber.Find(text); number != nil {
		return fmt.Sprintf("%s (CUDA %s)", number, cudaVersion(version))
	}
	return "CUDA " + cudaVersion(version)
}

// Close waits for the steps that were submitted, then gives back all that the card holds. In check mode memory that nobody
// freed is an error, so that tests find leaks.
func (c *Card) Close() error {
	c.gate.Lock()
	defer c.gate.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	defer close(c.owner)
	return c.onOwner(c.stop)
}

func (c *Card) stop() error {
	if c.context == nil {
		return nil
	}
	if c.stream != nil && c.failed() == nil {
		if code := C.do_cuStreamSynchronize(c.api, c.stream); code != 0 {
			c.loseStep(c.sent, "", code)
		} else {
			c.finish(c.sent)
		}
	}
	leak := c.leak()
	c.waits.Lock()
	defer c.waits.Unlock()
	if c.failed() == nil { // after a failure the driver refuses, and the context takes everything with it
		c.release()
	}
	C.do_cuDevicePrimaryCtxRelease_v2(c.api, c.device)
	return leak
}

func (c *Card) release() {
	for p := range c.plans {
		p.release()
	}
	for m := range c.modules {
		C.do_cuModuleUnload(c.api, m.handle)
	}
	for p := range c.memory {
		C.do_cuMemFree_v2(c.api, C.device_pointer(p))
	}
	for p := range c.pinned {
		C.do_cuMemFreeHost(c.api, p)
	}
	c.staging.release(c)
	c.dropEvents(c.events[:])
	if c.stream != nil {
		C.do_cuStreamDestroy_v2(c.api, c.stream)
	}
}

func (c *Card) leak() error {
	if !c.options.Check || c.failed() != nil {
		return nil
	}
	var bytes int64
	for _, n := range c.memory {
		bytes += n
	}
	for _, n := range c.pinned {
		bytes += n
	}
	if n := len(c.memory) + len(c.pinned); n > 0 {
		return fmt.Errorf("cuda:%d: %d pieces of memory, %s, were not freed before Close", c.ordinal, n, size(bytes))
	}
	return nil
}

// Info describes the card; MemoryFree is as of now, and 0 on a card that is lost or closed.
func (c *Card) Info() Info {
	info := c.info
	_ = c.do("memory information", func() C.int {
		var free, total C.size_t
		code := C.do_cuMemGetInfo_v2(c.api, &free, &total)
		info.MemoryFree = int64(free)
		return code
	})
	return info
}

// check turns the driver's answer into an error, and remembers one that no card recovers from.
func (c *Card) check(what string, code C.int) error {
	switch {
	case code == 0:
		return nil
	case fatal[code]:
		return c.lose(fmt.Errorf("cuda:%d: %w: %s: %w", c.ordinal, ErrLost, what, failure(c.api, code)))
	case code == outOfMemory:
		return fmt.Errorf("cuda:%d: %s: %w", c.ordinal, what, ErrMemory)
	}
	return fmt.Errorf("cuda:%d: %s: %w", c.ordinal, what, failure(c.api, code))
}

// lose declares the card lost: err, or what was found first, is the answer to everything from now on.
func (c *Card) lose(err error) error {
	c.lost.CompareAndSwap(nil, &err)
	return c.failed()
}

// failed returns why the card is lost, or nil.
func (c *Card) failed() error {
	if err := c.lost.Load(); err != nil {
		return *err
	}
	return nil
}
