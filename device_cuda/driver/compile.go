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
	"maps"
	"slices"
	"strings"
	"unsafe"
)

// A translation is everything that the result of a compilation depends on, but the compiler.
type translation struct {
	name, source string
	headers      map[string]string
	defines      []string
	architecture string // "sm_90a", or "compute_90" for PTX
}

// CompileFor compiles as Card.Compile does, but needs no card: for "sm_90a" it returns a cubin, for "compute_90" PTX. library is
// the NVRTC to use; "" is that of MINISGL_NVRTC_LIBRARY or the system's.
func CompileFor(library, architecture, name, source string, headers map[string]string, defines []string) ([]byte, error) {
	nvrtc, err := openNVRTC(Options{NVRTC: library}.complete().NVRTC, newestDriver)
	if err != nil {
		return nil, err
	}
	return nvrtc.compile(translation{name, source, headers, defines, architecture})
}

const newestDriver = 1 << 30 // there is no driver that the compiler would have to suit

// architectureFor chooses what to compile for a compute capability: exactly that if the compiler knows it, with the features
// that only Hopper has; else PTX of the newest older one, which the driver translates.
func (c *compiler) architectureFor(major, minor int) (string, error) {
	var count C.int
	if code := C.do_nvrtcGetNumSupportedArchs(c.api, &count); code != 0 || count == 0 {
		return "", fmt.Errorf("NVRTC does not tell its architectures: %w", c.failure(code))
	}
	known := make([]C.int, count)
	if code := C.do_nvrtcGetSupportedArchs(c.api, &known[0]); code != 0 {
		return "", fmt.Errorf("NVRTC does not tell its architectures: %w", c.failure(code))
	}
	wanted, newest := C.int(major*10+minor), C.int(0)
	for _, a := range known {
		if a <= wanted {
			newest = max(newest, a)
		}
	}
	switch {
	case newest == 0:
		return "", fmt.Errorf("NVRTC %s compiles for compute capability %d.%d and newer, but this card has %d.%d",
			c.version(), slices.Min(known)/10, slices.Min(known)%10, major, minor)
	case newest < wanted:
		return fmt.Sprintf("compute_%d", newest), nil
	case wanted == 90:
		return "sm_90a", nil
	}
	return fmt.Sprintf("sm_%d", wanted), nil
}

// options are NVRTC's command line. Fast math stays off: results must be those of the CPU's arithmetic.
func (t translation) options() []string {
	options := []string{"--gpu-architecture=" + t.architecture, "--std=c++17", "-lineinfo"}
	for _, d := range t.defines {
		options = append(options, "-D"+d)
	}
	return options
}

// compile returns a cubin, or PTX that ends in 0.
func (c *compiler) compile(t translation) ([]byte, error) {
	names := slices.Sorted(maps.Keys(t.headers))
	texts := make([]string, len(names))
	for i, name := range names {
		texts[i] = t.headers[name]
	}
	options := t.options()
	source, name := C.CString(t.source), C.CString(t.name)
	cNames, cTexts, cOptions := newStrings(names), newStrings(texts), newStrings(options)
	defer func() {
		C.free(unsafe.Pointer(source))
		C.free(unsafe.Pointer(name))
		for _, s := range []cStrings{cNames, cTexts, cOptions} {
			s.free()
		}
	}()
	fail := func(code C.int) error {
		return fmt.Errorf("compile %s for %s: %w", t.name, t.architecture, c.failure(code))
	}
	var program unsafe.Pointer
	if code := C.do_nvrtcCreateProgram(c.api, &program, source, name, C.int(len(names)), cTexts.first(), cNames.first()); code != 0 {
		return nil, fail(code)
	}
	defer C.do_nvrtcDestroyProgram(c.api, &program)
	if code := C.do_nvrtcCompileProgram(c.api, program, C.int(len(options)), cOptions.first()); code != 0 {
		log, _ := fetch(
			func(n *C.size_t) C.int { return C.do_nvrtcGetProgramLogSize(c.api, program, n) },
			func(p *C.char) C.int { return C.do_nvrtcGetProgramLog(c.api, program, p) })
		return nil, fmt.Errorf("%w\n%s", fail(code), strings.TrimRight(string(log), "\x00\n "))
	}
	var image []byte
	var code C.int
	if strings.HasPrefix(t.architecture, "compute_") {
		image, code = fetch(
			func(n *C.size_t) C.int { return C.do_nvrtcGetPTXSize(c.api, program, n) },
			func(p *C.char) C.int { return C.do_nvrtcGetPTX(c.api, program, p) })
	} else {
		image, code = fetch(
			func(n *C.size_t) C.int { return C.do_nvrtcGetCUBINSize(c.api, program, n) },
			func(p *C.char) C.int { return C.do_nvrtcGetCUBIN(c.api, program, p) })
	}
	if code != 0 {
		return nil, fail(code)
	}
	if len(image) == 0 {
		return nil, fmt.Errorf("compile %s for %s: NVRTC returned nothing", t.name, t.architecture)
	}
	return image, nil
}

// fetch asks for a size, then for so many bytes.
func fetch(size func(*C.size_t) C.int, into func(*C.char) C.int) ([]byte, C.int) {
	var n C.size_t
	if code := size(&n); code != 0 || n == 0 {
		return nil, code
	}
	result := make([]byte, n)
	code := into((*C.char)(unsafe.Pointer(&result[0])))
	return result, code
}

// failure is NVRTC's own name for an error code.
func (c *compiler) failure(code C.int) error {
	return errors.New(C.GoString(C.do_nvrtcGetErrorString(c.api, code)))
}

// version is "13.0".
func (c *compiler) version() string {
	var major, minor C.int
	C.do_nvrtcVersion(c.api, &major, &minor)
	return fmt.Sprintf("%d.%d", major, minor)
}

// cStrings is an array of C strings.
type cStrings []*C.char

func newStrings(strings []string) cStrings {
	result := cStrings(unsafe.Slice((**C.char)(C.calloc(C.size_t(len(strings)+1), C.size_t(unsafe.Sizeof(uintptr(0))))), len(strings)+1))
	for i, s := range strings {
		result[i] = C.CString(s)
	}
	return result
}

func (s cStrings) first() **C.char { return &s[0] }

func (s cStrings) free() {
	for _, p := range s {
		C.free(unsafe.Pointer(p))
	}
	C.free(unsafe.Pointer(&s[0]))
}
