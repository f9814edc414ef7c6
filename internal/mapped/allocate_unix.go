//go:build unix

package mapped

import "golang.org/x/sys/unix"

// Allocate returns size zero bytes outside the garbage collector's heap, which Close gives back at once.
func Allocate(size int) (*File, error) {
	if size == 0 {
		return &File{}, nil
	}
	data, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, err
	}
	wantHugePages(data)
	return &File{Data: data, unmap: func() error { return unix.Munmap(data) }}, nil
}
