//go:build !unix

package mapped

// Allocate returns size zero bytes; where there is no anonymous mapping they are the garbage collector's.
func Allocate(size int) (*File, error) { return &File{Data: make([]byte, size)}, nil }
