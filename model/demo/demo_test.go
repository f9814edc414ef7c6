// Copyright 2026 The minisgl Authors.
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

var names = []string{
	"README.md", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := fs.ReadFile(FS(), name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func decode(t *testing.T, name string, v any) {
	t.Helper()
	if err := json.Unmarshal(read(t, name), v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func TestFiles(t *testing.T) {
	entries, err := fs.ReadDir(FS(), ".")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	total := 0
	for _, e := range entries {
		got = append(got, e.Name())
		total += len(read(t, e.Name()))
	}
	if strings.Join(got, " ") != strings.Join(names, " ") {
		t.Errorf("files are %v, want %v", got, names)
	}
	if total > 10_000_000 {
		t.Errorf("the model takes %d bytes, more than 10 MB", total)
	}
}

type modelConfig struct {
	ModelType     string `json:"model_type"`
	VocabSize     int    `json:"vocab_size"`
	Hidden        int    `json:"hidden_size"`
	Intermediate  int    `json:"intermediate_size"`
	Layers        int    `json:"num_hidden_layers"`
	Heads         int    `json:"num_attention_heads"`
	KVHeads       int    `json:"num_key_value_heads"`
	MaxPositions  int    `json:"max_position_embeddings"`
	TieEmbeddings bool   `json:"tie_word_embeddings"`
}

// TestWeights checks that the safetensors header describes the tensors that
// the configuration promises, all bf16 and without a gap.
func TestWeights(t *testing.T) {
	var c modelConfig
	decode(t, "config.json", &c)
	if c.ModelType != "qwen2" || !c.TieEmbeddings || c.MaxPositions < 1024 || c.KVHeads >= c.Heads {
		t.Errorf("unexpected configuration %+v", c)
	}
	data := read(t, "model.safetensors")
	size := binary.LittleEndian.Uint64(data)
	if size > uint64(len(data)-8) {
		t.Fatalf("the header says it is %d bytes long in a file of %d", size, len(data))
	}
	var header map[string]json.RawMessage
	if err := json.Unmarshal(data[8:8+size], &header); err != nil {
		t.Fatal(err)
	}
	delete(header, "__metadata__")
	dim := c.Hidden / c.Heads
	want := map[string][]int{"model.embed_tokens.weight": {c.VocabSize, c.Hidden}, "model.norm.weight": {c.Hidden}}
	for i := range c.Layers {
		p := "model.layers." + string(rune('0'+i)) + "."
		for name, shape := range map[string][]int{
			"input_layernorm.weight": {c.Hidden}, "post_attention_layernorm.weight": {c.Hidden},
			"self_attn.q_proj.weight": {c.Heads * dim, c.Hidden}, "self_attn.q_proj.bias": {c.Heads * dim},
			"self_attn.k_proj.weight": {c.KVHeads * dim, c.Hidden}, "self_attn.k_proj.bias": {c.KVHeads * dim},
			"self_attn.v_proj.weight": {c.KVHeads * dim, c.Hidden}, "self_attn.v_proj.bias": {c.KVHeads * dim},
			"self_attn.o_proj.weight": {c.Hidden, c.Heads * dim},
			"mlp.gate_proj.weight":    {c.Intermediate, c.Hidden}, "mlp.up_proj.weight": {c.Intermediate, c.Hidden},
			"mlp.down_proj.weight": {c.Hidden, c.Intermediate},
		} {
			want[p+name] = shape
		}
	}
	total := 0
	for name, raw := range header {
		var e struct {
			DType   string `json:"dtype"`
			Shape   []int  `json:"shape"`
			Offsets [2]int `json:"data_offsets"`
		}
		if err := json.Unmarshal(raw, &e); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		shape, ok := want[name]
		if !ok {
			t.Errorf("unexpected tensor %s", name)
			continue
		}
		n := 2
		for _, d := range shape {
			n *= d
		}
		if e.DType != "BF16" || len(e.Shape) != len(shape) || e.Shape[0] != shape[0] || e.Shape[len(shape)-1] != shape[len(shape)-1] ||
			e.Offsets[1]-e.Offsets[0] != n {
			t.Errorf("%s is %s %v in %d bytes, want BF16 %v in %d", name, e.DType, e.Shape, e.Offsets[1]-e.Offsets[0], shape, n)
		}
		total += n
		delete(want, name)
	}
	for name := range want {
		t.Errorf("tensor %s is missing", name)
	}
	if total != len(data)-8-int(size) {
		t.Errorf("tensors take %d bytes of %d", total, len(data)-8-int(size))
	}
}

func TestSpecialTokens(t *testing.T) {
	var gen struct {
		EOS []int `json:"eos_token_id"`
	}
	decode(t, "generation_config.json", &gen)
	var tok struct {
		Added []struct {
			ID      int    `json:"id"`
			Content string `json:"content"`
		} `json:"added_tokens"`
		Model struct {
			Vocab map[string]int `json:"vocab"`
		} `json:"model"`
	}
	decode(t, "tokenizer.json", &tok)
	ids := map[string]int{}
	for _, a := range tok.Added {
		ids[a.Content] = a.ID
	}
	if len(gen.EOS) != 2 || gen.EOS[0] != ids["<|im_end|>"] || gen.EOS[1] != ids["<|endoftext|>"] {
		t.Errorf("generation ends at %v, special tokens are %v", gen.EOS, ids)
	}
	var c modelConfig
	decode(t, "config.json", &c)
	seen := map[int]bool{}
	for _, id := range tok.Model.Vocab {
		seen[id] = true
	}
	for _, id := range ids {
		seen[id] = true
	}
	if len(seen) != c.VocabSize {
		t.Errorf("the tokenizer has %d tokens, the model %d", len(seen), c.VocabSize)
	}
	var tc struct {
		Template string `json:"chat_template"`
		EOS      string `json:"eos_token"`
	}
	decode(t, "tokenizer_config.json", &tc)
	if !strings.Contains(tc.Template, "<|im_start|>") || tc.EOS != "<|im_end|>" {
		t.Errorf("unexpected chat template %q or end %q", tc.Template, tc.EOS)
	}
}

// TestGoldens checks that the goldens fit the model: other packages compare
// their tokens with them.
func TestGoldens(t *testing.T) {
	b, err := os.ReadFile("testdata/goldens.json")
	if err != nil {
		t.Fatal(err)
	}
	var g struct {
		StopIDs []int `json:"stop_ids"`
		Prompts []struct {
			Kind      string  `json:"kind"`
			Prompt    string  `json:"prompt"`
			PromptIDs []int   `json:"prompt_ids"`
			Tokens    []int   `json:"tokens"`
			Tokens32  []int   `json:"tokens_float32"`
			MinMargin float64 `json:"min_margin"`
		} `json:"prompts"`
	}
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	var c modelConfig
	decode(t, "config.json", &c)
	if len(g.Prompts) != 20 {
		t.Errorf("%d goldens, want 20", len(g.Prompts))
	}
	stop := map[int]bool{}
	for _, id := range g.StopIDs {
		stop[id] = true
	}
	for _, p := range g.Prompts {
		if len(p.PromptIDs) == 0 || len(p.Tokens) == 0 || len(p.Tokens) > 48 {
			t.Errorf("%q: %d prompt tokens and %d tokens", p.Prompt, len(p.PromptIDs), len(p.Tokens))
			continue
		}
		if len(p.Tokens) < 48 && !stop[p.Tokens[len(p.Tokens)-1]] {
			t.Errorf("%q stops early without an end token", p.Prompt)
		}
		for i, id := range p.Tokens {
			if id < 0 || id >= c.VocabSize || id != p.Tokens32[i] {
				t.Errorf("%q: token %d is %d in float64 and %d in float32", p.Prompt, i, id, p.Tokens32[i])
				break
			}
		}
		if p.MinMargin < 0.001 {
			t.Errorf("%q: margin %g is too small to compare devices by", p.Prompt, p.MinMargin)
		}
	}
}

func TestWriteTo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "demo")
	for range 2 { // Writing twice is no error.
		if err := WriteTo(dir); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(names) {
		t.Errorf("%d files written, want %d: %v", len(entries), len(names), entries)
	}
	for _, name := range names {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, read(t, name)) {
			t.Errorf("%s differs from the embedded file", name)
		}
	}
}

func TestWriteToKeepsOthersFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "tokenizer.json")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := WriteTo(dir)
	if !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), path) {
		t.Fatalf("got error %v, want one that names %s and is fs.ErrExist", err, path)
	}
	entries, _ := os.ReadDir(dir)
	if got, _ := os.ReadFile(path); string(got) != "mine" || len(entries) != 1 {
		t.Errorf("the folder was changed: %q, %v", got, entries)
	}
}

func TestWriteToErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteTo(file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("got error %v for a folder that is a file", err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "config.json"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := WriteTo(dir); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got error %v where config.json is a folder", err)
	}
}

func TestWriteToAtTheSameTime(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() { errs[i] = WriteTo(dir) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != len(names) {
		t.Errorf("left in the folder: %v", entries)
	}
}
