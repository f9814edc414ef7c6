package minisgl_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"minisgl"
	"minisgl/internal/goldens"
)

// The promise of the engine: a request's tokens and log-probabilities depend on nothing but the request, bit for bit.
func TestSameAnswerWhateverTheLoad(t *testing.T) {
	sameAnswerWhateverTheLoad(t, "cpu", []int{1, 2})
}

// sameAnswerWhateverTheLoad holds a device to the promise, with each number of threads.
func sameAnswerWhateverTheLoad(t *testing.T, device string, threads []int) {
	golden := goldens.Get(t, "ratio14to2")
	rng := rand.New(rand.NewPCG(1, 2))
	prompt := golden.Prompts[5].IDs[:150]
	five, seed := 5, uint64(42)
	request := minisgl.Request{TokenIDs: prompt, Params: minisgl.Params{MaxTokens: 24, IgnoreEOS: true, Temperature: 0.8, TopP: 0.95,
		TopK: 50, RepetitionPenalty: 1.1, FrequencyPenalty: 0.2, Seed: &seed, Logprobs: &five}}
	others := make([]minisgl.Request, 255)
	for i := range others {
		ids := make([]int32, 1+rng.IntN(90))
		for k := range ids {
			ids[k] = int32(rng.IntN(len(golden.Prompts[0].Logits[0])))
		}
		others[i] = minisgl.Request{TokenIDs: ids, Params: minisgl.Params{MaxTokens: 1 + rng.IntN(40), IgnoreEOS: true}}
	}

	var want []minisgl.Token
	check := func(t *testing.T, what string, got minisgl.Output) {
		t.Helper()
		if want == nil {
			want = got.Tokens
		}
		if len(got.Tokens) != 24 || !slices.EqualFunc(want, got.Tokens, sameBits) {
			t.Errorf("%s: the answer differs:\n got %v\nwant %v", what, got.Tokens, want)
		}
	}
	run := func(t *testing.T, llm *minisgl.LLM, requests ...minisgl.Request) []minisgl.Output {
		t.Helper()
		outputs, err := llm.Run(context.Background(), requests)
		if err != nil {
			t.Fatal(err)
		}
		return outputs
	}
	for _, chunk := range []int{1, 7, 64, 8192} {
		for _, page := range []int{1, 16, 64} {
			for _, noOverlap := range []bool{false, true} {
				for _, threads := range threads {
					if testing.Short() && (chunk+page+threads)%3 != 0 {
						continue
					}
					t.Run(fmt.Sprintf("chunk=%d/page=%d/overlap=%v/threads=%d", chunk, page, !noOverlap, threads), func(t *testing.T) {
						crowd := others[:31]
						if chunk == 8192 && page == 16 {
							crowd = others
						}
						llm := open(t, minisgl.Options{Model: golden.Path, Device: device, MaxStepTokens: chunk, PageSize: page,
							NoOverlap: noOverlap, Threads: threads, MaxSeqLen: 256, NumPages: 256 * (len(crowd) + 1) / page})
						check(t, "cold and alone", run(t, llm, request)[0])
						check(t, "warm", run(t, llm, request)[0])
						llm.FlushCache()
						check(t, fmt.Sprintf("among %d others", len(crowd)), run(t, llm, slices.Insert(slices.Clone(crowd), 15, request)...)[15])
						for _, prefix := range []int{1, 15, 16, 17, 63, 100, 149} {
							llm.FlushCache()
							// The cache keeps whole pages: what comes behind the prefix fills the page that it ends in.
							warm := minisgl.Request{TokenIDs: append(slices.Clone(prompt[:prefix]), slices.Repeat([]int32{7}, page)...),
								Params: minisgl.Params{MaxTokens: 2}}
							run(t, llm, warm)
							out := run(t, llm, request)[0]
							check(t, fmt.Sprintf("after a cached prefix of %d", prefix), out)
							if out.Usage.Cached != prefix {
								t.Errorf("%d tokens came from the cache, want %d", out.Usage.Cached, prefix)
							}
						}
					})
				}
			}
		}
	}
}

func sameBits(a, b minisgl.Token) bool {
	same := func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) }
	if a.ID != b.ID || !same(a.Logprob, b.Logprob) || len(a.Top) != len(b.Top) {
		return false
	}
	for i := range a.Top {
		if a.Top[i].Token != b.Top[i].Token || !same(a.Top[i].Logprob, b.Top[i].Logprob) {
			return false
		}
	}
	return true
}

func open(t testing.TB, o minisgl.Options) *minisgl.LLM {
	t.Helper()
	llm, err := minisgl.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := llm.Close(); err != nil {
			t.Error(err)
		}
	})
	return llm
}
