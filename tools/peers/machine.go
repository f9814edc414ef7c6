package main

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"
	"unsafe"
)

const (
	idleShare      = 0.02 // of the machine: less is a quiet one
	disturbedShare = 0.03 // taken by others during a measurement: more is repeated
	attempts       = 2
)

// quietly waits until nothing else runs, calls f, and calls it again if others took a part of the machine meanwhile. It returns the values
// of the least disturbed call, and the share that others took.
func (c *config) quietly(ctx context.Context, what string, f func() ([]value, error)) (best []value, foreign float64, err error) {
	foreign = math.Inf(1)
	for attempt := range attempts {
		c.await(ctx)
		c.say("%s", what)
		before := readClock()
		values, err := f()
		if err != nil {
			return nil, 0, err
		}
		if share := readClock().foreignSince(before); share < foreign {
			best, foreign = values, share
		}
		if foreign <= disturbedShare {
			break
		}
		c.say("  others took %.0f %% of the machine, attempt %d of %d", foreign*100, attempt+1, attempts)
		if c.quick {
			break
		}
	}
	return best, foreign, ctx.Err()
}

// await returns when others leave the machine alone, or when patience is at its end.
func (c *config) await(ctx context.Context) {
	told := false
	for start := time.Now(); time.Since(start) < c.patience && ctx.Err() == nil; {
		before := readClock()
		time.Sleep(500 * time.Millisecond)
		share := readClock().foreignSince(before)
		if share < idleShare {
			return
		}
		if !told {
			c.say("  waiting: others take %.0f %% of the machine", share*100)
			told = true
		}
	}
}

// A clock is the processor time that has passed for all, and for this process and its children that have ended.
type clock struct {
	at        time.Time
	busy, own time.Duration
	cores     int
}

// foreignSince is the share of the machine that others took.
func (c clock) foreignSince(before clock) float64 {
	if c.cores == 0 {
		return 0
	}
	foreign := c.busy - before.busy - (c.own - before.own)
	return max(foreign.Seconds()/c.at.Sub(before.at).Seconds()/float64(c.cores), 0)
}

// A memory is a buffer far larger than any cache, whose reading tells how fast memory is.
type memory struct{ words []uint64 }

func newMemory() (*memory, error) {
	const bytes = 1 << 29
	buffer, err := hugeBuffer(bytes)
	if err != nil {
		return nil, fmt.Errorf("a buffer to read: %w", err)
	}
	words := unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(buffer))), bytes/8)
	for i := range words {
		words[i] = uint64(i) // memory that was never written is one page of zeros
	}
	return &memory{words}, nil
}

// readRate is the bytes a second that threads together read, in the best of some passes.
func (m *memory) readRate(threads int) float64 {
	const passes = 8
	sums := make([]uint64, threads)
	best := math.Inf(1)
	for range passes {
		start := time.Now()
		var wait sync.WaitGroup
		for i := range threads {
			first, end := len(m.words)*i/threads, len(m.words)*(i+1)/threads
			wait.Go(func() { sums[i] += sum(m.words[first:end]) })
		}
		wait.Wait()
		best = min(best, time.Since(start).Seconds())
	}
	return float64(8*len(m.words)) / best
}

// sum keeps several loads under way.
func sum(words []uint64) uint64 {
	var a, b, c, d uint64
	for ; len(words) >= 32; words = words[32:] {
		w := (*[32]uint64)(words)
		a += w[0] + w[1] + w[2] + w[3] + w[4] + w[5] + w[6] + w[7]
		b += w[8] + w[9] + w[10] + w[11] + w[12] + w[13] + w[14] + w[15]
		c += w[16] + w[17] + w[18] + w[19] + w[20] + w[21] + w[22] + w[23]
		d += w[24] + w[25] + w[26] + w[27] + w[28] + w[29] + w[30] + w[31]
	}
	return a + b + c + d
}
