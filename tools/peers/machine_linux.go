package main

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// hugeBuffer is memory in huge pages where the system has them.
func hugeBuffer(n int) ([]byte, error) {
	memory, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, err
	}
	_ = unix.Madvise(memory, unix.MADV_HUGEPAGE) // refused where the kernel has none: slower, but right
	return memory, nil
}

// readClock reads proc(5)'s /proc/stat, whose first line counts hundredths of seconds: user, nice, system, idle, iowait, irq, softirq and
// steal.
func readClock() clock {
	c := clock{at: time.Now()}
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return c
	}
	fields := bytes.Fields(text)
	for _, i := range []int{1, 2, 3, 6, 7, 8} {
		n, err := strconv.ParseInt(string(fields[i]), 10, 64)
		if err != nil {
			return c
		}
		c.busy += time.Duration(n) * 10 * time.Millisecond
	}
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var used unix.Rusage
		if unix.Getrusage(who, &used) != nil {
			return c
		}
		c.own += time.Duration(used.Utime.Nano() + used.Stime.Nano())
	}
	c.cores = runtime.NumCPU()
	return c
}
