//go:build cuda

// Package driver is the only place that speaks to CUDA, and the only one with cgo. It opens libcuda and NVRTC when a Card is
// opened, so that a program built with the tag cuda starts on machines that have neither.
//
// A Card's context belongs to one goroutine locked to its operating system thread. Every method may be called from any goroutine
// and is carried out there, in order. Steps alone are not handed over, for speed: Submit and Ticket.Wait make one call into C
// each, on the caller's thread, which begins by making the context current there.
package driver

// Options of Open.
type Options struct {
	// Libraries to load instead of the system's libcuda.so.1 and libnvrtc.so.*; "" for those. Open fills them from
	// MINISGL_CUDA_LIBRARY and MINISGL_NVRTC_LIBRARY where they are empty.
	CUDA, NVRTC string
	// Cache is the folder of compiled kernels; "": minisgl/kernels in the user's cache folder; "-": none.
	Cache string
	// Check synchronises after each kernel and says which one failed. MINISGL_CUDA_CHECK=1 sets it.
	Check bool
	// FailStep is the number of a step, counted from 1, that ends as if a kernel had failed in it; 0: none. It is there to see
	// that everything ends well then. MINISGL_CUDA_FAIL_STEP sets it.
	FailStep uint64
}

// Info describes a card.
type Info struct {
	Name            string // "NVIDIA H100 80GB HBM3"
	Major, Minor    int    // compute capability
	Multiprocessors int
	SharedPerBlock  int   // bytes of shared memory that a block may ask for
	L2              int   // bytes
	MemoryTotal     int64 // bytes
	MemoryFree      int64
	Driver          string // "580.95 (CUDA 13.0)", as far as it is known
}

// A Ptr is an address in a card's memory.
type Ptr uint64

// Offset returns the address `bytes` further on.
func (p Ptr) Offset(bytes int64) Ptr { return p + Ptr(bytes) }

// Pinned is host memory that the card can read and write.
type Pinned struct {
	Bytes []byte
	Ptr   Ptr // its address for kernels
}
