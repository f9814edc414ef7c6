package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// OnlineProfile is the "profile" of an online report.
type OnlineProfile struct {
	Seed               uint64 `json:"seed"`
	BatchSize          int    `json:"batch_size"`
	MinInputLen        int    `json:"min_input_len"`
	MaxInputLen        int    `json:"max_input_len"`
	BatchOutputTokens  int    `json:"batch_output_tokens"`
	WarmupInputTokens  int    `json:"warmup_input_tokens"`
	WarmupOutputTokens int    `json:"warmup_output_tokens"`
}

// SLO is what a request must keep to count as good. Zero limits are none.
type SLO struct {
	TTFTMs float64 `json:"slo_ttft_ms"`
	TPOTMs float64 `json:"slo_tpot_ms"` // of the request's mean time per token after the first
}

// Online measures a server over HTTP under one or more loads.
type Online struct {
	Client   *Client
	Profile  OnlineProfile
	Workload Workload
	Loads    []Load // at least one; each gets prompts of its own, or it would profit from what the cache has of the one before
	SLO      SLO
	Progress Progress
}

type onlineDetails struct {
	WarmupElapsedS float64 `json:"warmup_elapsed_s"`
	WarmupTokens   int     `json:"warmup_tokens"`
	WallTimeS      float64 `json:"bench_wall_time_s"`
}

// OnlineExtended is the "extended" of an online report. Its last point is the report's summary.
type OnlineExtended struct {
	Workload Workload `json:"workload"`
	SLO      *SLO     `json:"slo"`
	Points   []Point  `json:"points"`
}

// A Point is what one load gave.
type Point struct {
	Load
	Summary        Summary      `json:"summary"`
	FailedRequests int          `json:"failed_requests"`
	FirstError     string       `json:"first_error,omitempty"`
	PromptTokens   int          `json:"prompt_tokens"`
	CachedTokens   *int         `json:"cached_tokens"`   // null where the server does not tell
	CacheHitRate   *float64     `json:"cache_hit_rate"`  // share of prompt tokens whose KV was cached
	ITL            Distribution `json:"itl_ms"`          // gaps between chunks of a request, pooled
	RequestTPOT    Distribution `json:"request_tpot_ms"` // each request's mean time per token after its first
	Goodput        *Goodput     `json:"goodput"`         // null without SLO
}

// Goodput counts the requests that kept the SLO.
type Goodput struct {
	Requests int     `json:"requests"`
	Share    float64 `json:"share"` // of the requests sent
	ReqPerS  float64 `json:"req_per_s"`
}

// Run measures. A request that fails does not end it, unless all do; see Failures.
func (o *Online) Run(ctx context.Context) (*Report, *OnlineExtended, error) {
	p, w := &o.Profile, &o.Workload
	if err := checkLengths(p.MinInputLen, p.MaxInputLen); err != nil {
		return nil, nil, err
	}
	if w.Endpoint == Completions && w.Turns > 1 {
		return nil, nil, fmt.Errorf("--turns %d: the endpoint completions has no history; use chat or generate", w.Turns)
	}
	if o.Client.Model == "" {
		models, err := o.Client.models(ctx)
		if err != nil {
			return nil, nil, err
		}
		o.Client.Model = models[0]
	}
	o.Client.Endpoint = w.Endpoint
	s := source{rng: newRandom(p.Seed), ids: idRange{firstRandomID, lastRandomID}.within(o.vocab(ctx)), minLen: p.MinInputLen, maxLen: p.MaxInputLen}

	var details onlineDetails
	warmup := driver{client: o.Client, maxTokens: p.WarmupOutputTokens, rng: s.rng, progress: o.Progress}
	outcomes, took, err := warmup.run(ctx, "warm-up", []conversation{{turns: []prompt{s.prompt(w.Endpoint, p.WarmupInputTokens)}}}, Load{})
	if err != nil {
		return nil, nil, err
	}
	if outcomes[0].err != nil {
		return nil, nil, fmt.Errorf("warm-up: %w", outcomes[0].err)
	}
	details.WarmupElapsedS, details.WarmupTokens = took.Seconds(), outcomes[0].answer.outputTokens

	extended := OnlineExtended{Workload: *w, Points: []Point{}}
	if o.SLO != (SLO{}) {
		extended.SLO = &o.SLO
	}
	d := driver{client: o.Client, maxTokens: p.BatchOutputTokens, rng: s.rng, progress: o.Progress}
	for _, load := range o.Loads {
		before := o.cacheCounters(ctx)
		outcomes, took, err := d.run(ctx, load.String(), s.conversations(w), load)
		if err != nil {
			return nil, nil, err
		}
		point := o.point(load, outcomes, took)
		if point.Summary.NumRequests == 0 {
			return nil, nil, fmt.Errorf("all %d requests failed: %s", point.FailedRequests, point.FirstError)
		}
		if point.CachedTokens == nil {
			point.cacheFrom(before, o.cacheCounters(ctx))
		}
		extended.Points = append(extended.Points, point)
		details.WallTimeS = took.Seconds()
	}
	last := &extended.Points[len(extended.Points)-1]
	return &Report{Mode: "online", BaseURL: o.Client.BaseURL, ModelPath: o.Client.Model, Profile: p, Summary: last.Summary,
		Details: details, Extended: &extended}, &extended, nil
}

