package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"minisgl"
)

const (
	pageSize = 16
	pages    = 1024
)

func (s *section) open(ctx context.Context, device string, r run) (*engine, error) {
	o := minisgl.Options{Model: s.gguf[r.weights], Device: device, DType: r.dtype, Threads: s.threads, PageSize: pageSize, NumPages: pages,
		MaxSeqLen: 8192}
	if r.weights == "BF16" {
		o.Model = s.model
	}
	llm, err := minisgl.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := llm.Warmup(ctx); err != nil {
		llm.Close()
		return nil, err
	}
	m := llm.Memory()
	return &engine{LLM: llm, run: r, weights: float64(m.Weights), kvToken: float64(m.KV) / (pages * pageSize), seed: rand.Uint64()}, nil
}

func (e *engine) measure(ctx context.Context, c *config, g group) ([]value, error) {
	e.seed++ // prompts that no cache knows
	var values []value
	for i, f := range g {
		rate, err := e.rate(ctx, f, uint64(i), c.tokens(f))
		if err != nil {
			return nil, err
		}
		values = append(values, value{f.String(), f.unit(), rate, f.streams, max(f.context, shortPrompt)})
	}
	return latest(values), nil
}

// rate runs streams and returns how fast their prompts were computed, or how fast tokens came while all were decoding.
func (e *engine) rate(ctx context.Context, f figure, salt uint64, tokens int) (float64, error) {
	streams, prompt := max(f.streams, 1), max(f.prefill, f.context, shortPrompt)
	if f.prefill > 0 {
		tokens = 0
	}
	if f.prefill >= 1024 || f.context > 0 {
		salt = 0 // long prompts begin alike, so that only the first of them is computed from its beginning
	} else {
		salt += 100
	}
	arrivals := make([][]time.Time, streams)
	errs := make([]error, streams)
	var wait sync.WaitGroup
	start := time.Now()
	for i := range streams {
		stream, err := e.Stream(ctx, minisgl.Request{TokenIDs: e.prompt(prompt, salt+uint64(i)<<32),
			Params: minisgl.Params{MaxTokens: tokens + 1, IgnoreEOS: true}})
		if err != nil {
			return 0, err
		}
		wait.Go(func() {
			for stream.Next() {
				for range stream.Chunk().Tokens {
					arrivals[i] = append(arrivals[i], time.Now())
				}
			}
			errs[i] = stream.Err()
		})
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return 0, err
		}
	}
	if f.prefill > 0 {
		return float64(f.prefill) / arrivals[0][0].Sub(start).Seconds(), nil
	}
	return decodeRate(arrivals), nil
}

// decodeRate is the tokens a second between the moment when the last stream has begun and the one when the first has ended.
func decodeRate(arrivals [][]time.Time) float64 {
	from, to := arrivals[0][0], arrivals[0][len(arrivals[0])-1]
	for _, a := range arrivals {
		if a[0].After(from) {
			from = a[0]
		}
		if last := a[len(a)-1]; last.Before(to) {
			to = last
		}
	}
	n := 0
	for _, a := range arrivals {
		for _, t := range a {
			if t.After(from) && !t.After(to) {
				n++
			}
		}
	}
	return float64(n) / to.Sub(from).Seconds()
}

// prompt is random tokens; the same salt gives the same ones, as many of them as are asked for.
func (e *engine) prompt(n int, salt uint64) []int32 {
	r := rand.New(rand.NewPCG(e.seed, salt))
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(r.IntN(e.Config().Vocab))
	}
	return ids
}
