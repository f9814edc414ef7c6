package devicetest

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"minisgl/device"
	"minisgl/device/reference"
	"minisgl/tensor"
)

// chunksAndPages checks that neither the cut of a prompt nor the page size changes a bit.
func (s *suite) chunksAndPages() {
	p := TinyProgram(Config{Bias: true})
	var want *request
	for _, pageSize := range []int{16, 1, 3, 64} {
		g := s.rig(p, pageSize)
		for chunk := 70; chunk > 0; chunk-- {
			if pageSize != 16 && chunk%9 != 7 {
				continue
			}
			r := g.request(1, withLogprobs(2), g.prompt(7, 70)...)
			r.scored = true
			g.generate(r, 5, chunk)
			g.release(r)
			if want == nil {
				want = r
			}
			same(s, fmt.Sprintf("pages of %d, chunks of %d", pageSize, chunk), r, want)
		}
	}
}

// longContext checks a sequence that is longer than the blocks in which a device may read KV.
func (s *suite) longContext() {
	p := TinyProgram(Config{Layers: 1, MaxPositions: 700})
	g := s.rig(p, 16)
	var want *request
	for _, chunk := range []int{80, 64, 33, 1} {
		r := g.request(chunk%maxSlots, withLogprobs(2), g.prompt(1, 640)...)
		r.scored = true
		g.generate(r, 10, chunk)
		g.release(r)
		if want == nil {
			want = r
		}
		same(s, fmt.Sprintf("chunks of %d", chunk), r, want)
	}
	if s.NoModel {
		return
	}
	s.compare(p, [][]device.Tap{traceLong(s, s.device, p, s.KV)}, [][]device.Tap{traceLong(s, reference.New(0), p, tensor.Invalid)})
}

// traceLong returns the taps of the last rows of a long prompt.
func traceLong(t testing.TB, d device.Device, p *device.Program, kv tensor.DType) (taps []device.Tap) {
	t.Helper()
	g := newRig(t, d, p, 16, kv)
	r := g.request(0, withLogprobs(0), g.prompt(1, 640)...)
	for r.done+maxRows < len(r.tokens) {
		g.batch(maxRows, r).run()
	}
	b := g.batch(maxRows, r)
	b.Trace = func(tap device.Tap) {
		tap.Data = slices.Clone(tap.Data)
		taps = append(taps, tap)
	}
	b.run()
	return taps
}

// neighbours checks that a request's results are the same alone and among others of all lengths.
func (s *suite) neighbours() {
	g := s.rig(TinyProgram(Config{Bias: true}), 4)
	params := withLogprobs(2)
	params.Temperature, params.Seed = 0.8, 42
	const n = 9
	var alone, crowd []*request
	for i := range n {
		alone = append(alone, g.request(0, params, g.prompt(i, 1+3*i)...))
		g.generate(alone[i], 6, 100)
		g.release(alone[i])
		crowd = append(crowd, g.request(i, params, g.prompt(i, 1+3*i)...))
	}
	for step := 0; slices.ContainsFunc(crowd, func(r *request) bool { return len(r.results) < 6 }); step++ {
		b := &batch{rig: g}
		for i, r := range crowd {
			if i > step || len(r.results) == 6 { // they come one by one, and leave one by one
				continue
			}
			if r.done == len(r.tokens) {
				r.next()
			}
			b.add(r, 5)
		}
		b.run()
	}
	for i := range crowd {
		same(s, fmt.Sprintf("request %d", i), crowd[i], alone[i])
	}
}

// rowCounts decodes 1 to 70 rows at once, which crosses the edges of every tile of rows, each request in changing rows.
func (s *suite) rowCounts() {
	const most = 70
	g := s.rig(TinyProgram(Config{Hidden: 64, Intermediate: 96, Bias: true}), 16)
	var requests []*request
	for i := range most {
		r := g.request(i, withLogprobs(1), g.prompt(i, 3)...)
		requests = append(requests, g.generate(r, 2, 3))
	}
	for n := 1; n <= most; n++ {
		b := &batch{rig: g}
		for i := range n {
			r := requests[(i+n/2)%n]
			r.done-- // the same row once more, which writes the same KV
			b.add(r, 1)
		}
		b.run()
		for i, r := range requests[:n] {
			sameResults(s, fmt.Sprintf("request %d of %d", i, n), r.results[2:], r.results[1:2])
			r.results = r.results[:2]
		}
	}
}

// mixedRows checks a step of decode rows, whole prompts and pieces of prompts.
func (s *suite) mixedRows() {
	g := s.rig(TinyProgram(Config{QKNorm: true}), 3)
	build := func() []*request {
		a := g.request(0, withLogprobs(1), g.prompt(1, 11)...)
		b := g.request(1, withLogprobs(1), g.prompt(2, 30)...)
		c := g.request(2, withLogprobs(1), g.prompt(3, 8)...)
		b.scored = true
		return []*request{a, b, c}
	}
	alone := build()
	for _, r := range alone {
		g.generate(r, 3, 100)
		g.release(r)
	}
	r := build()
	g.batch(11, r[0], r[1]).run()             // a prompt and a piece
	g.batch(8, r[0].next(), r[1]).run()       // a decode row and a piece
	g.batch(9, r[2], r[1], r[0].next()).run() // a prompt, a piece and a decode row
	g.batch(9, r[1], r[2].next()).run()
	g.batch(1, r[2].next(), r[1].next()).run()
	g.batch(1, r[1].next()).run()
	for i := range r {
		same(s, fmt.Sprintf("request %d", i), r[i], alone[i])
	}
}

