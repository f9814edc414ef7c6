//go:build cuda

package driver

/*
#include <stdlib.h>
#include "driver.h"
*/
import "C"

import (
	"fmt"
	"unsafe"
)

// A Module is compiled kernels on a card.
type Module struct {
	card   *Card
	name   string
	handle unsafe.Pointer
}

// A Function is a kernel of a module.
type Function struct {
	Name      string
	handle    unsafe.Pointer
	resources Resources
}

// Resources says what a kernel takes of a multiprocessor, and may take.
type Resources struct {
	Registers    int // of a thread
	LocalBytes   int // of a thread: what did not fit into registers
	StaticShared int // bytes of a block
	MaxShared    int // bytes of dynamic shared memory that a launch may ask for
	MaxThreads   int // of a block
}

// Resources returns what the compiler and the driver say about the kernel.
func (f Function) Resources() Resources { return f.resources }

// Compile compiles CUDA C++ for this card, or takes it from the cache, and loads it. headers are the files that the source may
// include, by name; defines are "NAME" or "NAME=value". The compiler's messages are in the error. Several goroutines may compile at a time.
func (c *Card) Compile(name, source string, headers map[string]string, defines []string) (*Module, error) {
	architecture, err := c.compiler.architectureFor(c.info.Major, c.info.Minor)
	if err != nil {
		return nil, fmt.Errorf("cuda:%d: %w", c.ordinal, err)
	}
	t := translation{name, source, headers, defines, architecture}
	image, err := c.compiler.compileCached(cacheFolder(c.options.Cache), t)
	if err != nil {
		return nil, err
	}
	m := &Module{card: c, name: name}
	err = c.on(func() error {
		if code := C.do_cuModuleLoadData(c.api, &m.handle, unsafe.Pointer(&image[0])); code != 0 {
			return c.check(fmt.Sprintf("load %s, compiled by NVRTC %s for %s (driver: %s)", name, c.compiler.version(), architecture, c.info.Driver), code)
		}
		c.modules[m] = struct{}{}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// Close unloads the module once all that was submitted has run. No plan may have its kernels any more.
func (m *Module) Close() error {
	return m.card.on(func() error {
		if _, loaded := m.card.modules[m]; !loaded {
			return nil
		}
		delete(m.card.modules, m)
		if err := m.card.check("close "+m.name, C.do_cuStreamSynchronize(m.card.api, m.card.stream)); err != nil {
			return err
		}
		return m.card.check("close "+m.name, C.do_cuModuleUnload(m.card.api, m.handle))
	})
}

// Function finds a kernel by its name, which must be extern "C", and allows it as much dynamic shared memory as there is.
func (m *Module) Function(name string) (Function, error) {
	f := Function{Name: name}
	symbol := C.CString(name)
	defer C.free(unsafe.Pointer(symbol))
	c := m.card
	err := c.do(fmt.Sprintf("kernel %s of %s", name, m.name), func() C.int {
		if code := C.do_cuModuleGetFunction(c.api, &f.handle, m.handle, symbol); code != 0 {
			return code
		}
		for _, a := range []struct {
			attribute C.int
			to        *int
		}{
			{C.FUNCTION_REGISTERS, &f.resources.Registers},
			{C.FUNCTION_LOCAL, &f.resources.LocalBytes},
			{C.FUNCTION_STATIC_SHARED, &f.resources.StaticShared},
			{C.FUNCTION_MAX_THREADS, &f.resources.MaxThreads},
		} {
			var value C.int
			if code := C.do_cuFuncGetAttribute(c.api, &value, a.attribute, f.handle); code != 0 {
				return code
			}
			*a.to = int(value)
		}
		f.resources.MaxShared = c.info.SharedPerBlock - f.resources.StaticShared
		return C.do_cuFuncSetAttribute(c.api, f.handle, C.FUNCTION_MAX_DYNAMIC_SHARED, C.int(f.resources.MaxShared))
	})
	if err != nil {
		return Function{}, err
	}
	return f, nil
}
