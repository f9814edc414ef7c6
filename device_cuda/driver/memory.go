//go:build cuda

package driver

/*
#include "driver.h"
*/
import "C"

import (
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"github.com/dustin/go-humanize"
)

func size(bytes int64) string { return humanize.IBytes(uint64(max(bytes, 0))) }

// Alloc returns memory on the card, aligned to 256 bytes. Its content is undefined; in check mode it is 0xff, which is not a
// number in any floating-point format. No bytes are no memory: 0.
func (c *Card) Alloc(bytes int64) (Ptr, error) {
	if bytes <= 0 {
		if bytes < 0 {
			return 0, fmt.Errorf("cuda:%d: cannot allocate %d bytes", c.ordinal, bytes)
		}
		return 0, nil
	}
	var p C.device_pointer
	err := c.on(func() error {
		switch code := C.do_cuMemAlloc_v2(c.api, &p, C.size_t(bytes)); code {
		case 0:
		case outOfMemory:
			var free, total C.size_t
			C.do_cuMemGetInfo_v2(c.api, &free, &total)
			return fmt.Errorf("cuda:%d: %w: %s asked for, %s of %s are free", c.ordinal, ErrMemory, size(bytes), size(int64(free)), size(int64(total)))
		default:
			return c.check("allocate "+size(bytes), code)
		}
		c.memory[Ptr(p)] = bytes
		if c.options.Check {
			return c.check("poison new memory", C.do_cuMemsetD8Async(c.api, p, 0xff, C.size_t(bytes), c.stream))
		}
		return nil
	})
	return Ptr(p), err
}

// Free gives memory back, when all that was submitted before has run. Freeing 0 does nothing.
func (c *Card) Free(p Ptr) error {
	if p == 0 {
		return nil
	}
	return c.on(func() error {
		if _, ours := c.memory[p]; !ours {
			return fmt.Errorf("cuda:%d: free of %#x, which is not allocated", c.ordinal, uint64(p))
		}
		delete(c.memory, p)
		return c.check("free", C.do_cuMemFree_v2(c.api, C.device_pointer(p)))
	})
}

// AllocPinned returns host memory that stays where it is, so that the card can read and write it. It is zero.
func (c *Card) AllocPinned(bytes int) (Pinned, error) {
	if bytes <= 0 {
		return Pinned{}, fmt.Errorf("cuda:%d: cannot pin %d bytes", c.ordinal, bytes)
	}
	var result Pinned
	err := c.on(func() (err error) {
		if result, err = c.pin(bytes); err == nil {
			c.pinned[unsafe.Pointer(&result.Bytes[0])] = int64(bytes)
		}
		return err
	})
	return result, err
}

// pin allocates pinned memory; on the owner's thread.
func (c *Card) pin(bytes int) (Pinned, error) {
	var host unsafe.Pointer
	var card C.device_pointer
	if code := C.do_cuMemHostAlloc(c.api, &host, C.size_t(bytes), C.HOST_PORTABLE|C.HOST_MAPPED); code != 0 {
		return Pinned{}, c.check(fmt.Sprintf("pin %s of host memory", size(int64(bytes))), code)
	}
	if code := C.do_cuMemHostGetDevicePointer_v2(c.api, &card, host, 0); code != 0 {
		C.do_cuMemFreeHost(c.api, host)
		return Pinned{}, c.check("address of pinned memory", code)
	}
	memory := unsafe.Slice((*byte)(host), bytes)
	clear(memory)
	return Pinned{Bytes: memory, Ptr: Ptr(card)}, nil
}

// FreePinned gives pinned memory back. Nothing that was submitted may use it any more.
func (c *Card) FreePinned(p Pinned) error {
	if len(p.Bytes) == 0 {
		return nil
	}
	return c.on(func() error {
		host := unsafe.Pointer(unsafe.SliceData(p.Bytes))
		if _, ours := c.pinned[host]; !ours {
			return fmt.Errorf("cuda:%d: free of pinned memory that is not allocated", c.ordinal)
		}
		delete(c.pinned, host)
		return c.check("free pinned memory", C.do_cuMemFreeHost(c.api, host))
	})
}

