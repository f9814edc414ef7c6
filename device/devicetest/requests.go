package devicetest

import (
	"fmt"
	"slices"
	"testing"

	"minisgl/device"
)

// A rig is a runner and what a test needs to feed it: a stack of free pages.
type rig struct {
	t       testing.TB
	program *device.Program
	runner  device.Runner
	options device.LoadOptions
	free    []int32 // the next one to take is the last: page 0 first
}

// A request is a prompt on its way through a rig, without a scheduler.
type request struct {
	slot    int32
	params  *device.Sampling
	tokens  []int32 // the prompt and what was drawn; device.Sampled(slot) where it has not been read yet
	prompt  int
	done    int // tokens whose KV is stored
	pages   []int32
	results []device.Result // of each token drawn
	scores  []device.Result // of each prompt token from index 1 on, if scored
	scored  bool
	minimum int // tokens for which params.Suppress holds
}

func (g *rig) request(slot int, params *device.Sampling, prompt ...int32) *request {
	return &request{slot: int32(slot), params: params, tokens: slices.Clone(prompt), prompt: len(prompt)}
}

// grow gives the request pages for n tokens.
func (g *rig) grow(r *request, n int) {
	for len(r.pages)*g.options.PageSize < n {
		if len(g.free) == 0 {
			g.t.Fatal("the test's pages ran out")
		}
		r.pages = append(r.pages, g.free[len(g.free)-1])
		g.free = g.free[:len(g.free)-1]
	}
}

func (g *rig) release(r *request) {
	for _, page := range slices.Backward(r.pages) {
		g.free = append(g.free, page)
	}
	r.pages = nil
}

// A batch is a step in the making, and the requests that it runs.
type batch struct {
	device.Step
	rig     *rig
	readers []func(device.Result)
}

// batch puts the next rows of requests into a step: n of each, or as many as are left.
func (g *rig) batch(n int, requests ...*request) *batch {
	b := &batch{rig: g}
	for _, r := range requests {
		b.add(r, n)
	}
	return b
}

func (b *batch) add(r *request, n int) {
	n = min(n, len(r.tokens)-r.done)
	if r.done == 0 && r.params.Penalised() {
		b.Resets = append(b.Resets, device.SlotReset{Slot: r.slot, Prompt: r.tokens[:r.prompt], Output: r.tokens[r.prompt:]})
	}
	b.rig.grow(r, r.done+n)
	first := int32(len(b.Tokens))
	b.Tokens = append(b.Tokens, r.tokens[r.done:r.done+n]...)
	b.Sequences = append(b.Sequences, device.Sequence{
		Slot: r.slot, First: first, Rows: int32(n), Position: int32(r.done), Pages: slices.Clone(r.pages),
	})
	for row := range n {
		next := r.done + row + 1
		o := device.Output{Row: first + int32(row), Slot: r.slot, Position: int32(next), Params: r.params}
		switch {
		case next == len(r.tokens):
			o.Target, o.Suppress = device.Sample, next-r.prompt < r.minimum
			b.output(o, func(result device.Result) { r.results = append(r.results, result) })
		case r.scored && next < r.prompt:
			o.Target = r.tokens[next]
			b.output(o, func(result device.Result) { r.scores = append(r.scores, result) })
		}
	}
	r.done += n
}

func (b *batch) output(o device.Output, read func(device.Result)) {
	b.Outputs = append(b.Outputs, o)
	b.readers = append(b.readers, read)
}

// run runs the step and gives the requests their results. The token drawn is appended to a request's tokens.
func (b *batch) run() {
	b.rig.t.Helper()
	b.submit()
	b.wait()
}

func (b *batch) submit() {
	b.rig.t.Helper()
	if err := b.Step.Validate(b.rig.program, b.rig.options); err != nil {
		b.rig.t.Fatalf("the test is wrong: %v", err)
	}
	b.rig.runner.Submit(&b.Step)
}

func (b *batch) wait() {
	b.rig.t.Helper()
	if err := b.rig.runner.Wait(&b.Step); err != nil {
		b.rig.t.Fatalf("Wait: %v", err)
	}
	if len(b.Results) != len(b.Outputs) {
		b.rig.t.Fatalf("%d results for %d outputs", len(b.Results), len(b.Outputs))
	}
	for i, read := range b.readers {
		result := b.Results[i]
		result.Top = slices.Clone(result.Top)
		read(result)
	}
}

// next appends the token drawn last to the request's tokens.
func (r *request) next() *request {
	if token := r.results[len(r.results)-1].Token; token != device.NoToken {
		r.tokens = append(r.tokens, token)
	} else {
		r.tokens = append(r.tokens, 0)
	}
	return r
}

// generate runs a request alone until it has n results, its prompt in chunks of so many rows.
func (g *rig) generate(r *request, n, chunk int) *request {
	g.t.Helper()
	for r.done < len(r.tokens) {
		g.batch(chunk, r).run()
	}
	for len(r.results) < n {
		g.batch(1, r.next()).run()
	}
	return r
}

// same fails unless two requests got the same results, to the bit.
func same(t testing.TB, what string, got, want *request) {
	t.Helper()
	sameResults(t, what+": draws", got.results, want.results)
	sameResults(t, what+": scores", got.scores, want.scores)
}

func sameResults(t testing.TB, what string, got, want []device.Result) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d results, want %d", what, len(got), len(want))
	}
	for i := range want {
		if g, w := fmt.Sprint(got[i]), fmt.Sprint(want[i]); g != w {
			t.Fatalf("%s: result %d is %s, want %s", what, i, g, w)
		}
	}
}

// prompt returns n tokens that follow from a seed, all but token 0 and the vocabulary's last.
func (g *rig) prompt(seed, n int) []int32 {
	tokens := make([]int32, n)
	for i := range tokens {
		tokens[i] = int32(1 + (seed*31+i*i*7+i*3)%(g.program.Vocab-2))
	}
	return tokens
}

func withLogprobs(n int32) *device.Sampling {
	p := device.Greedy()
	p.Logprobs = n
	return p
}
