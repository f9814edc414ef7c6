package cpu

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// spinTime is how long an idle worker watches for the next task before it sleeps: longer than the serial stretches between
// the operations of a step, shorter than a battery would notice.
const spinTime = 60 * time.Microsecond

// A task is work in units that any thread may do, in any order. Preallocated, so that a step allocates nothing.
type task struct{ run func(unit, worker int) }

// A pool runs tasks on a fixed number of threads: the caller of run, which is worker 0, and goroutines that wait. All take
// units one by one, so that a thread the system takes away costs its unit and no more.
type pool struct {
	threads int
	// state is the task's number, its units and the next unit, in one word: who moves the last one owns the unit.
	state  atomic.Uint64
	task   atomic.Pointer[task]
	done   atomic.Int64
	asleep atomic.Int64
	wake   chan struct{}
	stop   atomic.Bool
	ended  sync.WaitGroup
	// observe, if set before the first task, is told of each unit that a worker did: see timeline_test.go.
	observe func(t *task, worker int, from, to time.Time)
}

const (
	unitBits = 24
	unitMask = 1<<unitBits - 1
)

func newPool(threads int) *pool {
	p := &pool{threads: threads, wake: make(chan struct{}, threads)}
	for worker := 1; worker < threads; worker++ {
		p.ended.Go(func() { p.work(worker) })
	}
	return p
}

// run does units 0 to units-1 of a task and returns when all are done.
func (p *pool) run(units int, t *task) {
	if units <= 1 || p.threads == 1 {
		for unit := range units {
			p.do(t, unit, 0)
		}
		return
	}
	p.done.Store(0)
	p.task.Store(t)
	number := p.state.Load()>>(2*unitBits) + 1
	p.state.Store(number<<(2*unitBits) | uint64(units)<<unitBits)
	for range min(p.asleep.Load(), int64(units-1)) {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
	for p.take(0) {
	}
	for spins := 0; p.done.Load() < int64(units); spins++ {
		if spins < 1000 {
			pause()
		} else {
			runtime.Gosched()
		}
	}
}

// take does one unit, and reports whether there was one. Workers that come late to a task see in its state that nothing is
// left, or own a unit that its caller waits for.
func (p *pool) take(worker int) bool {
	for {
		s := p.state.Load()
		if s&unitMask >= s>>unitBits&unitMask {
			return false
		}
		if p.state.CompareAndSwap(s, s+1) {
			p.do(p.task.Load(), int(s&unitMask), worker)
			p.done.Add(1)
			return true
		}
	}
}

func (p *pool) do(t *task, unit, worker int) {
	if p.observe == nil {
		t.run(unit, worker)
		return
	}
	from := time.Now()
	t.run(unit, worker)
	p.observe(t, worker, from, time.Now())
}

func (p *pool) work(worker int) {
	idle := time.Now()
	for spins := 1; !p.stop.Load(); spins++ {
		if p.take(worker) {
			for p.take(worker) {
			}
			idle, spins = time.Now(), 0
			continue
		}
		pause()
		if spins%64 != 0 || time.Since(idle) < spinTime {
			continue
		}
		p.asleep.Add(1)
		if s := p.state.Load(); s&unitMask >= s>>unitBits&unitMask && !p.stop.Load() {
			<-p.wake
		}
		p.asleep.Add(-1)
		idle = time.Now()
	}
}

// close ends the workers. No task may be running.
func (p *pool) close() {
	p.stop.Store(true)
	for range p.threads {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
	p.ended.Wait()
}

// share cuts n things into parts of nearly the same size and returns the range of part i.
func share(n, parts, i int) (first, end int) { return n * i / parts, n * (i + 1) / parts }

// ceil is ⌈a/b⌉.
func ceil(a, b int) int { return (a + b - 1) / b }

// roundUp is the smallest multiple of b that is not less than a.
func roundUp(a, b int) int { return ceil(a, b) * b }
