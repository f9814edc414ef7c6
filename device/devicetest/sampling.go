package devicetest

import (
	"fmt"
	"math"
	"slices"

	"minisgl/device"
	"minisgl/device/sample"
)

// sampling checks draws and log-probabilities against package sample, on the device's own logits as it traces them.
func (s *suite) sampling() {
	g := s.rig(TinyProgram(Config{Vocab: 2500}), 16)
	prompt := g.prompt(3, 12)
	for _, c := range []struct {
		name   string
		change func(*device.Sampling)
	}{
		{"greedy", func(p *device.Sampling) {}},
		{"warm", func(p *device.Sampling) { p.Temperature = 1 }},
		{"hot, another seed", func(p *device.Sampling) { p.Temperature, p.Seed = 3, 1<<40+7 }},
		{"top k", func(p *device.Sampling) { p.Temperature, p.TopK = 1, 20 }},
		{"top k of 1", func(p *device.Sampling) { p.Temperature, p.TopK = 1, 1 }},
		{"top k beyond the vocabulary", func(p *device.Sampling) { p.Temperature, p.TopK = 1, 1<<30 }},
		{"top p", func(p *device.Sampling) { p.Temperature, p.TopP = 1, 0.8 }},
		{"min p", func(p *device.Sampling) { p.Temperature, p.MinP = 1, 0.1 }},
		{"all cuts", func(p *device.Sampling) { p.Temperature, p.TopK, p.TopP, p.MinP = 1.3, 50, 0.9, 0.05 }},
		{"bias", func(p *device.Sampling) { p.Bias = []device.TokenBias{{Token: 17, Bias: 100}, {Token: 18, Bias: -100}} }},
		{"repetition", func(p *device.Sampling) { p.RepetitionPenalty = 1.5 }},
		{"frequency and presence", func(p *device.Sampling) { p.FrequencyPenalty, p.PresencePenalty = 0.5, 1 }},
		{"penalties and cuts", func(p *device.Sampling) {
			p.RepetitionPenalty, p.PresencePenalty, p.Temperature, p.TopK, p.TopP = 1.2, 0.3, 0.9, 30, 0.95
		}},
	} {
		for _, logprobs := range []int32{-1, 0, 5} {
			s.sub(fmt.Sprintf("%s, %d logprobs", c.name, logprobs), func(s *suite) {
				params := withLogprobs(logprobs)
				c.change(params)
				r := g.request(0, params, prompt...)
				r.scored = true
				var history sample.History
				history.Reset(prompt, nil)
				for range 6 {
					g.checkDraws(s, g.batch(100, r), &history)
					r.next()
				}
				g.release(r)
			})
		}
	}
}

// checkDraws runs a traced step of one request and compares each result with what package sample reads from the logits.
func (g *rig) checkDraws(s *suite, b *batch, history *sample.History) {
	s.Helper()
	var logits []float32
	b.Trace = func(tap device.Tap) {
		if tap.Op == len(g.program.Ops)-1 {
			for _, l := range tap.Data {
				logits = append(logits, float32(l))
			}
		}
	}
	b.run()
	var w sample.Workspace
	for i := range b.Outputs {
		var want device.Result
		w.Read(&want, logits[i*g.program.Vocab:(i+1)*g.program.Vocab], &b.Outputs[i], history)
		got := b.Results[i]
		ok := got.Token == want.Token && len(got.Top) == len(want.Top)
		if b.Outputs[i].Params.Logprobs >= 0 {
			ok = ok && near(got.Logprob, want.Logprob)
		}
		for k := range want.Top {
			ok = ok && got.Top[k].Token == want.Top[k].Token && near(got.Top[k].Logprob, want.Top[k].Logprob)
		}
		if !ok {
			s.Fatalf("output %d: %+v, want %+v", i, got, want)
		}
	}
}

func near(a, b float32) bool { return math.Abs(float64(a-b)) <= 1e-5*(1+math.Abs(float64(b))) }