// Fill sets each of so many bytes of the card's memory.
func (c *Card) Fill(dst Ptr, value byte, bytes int64) error {
	if bytes <= 0 {
		return nil
	}
	return c.on(func() error {
		err := c.check("fill", C.do_cuMemsetD8Async(c.api, C.device_pointer(dst), C.uchar(value), C.size_t(bytes), c.stream))
		if err != nil {
			return err
		}
		return c.check("fill", C.do_cuStreamSynchronize(c.api, c.stream))
	})
}

// Download copies from the card, when all that was submitted before has run.
func (c *Card) Download(dst []byte, src Ptr) error {
	if len(dst) == 0 {
		return nil
	}
	return c.do("download "+size(int64(len(dst))), func() C.int {
		return C.copy_from_card(c.api, c.stream, unsafe.Pointer(unsafe.SliceData(dst)), C.device_pointer(src), C.size_t(len(dst)))
	})
}

// Upload copies to the card: it returns when src may change, and whatever is submitted from then on sees the copy.
func (c *Card) Upload(dst Ptr, src []byte) error {
	if len(src) == 0 {
		return nil
	}
	what := "upload " + size(int64(len(src)))
	if len(src) > unstaged {
		return c.on(func() error { return c.upload(what, dst, src) })
	}
	return c.do(what, func() C.int {
		return C.copy_to_card(c.api, c.stream, C.device_pointer(dst), unsafe.Pointer(unsafe.SliceData(src)), C.size_t(len(src)))
	})
}

const (
	unstaged     = 64 << 10 // bytes of the largest upload that does not go through staging buffers
	stagingBytes = 4 << 20  // of each of these
)

// staging is pinned memory through which large uploads go: while the card reads one buffer, others are filled. There is one
// ring for all uploads, so that also those of many middling weights overlap.
type staging struct {
	buffers [4]Pinned
	read    [4]unsafe.Pointer // events: the card has read the buffer
	next    int
}

func (s *staging) release(c *Card) {
	for _, b := range s.buffers {
		if b.Bytes != nil {
			C.do_cuMemFreeHost(c.api, unsafe.Pointer(&b.Bytes[0]))
		}
	}
	c.dropEvents(s.read[:])
}

func (c *Card) upload(what string, dst Ptr, src []byte) error {
	s := &c.staging
	for len(src) > 0 {
		i := s.next % len(s.buffers)
		s.next++
		if err := c.clearBuffer(i); err != nil {
			return err
		}
		buffer := s.buffers[i].Bytes
		n := copyParallel(buffer, src)
		code := C.do_cuMemcpyHtoDAsync_v2(c.api, C.device_pointer(dst), unsafe.Pointer(&buffer[0]), C.size_t(n), c.stream)
		if code == 0 {
			code = C.do_cuEventRecord(c.api, s.read[i], c.stream)
		}
		if err := c.check(what, code); err != nil {
			return err
		}
		dst, src = dst.Offset(int64(n)), src[n:]
	}
	return nil
}

// clearBuffer makes sure that buffer i exists and that the card has read what was in it.
func (c *Card) clearBuffer(i int) error {
	s := &c.staging
	if s.buffers[i].Bytes != nil {
		return c.check("upload", C.do_cuEventSynchronize(c.api, s.read[i]))
	}
	if s.read[i] == nil {
		if err := c.check("upload", C.do_cuEventCreate(c.api, &s.read[i], C.EVENT_DISABLE_TIMING)); err != nil {
			return err
		}
	}
	var err error
	s.buffers[i], err = c.pin(stagingBytes)
	return err
}

// copyParallel is copy by several goroutines: one alone reads a mapped file more slowly than a card can take it.
func copyParallel(dst, src []byte) int {
	n := min(len(dst), len(src))
	workers := min(4, runtime.GOMAXPROCS(0))
	share := (n + workers - 1) / workers
	var copies sync.WaitGroup
	for from := 0; from < n; from += share {
		copies.Go(func() { copy(dst[from:min(from+share, n)], src[from:n]) })
	}
	copies.Wait()
	return n
}
