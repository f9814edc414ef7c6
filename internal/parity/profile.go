package parity

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"minisgl"
	"minisgl/model"
	"minisgl/model/hub"
	"minisgl/tensor"
)

// A Model says which checkpoint to open. Its fields are those of minisgl.Options.
type Model struct {
	Path           string `json:"path"`
	Source         string `json:"source"`
	ModelScopeName string `json:"modelscope_name"`
	Revision       string `json:"revision"`
	DType          string `json:"dtype"`
	DummyWeight    bool   `json:"dummy_weight"`
}

// A Profile is the workload, the same for both sides. Its JSON is the profile of the report.
type Profile struct {
	MaxTokens         int     `json:"max_tokens"`
	TokenPromptCount  int     `json:"token_prompt_count"`
	MinInputLen       int     `json:"min_input_len"`
	MaxInputLen       int     `json:"max_input_len"`
	SharedPrefixLen   int     `json:"shared_prefix_len"` // tokens that all random prompts begin with
	MaxSeqLenOverride int     `json:"max_seq_len_override"`
	MaxExtendTokens   int     `json:"max_extend_tokens"`
	CUDAGraphMaxBS    int     `json:"cuda_graph_max_bs"`
	MemoryRatio       float64 `json:"memory_ratio"`
	NumPageOverride   *int    `json:"num_page_override"`
}

// Validate checks the profile; errors name the flag.
func (p *Profile) Validate() error {
	for _, f := range []struct {
		flag         string
		value, least int
	}{
		{"max-tokens", p.MaxTokens, 1}, {"token-prompt-count", p.TokenPromptCount, 0}, {"min-input-len", p.MinInputLen, 1},
		{"max-input-len", p.MaxInputLen, p.MinInputLen}, {"shared-prefix-len", p.SharedPrefixLen, 0},
		{"max-seq-len-override", p.MaxSeqLenOverride, 0}, {"max-extend-tokens", p.MaxExtendTokens, 1},
		{"cuda-graph-max-bs", p.CUDAGraphMaxBS, 0},
	} {
		if f.value < f.least {
			return fmt.Errorf("--%s %d: expected at least %d", f.flag, f.value, f.least)
		}
	}
	if p.SharedPrefixLen >= p.MinInputLen && p.SharedPrefixLen > 0 {
		return fmt.Errorf("--shared-prefix-len %d: expected less than --min-input-len %d", p.SharedPrefixLen, p.MinInputLen)
	}
	if p.NumPageOverride != nil && *p.NumPageOverride < 1 {
		return fmt.Errorf("--num-page-override %d: expected at least 1", *p.NumPageOverride)
	}
	return nil
}

// texts are the prompts of the set text_prompts.
var texts = []string{
	"In one sentence, why do several requests in one batch keep a processor busier than one at a time?",
	"Name three things that can make two runs of the same model give different tokens.",
	"Explain in a short paragraph what a scheduler decides before each step of a language model.",
	"The keys and values of a prefix that two prompts share",
}

// randomPrompts returns the prompts of the set token_prompts: ids in [100, 20000] as far as the vocabulary goes.
func (p *Profile) randomPrompts(seed uint64, vocab int) [][]int32 {
	random := rand.New(rand.NewPCG(seed, 0))
	low, high := 100, min(20000, vocab-1)
	if high < 2*low {
		low = 0
	}
	ids := func(n int) []int32 {
		out := make([]int32, n)
		for i := range out {
			out[i] = int32(low + random.IntN(high-low+1))
		}
		return out
	}
	prefix := ids(p.SharedPrefixLen)
	prompts := make([][]int32, p.TokenPromptCount)
	for i := range prompts {
		length := p.MinInputLen + random.IntN(p.MaxInputLen-p.MinInputLen+1)
		prompts[i] = slices.Concat(prefix, ids(length-len(prefix)))
	}
	return prompts
}

func (m *Model) options(p *Profile) minisgl.Options {
	o := minisgl.Options{
		Model: m.Path, Source: m.Source, ModelScopeName: m.ModelScopeName, Revision: m.Revision, DType: m.DType, DummyWeight: m.DummyWeight,
		MaxSeqLen: p.MaxSeqLenOverride, MaxStepTokens: p.MaxExtendTokens, MaxRunning: max(p.TokenPromptCount, len(texts)),
		GraphMaxBatch: cmp.Or(p.CUDAGraphMaxBS, -1), MemoryRatio: p.MemoryRatio,
	}
	if p.NumPageOverride != nil {
		o.NumPages = *p.NumPageOverride
	}
	return o
}

// open opens the checkpoint without a device.
func (m *Model) open(ctx context.Context, maxSeqLen int) (*model.Checkpoint, error) {
	path, err := hub.Resolve(ctx, m.Path, hub.Options{Source: m.Source, Revision: m.Revision, ModelScopeName: m.ModelScopeName})
	if err != nil {
		return nil, err
	}
	dtypes := map[string]tensor.DType{"float16": tensor.F16, "bfloat16": tensor.BF16, "float32": tensor.F32}
	return model.Open(path, model.Options{DType: dtypes[m.DType], MaxSeqLen: maxSeqLen, RandomFill: m.DummyWeight})
}