// paddingRows checks that rows behind the last sequence neither write KV nor change results.
func (s *suite) paddingRows() {
	g := s.rig(TinyProgram(Config{}), 4)
	params := withLogprobs(1)
	want := g.generate(g.request(0, params, g.prompt(5, 9)...), 6, 100)
	g.release(want)
	r := g.request(0, params, g.prompt(5, 9)...) // on page 0 and the next ones: where a careless device writes padding
	for i := range 6 {
		b := g.batch(9, r)
		b.Tokens = append(b.Tokens, make([]int32, 1+3*i)...)
		b.run()
		r.next()
	}
	same(s, "with padding", r, want)

	padding := &batch{rig: g}
	padding.Tokens = make([]int32, 5)
	padding.run()
	r.done, r.results = 0, nil
	g.generate(r, 1, 100)
	if r.done != 15 {
		s.Fatalf("%d rows ran, want 15", r.done)
	}
}

// pageCopies lets a request go on from a copy of another one's pages, with a copied tail inside a page.
func (s *suite) pageCopies() {
	g := s.rig(TinyProgram(Config{Bias: true}), 4)
	prompt := g.prompt(6, 11)
	for shared := 1; shared < len(prompt); shared++ {
		other := g.request(0, withLogprobs(1), append(slices.Clone(prompt[:shared]), g.prompt(9, 5)...)...)
		g.generate(other, 1, 100)
		want := g.generate(g.request(1, withLogprobs(1), prompt...), 4, 100)

		r := g.request(2, withLogprobs(1), prompt...)
		r.done = shared
		r.pages = slices.Clone(other.pages[:shared/4])
		var copies []device.PageCopy
		if tail := shared % 4; tail > 0 {
			g.grow(r, shared)
			copies = append(copies, device.PageCopy{Src: other.pages[shared/4], Dst: r.pages[shared/4], Tokens: int32(tail)})
		}
		b := g.batch(100, r)
		b.Copies = copies
		b.run()
		g.generate(r, 4, 1)
		same(s, fmt.Sprintf("%d shared positions", shared), r, want)

		g.release(&request{pages: r.pages[shared/4:]})
		g.release(want)
		g.release(other)
	}
}

// twoStepsInFlight submits each step before the one before is waited for, with the token it draws still unknown.
func (s *suite) twoStepsInFlight() {
	g := s.rig(TinyProgram(Config{}), 4)
	params := withLogprobs(1)
	params.Temperature, params.Seed = 1, 5
	want := g.generate(g.request(0, params, g.prompt(1, 6)...), 8, 100)
	g.release(want)

	r := g.request(3, params, g.prompt(1, 6)...)
	before := g.batch(6, r)
	before.submit()
	for range 7 {
		r.tokens = append(r.tokens, device.Sampled(r.slot))
		after := g.batch(1, r)
		after.submit()
		before.wait()
		before = after
	}
	before.wait()
	same(s, "overlapped", r, want)
}

// twoGoroutines submits on one goroutine and waits on another.
func (s *suite) twoGoroutines() {
	g := s.rig(TinyProgram(Config{}), 4)
	want := g.generate(g.request(0, withLogprobs(0), g.prompt(1, 6)...), 30, 100)

	r := g.request(1, withLogprobs(0), g.prompt(1, 6)...)
	submitted, failed := make(chan *batch, 1), make(chan error, 1)
	var inFlight sync.WaitGroup
	room := make(chan struct{}, 2)
	inFlight.Go(func() {
		for b := range submitted {
			if err := g.runner.Wait(&b.Step); err != nil {
				failed <- err
				return
			}
			<-room
			r.results = append(r.results, device.Result{Token: b.Results[0].Token, Logprob: b.Results[0].Logprob})
		}
		failed <- nil
	})
	b := g.batch(6, r)
	for i := range 30 {
		if i > 0 {
			r.tokens = append(r.tokens, device.Sampled(r.slot))
			b = g.batch(1, r)
		}
		room <- struct{}{}
		g.runner.Submit(&b.Step)
		submitted <- b
	}
	close(submitted)
	inFlight.Wait()
	if err := <-failed; err != nil {
		s.Fatalf("Wait: %v", err)
	}
	for i := range want.results {
		want.results[i].Top = nil
	}
	same(s, "on two goroutines", r, want)
}

// noOutputs runs the pieces of a prompt, of which none but the last has an output, and an empty step.
func (s *suite) noOutputs() {
	g := s.rig(TinyProgram(Config{}), 4)
	r := g.request(0, withLogprobs(0), g.prompt(1, 6)...)
	piece := g.batch(4, r)
	if len(piece.Outputs) != 0 {
		s.Fatal("the test is wrong: the piece has an output")
	}
	piece.run()
	(&batch{rig: g}).run()
	g.batch(2, r).run()
	same(s, "in pieces", r, g.generate(g.request(1, withLogprobs(0), g.prompt(1, 6)...), 1, 100))
}

// outputOrder names the rows of outputs in another order than they stand in the step, so that the draw is not the last one.
func (s *suite) outputOrder() {
	g := s.rig(TinyProgram(Config{}), 4)
	forth := g.request(0, withLogprobs(2), g.prompt(1, 20)...)
	forth.scored = true
	g.generate(forth, 2, 20)
	back := g.request(1, withLogprobs(2), g.prompt(1, 20)...)
	back.scored = true
	b := g.batch(20, back)
	slices.Reverse(b.Outputs)
	slices.Reverse(b.readers)
	b.run()
	slices.Reverse(back.scores)
	back.tokens = append(back.tokens, device.Sampled(back.slot)) // not what was scored behind it
	g.batch(1, back).run()
	same(s, "outputs in reverse", back, forth)
}
