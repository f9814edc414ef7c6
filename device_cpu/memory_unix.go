//go:build linux || darwin

package cpu

import (
	"fmt"

	"golang.org/x/sys/unix"
)

func reserve(bytes int) ([]byte, error) {
	memory, err := unix.Mmap(-1, 0, max(bytes, 1), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("mapping %d bytes of memory: %w", bytes, err)
	}
	adviseHugePages(memory)
	return memory, nil
}

func release(memory []byte) { _ = unix.Munmap(memory) }
