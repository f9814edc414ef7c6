package scheduler

import (
	"slices"

	"minisgl/device"
	"minisgl/scheduler/page"
)

// A piece is what one request does in a step: it computes the tokens at positions from, up to from+rows.
type piece struct {
	request    *request
	from, rows int
	score      int // index of the first prompt token it scores
	scores     int // how many it scores
	draws      bool
	output     int // if it draws: which output, counted from 0
}

// outputs is how many results it gets: the scores, then the token drawn.
func (p *piece) outputs() int {
	if p.draws {
		return p.scores + 1
	}
	return p.scores
}

const (
	// defaultGrowth is how many tokens each running request may still draw, when another is admitted, before pages can run out.
	// It is a guess that costs little if it is wrong: the youngest is retracted. SGLang's new_token_ratio plays this role.
	defaultGrowth = 32
	// patience is how many plans may admit a later request in front of one.
	patience = 32
	// foresight is for how many tokens a request gets memory at once, so that drawing them allocates nothing.
	foresight = 1024
	// worthWaiting is how many tokens another request must be about to cache before one waits for them.
	worthWaiting = 32
	// window is how many waiting requests the LPM policy looks at.
	window = 64
)

// planState is what Plan remembers and reuses from one call to the next.
type planState struct {
	steps        uint64   // calls of Plan
	growth       int      // defaultGrowth, or less in tests
	budget       int      // rows left in the step being planned
	promptsFirst bool     // the last step was full of decode rows while prompts waited
	turn         *request // the request that decoded last when there was no room for all

	rotated []*request  // memory of decode
	window  []candidate // memory of candidates
	scratch []int32     // memory of cache
	ids     []string    // memory of show
}

// Plan fills the step with what to compute next, or reports false if there is nothing to do until a step in flight has been
// committed or a request is added. The caller keeps the step as it is until Commit; then it may pass it to Plan again, which
// reuses its memory.
//
// Plan only decides, in pieces; a Planner writes the decisions down as a device.Step, so that two of them can be compared.
func (s *Scheduler) Plan(step *device.Step) bool {
	if s.inFlight == len(s.flights) {
		return false
	}
	s.steps++
	s.inFlight++
	f := &s.flights[s.inFlight-1]
	f.step, f.pieces, f.copies, f.resets = step, f.pieces[:0], f.copies[:0], f.resets[:0]
	s.budget = s.config.MaxStepTokens

	// Decode rows first. Should they take the whole budget while prompts wait, the next step begins with the prompts.
	if s.promptsFirst {
		s.extend(f)
		s.decode(f)
		s.promptsFirst = false
	} else {
		s.decode(f)
		full := s.budget == 0
		s.extend(f)
		s.promptsFirst = full && s.promptsWait()
	}
	if len(f.pieces) == 0 {
		s.inFlight--
		return false
	}
	s.counters.Steps++
	s.config.Planner.build(step, f)
	if s.config.Shadow != nil {
		s.show(step, f)
	}
	return true
}

// show shows the shadow a step.
func (s *Scheduler) show(step *device.Step, f *flight) {
	s.ids = s.ids[:0]
	for i := range f.pieces {
		s.ids = append(s.ids, f.pieces[i].request.ID)
	}
	s.config.Shadow.Planned(step, s.ids, func(second *device.Step) { s.config.Planner.Other().build(second, f) })
}

// decode plans the next token of each request whose prompt is done. If there are more of them than rows, they take turns.
func (s *Scheduler) decode(f *flight) {
	order := append(s.rotated[:0], s.running...)
	s.rotated = order
	defer clear(order)
	first := 0
	if s.turn != nil {
		first, _ = slices.BinarySearchFunc(order, s.turn, compare)
		if first < len(order) && order[first] == s.turn {
			first++
		}
	}
	for i := range order {
		r := order[(first+i)%len(order)]
		if r.state != running || r.lastStep == s.steps || r.todo() != 1 {
			continue
		}
		if s.budget == 0 {
			return
		}
		if s.hasPage(r) {
			s.add(f, r, 1)
			s.turn = r
		}
	}
	s.turn = nil
}

// extend plans pieces of prompts: first of those that run, then of those that can be admitted.
func (s *Scheduler) extend(f *flight) {
	for _, r := range s.running {
		if s.budget == 0 {
			return
		}
		if todo := r.todo(); todo > 1 && r.lastStep != s.steps {
			s.add(f, r, min(todo, s.budget))
		}
	}
	s.admit(f)
}

func (s *Scheduler) promptsWait() bool {
	return len(s.waiting) > 0 && len(s.slots) > 0 || slices.ContainsFunc(s.running, func(r *request) bool { return r.todo() > 1 })
}

// add plans the next rows of a request.
func (s *Scheduler) add(f *flight, r *request, rows int) {
	p := piece{request: r, from: r.planned, rows: rows}
	r.planned += rows
	s.budget -= rows
	// The row at position i scores token i+1.
	p.score = max(p.from+1, r.nextScore)
	p.scores = max(0, min(r.planned, len(r.Prompt)-1)-p.score+1)
	if r.planned == len(r.Prompt)+r.drawn && r.drawn < r.maxTokens {
		p.draws, p.output = true, r.drawn
		r.drawn++
	}
	r.flights++
	r.lastStep = s.steps
	f.pieces = append(f.pieces, p)
}

// hasPage sees to it that the request has a page for its next position. If it reports false, the request sits out this step: it has been
// retracted itself, or others are leaving and their pages will be free when the steps in flight have been committed.
func (s *Scheduler) hasPage(r *request) bool {
	if r.planned < len(r.pages)*s.config.PageSize {
		return true
	}
	for {
		if p, ok := s.take(); ok {
			r.pages = append(r.pages, p)
			return true
		}
		if s.leaving > 0 || s.releasing() {
			return false
		}
		youngest := s.running[len(s.running)-1]
		s.retract(youngest)
		if youngest == r {
			return false
		}
	}
}

// releasing reports whether steps in flight will release pages.
func (s *Scheduler) releasing() bool {
	for i := range s.flights[:s.inFlight] {
		if len(s.flights[i].pages) > 0 || len(s.flights[i].locks) > 0 {
			return true
		}
	}
	return false
}

// take returns a free page, evicting one if there is none.
func (s *Scheduler) take() (int32, bool) {
	if s.pool.Count(page.Free) == 0 {
		s.tree.Evict(1)
	}
	return s.pool.Take()
}
