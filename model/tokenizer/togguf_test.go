package tokenizer_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"minisgl/internal/testtokenizer"
	"minisgl/model/tokenizer"
)

// A tokenizer.json that was turned into GGUF's keys still encodes as Hugging Face tokenizers does.
func TestToGGUFAgreesWithHuggingFace(t *testing.T) {
	for _, c := range []struct {
		name, pre string
		unknown   int32 // stands for bytes that the vocabulary lacks; -1: none
		notes     int   // added tokens that strip white space or want to stand alone
	}{
		{"qwen2.5-goldens", "qwen2", -1, 0},
		{"gpt2", "gpt-2", -1, 4},
		{"llama3", "llama-bpe", -1, 4},
		{"smollm", "smollm", 0, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := readGolden(t, c.name+".json.gz")
			text, size := []byte(g.Tokenizer), 0
			if text == nil {
				text, size = testtokenizer.JSON(t), 151936
			}
			meta, notes, err := tokenizer.ToGGUF(text, size)
			if err != nil {
				t.Fatal(err)
			}
			if meta["tokenizer.ggml.pre"] != c.pre || len(notes) != c.notes {
				t.Errorf("pre %q, notes %q; want %q, %d", meta["tokenizer.ggml.pre"], notes, c.pre, c.notes)
			}
			got, err := tokenizer.FromGGUF(meta)
			if err != nil {
				t.Fatal(err)
			}
			if size > 0 && got.Vocab() != size {
				t.Errorf("%d tokens, want %d", got.Vocab(), size)
			}
			g.without(c.unknown, "<|start|>", "<mask>", "word", "日本", "Ångström", "A\u030angstro\u0308m").check(t, got)
		})
	}
}

func TestToGGUFRefuses(t *testing.T) {
	for name, want := range map[string]string{
		"gpt2-prefix-space": "no add_prefix_space",
		"odd-pattern-nfc":   "GGUF has no name for",
		"removed-inverted":  `not behavior "Removed"`,
		"split-string":      "regular expressions only",
	} {
		_, _, err := tokenizer.ToGGUF(readGolden(t, name+".json.gz").Tokenizer, 0)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", name, err, want)
		}
	}
}

// without leaves out strings that are encoded with a token for unknown bytes, or have one of some words in them: added tokens that GGUF
// cannot express, or spelled in the alphabet of bytes.
func (g golden) without(unknown int32, words ...string) golden {
	kept := golden{DecodedDiffers: map[string]string{}}
	for i, s := range g.Strings {
		odd := slices.ContainsFunc(words, func(word string) bool { return strings.Contains(s, word) })
		if odd || slices.Contains(g.IDs[i], unknown) {
			continue
		}
		if text, differs := g.DecodedDiffers[strconv.Itoa(i)]; differs {
			kept.DecodedDiffers[strconv.Itoa(len(kept.Strings))] = text
		}
		kept.Strings, kept.IDs = append(kept.Strings, s), append(kept.IDs, g.IDs[i])
	}
	return kept
}