// Failures is an error if requests failed under any load.
func (e *OnlineExtended) Failures() error {
	for _, p := range e.Points {
		if sent := p.FailedRequests + p.Summary.NumRequests; p.FailedRequests > 0 {
			return fmt.Errorf("%d of %d requests failed (%v); the first: %s", p.FailedRequests, sent, p.Load, p.FirstError)
		}
	}
	return nil
}

// String names a load in progress and pictures.
func (l Load) String() string {
	switch {
	case l.RequestRate > 0:
		return fmt.Sprintf("%v requests/s", l.RequestRate)
	case l.Concurrency > 0:
		return fmt.Sprintf("%d at a time", l.Concurrency)
	}
	return "all at once"
}

func (o *Online) point(load Load, outcomes []outcome, took time.Duration) Point {
	p := Point{Load: load}
	var ttft, gaps, e2e, tpot []float64
	tokens, good, cached, cachedKnown := 0, 0, 0, true
	for _, out := range outcomes {
		a := out.answer
		if out.err != nil {
			if p.FailedRequests++; p.FirstError == "" {
				p.FirstError = out.err.Error()
			}
			continue
		}
		tokens += a.outputTokens
		p.PromptTokens += a.promptTokens
		if cached += max(a.cachedTokens, 0); a.cachedTokens < 0 {
			cachedKnown = false
		}
		ttft, e2e, gaps = append(ttft, a.ttft()), append(e2e, a.e2e()), append(gaps, a.gaps...)
		if a.outputTokens > 1 {
			tpot = append(tpot, a.tpot())
		}
		if o.SLO.kept(a) {
			good++
		}
	}
	p.Summary = newSummary(len(outcomes)-p.FailedRequests, tokens, took)
	p.Summary.TTFT, p.Summary.TPOT, p.Summary.E2E = Distribute(ttft), Distribute(gaps), Distribute(e2e)
	p.ITL, p.RequestTPOT = p.Summary.TPOT, Distribute(tpot)
	if cachedKnown && p.PromptTokens > 0 {
		p.setCached(cached, p.PromptTokens)
	}
	if o.SLO != (SLO{}) {
		p.Goodput = &Goodput{Requests: good, Share: float64(good) / float64(len(outcomes)), ReqPerS: rate(good, took)}
	}
	return p
}

func (s *SLO) kept(a *answer) bool {
	return (s.TTFTMs == 0 || a.ttft() <= s.TTFTMs) && (s.TPOTMs == 0 || a.tpot() <= s.TPOTMs)
}

func (p *Point) setCached(cached, prompt int) {
	hit := float64(cached) / float64(prompt)
	p.CachedTokens, p.CacheHitRate = &cached, &hit
}

// cacheCounters are a server's counts of prompt tokens and of those whose KV was cached; ok if /metrics has them.
type cacheCounters struct {
	prompt, cached float64
	ok             bool
}

// cacheFrom takes the hit rate from what a server counted meanwhile.
func (p *Point) cacheFrom(before, after cacheCounters) {
	if prompt := int(after.prompt - before.prompt); before.ok && after.ok && prompt > 0 {
		p.setCached(int(after.cached-before.cached), prompt)
	}
}

// cacheCounters reads the counters of SGLang or vLLM from /metrics.
func (o *Online) cacheCounters(ctx context.Context) (c cacheCounters) {
	text, err := o.Client.read(ctx, "/metrics")
	if err != nil {
		return c
	}
	sums := map[string]float64{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		name, _, _ := strings.Cut(fields[0], "{")
		if value, err := strconv.ParseFloat(fields[len(fields)-1], 64); err == nil {
			sums[name] += value
		}
	}
	for _, names := range [][2]string{{"vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total"},
		{"sglang:prompt_tokens_total", "sglang:cached_tokens_total"}} {
		prompt, hasPrompt := sums[names[0]]
		cached, hasCached := sums[names[1]]
		if hasPrompt && hasCached {
			return cacheCounters{prompt, cached, true}
		}
	}
	return c
}

// vocab asks for the size of the vocabulary, which our servers tell; 0 where the server does not.
func (o *Online) vocab(ctx context.Context) int {
	var info struct {
		Vocab int `json:"vocab_size"`
	}
	if o.Client.get(ctx, "/model_info", &info) != nil {
		return 0
	}
	return info.Vocab
}
