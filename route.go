package minisgl

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"minisgl/device"
	"minisgl/scheduler"
	"minisgl/scheduler/engine"
	"minisgl/scheduler/router"
)

// EngineState tells of one of the engines that share an LLM's requests: there is one for each device.
type EngineState struct {
	Name   string // the device's; where several have the same, with the engine's number: "cuda:0", "cpu#1"
	Device device.Info
	Memory device.MemoryUse // what the model takes of the device, in bytes
	Stats  engine.Stats
	Err    error // not nil: the device was lost, and the engine takes no more requests
}

// Engines returns the state of each engine, in the order of Options.Device.
func (l *LLM) Engines() []EngineState {
	states := make([]EngineState, len(l.replicas))
	for i, r := range l.replicas {
		states[i] = EngineState{Name: r.name, Device: r.info, Memory: r.runner.Memory(), Stats: r.engine.Stats()}
		if r.lost.Load() {
			states[i].Err = r.engine.Err()
		}
	}
	return states
}

// Stats is a recent snapshot of load and memory, of all engines together. What lost ones have done counts, what they had does not.
func (l *LLM) Stats() (sum engine.Stats) {
	for _, r := range l.replicas {
		s := r.engine.Stats()
		if r.lost.Load() && len(l.replicas) > 1 {
			s.Pages, s.FreePages, s.CachedPages, s.HeldPages, s.LeakedPages = 0, 0, 0, 0, 0
		}
		sum.Add(s)
	}
	return sum
}

// watch notes which engines end, and says so. When none is left, it closes done.
func (l *LLM) watch() {
	var left atomic.Int64
	left.Store(int64(len(l.replicas)))
	for _, r := range l.replicas {
		l.watchers.Go(func() {
			<-r.engine.Done()
			rest := left.Add(-1)
			if err := r.engine.Err(); err != nil {
				r.lost.Store(true)
				l.log.Error(fmt.Sprintf("Device %s is taken out, %d of %d engines go on: %v", r.name, rest, len(l.replicas), err))
			}
			if rest == 0 {
				close(l.done)
			}
		})
	}
}

// submit gives a stream's request to the engine that suits it best, and to the next best if that one refuses it.
func (l *LLM) submit(s *Stream) (*replica, error) {
	q := s.request
	if len(l.replicas) == 1 {
		return l.replicas[0], l.replicas[0].engine.Submit(q)
	}
	cached := make([]int, len(l.replicas))
	for i, r := range l.replicas {
		cached[i] = r.engine.CachedPrefix(q.Prompt) // -1 is router.Unavailable
	}
	s.inbox.ended = func() { l.router.Done(q.ID) }
	var refusal error
	for {
		i, err := l.router.Route(q.ID, cached)
		switch {
		case errors.Is(err, router.ErrUnavailable) && refusal == nil:
			return nil, errors.Join(ErrClosed, l.Err())
		case errors.Is(err, router.ErrUnavailable):
			return nil, refusal
		case err != nil:
			return nil, err
		}
		r := l.replicas[i]
		if err = r.engine.Submit(q); err == nil {
			return r, nil
		}
		l.router.Done(q.ID)
		if errors.Is(err, scheduler.ErrInvalid) {
			return nil, err
		}
		// A full queue is what the client is told if there is one: it is the refusal that passes by itself.
		if refusal == nil || errors.Is(refusal, ErrClosed) || errors.Is(err, ErrQueueFull) {
			refusal = err
		}
		cached[i] = router.Unavailable
	}
}

// Abort ends a request by its ID; AbortAll ends all.
func (l *LLM) Abort(id string) {
	if len(l.replicas) == 1 {
		l.replicas[0].engine.Abort(id)
	} else if i, ok := l.router.Engine(id); ok {
		l.replicas[i].engine.Abort(id)
	}
}

func (l *LLM) AbortAll() {
	for _, r := range l.replicas {
		r.engine.AbortAll()
	}
}

// Drain takes no more requests and waits for those that run, until the context ends.
func (l *LLM) Drain(ctx context.Context) error {
	errs := make([]error, len(l.replicas))
	var drains sync.WaitGroup
	for i, r := range l.replicas {
		drains.Go(func() {
			if err := r.engine.Drain(ctx); !errors.Is(err, device.ErrLost) { // nothing runs there any more
				errs[i] = err
			}
		})
	}
	drains.Wait()
	return cmp.Or(append(errs, l.Err())...)
}

// FlushCache drops the prefix caches, but for what running requests use. It reports whether nothing was running.
func (l *LLM) FlushCache() bool {
	idle := true
	for _, r := range l.replicas {
		idle = r.engine.FlushCache() && idle
	}
	return idle
}

// Done is closed when no engine is left, by Close or because the devices were lost; Err then tells which. A device that is lost while
// others are left ends the requests that it had, and the others take those that come.
func (l *LLM) Done() <-chan struct{} { return l.done }

// Err is nil as long as an engine is left.
func (l *LLM) Err() error {
	var errs []error
	for _, r := range l.replicas {
		err := r.engine.Err()
		if err == nil {
			return nil
		}
		errs = append(errs, r.fault(err))
	}
	return errors.Join(errs...)
}
