package goldens

import (
	"math"
	"testing"

	"minisgl/device"
)

// Check runs each prompt and its greedy continuation on a runner of the model, in slot 0, and compares. Logits may be off by limit, as the
// relative L2 distance of a row. A greedy token may differ where the logits are off by so much that two may change places (see
// MinMargin), and nowhere if exact. The runner's pages must hold the longest prompt with its continuation.
func (m *Model) Check(t testing.TB, r device.Runner, limit float64, exact bool) {
	t.Helper()
	worst := 0.0
	for i := range m.Prompts {
		p := &m.Prompts[i]
		distance, furthest := p.compareLogits(t, r)
		worst = max(worst, distance)
		if !(distance > 0 && distance <= limit) { // 0: no logits were seen
			t.Errorf("prompt %d: logits are off by %g of their length, the limit is %g", i, distance, limit)
		}
		at, token := p.generate(t, r)
		if at == len(p.Greedy) {
			continue
		}
		report := t.Logf
		if exact || p.MinMargin > 2*furthest {
			report = t.Errorf
		}
		report("prompt %d: greedy token %d is %d, want %d; a logit is off by %g, the smallest margin is %g", i, at, token, p.Greedy[at], furthest, p.MinMargin)
	}
	t.Logf("largest relative L2 distance of logits: %.2g", worst)
}

// compareLogits runs the prompt and returns the largest relative L2 distance of a row of logits, and the largest difference of a logit.
func (p *Prompt) compareLogits(t testing.TB, r device.Runner) (distance, furthest float64) {
	t.Helper()
	s := p.step(r)
	s.Trace = func(tap device.Tap) {
		if tap.Rows != len(p.Logits) || tap.Width != len(p.Logits[0]) {
			return
		}
		for row, want := range p.Logits {
			off, length := 0.0, 0.0
			for i, got := range tap.Data[row*tap.Width:][:tap.Width] {
				d := got - float64(want[i])
				off += d * d
				length += float64(want[i]) * float64(want[i])
				furthest = max(furthest, math.Abs(d))
			}
			distance = max(distance, math.Sqrt(off/length))
		}
	}
	run(t, r, s)
	return distance, furthest
}

// generate returns the index of the first greedy token that differs from Greedy, whose length if there is none, and the token.
func (p *Prompt) generate(t testing.TB, r device.Runner) (at int, token int32) {
	t.Helper()
	s := p.step(r)
	pages := s.Sequences[0].Pages
	for at, want := range p.Greedy {
		run(t, r, s)
		if token = s.Results[len(s.Results)-1].Token; token != want {
			return at, token
		}
		position := int32(len(p.IDs) + at)
		s = &device.Step{
			Tokens:    []int32{device.Sampled(0)},
			Sequences: []device.Sequence{{Rows: 1, Position: position, Pages: pages}},
			Outputs:   []device.Output{{Target: device.Sample, Position: position + 1, Params: device.Greedy()}},
		}
	}
	return len(p.Greedy), token
}

// step has an output for each row whose logits are known; the last one draws. Its page table is that of all pages, the last one first.
func (p *Prompt) step(r device.Runner) *device.Step {
	pages := make([]int32, r.Pages())
	for i := range pages {
		pages[i] = int32(len(pages) - 1 - i)
	}
	s := &device.Step{Tokens: p.IDs, Sequences: []device.Sequence{{Rows: int32(len(p.IDs)), Pages: pages}}}
	for row := p.FirstRow(); row < len(p.IDs); row++ {
		s.Outputs = append(s.Outputs, device.Output{Row: int32(row), Position: int32(row + 1), Params: device.Greedy()})
	}
	s.Outputs[len(s.Outputs)-1].Target = device.Sample
	return s
}

func run(t testing.TB, r device.Runner, s *device.Step) {
	t.Helper()
	r.Submit(s)
	if err := r.Wait(s); err != nil {
		t.Fatal(err)
	}
}
