package tokenizer

import (
	"fmt"
	"reflect"
)

// A dialect is how a pre-tokenizer that GGUF names (tokenizer.ggml.pre) cuts text.
type dialect struct {
	patterns     []string
	nfc          bool // as the model's tokenizer.json has it
	ignoreMerges bool
	addBOS       bool // where the metadata does not say
}

// dialects are those of llama.cpp (src/llama-vocab.cpp) that the model families here and their kin use.
var dialects = map[string]dialect{
	"gpt-2":            {patterns: []string{patternGPT2}},
	"phi-2":            {patterns: []string{patternGPT2}},
	"olmo":             {patterns: []string{patternGPT2}},
	"smollm":           {patterns: []string{`\p{N}`, patternGPT2}},
	"starcoder":        {patterns: []string{`\p{N}`, patternGPT2}},
	"qwen2":            {patterns: []string{patternQwen2}, nfc: true},
	"deepseek-r1-qwen": {patterns: []string{patternQwen2}, nfc: true},
	"llama-bpe":        {patterns: []string{patternLlama3}, ignoreMerges: true, addBOS: true},
	"llama3":           {patterns: []string{patternLlama3}, ignoreMerges: true, addBOS: true},
	"llama-v3":         {patterns: []string{patternLlama3}, ignoreMerges: true, addBOS: true},
	"default": {patterns: []string{
		`[\p{P}\$\+<=>\^~\|]+`,
		`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)`,
		`\p{N}+`,
		`[0-9][0-9][0-9]`,
	}},
}

// Token types of tokenizer.ggml.token_type.
const (
	typeNormal      = 1
	typeUnknown     = 2
	typeControl     = 3
	typeUserDefined = 4
	typeUnused      = 5
	typeByte        = 6
)

// FromGGUF reads the tokenizer.ggml.* keys of a GGUF file's metadata: the model "gpt2", which is byte-level BPE. Arrays may have any
// integer type, or be []any.
func FromGGUF(meta map[string]any) (*Tokenizer, error) {
	t, err := fromGGUF(meta)
	if err != nil {
		return nil, fmt.Errorf("GGUF metadata: tokenizer.ggml.%w", err)
	}
	return t, nil
}

func fromGGUF(meta map[string]any) (*Tokenizer, error) {
	value := func(key string) any { return meta["tokenizer.ggml."+key] }
	if model, _ := value("model").(string); model != "gpt2" {
		return nil, fmt.Errorf(`model %q is not supported, only "gpt2" (byte-level BPE) is`, model)
	}
	pre, _ := value("pre").(string)
	if pre == "" {
		pre = "default"
	}
	how, ok := dialects[pre]
	if !ok {
		return nil, fmt.Errorf("pre %q is not supported", pre)
	}
	tokens, err := stringsOf(value("tokens"))
	if err != nil || len(tokens) == 0 {
		return nil, fmt.Errorf("tokens: want a list of strings, not %T", value("tokens"))
	}
	spelled, err := stringsOf(value("merges"))
	if err != nil {
		return nil, fmt.Errorf("merges: %w", err)
	}
	merges := make([][2]string, len(spelled))
	for i := range merges {
		if merges[i], err = cutMerge(spelled[i]); err != nil {
			return nil, fmt.Errorf("merges: %w", err)
		}
	}
	types, err := typesOf(value("token_type"), len(tokens))
	if err != nil {
		return nil, fmt.Errorf("token_type: %w", err)
	}
	v, err := newVocabulary(len(tokens), int64(len(tokens)))
	if err != nil {
		return nil, fmt.Errorf("tokens: %w", err)
	}
	for id, text := range tokens {
		if types[id] == typeNormal || types[id] == typeByte {
			if _, twice := v.lookup(text); twice {
				return nil, fmt.Errorf("tokens: %q is there twice, the second time with id %d", text, id)
			}
			if err := v.add(text, int32(id)); err != nil {
				return nil, fmt.Errorf("tokens: %w", err)
			}
		}
	}
	t, err := newTokenizer(v, merges, how.ignoreMerges)
	if err != nil {
		return nil, fmt.Errorf("merges: %w", err)
	}
	t.nfc = how.nfc
	for id, text := range tokens {
		switch types[id] {
		case typeUnknown, typeControl, typeUserDefined:
			token := addedToken{ID: int32(id), Content: text, Special: types[id] != typeUserDefined}
			if err := t.addToken(token, text); err != nil {
				return nil, fmt.Errorf("tokens: %w", err)
			}
		}
	}
	for _, expr := range how.patterns {
		s := step{scan: scanners[expr]}
		switch {
		case expr == `\p{N}`:
			s.scan = scanDigits(true)
		case expr == `\p{N}+`:
			s.scan = scanDigits(false)
		case s.scan == nil:
			if s.pattern, err = newPattern(expr); err != nil {
				return nil, fmt.Errorf("pre %q: %w", pre, err)
			}
		}
		t.steps = append(t.steps, s)
	}
	addBOS := how.addBOS
	if told, ok := value("add_bos_token").(bool); ok {
		addBOS = told
	}
	if id, ok := integer(value("bos_token_id")); ok && addBOS {
		if id < 0 || id >= int64(len(tokens)) {
			return nil, fmt.Errorf("bos_token_id %d is not one of the %d tokens", id, len(tokens))
		}
		t.bos, t.hasBOS = int32(id), true
	}
	return t, nil
}

func stringsOf(value any) ([]string, error) {
	switch list := value.(type) {
	case []string:
		return list, nil
	case []any:
		out := make([]string, len(list))
		for i, item := range list {
			text, ok := item.(string)
			if !ok {
				return nil, fmt.Errorf("item %d is a %T, want a string", i, item)
			}
			out[i] = text
		}
		return out, nil
	}
	return nil, fmt.Errorf("want a list of strings, not %T", value)
}

// typesOf reads a list of n token types; without one all are normal.
func typesOf(value any, n int) ([]int64, error) {
	types := make([]int64, n)
	list := reflect.ValueOf(value)
	if value != nil && (list.Kind() != reflect.Slice || list.Len() != n) {
		return nil, fmt.Errorf("want a list of %d integers", n)
	}
	for i := range types {
		types[i] = typeNormal
		if value == nil {
			continue
		}
		of, ok := integer(list.Index(i).Interface())
		if !ok || of < 0 || of > typeByte {
			return nil, fmt.Errorf("item %d is %v, want %d to %d", i, list.Index(i), typeNormal, typeByte)
		}
		if of != 0 {
			types[i] = of
		}
	}
	return types, nil
}

func integer(value any) (int64, bool) {
	switch v := reflect.ValueOf(value); {
	case v.CanInt():
		return v.Int(), true
	case v.CanUint():
		return int64(v.Uint()), true
	}
	return 0, false
}
