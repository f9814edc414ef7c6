package cpu

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Every unit of every task is done once, by one worker at a time, however the tasks follow each other.
func TestPoolDoesEveryUnitOnce(t *testing.T) {
	for _, threads := range []int{1, 2, 3, 8} {
		p := newPool(threads)
		r := rand.New(rand.NewPCG(1, uint64(threads)))
		done := make([]atomic.Int32, 300)
		busy := make([]atomic.Bool, threads)
		count := task{func(unit, worker int) {
			if busy[worker].Swap(true) {
				t.Errorf("worker %d does two units at once", worker)
			}
			done[unit].Add(1)
			busy[worker].Store(false)
		}}
		for round := range 2000 {
			if round%500 == 0 {
				time.Sleep(2 * spinTime) // the workers fall asleep
			}
			units := r.IntN(len(done))
			p.run(units, &count)
			for unit := range done {
				want := int32(0)
				if unit < units {
					want = 1
				}
				if n := done[unit].Swap(0); n != want {
					t.Fatalf("%d threads, round %d: unit %d of %d was done %d times", threads, round, unit, units, n)
				}
			}
		}
		p.close()
	}
}

func BenchmarkPool(b *testing.B) {
	p := newPool(2)
	defer p.close()
	nothing := task{func(unit, worker int) {}}
	for b.Loop() {
		p.run(2, &nothing)
	}
}
