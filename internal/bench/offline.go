package bench

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"minisgl"
)

// Ids of random prompts lie in this range, or the part of it that the vocabulary has.
const (
	firstRandomID = 100
	lastRandomID  = 20_000
)

// OfflineProfile is the "profile" of an offline report.
type OfflineProfile struct {
	DType             string  `json:"dtype"`
	Seed              uint64  `json:"seed"`
	BatchSize         int     `json:"batch_size"`
	MinInputLen       int     `json:"min_input_len"`
	MaxInputLen       int     `json:"max_input_len"`
	BatchOutputTokens int     `json:"batch_output_tokens"`
	MaxSeqLenOverride int     `json:"max_seq_len_override"`
	MaxExtendTokens   int     `json:"max_extend_tokens"`
	CUDAGraphMaxBS    int     `json:"cuda_graph_max_bs"`
	MemoryRatio       float64 `json:"memory_ratio"`
	NumPageOverride   *int    `json:"num_page_override"`
}

// Offline measures the engine in this process: opening, a warm-up, one request alone, and a batch.
type Offline struct {
	Engine             minisgl.Options // but for what the profile says
	Profile            OfflineProfile
	WarmupPrompt       string
	WarmupTokens       int
	SinglePrompt       string
	SingleOutputTokens int
	Progress           Progress
}

type offlineDetails struct {
	InitTimeS      float64 `json:"init_time_s"`
	WarmupTimeS    float64 `json:"warmup_time_s"`
	WarmupTokens   int     `json:"warmup_tokens"`
	SingleReqTimeS float64 `json:"single_req_time_s"`
	SingleTokens   int     `json:"single_out_tokens"`
	BatchTimeS     float64 `json:"batch_time_s"`
	BatchTokens    int     `json:"batch_out_tokens"`
}

// engineExtended is what reports of this process's engine say beyond the seed's.
type engineExtended struct {
	Device       string `json:"device"`
	Description  string `json:"device_description"`
	Kernels      string `json:"kernels"`
	PromptTokens int    `json:"prompt_tokens"` // of the measured batch
}

// Run measures. The report's latencies are zero: a batch that is handed over as a whole has none that a user would see.
func (o *Offline) Run(ctx context.Context) (*Report, error) {
	p := &o.Profile
	if err := checkLengths(p.MinInputLen, p.MaxInputLen); err != nil {
		return nil, err
	}
	engine := o.Engine
	engine.DType, engine.MaxSeqLen, engine.MaxStepTokens = p.DType, p.MaxSeqLenOverride, p.MaxExtendTokens
	engine.GraphMaxBatch, engine.MemoryRatio = cmp.Or(p.CUDAGraphMaxBS, -1), p.MemoryRatio
	if p.NumPageOverride != nil {
		engine.NumPages = *p.NumPageOverride
	}
	var d offlineDetails
	llm, err := timed(&d.InitTimeS, func() (*minisgl.LLM, error) { return minisgl.Open(ctx, engine) })
	if err != nil {
		return nil, err
	}
	defer llm.Close()
	rng := newRandom(p.Seed)
	ids := idRange{firstRandomID, lastRandomID}.within(llm.Config().Vocab)
	batch := make([]minisgl.Request, p.BatchSize)
	prompts := 0
	for i := range batch {
		batch[i] = greedy(p.BatchOutputTokens)
		batch[i].TokenIDs = ids.draw(rng, rng.between(p.MinInputLen, p.MaxInputLen))
		prompts += len(batch[i].TokenIDs)
	}
	text := func(prompt string, tokens int) []minisgl.Request {
		r := greedy(tokens)
		if llm.Tokenizer() != nil {
			r.Prompt = prompt
		} else { // a model without tokenizer still has a speed
			r.TokenIDs = ids.draw(rng, len(prompt)/4+1)
		}
		return []minisgl.Request{r}
	}
	for _, stage := range []struct {
		name     string
		requests []minisgl.Request
		seconds  *float64
		tokens   *int
	}{
		{"warm-up", text(o.WarmupPrompt, o.WarmupTokens), &d.WarmupTimeS, &d.WarmupTokens},
		{"single request", text(o.SinglePrompt, o.SingleOutputTokens), &d.SingleReqTimeS, &d.SingleTokens},
		{"batch", batch, &d.BatchTimeS, &d.BatchTokens},
	} {
		if *stage.tokens, err = timed(stage.seconds, func() (int, error) { return runAll(ctx, llm, stage.name, stage.requests, o.Progress) }); err != nil {
			return nil, fmt.Errorf("%s: %w", stage.name, err)
		}
	}
	return &Report{Mode: "offline", ModelPath: engine.Model, Profile: p, Details: d,
		Summary:  newSummary(len(batch), d.BatchTokens, time.Duration(d.BatchTimeS*1e9)),
		Extended: newEngineExtended(llm, prompts)}, nil
}

func newEngineExtended(llm *minisgl.LLM, prompts int) engineExtended {
	info := llm.DeviceInfo()
	return engineExtended{Device: info.Name, Description: info.Description, Kernels: info.Kernels, PromptTokens: prompts}
}

// greedy asks for exactly so many tokens.
func greedy(tokens int) minisgl.Request {
	return minisgl.Request{Params: minisgl.Params{MaxTokens: tokens, TopK: 1, IgnoreEOS: true}}
}

// timed sets seconds to how long a call takes.
func timed[T any](seconds *float64, call func() (T, error)) (T, error) {
	start := time.Now()
	value, err := call()
	*seconds = time.Since(start).Seconds()
	return value, err
}

// runAll runs requests at the same time and returns how many tokens they generated, telling progress in tokens.
func runAll(ctx context.Context, llm *minisgl.LLM, stage string, requests []minisgl.Request, progress Progress) (int, error) {
	total := 0
	for _, r := range requests {
		total += r.Params.MaxTokens
	}
	stop := watch(func(before uint64) { progress(stage, min(int(llm.Stats().OutputTokens-before), total), total) }, llm.Stats().OutputTokens)
	outputs, err := llm.Run(ctx, requests)
	stop()
	if err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	tokens := 0
	for i := range outputs {
		tokens += len(outputs[i].TokenIDs)
	}
	progress(stage, total, total)
	return tokens, nil
}

// watch calls look every half second until stop is called, which waits for the last call to end.
func watch(look func(before uint64), before uint64) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(500 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				look(before)
			case <-quit:
				return
			}
		}
	}()
	return func() { close(quit); <-done }
}
