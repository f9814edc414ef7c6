package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// commonDialects are the names that ToGGUF gives; others in dialects cut text as one of these does.
var commonDialects = []string{"qwen2", "llama-bpe", "gpt-2", "smollm", "default"}

// ToGGUF returns the tokenizer.ggml.* keys of a GGUF file for a tokenizer.json, those that FromGGUF reads. A model has one
// embedding for each of size ids, and llama.cpp wants as many tokens: ids without one are filled up as unused. Notes say what GGUF cannot
// express, each in a sentence; a tokenizer that GGUF has no name for is an error.
func ToGGUF(data []byte, size int) (meta map[string]any, notes []string, err error) {
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, nil, fmt.Errorf("tokenizer.json: %w", err)
	}
	t, err := f.tokenizer()
	if err == nil {
		meta, notes, err = f.toGGUF(t, max(size, t.Vocab()))
	}
	if err != nil {
		return nil, nil, fmt.Errorf("tokenizer.json: %w", err)
	}
	return meta, notes, nil
}

func (f *file) toGGUF(t *Tokenizer, size int) (meta map[string]any, notes []string, err error) {
	pre, err := f.dialect()
	if err != nil {
		return nil, nil, err
	}
	if how := dialects[pre]; how.nfc != t.nfc {
		notes = append(notes, fmt.Sprintf("the tokenizer normalises text to NFC: %t; GGUF's %q: %t", t.nfc, pre, how.nfc))
	} else if how.ignoreMerges != f.Model.IgnoreMerges {
		notes = append(notes, fmt.Sprintf("the tokenizer takes whole words of the vocabulary without merging: %t; GGUF's %q: %t", f.Model.IgnoreMerges, pre, how.ignoreMerges))
	}
	if t.bpe.unk >= 0 {
		notes = append(notes, fmt.Sprintf("GGUF has no unk_token %q in byte-level BPE", f.Model.Unk))
	}
	tokens, types := make([]string, size), make([]int32, size)
	for id := range tokens {
		tokens[id], types[id] = fmt.Sprintf("[PAD%d]", id), typeUnused
	}
	for _, token := range f.Model.Vocab {
		tokens[token.id], types[token.id] = token.text, typeNormal
	}
	for _, token := range f.AddedTokens {
		id, _ := t.lookup(token.Content)
		tokens[id], types[id] = token.Content, typeUserDefined
		if token.Special {
			types[id] = typeControl
		}
		if token.LStrip || token.RStrip || token.SingleWord {
			notes = append(notes, fmt.Sprintf("GGUF cannot say that token %q takes white space with it (lstrip, rstrip) or is no part of a word (single_word)", token.Content))
		}
	}
	merges := make([]string, len(f.Model.Merges))
	for i, merge := range f.Model.Merges {
		if strings.Contains(merge[0]+merge[1], " ") {
			return nil, nil, fmt.Errorf("merge %d: GGUF cannot spell %q, which have a space in them", i, merge)
		}
		merges[i] = merge[0] + " " + merge[1]
	}
	meta = map[string]any{
		"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": pre, "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": types,
		"tokenizer.ggml.merges": merges, "tokenizer.ggml.add_bos_token": t.hasBOS,
	}
	if t.hasBOS {
		meta["tokenizer.ggml.bos_token_id"] = uint32(t.bos)
	}
	return meta, notes, nil
}

// dialect is the name that GGUF has for how the file's pre-tokenizer cuts text.
func (f *file) dialect() (string, error) {
	patterns, err := f.PreTokenizer.patterns(nil)
	if err != nil {
		return "", err
	}
	for _, name := range commonDialects {
		if slices.Equal(dialects[name].patterns, patterns) {
			return name, nil
		}
	}
	return "", fmt.Errorf("pre_tokenizer: GGUF has no name for %q that is known here; known: %s", patterns, strings.Join(commonDialects, ", "))
}

// patterns appends what a pre-tokenizer cuts by, in the terms of dialects.
func (c *component) patterns(list []string) ([]string, error) {
	switch c.Type {
	case "Sequence":
		var err error
		for i := range c.PreTokenizers {
			if list, err = c.PreTokenizers[i].patterns(list); err != nil {
				return nil, err
			}
		}
	case "ByteLevel":
		if c.AddPrefixSpace == nil || *c.AddPrefixSpace {
			return nil, errors.New("pre_tokenizer ByteLevel: GGUF has no add_prefix_space in byte-level BPE")
		}
		if c.UseRegex == nil || *c.UseRegex {
			list = append(list, patternGPT2)
		}
	case "Digits":
		if c.IndividualDigits {
			return append(list, `\p{N}`), nil
		}
		return append(list, `\p{N}+`), nil
	case "Split":
		s, err := c.splitStep()
		if err != nil {
			return nil, err
		}
		if c.Pattern.Regex == nil || s.pattern != nil && (s.pattern.dropMatches || s.pattern.dropBetweens) {
			return nil, fmt.Errorf("pre_tokenizer Split: GGUF has regular expressions only that keep what they match, not behavior %q of %+v", c.Behavior, c.Pattern)
		}
		list = append(list, *c.Pattern.Regex)
	}
	return list, nil
}
