//go:build amxtrap

// Package amxtrap executes the instructions of AMX, and VPDPWSSD of AVX-VNNI, on processors that do not have them, so that tests
// run the assembly of package cpu everywhere. It handles the signal that such an instruction raises and does to the thread's
// tiles and registers what Intel's manual says; what the processor would refuse still ends the process. An instruction takes some ten microseconds. Only tests
// with the build tag amxtrap use it. It needs AVX512F.
package amxtrap

// #include "trap.h"
import "C"

import (
	"fmt"
	"unsafe"
)

// Install makes the instructions known, from now on and on all threads.
func Install() error {
	if ok, err := C.trap_install(); !ok {
		return fmt.Errorf("amxtrap: handling SIGILL: %w", err)
	}
	return nil
}

// run calls machine code, with its arguments in RDI, RSI and RDX.
func run(code []byte, first, second unsafe.Pointer, third uint64) {
	C.trap_run(unsafe.Pointer(&code[0]), first, second, C.uint64_t(third))
}
