package cpu

import "sync/atomic"

// Shares deal the units of a task out so that each worker goes through neighbours: weights that lie one behind the other are read faster
// than pieces, even large ones, whose beginning comes from memory without a prefetch. Who has done its own share takes from the end of
// another's.
type shares []share64

// A share64 is the next unit of a worker and the end of its units, 32 bits each, on a cache line of its own.
type share64 struct {
	atomic.Uint64
	_ [cacheLine - 8]byte
}

// deal gives each worker its share of units, none of which may be under way.
func (s shares) deal(units int) {
	for worker := range s {
		first, end := share(units, len(s), worker)
		s[worker].Store(uint64(first)<<32 | uint64(end))
	}
}

// take returns a unit that no other call has returned. It may be called as often as there are units.
func (s shares) take(worker int) int {
	for i := 0; ; i++ {
		from := &s[(worker+i)%len(s)]
		for {
			old := from.Load()
			next, end := int(old>>32), int(old&0xffffffff)
			if next == end {
				break
			}
			unit, left := next, old+1<<32
			if i > 0 {
				unit, left = end-1, old-1
			}
			if from.CompareAndSwap(old, left) {
				return unit
			}
		}
	}
}
