package bench

import (
	"context"
	"time"

	"minisgl"
)

// ThroughputProfile is the "profile" of a throughput report. Its defaults are NanoVLLM.
type ThroughputProfile struct {
	Seed           uint64 `json:"seed"`
	NumSequences   int    `json:"num_sequences"`
	MinLen         int    `json:"min_len"` // of inputs and of outputs
	MaxInputLen    int    `json:"max_input_len"`
	MaxOutputLen   int    `json:"max_output_len"`
	MaxSequenceLen int    `json:"max_seq_len"`
}

// NanoVLLM is the workload of nano-vllm's bench.py: 142,827 tokens in, 133,966 out.
var NanoVLLM = ThroughputProfile{Seed: 0, NumSequences: 256, MinLen: 100, MaxInputLen: 1024, MaxOutputLen: 1024, MaxSequenceLen: 4096}

// Requests draws the workload as bench.py does: all prompts first, each its length and then its ids; then all output lengths.
func (p *ThroughputProfile) Requests() []minisgl.Request {
	rng, ids := newRandom(p.Seed), idRange{0, 10_000}
	requests := make([]minisgl.Request, p.NumSequences)
	for i := range requests {
		requests[i].TokenIDs = ids.draw(rng, rng.between(p.MinLen, p.MaxInputLen))
	}
	for i := range requests {
		requests[i].Params = minisgl.Params{Temperature: 0.6, IgnoreEOS: true, MaxTokens: rng.between(p.MinLen, p.MaxOutputLen)}
	}
	return requests
}

// Throughput measures the engine in this process with all requests given at once.
type Throughput struct {
	Engine   minisgl.Options
	Profile  ThroughputProfile
	Progress Progress
}

// Run measures. Where the vocabulary is smaller than the workload's ids, they wrap around.
func (t *Throughput) Run(ctx context.Context) (*Report, error) {
	p := &t.Profile
	for _, maxLen := range []int{p.MaxInputLen, p.MaxOutputLen} {
		if err := checkLengths(p.MinLen, maxLen); err != nil {
			return nil, err
		}
	}
	engine := t.Engine
	if engine.MaxSeqLen == 0 {
		engine.MaxSeqLen = p.MaxSequenceLen
	}
	llm, err := minisgl.Open(ctx, engine)
	if err != nil {
		return nil, err
	}
	defer llm.Close()
	requests := p.Requests()
	prompts, vocab := 0, int32(llm.Config().Vocab)
	for _, r := range requests {
		prompts += len(r.TokenIDs)
		for i := range r.TokenIDs {
			r.TokenIDs[i] %= vocab
		}
	}
	if err := llm.Warmup(ctx); err != nil {
		return nil, err
	}
	start := time.Now()
	tokens, err := runAll(ctx, llm, "throughput", requests, t.Progress)
	if err != nil {
		return nil, err
	}
	return &Report{Mode: "throughput", ModelPath: engine.Model, Profile: p, Details: struct{}{},
		Summary: newSummary(len(requests), tokens, time.Since(start)), Extended: newEngineExtended(llm, prompts)}, nil
}
