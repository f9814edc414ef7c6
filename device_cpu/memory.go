package cpu

import (
	"unsafe"
)

// An arena is zeroed memory outside Go's heap where the system allows it: the collector neither scans nor counts it, pages
// cost nothing until they are touched, and it asks for huge pages, which memory-bound kernels need.
type arena struct {
	memory []byte
	used   int
}

const cacheLine = 64

// newArena reserves room for that many bytes.
func newArena(bytes int64) (*arena, error) {
	memory, err := reserve(int(bytes))
	if err != nil {
		return nil, err
	}
	return &arena{memory: memory}, nil
}

func (a *arena) free() {
	if a != nil && a.memory != nil {
		release(a.memory)
		a.memory = nil
	}
}

// room is the number of bytes that n values of a type take in an arena.
func room[T any](n int) int64 {
	var zero T
	return int64(roundUp(n*int(unsafe.Sizeof(zero)), cacheLine))
}

// take cuts n values off the arena.
func take[T any](a *arena, n int) []T {
	if n == 0 {
		return nil
	}
	bytes := int(room[T](n))
	start := a.memory[a.used : a.used+bytes]
	a.used += bytes
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(start))), n)
}
