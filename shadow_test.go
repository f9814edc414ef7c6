package minisgl_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"minisgl"
	"minisgl/internal/goldens"
	"minisgl/scheduler"
)

// mixedTraffic returns requests of all sorts: random lengths, shared prefixes, temperature, penalties, bias, scores.
func mixedTraffic(n int, vocab int32) []minisgl.Request {
	rng := rand.New(rand.NewPCG(11, 12))
	ids := func(n int) []int32 {
		list := make([]int32, n)
		for i := range list {
			list[i] = rng.Int32N(vocab)
		}
		return list
	}
	families := [][]int32{ids(100), ids(100), ids(100), ids(100)}
	requests := make([]minisgl.Request, n)
	for i := range requests {
		prompt := ids(1 + rng.IntN(60))
		if rng.IntN(2) == 0 {
			prompt = append(slices.Clone(families[rng.IntN(4)][:rng.IntN(100)]), prompt...)
		}
		p := minisgl.Params{MaxTokens: 1 + rng.IntN(40), IgnoreEOS: rng.IntN(2) == 0}
		if rng.IntN(8) == 0 {
			p.MaxTokens = 96
		}
		if rng.IntN(4) == 0 {
			seed := rng.Uint64()
			p.Temperature, p.TopP, p.Seed = 0.8, 0.9, &seed
		}
		if rng.IntN(3) == 0 {
			p.RepetitionPenalty, p.PresencePenalty, p.FrequencyPenalty = 1.2, 0.3, 0.1
		}
		if rng.IntN(5) == 0 {
			p.LogitBias = map[int32]float64{rng.Int32N(vocab): 1.5}
		}
		if rng.IntN(8) == 0 {
			from := rng.IntN(len(prompt))
			p.PromptLogprobs = &from
		}
		if rng.IntN(10) == 0 {
			p.StopIDs, p.MinTokens = ids(3), rng.IntN(p.MaxTokens+1)
		}
		requests[i] = minisgl.Request{ID: fmt.Sprint("r", i), TokenIDs: prompt, Params: p, Priority: rng.IntN(2)}
	}
	return requests
}

// play runs the requests, 32 at a time; one in ten is aborted on its way. It returns the tokens of those that ended by themselves.
func play(t testing.TB, llm *minisgl.LLM, requests []minisgl.Request) [][]int32 {
	t.Helper()
	outputs := make([][]int32, len(requests))
	var clients sync.WaitGroup
	seats := make(chan struct{}, 32)
	for i, r := range requests {
		seats <- struct{}{}
		clients.Go(func() {
			defer func() { <-seats }()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			stream, err := llm.Stream(ctx, r)
			if err != nil {
				t.Error(err)
				return
			}
			var tokens []int32
			for stream.Next() {
				for _, token := range stream.Chunk().Tokens {
					tokens = append(tokens, token.ID)
				}
				if i%10 == 9 && len(tokens) > i%7 {
					cancel()
				}
			}
			if err := stream.Err(); err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			if ctx.Err() == nil {
				outputs[i] = tokens
			}
		})
	}
	clients.Wait()
	return outputs
}

// The planners, and the CPU against float64 arithmetic, over mixed traffic: they agree, and nobody's answer changes.
func TestShadowAgreesOverMixedTraffic(t *testing.T) {
	golden := goldens.Get(t, "tiny-tied")
	n := 1000
	if testing.Short() {
		n = 150
	}
	requests := mixedTraffic(n, int32(len(golden.Prompts[0].Logits[0])))
	options := minisgl.Options{Model: golden.Path, Device: "cpu", KVDType: "float32", MaxSeqLen: 256, NumPages: 90, MaxRunning: 24, MaxStepTokens: 128}
	plain := play(t, open(t, options), requests)

	report := filepath.Join(t.TempDir(), "report.jsonl")
	options.Planner = scheduler.Reference
	options.Shadow = minisgl.Shadow{Planner: true, Device: "reference", Report: report, Queue: 1 << 20}
	llm, err := minisgl.Open(context.Background(), options)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	shadowed := play(t, llm, requests)
	served := time.Since(start)
	stats := llm.Stats()
	if err := llm.Close(); err != nil {
		t.Error(err)
	}
	counts := llm.ShadowCounts()
	t.Logf("%v; served %v, all compared after %v; %+v", counts, served, time.Since(start), stats)
	if text, err := os.ReadFile(report); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the report says, with %v:\n%s", err, text)
	}
	if !testing.Short() && (stats.Evictions == 0 || stats.CachedTokens == 0) {
		t.Errorf("the traffic does not reach everything: %+v", stats)
	}
	if counts.Divergences != 0 || counts.Steps < stats.Steps || counts.Outputs < 5*uint64(n) || counts.Skipped > counts.Outputs/10 {
		t.Errorf("%+v", counts)
	}
	for i := range requests {
		if requests[i].Params.Seed == nil && requests[i].Params.Temperature > 0 {
			continue
		}
		if plain[i] != nil && shadowed[i] != nil && !slices.Equal(plain[i], shadowed[i]) {
			t.Errorf("request %d: %v without shadow, %v with", i, plain[i], shadowed[i])
		}
	}
}

// What shadowing costs. The engine serves the same traffic, most of it greedy, to 32 clients.
func BenchmarkShadow(b *testing.B) {
	golden := goldens.Get(b, "ratio14to2")
	requests := mixedTraffic(200, int32(len(golden.Prompts[0].Logits[0])))
	for _, test := range []struct {
		name   string
		shadow minisgl.Shadow
	}{
		{"none", minisgl.Shadow{}},
		{"planner", minisgl.Shadow{Planner: true}},
		{"planner and device reference", minisgl.Shadow{Planner: true, Device: "reference"}},
		{"planner and device reference, each 8th step", minisgl.Shadow{Planner: true, Device: "reference", EveryN: 8}},
		{"planner and device cpu", minisgl.Shadow{Planner: true, Device: "cpu"}},
		{"planner and device cpu, each 8th step", minisgl.Shadow{Planner: true, Device: "cpu", EveryN: 8}},
	} {
		b.Run(test.name, func(b *testing.B) {
			var outputs, compared, steps uint64
			var serving time.Duration
			for range b.N {
				llm := open(b, minisgl.Options{Model: golden.Path, Device: "cpu", MaxSeqLen: 256, NumPages: 600, MaxRunning: 32, MaxStepTokens: 128, Shadow: test.shadow})
				start := time.Now()
				play(b, llm, requests)
				serving += time.Since(start)
				outputs += llm.Stats().OutputTokens
				steps += llm.Stats().Steps
				compared += llm.ShadowCounts().Outputs
				if err := llm.Close(); err != nil {
					b.Error(err)
				}
			}
			b.ReportMetric(float64(outputs)/serving.Seconds(), "tok/s")
			b.ReportMetric(float64(steps)/float64(b.N), "steps")
			b.ReportMetric(float64(compared)/float64(b.N), "compared")
		})
	}
}
