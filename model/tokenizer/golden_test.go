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
