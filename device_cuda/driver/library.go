//go:build cuda

package driver

/*
#cgo LDFLAGS: -ldl
#include <stdlib.h>
#include "driver.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unsafe"
)

func open(name string) (unsafe.Pointer, error) {
	path := C.CString(name)
	defer C.free(unsafe.Pointer(path))
	var complaint *C.char
	defer func() { C.free(unsafe.Pointer(complaint)) }()
	library := C.open_library(path, &complaint)
	if library == nil {
		return nil, errors.New(C.GoString(complaint))
	}
	return library, nil
}

// oldestDriver is the CUDA version that a driver must be for: older ones do not load what NVRTC 12 makes.
const oldestDriver = 12000

// openCUDA loads the driver's library, starts it and counts the cards.
func openCUDA(o Options) (api *C.cuda, cards int, err error) {
	name := o.CUDA
	if name == "" {
		name = "libcuda.so.1"
	}
	library, err := open(name)
	switch {
	case err == nil:
	case o.CUDA == "" && strings.Contains(err.Error(), "No such file"):
		return nil, 0, errors.New("no CUDA driver: libcuda.so.1 not found (is an NVIDIA driver installed?)")
	default:
		return nil, 0, fmt.Errorf("no CUDA driver: %w", err)
	}
	api = (*C.cuda)(C.calloc(1, C.sizeof_cuda)) // kept for good, like the library
	var missing *C.char
	since := C.find_cuda(library, api, &missing)
	if since != 0 && api.cuDriverGetVersion == nil {
		return nil, 0, fmt.Errorf("%s is no CUDA driver: it has no %s", name, C.GoString(missing))
	}
	version := driverVersion(api)
	switch {
	case since != 0:
		return nil, 0, fmt.Errorf("the NVIDIA driver is too old: %s needs one for CUDA %s or newer, and this one is for CUDA %s",
			C.GoString(missing), cudaVersion(since), cudaVersion(version))
	case version < oldestDriver:
		return nil, 0, fmt.Errorf("the NVIDIA driver is too old: it is for CUDA %s, and must be for %s or newer", cudaVersion(version), cudaVersion(oldestDriver))
	}
	switch code := C.do_cuInit(api, 0); {
	case code == noDevice:
		return api, 0, nil
	case code != 0:
		return nil, 0, fmt.Errorf("the CUDA driver does not start: %w", failure(api, code))
	}
	var count C.int
	if code := C.do_cuDeviceGetCount(api, &count); code != 0 && code != noDevice {
		return nil, 0, fmt.Errorf("the CUDA driver does not count its cards: %w", failure(api, code))
	}
	return api, int(count), nil
}

// A compiler is an NVRTC.
type compiler struct {
	api     *C.nvrtc
	library string // name or path it was opened by
}

// openNVRTC loads the run-time compiler: the one that is named, or the system's, the newest but for a driver of CUDA 12, which
// does not load what a compiler of CUDA 13 made.
func openNVRTC(named string, driver C.int) (*compiler, error) {
	names := []string{named}
	if named == "" {
		files := []string{"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"}
		if driver < 13000 {
			files[0], files[1] = files[1], files[0]
		}
		names = append([]string(nil), files...)
		for _, folder := range []string{os.Getenv("CUDA_HOME"), os.Getenv("CUDA_PATH"), "/usr/local/cuda"} {
			for _, file := range files {
				if folder != "" {
					names = append(names, filepath.Join(folder, "lib64", file))
				}
			}
		}
	}
	var library unsafe.Pointer
	var name string
	var err error
	for _, name = range names {
		if library, err = open(name); err == nil {
			break
		}
	}
	switch {
	case err == nil:
		openBuiltins(name)
	case named == "":
		return nil, errors.New("no CUDA compiler: libnvrtc.so.13 or .12 not found, neither on the library path nor below /usr/local/cuda " +
			"(install NVRTC of the CUDA toolkit, or name it in MINISGL_NVRTC_LIBRARY)")
	default:
		return nil, fmt.Errorf("no CUDA compiler: %w", err)
	}
	api := (*C.nvrtc)(C.calloc(1, C.sizeof_nvrtc))
	var missing *C.char
	if since := C.find_nvrtc(library, api, &missing); since != 0 {
		if api.nvrtcVersion == nil {
			return nil, fmt.Errorf("%s is no NVRTC: it has no %s", name, C.GoString(missing))
		}
		return nil, fmt.Errorf("NVRTC is too old: %s comes with CUDA %s", C.GoString(missing), cudaVersion(since))
	}
	return &compiler{api, name}, nil
}

// openBuiltins opens the library that an NVRTC outside the library path keeps beside it, since NVRTC itself looks for it on the
// path only, and when it compiles.
func openBuiltins(compiler string) {
	if filepath.Base(compiler) == compiler {
		return
	}
	builtins, _ := filepath.Glob(filepath.Join(filepath.Dir(compiler), "libnvrtc-builtins.so*"))
	for _, path := range builtins {
		_, _ = open(path)
	}
}

// driverVersion is the newest CUDA version that the driver knows: 12040 is 12.4.
func driverVersion(api *C.cuda) C.int {
	var version C.int
	C.do_cuDriverGetVersion(api, &version)
	return version
}

// cudaVersion writes 12040 as 12.4.
func cudaVersion(version C.int) string { return fmt.Sprintf("%d.%d", version/1000, version%1000/10) }

// What the driver answers; cuda.h, CUresult.
const (
	outOfMemory  = 2
	noDevice     = 100
	launchFailed = 719
)

// fatal are the errors after which nothing of a context works any more.
var fatal = map[C.int]bool{
	4:   true, // deinitialized
	46:  true, // device unavailable
	201: true, // invalid context
	214: true, // uncorrectable ECC error
	220: true, // uncorrectable NVLink error
	226: true, // contained error
	700: true, // illegal address
	702: true, // launch timeout
	709: true, // context is destroyed
	710: true, // assert
	714: true, // hardware stack error
	715: true, // illegal instruction
	716: true, // misaligned address
	717: true, // invalid address space
	718: true, // invalid program counter
	719: true, // launch failed
	721: true, // tensor memory leak
	810: true, // MPS client terminated
	911: true, // external device
	999: true, // unknown
}

// failure is the driver's own account of an error code: "an illegal memory access was encountered (CUDA_ERROR_ILLEGAL_ADDRESS, 700)".
func failure(api *C.cuda, code C.int) error {
	if code == 0 {
		return nil
	}
	var name, text *C.char
	C.do_cuGetErrorName(api, code, &name)
	C.do_cuGetErrorString(api, code, &text)
	if name == nil || text == nil {
		return fmt.Errorf("CUDA error %d", code)
	}
	return fmt.Errorf("%s (%s, %d)", C.GoString(text), C.GoString(name), code)
}
