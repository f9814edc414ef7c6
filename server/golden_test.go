package server_test

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"testing"

	"minisgl"
	"minisgl/internal/goldens"
	"minisgl/server"
)

// generated is SGLang's answer as its clients read it.
type generated struct {
	Text      string  `json:"text"`
	OutputIDs []int32 `json:"output_ids"`
	Index     *int    `json:"index"`
	Meta      struct {
		ID           string `json:"id"`
		FinishReason *struct {
			Type    string `json:"type"`
			Length  int    `json:"length"`
			Matched any    `json:"matched"`
		} `json:"finish_reason"`
		PromptTokens     int       `json:"prompt_tokens"`
		CompletionTokens int       `json:"completion_tokens"`
		CachedTokens     int       `json:"cached_tokens"`
		InputLogprobs    []entry   `json:"input_token_logprobs"`
		OutputLogprobs   []entry   `json:"output_token_logprobs"`
		InputTop         [][]entry `json:"input_top_logprobs"`
		OutputTop        [][]entry `json:"output_top_logprobs"`
		E2E              *float64  `json:"e2e_latency"`
	} `json:"meta_info"`
}

// An entry is [log-probability or null, token id, text or null].
type entry struct {
	Logprob *float64
	ID      int32
	Text    *string
}

func (e *entry) UnmarshalJSON(data []byte) error {
	parts := []any{&e.Logprob, &e.ID, &e.Text}
	return json.Unmarshal(data, &parts)
}

// logSoftmax returns the log-probabilities that logits stand for.
func logSoftmax(logits []float32) []float64 {
	largest, sum := float64(slices.Max(logits)), 0.0
	for _, l := range logits {
		sum += math.Exp(float64(l) - largest)
	}
	out := make([]float64, len(logits))
	for i, l := range logits {
		out[i] = float64(l) - largest - math.Log(sum)
	}
	return out
}

const logprobTolerance = 2e-3

// What Hugging Face transformers computed comes out of /generate, for every golden model.
func TestGoldensThroughHTTP(t *testing.T) {
	for _, golden := range goldens.All(t) {
		t.Run(golden.Name, func(t *testing.T) {
			s := serve(t, minisgl.Options{Model: golden.Path, Device: "cpu", KVDType: "float32", NumPages: 512}, server.Options{})
			for i, prompt := range golden.Prompts {
				ids, _ := json.Marshal(prompt.IDs)
				text := s.post("/generate", fmt.Sprintf(`{"input_ids": %s, "sampling_params": {"temperature": 0, "max_new_tokens": %d,
					"ignore_eos": true}, "return_logprob": true, "logprob_start_len": 0, "top_logprobs_num": 5}`, ids, len(prompt.Greedy)))
				got := decode[generated](t, text)
				checkGolden(t, fmt.Sprintf("prompt %d", i), &prompt, &got)
			}
			if status, _, text := s.do("POST", "/generate", `{"text": "Hello"}`); status != 400 {
				t.Errorf("text without a tokenizer: %d %s", status, text)
			} else if want := minisgl.ErrNoTokenizer.Error(); decode[failure](t, text).Error.Message != want {
				t.Errorf("got %s, want %s", text, want)
			}
			choice := decode[completion](t, s.post("/v1/completions", `{"prompt": [5, 6], "max_tokens": 1, "echo": true, "logprobs": 0}`)).Choices[0]
			if choice.Text != "" || !slices.Equal(choice.Logprobs.Tokens[:2], []string{"token_id:5", "token_id:6"}) {
				t.Errorf("tokens without a tokenizer: %+v", choice)
			}
		})
	}
}

func checkGolden(t *testing.T, what string, prompt *goldens.Prompt, got *generated) {
	t.Helper()
	meta := &got.Meta
	if !slices.Equal(got.OutputIDs, prompt.Greedy) {
		t.Errorf("%s: output_ids are %v, want %v (margin %g)", what, got.OutputIDs, prompt.Greedy, prompt.MinMargin)
	}
	if got.Text != "" || meta.FinishReason == nil || meta.FinishReason.Type != "length" || meta.FinishReason.Length != len(prompt.Greedy) {
		t.Errorf("%s: text %q, finish_reason %+v", what, got.Text, meta.FinishReason)
	}
	if meta.PromptTokens != len(prompt.IDs) || meta.CompletionTokens != len(prompt.Greedy) || meta.E2E == nil {
		t.Errorf("%s: %d prompt tokens, %d completion tokens, e2e_latency %v", what, meta.PromptTokens, meta.CompletionTokens, meta.E2E)
	}
	if len(meta.InputLogprobs) != len(prompt.IDs) || len(meta.InputTop) != len(prompt.IDs) ||
		len(meta.OutputLogprobs) != len(prompt.Greedy) || len(meta.OutputTop) != len(prompt.Greedy) {
		t.Fatalf("%s: %d and %d log-probabilities of %d and %d tokens", what, len(meta.InputLogprobs), len(meta.OutputLogprobs),
			len(prompt.IDs), len(prompt.Greedy))
	}
	if first := meta.InputLogprobs[0]; first.Logprob != nil || first.ID != prompt.IDs[0] || meta.InputTop[0] != nil {
		t.Errorf("%s: the first token of the prompt has log-probability %v", what, first.Logprob)
	}
	for row, logits := range prompt.Logits {
		want, position := logSoftmax(logits), prompt.FirstRow()+row+1
		place, entries, top := fmt.Sprintf("%s, token %d", what, position), meta.InputLogprobs, meta.InputTop
		if position >= len(prompt.IDs) {
			position, entries, top = 0, meta.OutputLogprobs, meta.OutputTop
		}
		checkEntry(t, place, entries[position], want)
		if len(top[position]) != 5 {
			t.Fatalf("%s: %d likeliest tokens, want 5", place, len(top[position]))
		}
		sorted := slices.Sorted(slices.Values(want))
		for k, e := range top[position] {
			checkEntry(t, place, e, want)
			if best := sorted[len(sorted)-1-k]; math.Abs(*e.Logprob-best) > logprobTolerance {
				t.Errorf("%s: likeliest token %d has %g, want %g", place, k, *e.Logprob, best)
			}
		}
	}
}

func checkEntry(t *testing.T, what string, e entry, want []float64) {
	t.Helper()
	if e.Logprob == nil || e.Text != nil {
		t.Fatalf("%s: %v", what, e)
	}
	if math.Abs(*e.Logprob-want[e.ID]) > logprobTolerance {
		t.Errorf("%s: id %d has log-probability %g, want %g", what, e.ID, *e.Logprob, want[e.ID])
	}
}
