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
	"unsafe"
)

// open loads the first library of a list of names and paths.
func open(names ...string) (unsafe.Pointer, error) {
	var complaints error
	for _, name := range names {
		path := C.CString(name)
		var complaint *C.char
		library := C.open_library(path, &complaint)
		C.free(unsafe.Pointer(path))
		if library != nil {
			return library, nil
		}
		if complaints == nil {
			complaints = errors.New(C.GoString(complaint))
		}
		C.free(unsafe.Pointer(complaint))
	}
	return nil, complaints
}

// openCUDA loads the driver's library and starts it.
func openCUDA(o Options) (*C.cuda, error) {
	name := o.CUDA
	if name == "" {
		name = "libcuda.so.1"
	}
	library, err := open(name)
	if err != nil && o.CUDA == "" {
		return nil, errors.New("no CUDA driver: libcuda.so.1 not found (is an NVIDIA driver installed?)")
	}
	if err != nil {
		return nil, fmt.Errorf("no CUDA driver: %w", err)
	}
	api := (*C.cuda)(C.calloc(1, C.sizeof_cuda)) // kept for good, like the library
	var missing *C.char
	if since := C.find_cuda(library, api, &missing); since != 0 {
		if api.cuDriverGetVersion == nil {
			return nil, fmt.Errorf("%s is no CUDA driver: it has no %s", name, C.GoString(missing))
		}
		var version C.int
		C.do_cuDriverGetVersion(api, &version)
		return nil, fmt.Errorf("the NVIDIA driver is too old: %s needs one for CUDA %s or newer, and this one is for CUDA %s",
			C.GoString(missing), cudaVersion(since), cudaVersion(version))
	}
	if code := C.do_cuInit(api, 0); code != 0 && code != noDevice {
		return nil, fmt.Errorf("the CUDA driver does not start: %w", failure(api, code))
	}
	return api, nil
}

// openNVRTC loads the run-time compiler: the one that is named, or the system's.
func openNVRTC(named string) (*C.nvrtc, error) {
	names := []string{named}
	if named == "" {
		files := []string{"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"}
		names = append([]string(nil), files...)
		for _, folder := range []string{os.Getenv("CUDA_HOME"), os.Getenv("CUDA_PATH"), "/usr/local/cuda"} {
			for _, file := range files {
				if folder != "" {
					names = append(names, filepath.Join(folder, "lib64", file))
				}
			}
		}
	}
	library, err := open(names...)
	if err != nil && named == "" {
		return nil, errors.New("no CUDA compiler: libnvrtc.so.13 or .12 not found, neither on the library path nor below /usr/local/cuda " +
			"(install NVRTC of the CUDA toolkit, or name it in MINISGL_NVRTC_LIBRARY)")
	}
	if err != nil {
		return nil, fmt.Errorf("no CUDA compiler: %w", err)
	}
	compiler := (*C.nvrtc)(C.calloc(1, C.sizeof_nvrtc))
	var missing *C.char
	if since := C.find_nvrtc(library, compiler, &missing); since != 0 {
		return nil, fmt.Errorf("NVRTC is too old: %s comes with CUDA %s", C.GoString(missing), cudaVersion(since))
	}
	return compiler, nil
}

// cudaVersion writes 12040 as 12.4.
func cudaVersion(version C.int) string { return fmt.Sprintf("%d.%d", version/1000, version%1000/10) }

// What the driver answers; cuda.h, CUresult.
const (
	outOfMemory    = 2
	notInitialized = 3
	noDevice       = 100
	launchFailed   = 719
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
