package cpu

import (
	"slices"
	"sync"
	"testing"
)

func TestSharesDealEachUnitOnce(t *testing.T) {
	for _, c := range []struct{ workers, units, busy int }{
		{1, 5, 1}, {2, 1, 2}, {2, 7, 2}, {3, 100, 3}, {4, 2, 4},
		{3, 9, 1}, // one worker does all: the others are late
	} {
		s := make(shares, c.workers)
		s.deal(c.units)
		taken := make([][]int, c.workers)
		left := make(chan struct{}, c.units)
		for range c.units {
			left <- struct{}{}
		}
		close(left)
		var wait sync.WaitGroup
		for worker := range c.busy {
			wait.Go(func() {
				for range left {
					taken[worker] = append(taken[worker], s.take(worker))
				}
			})
		}
		wait.Wait()
		all := slices.Sorted(slices.Values(slices.Concat(taken...)))
		for i, unit := range all {
			if unit != i {
				t.Fatalf("%+v: units %v", c, taken)
			}
		}
	}
}

func TestSharesAreNeighbours(t *testing.T) {
	s := make(shares, 2)
	s.deal(6)
	var got []int
	for range 6 {
		got = append(got, s.take(1))
	}
	if want := []int{3, 4, 5, 2, 1, 0}; !slices.Equal(got, want) {
		t.Errorf("worker 1 of 2 alone takes units %v, want %v: its own in order, then from the end of the other's", got, want)
	}
}
