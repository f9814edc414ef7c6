package scheduler

import (
	"errors"

	"minisgl/device"
)

// Commit takes the results of the oldest step in flight, or the error that Wait returned for it. It calls sinks, and
// releases what only this step kept.
func (s *Scheduler) Commit(step *device.Step, err error) {
	if s.inFlight == 0 || s.flights[0].step != step {
		panic("scheduler: Commit of a step that is not the oldest in flight")
	}
	// The flight steps back behind the other one; its memory is reused by the next Plan.
	f := s.flights[0]
	s.flights[0], s.flights[1] = s.flights[1], f
	s.inFlight--

	results := step.Results
	for i := range f.pieces {
		p := &f.pieces[i]
		r := p.request
		r.flights--
		leaving := r.state != running // since before this step came back
		if err == nil {
			n := p.outputs()
			s.deliver(p, results[:n])
			results = results[n:]
		} else {
			r.spoilt = true // even if it has ended: the next step in flight builds on this one
			if r.state != ended {
				s.finish(r, Failed, err)
			}
		}
		if leaving && r.flights == 0 {
			s.release(r)
		}
	}
	s.free(f.pages)
	for _, n := range f.locks {
		s.tree.Unlock(n)
	}
	last := &s.flights[1]
	clear(last.pieces)
	clear(last.locks)
	last.step, last.pages, last.locks = nil, f.pages[:0], f.locks[:0]
	if errors.Is(err, device.ErrLost) {
		s.endAll(Failed, err)
	}
}

// deliver hands a piece's results to its request. A request that has ended meanwhile only learns what is stored.
func (s *Scheduler) deliver(p *piece, results []device.Result) {
	r := p.request
	r.stored = p.from + p.rows
	if r.state == ended {
		return
	}
	for _, result := range results {
		if result.Token == device.NoToken {
			s.finish(r, Failed, ErrNaN)
			return
		}
	}
	for i := range p.scores {
		r.Sink.Score(p.score+i, results[i])
	}
	r.nextScore += p.scores
	if p.draws {
		result := results[p.scores]
		r.tokens = append(r.tokens, result.Token)
		s.counters.OutputTokens++
		r.Sink.Token(result)
		if r.stops() {
			s.finish(r, Stop, nil)
			return
		}
	}
	switch {
	case r.outputs() == r.maxTokens && r.stored >= len(r.Prompt):
		s.finish(r, Length, nil)
	case r.stored == r.prefill && r.state == running:
		s.cache(r, r.stored)
	}
}
