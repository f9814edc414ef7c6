package eval

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"minisgl"
	"minisgl/device"
)

// A Report is what minisgl eval writes.
type Report struct {
	TimestampUTC   string   `json:"timestamp_utc"`
	ModelPath      string   `json:"model_path"`
	Device         string   `json:"device"`
	Kernels        string   `json:"kernels"`
	Goldens        string   `json:"goldens"`
	GoldensDType   string   `json:"goldens_dtype"`
	NumSequences   int      `json:"num_sequences"`
	NumPositions   int      `json:"num_positions"`
	Perplexity     float64  `json:"goldens_perplexity"` // of the sequences, by the goldens
	Limits         Limits   `json:"limits"`
	BatchInvariant bool     `json:"batch_invariant"`
	Passes         []Pass   `json:"passes"`
	GateFailures   []string `json:"gate_failures"`
	GatePassed     bool     `json:"gate_passed"`
}

// Options of Run.
type Options struct {
	Limits Limits
	// BatchInvariant makes it a failure if a result in a batch differs by a bit from the result alone.
	BatchInvariant bool
	Once           bool // only the first pass: accuracy, not whether results stay the same
	Progress       func(string)
}

// Run measures the engine against goldens, four times: each sequence alone; each alone again, which must give the same bits;
// all at once; and all at once in a crowd of other requests of many lengths, of which some decode all along, so that no step
// has the shape of a step before.
func Run(ctx context.Context, llm *minisgl.LLM, g *Goldens, o Options) (*Report, error) {
	info := llm.DeviceInfo()
	r := &Report{
		TimestampUTC: time.Now().UTC().Format("2006-01-02T15:04:05.000000-07:00"), ModelPath: llm.Options().Model, Device: info.Name, Kernels: info.Kernels,
		GoldensDType: g.DType, NumSequences: len(g.Sequences), NumPositions: g.Positions(), Perplexity: g.perplexity(), Limits: o.Limits, BatchInvariant: o.BatchInvariant,
		GateFailures: []string{},
	}
	if err := g.fits(llm); err != nil {
		return nil, err
	}
	var first scores
	for _, pass := range []struct {
		name          string
		run           func(context.Context, *minisgl.LLM, *Goldens) ([]minisgl.Output, error)
		wantIdentical bool
	}{{"alone", alone, true}, {"alone_again", alone, true}, {"batched", batched, o.BatchInvariant}, {"padded", padded, o.BatchInvariant}} {
		o.Progress(fmt.Sprintf("%s: %d sequences, %d positions", pass.name, r.NumSequences, r.NumPositions))
		llm.FlushCache()
		start := time.Now()
		outputs, err := pass.run(ctx, llm, g)
		if err != nil {
			return nil, fmt.Errorf("pass %s: %w", pass.name, err)
		}
		got, err := g.scores(outputs)
		if err != nil {
			return nil, fmt.Errorf("pass %s: %w", pass.name, err)
		}
		if first == nil {
			first = got
		}
		measured := g.measure(pass.name, got)
		measured.Duration = time.Since(start).Seconds()
		measured.compareBits(g, got, first)
		r.Passes = append(r.Passes, measured)
		r.gate(&measured, pass.wantIdentical)
		if o.Once {
			break
		}
	}
	r.GatePassed = len(r.GateFailures) == 0
	return r, nil
}

// gate notes what is past the limits.
func (r *Report) gate(p *Pass, wantIdentical bool) {
	fail := func(format string, args ...any) {
		r.GateFailures = append(r.GateFailures, p.Name+": "+fmt.Sprintf(format, args...))
	}
	past := func(value float64, limit *float64) bool { return limit != nil && !(value <= *limit) }
	if past(p.MaxRegret, r.Limits.MaxRegret) {
		w := p.WorstRegret
		fail("max_regret %.4g > max %.4g (sequence %d, position %d: we choose token %d of %.6g, the best has %.6g)", p.MaxRegret, *r.Limits.MaxRegret,
			w.Sequence, w.Position, w.Token, w.Golden, *w.Best)
	}
	if past(p.MeanError, r.Limits.MaxMeanError) {
		fail("mean_error %.4g > max %.4g", p.MeanError, *r.Limits.MaxMeanError)
	}
	if past(p.P99Error, r.Limits.MaxP99Error) {
		fail("p99_error %.4g > max %.4g", p.P99Error, *r.Limits.MaxP99Error)
	}
	if past(p.MaxError, r.Limits.MaxError) {
		fail("max_error %.4g > max %.4g (%v)", p.MaxError, *r.Limits.MaxError, p.WorstError)
	}
	if wantIdentical && !p.Identical {
		d := p.Differs
		fail("differs from the first pass (sequence %d, position %d, token %d: %.9g, it was %.9g)", d.Sequence, d.Position, d.Token, d.Ours, d.Golden)
	}
}

