package scheduler

import (
	"cmp"
	"slices"

	"minisgl/device"
	"minisgl/scheduler/page"
	"minisgl/scheduler/radix"
)

// A candidate is a waiting request that may be admitted now.
type candidate struct {
	*request
	prefix int // tokens in the cache, for LPM
}

// admit lets waiting requests run as long as there are slots, pages and rows.
func (s *Scheduler) admit(f *flight) {
	if s.budget == 0 || len(s.slots) == 0 || len(s.waiting) == 0 {
		return
	}
	reserve := 0
	for _, r := range s.running {
		reserve += s.growthPages(r)
	}
	misfits := 0
	var last *request
	candidates := s.candidates()
	for _, c := range candidates {
		if s.budget == 0 || len(s.slots) == 0 {
			break
		}
		if s.awaits(c.request) {
			continue
		}
		if s.admitOne(f, c.request, reserve) {
			reserve += s.growthPages(c.request)
			last = c.request
			s.add(f, last, min(last.todo(), s.budget))
			continue
		}
		misfits++
		if misfits > s.config.LookPast || c.passed >= patience {
			break
		}
	}
	for _, c := range candidates {
		if last != nil && c.state == waiting && compare(c.request, last) < 0 {
			c.passed++
		}
	}
	clear(candidates)
}

// candidates returns the requests to try, best first.
func (s *Scheduler) candidates() []candidate {
	n := len(s.slots) + s.config.LookPast
	if s.config.Policy == LPM {
		n = max(n, window)
	}
	list := s.window[:0]
	for _, r := range s.waiting[:min(n, len(s.waiting))] {
		c := candidate{request: r}
		if s.config.Policy == LPM {
			c.prefix = s.tree.Prefix(r.tokens)
			if r.resumes || r.passed >= patience {
				c.prefix = len(r.tokens) // its turn has come
			}
		}
		list = append(list, c)
	}
	s.window = list
	if s.config.Policy == LPM {
		slices.SortStableFunc(list, func(a, b candidate) int {
			return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(b.prefix, a.prefix))
		})
	}
	return list
}

// growthPages is how many pages a running request is expected to take before anything else changes.
func (s *Scheduler) growthPages(r *request) int {
	length := len(r.Prompt) + r.drawn
	end := min(length+s.growth, len(r.Prompt)+r.maxTokens)
	return max(0, s.pagesFor(end)-s.pagesFor(length))
}

func (s *Scheduler) pagesFor(tokens int) int {
	return (tokens + s.config.PageSize - 1) / s.config.PageSize
}

// admitOne starts a waiting request if there is room for all its tokens, and for some growth of it and the others. A
// request that is alone needs no such reserve.
func (s *Scheduler) admitOne(f *flight, r *request, reserve int) bool {
	r.pages = slices.Grow(r.pages[:0], s.pagesFor(len(r.tokens)+min(r.maxTokens-r.outputs(), foresight)))
	m, pages := s.tree.Match(r.tokens[:s.matchLimit(r)], r.pages)
	r.pages = pages
	need := s.pagesFor(len(r.tokens)) - len(pages)
	if len(s.running) > 0 {
		need += reserve + s.growthPages(r)
	}
	s.tree.Lock(m.Node)
	if m.Tail != nil {
		s.tree.Lock(m.Tail)
		if s.room() < need {
			s.tree.Unlock(m.Tail)
			m.Tail = nil
			m.Tokens -= m.Tokens % s.config.PageSize
		}
	}
	if s.room() < need {
		s.tree.Unlock(m.Node)
		r.pages = r.pages[:0]
		return false
	}

	for len(r.pages) < s.pagesFor(len(r.tokens)) {
		p, _ := s.take()
		r.pages = append(r.pages, p)
	}
	r.node, r.shared = m.Node, m.Tokens/s.config.PageSize
	if m.Tail != nil {
		f.copies = append(f.copies, device.PageCopy{Src: m.TailPage, Dst: r.pages[r.shared], Tokens: int32(m.Tokens % s.config.PageSize)})
		f.locks = append(f.locks, m.Tail)
	}
	r.planned, r.stored, r.prefill = m.Tokens, m.Tokens, len(r.tokens)
	r.slot = s.slots[len(s.slots)-1]
	s.slots = s.slots[:len(s.slots)-1]
	if r.Sampling.Penalised() {
		f.resets = append(f.resets, r.history())
	}
	if !r.started {
		r.started, r.cached = true, m.Tokens
		r.Sink.Start(m.Tokens)
		s.counters.PromptTokens += uint64(len(r.Prompt))
		s.counters.CachedTokens += uint64(m.Tokens)
	}
	s.waiting = dequeue(s.waiting, r)
	r.state, r.passed = running, 0
	s.running = enqueue(s.running, r)
	return true
}

// awaits reports whether a running request is about to add much of r's prompt to the tree: then it is quicker to wait for that
// than to compute the same beside it. It is the usual case when several answers to one prompt are asked for.
func (s *Scheduler) awaits(r *request) bool {
	if s.config.Cache == Naive {
		return false
	}
	cached := -1
	for _, q := range s.running {
		if q.stored >= q.prefill {
			continue
		}
		common := radix.CommonPrefix(r.tokens[:s.matchLimit(r)], q.tokens[:q.prefill])
		common -= common % s.config.PageSize
		if common < worthWaiting || 2*common < len(r.tokens) {
			continue
		}
		if cached < 0 {
			cached = s.tree.Prefix(r.tokens)
		}
		if common-cached >= worthWaiting {
			return true
		}
	}
	return false
}

// matchLimit is how much of a request's tokens may come from the cache: the last is computed, to draw from, and so is each
// one from which a prompt token is to be scored.
func (s *Scheduler) matchLimit(r *request) int {
	limit := len(r.tokens) - 1
	if r.nextScore < len(r.Prompt) {
		limit = min(limit, r.nextScore-1)
	}
	return limit
}

// room is the number of pages that can be taken.
func (s *Scheduler) room() int { return s.pool.Count(page.Free) + s.tree.Evictable() }