// penalties checks that the device counts what it draws, that a reset sets the counts, also in the middle of a request, and
// that slots do not mix.
func (s *suite) penalties() {
	g := s.rig(TinyProgram(Config{Vocab: 60, Tied: true}), 4)
	params := withLogprobs(1)
	params.FrequencyPenalty, params.RepetitionPenalty = 0.7, 1.3
	prompt := g.prompt(2, 5)
	want := g.generate(g.request(0, params, prompt...), 20, 100)

	free := g.generate(g.request(1, withLogprobs(1), prompt...), 20, 100)
	if fmt.Sprint(free.results) == fmt.Sprint(want.results) {
		s.Fatal("penalties change nothing")
	}
	g.release(free)

	r := g.generate(g.request(2, params, prompt...), 8, 100)
	r.next()
	g.release(r)
	r.slot, r.done = 5, 0 // retracted, and resumed elsewhere with all its tokens
	g.generate(r, 20, 3)
	same(s, "resumed", r, want)
}

func (s *suite) suppression() {
	g := s.rig(TinyProgram(Config{}), 4)
	prompt := g.prompt(2, 5)
	free := g.generate(g.request(0, device.Greedy(), prompt...), 1, 100)
	first := free.results[0].Token

	params := device.Greedy()
	params.Suppress = []int32{first}
	r := g.request(1, params, prompt...)
	r.minimum = 1
	if g.generate(r, 1, 100); r.results[0].Token == first || r.results[0].Token == device.NoToken {
		s.Errorf("drew %d, which was suppressed", r.results[0].Token)
	}
	r = g.request(2, params, prompt...)
	if g.generate(r, 1, 100); r.results[0].Token != first {
		s.Errorf("drew %d, want %d: nothing is suppressed any more", r.results[0].Token, first)
	}
}

// nothingToDraw suppresses the whole vocabulary. The step behind then runs with token 0.
func (s *suite) nothingToDraw() {
	g := s.rig(TinyProgram(Config{}), 4)
	params := withLogprobs(1)
	for token := range g.program.Vocab {
		params.Suppress = append(params.Suppress, int32(token))
	}
	r := g.request(0, params, g.prompt(2, 5)...)
	r.minimum = 1
	first := g.batch(5, r)
	first.submit()
	r.tokens = append(r.tokens, device.Sampled(0))
	second := g.batch(1, r)
	second.submit()
	first.wait()
	second.wait()
	if r.results[0].Token != device.NoToken {
		s.Fatalf("drew %d, want NoToken", r.results[0].Token)
	}
	want := g.request(1, params, append(g.prompt(2, 5), 0)...)
	g.batch(6, want).run()
	sameResults(s, "behind NoToken", r.results[1:], want.results)
}

// nan lets one request's embedding be no number: it gets NoToken, its neighbours get what they get without it, and so does
// who takes over its pages.
func (s *suite) nan() {
	const broken = 7
	g := s.rig(TinyProgram(Config{NaNToken: broken}), 4)
	prompt := slices.DeleteFunc(g.prompt(2, 12), func(token int32) bool { return token == broken })
	want := g.generate(g.request(0, withLogprobs(2), prompt...), 3, 100)
	g.release(want)

	bad := g.request(1, withLogprobs(2), 3, broken, 4)
	bad.scored = true
	good := g.request(2, withLogprobs(2), prompt...)
	other := g.request(3, withLogprobs(2), prompt...)
	b := g.batch(100, good, bad, other)
	b.run()
	for i := range 2 {
		g.batch(1, bad.next(), good.next(), other.next()).run()
		if token := bad.results[i].Token; token != device.NoToken {
			s.Errorf("draw %d of the broken request is %d, want NoToken", i, token)
		}
	}
	if bad.scores[0].Token != broken || bad.scores[1].Token != device.NoToken {
		s.Errorf("the broken request's scores are %+v, want the first one to be sound and the second NoToken", bad.scores)
	}
	same(s, "before the broken request", good, want)
	same(s, "behind the broken request", other, want)

	g.release(bad)
	heir := g.generate(g.request(1, withLogprobs(2), prompt...), 3, 100)
	same(s, "on the broken request's pages", heir, want)
}