// Print writes one line for the outcome and one for each pass.
func (r *Report) Print(w io.Writer) {
	title := map[bool]string{true: "True", false: "False"}
	fmt.Fprintf(w, "eval_passed=%s\n", title[r.GatePassed])
	fmt.Fprintf(w, "goldens_perplexity=%.5g\n", r.Perplexity)
	for _, p := range r.Passes {
		fmt.Fprintf(w, "pass=%s perplexity=%.5g divergence=%.3g mean_error=%.3g p99_error=%.3g max_error=%.3g max_regret=%.3g argmax_differs=%d sequences_differ=%d identical=%s\n",
			p.Name, p.Perplexity, p.Divergence, p.MeanError, p.P99Error, p.MaxError, p.MaxRegret, p.ArgmaxDiffers, p.SequencesDiffer, title[p.Identical])
	}
}

// fits checks the sequences against the model.
func (g *Goldens) fits(llm *minisgl.LLM) error {
	vocab := llm.Config().Vocab
	for i := range g.Sequences {
		s := &g.Sequences[i]
		if len(s.Tokens) > llm.MaxSeqLen() {
			return fmt.Errorf("sequence %d has %d tokens, the context holds %d", i, len(s.Tokens), llm.MaxSeqLen())
		}
		for _, id := range slices.Concat(s.Tokens, slices.Concat(s.TopIDs...)) {
			if id < 0 || int(id) >= vocab {
				return fmt.Errorf("sequence %d: token %d is not in the vocabulary [0, %d): are these the goldens of another model?", i, id, vocab)
			}
		}
	}
	return nil
}

func (s *Sequence) request() minisgl.Request {
	top := minisgl.MaxLogprobs
	return minisgl.Request{TokenIDs: s.Tokens, Params: minisgl.Params{MaxTokens: minisgl.NoTokens, Logprobs: &top, PromptLogprobs: &s.First}}
}

func (g *Goldens) requests() (requests []minisgl.Request) {
	for i := range g.Sequences {
		requests = append(requests, g.Sequences[i].request())
	}
	return requests
}

func (g *Goldens) scores(outputs []minisgl.Output) (scores, error) {
	all := make(scores, len(outputs))
	for i, out := range outputs {
		if want := len(g.Sequences[i].Logprobs); len(out.Prompt) != want {
			return nil, fmt.Errorf("sequence %d: the engine scored %d tokens, expected %d", i, len(out.Prompt), want)
		}
		for k, token := range out.Prompt {
			for _, l := range append([]device.TokenLogprob{{Token: token.ID, Logprob: token.Logprob}}, token.Top...) {
				if x := float64(l.Logprob); len(token.Top) == 0 || math.IsNaN(x) || math.IsInf(x, 0) {
					return nil, fmt.Errorf("sequence %d, position %d: token %d has a log-probability of %v, and %d likeliest tokens came with it", i,
						g.Sequences[i].First+k, l.Token, x, len(token.Top))
				}
			}
		}
		all[i] = out.Prompt
	}
	return all, nil
}

func alone(ctx context.Context, llm *minisgl.LLM, g *Goldens) (outputs []minisgl.Output, err error) {
	for i, request := range g.requests() {
		out, err := llm.Run(ctx, []minisgl.Request{request})
		if err != nil {
			return nil, fmt.Errorf("sequence %d: %w", i, err)
		}
		outputs = append(outputs, out...)
	}
	return outputs, nil
}

func batched(ctx context.Context, llm *minisgl.LLM, g *Goldens) ([]minisgl.Output, error) {
	return llm.Run(ctx, g.requests())
}

// crowdDecoding is how many requests of the crowd decode all along, which decodingTokens are meant to last for.
const (
	crowdDecoding  = 5
	decodingTokens = 4096
)

// padded runs the sequences while some other requests decode, and with a request of another length behind each.
func padded(ctx context.Context, llm *minisgl.LLM, g *Goldens) ([]minisgl.Output, error) {
	random := rand.New(rand.NewPCG(1, 0))
	other := func(length, tokens int) minisgl.Request {
		ids := make([]int32, length)
		for i := range ids {
			ids[i] = int32(random.IntN(llm.Config().Vocab))
		}
		return minisgl.Request{TokenIDs: ids, Params: minisgl.Params{MaxTokens: tokens, IgnoreEOS: true}}
	}
	for i := range min(crowdDecoding, llm.Options().MaxRunning-1) {
		stream, err := llm.Stream(ctx, other(1+i*i, decodingTokens))
		if err != nil {
			return nil, fmt.Errorf("crowd: %w", err)
		}
		defer stream.Close()
		if !stream.Next() {
			return nil, fmt.Errorf("crowd: %w", stream.Err())
		}
	}
	var requests []minisgl.Request
	for _, request := range g.requests() {
		length := 1 + random.IntN(max(1, min(2*len(request.TokenIDs), llm.MaxSeqLen()/2)))
		requests = append(requests, request, other(length, 1+random.IntN(8)))
	}
	outputs, err := llm.Run(ctx, requests)
	if err != nil {
		return nil, err
	}
	var ours []minisgl.Output
	for i := 0; i < len(outputs); i += 2 {
		ours = append(ours, outputs[i])
	}
	return ours, nil
}
