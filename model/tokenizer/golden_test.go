package tokenizer_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"minisgl/internal/testtokenizer"
	"minisgl/model/tokenizer"
)

// A golden is what Hugging Face tokenizers makes of some texts; DecodedDiffers says by index what decodes to something else.
type golden struct {
	Strings        []string          `json:"strings"`
	IDs            [][]int32         `json:"ids"`
	DecodedDiffers map[string]string `json:"decoded_differs"`

	// Only in the goldens of the small tokenizers:
	Tokenizer       json.RawMessage   `json:"tokenizer"`
	DecodedSkipping map[string]string `json:"decoded_skipping"` // where skip_special_tokens makes a difference
	IDsPlain        [][]int32         `json:"ids_plain"`        // with encode_special_tokens
	WithSpecial     []int32           `json:"with_special"`     // of "x", with add_special_tokens
	Without         []int32           `json:"without"`          // and without
}

func readGolden(t *testing.T, name string) (g golden) {
	t.Helper()
	zipped, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(testtokenizer.Unzip(t, zipped), &g); err != nil {
		t.Fatal(err)
	}
	if len(g.Strings) == 0 || len(g.Strings) != len(g.IDs) {
		t.Fatalf("%s: %d strings, %d lists of ids", name, len(g.Strings), len(g.IDs))
	}
	return g
}

// check wants every string encoded and decoded as in the golden, at once and id by id.
func (g golden) check(t *testing.T, tok *tokenizer.Tokenizer) {
	t.Helper()
	alike := 0
	for i, s := range g.Strings {
		got := tok.Encode(s, true)
		if !slices.Equal(got, g.IDs[i]) {
			t.Errorf("string %d: Encode(%q)\n got %d\nwant %d", i, s, got, g.IDs[i])
			continue
		}
		want, differs := g.DecodedDiffers[strconv.Itoa(i)]
		if !differs {
			want = s
		}
		if text := tok.Decode(got, false); text != want {
			t.Errorf("string %d: Decode(%d)\n got %q\nwant %q", i, got, text, want)
			continue
		}
		if text := streamed(tok, got); text != want {
			t.Errorf("string %d: streamed %q, want %q", i, text, want)
			continue
		}
		alike++
	}
	t.Logf("%d of %d strings alike", alike, len(g.Strings))
}

func streamed(tok *tokenizer.Tokenizer, ids []int32) string {
	var text []byte
	d := tok.NewDecoder(false)
	for _, id := range ids {
		text = d.Append(text, id)
	}
	return string(d.Flush(text))
}

func TestQwenAgreesWithHuggingFace(t *testing.T) {
	readGolden(t, "qwen2.5-goldens.json.gz").check(t, testtokenizer.Qwen(t))
}

// The small tokenizers were trained with Python's tokenizers 0.23.1 on a few words, with added tokens of every kind.
func TestSmallTokenizersAgreeWithHuggingFace(t *testing.T) {
	for _, name := range []string{
		"gpt2", "gpt2-prefix-space", "llama3", "smollm", "fused-unknown", "odd-pattern-nfc", "removed-inverted", "split-string",
	} {
		t.Run(name, func(t *testing.T) {
			g := readGolden(t, name+".json.gz")
			tok, err := tokenizer.FromJSON(g.Tokenizer)
			if err != nil {
				t.Fatal(err)
			}
			g.check(t, tok)
			for i, s := range g.Strings {
				if got := tok.Encode(s, false); !slices.Equal(got, g.IDsPlain[i]) {
					t.Errorf("string %d: Encode(%q, false)\n got %d\nwant %d", i, s, got, g.IDsPlain[i])
				}
				if want, differs := g.DecodedSkipping[strconv.Itoa(i)]; differs {
					if text := tok.Decode(g.IDs[i], true); text != want {
						t.Errorf("string %d: Decode(%d, true)\n got %q\nwant %q", i, g.IDs[i], text, want)
					}
				}
			}
			want := g.Without
			if id, ok := tok.AddBOS(); ok {
				want = append([]int32{id}, want...)
			}
			if !slices.Equal(want, g.WithSpecial) {
				t.Errorf("AddBOS makes %d of x, want %d", want, g.WithSpecial)
			}
		})
	}
}
