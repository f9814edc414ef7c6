package tokenizer_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"minisgl/internal/testtokenizer"
	"minisgl/model/tokenizer"
)

func TestSpecialTokensOnlyWhenAskedFor(t *testing.T) {
	tok := testtokenizer.Qwen(t)
	end, ok := tok.Token("<|im_end|>")
	if !ok || end != 151645 || !tok.Special(end) {
		t.Fatalf("<|im_end|> is %d, %v, special %v; want 151645", end, ok, tok.Special(end))
	}
	if got := tok.Encode("<|im_end|>", true); !slices.Equal(got, []int32{end}) {
		t.Errorf("Encode(special) = %d, want [%d]", got, end)
	}
	plain := tok.Encode("<|im_end|>", false)
	if len(plain) < 2 || tok.Decode(plain, true) != "<|im_end|>" {
		t.Errorf("Encode(not special) = %d, which decodes to %q", plain, tok.Decode(plain, true))
	}
	if got := tok.Decode([]int32{9707, end, -1, 1 << 30}, true); got != "Hello" {
		t.Errorf("Decode skips to %q, want Hello", got)
	}
	if tok.Vocab() != 151665 {
		t.Errorf("Vocab() = %d, want 151665", tok.Vocab())
	}
	if id, _ := tok.Token("Ġworld"); string(tok.Bytes(id)) != " world" {
		t.Errorf("Bytes(Ġworld) = %q", tok.Bytes(id))
	}
	if _, ok := tok.AddBOS(); ok || tok.Bytes(151665) != nil {
		t.Error("Qwen has a BOS, or a token past its last")
	}
}

func TestInvalidUTF8(t *testing.T) {
	tok := testtokenizer.Qwen(t)
	for text, want := range map[string]string{
		"a\xffb": "a\ufffdb", "\xf0\x9f\x98": "\ufffd", "\xe0\x80x": "\ufffd\ufffdx", "\xed\xa0\x80": "\ufffd\ufffd\ufffd", "\xf0\x9f\x98\xc3\xa9": "\ufffdé",
	} {
		if got := tok.Decode(tok.Encode(text, true), false); got != want {
			t.Errorf("%q comes back as %q, want %q", text, got, want)
		}
	}
}

func TestDecoderNeverEmitsHalfACharacter(t *testing.T) {
	tok := testtokenizer.Qwen(t)
	byteID := func(b byte) int32 { // in Qwen's vocabulary, too, the bytes come first, in the alphabet's order
		for id := range int32(256) {
			if string(tok.Bytes(id)) == string([]byte{b}) {
				return id
			}
		}
		t.Fatalf("no token for byte %#x", b)
		return 0
	}
	end, _ := tok.Token("<|im_end|>")
	for _, c := range []struct {
		bytes string
		steps []string // what each byte releases; the last is Flush
	}{
		{"é", []string{"", "é", ""}},
		{"😀!", []string{"", "", "", "😀", "!", ""}},
		{"\xf0\x9f!", []string{"", "", "\ufffd!", ""}},
		{"\xe2\x82", []string{"", "", "\ufffd"}},
		{"\xc3\xe2\x82\xac", []string{"", "\ufffd", "", "€", ""}},
		{"\x80\xff", []string{"\ufffd", "\ufffd", ""}},
	} {
		d := tok.NewDecoder(true)
		for i, want := range c.steps[:len(c.steps)-1] {
			if got := string(d.Append(nil, byteID(c.bytes[i]))); got != want {
				t.Errorf("%q: byte %d releases %q, want %q", c.bytes, i, got, want)
			}
			if got := d.Append(nil, end); len(got) > 0 {
				t.Errorf("%q: a skipped token releases %q", c.bytes, got)
			}
		}
		if got, want := string(d.Flush(nil)), c.steps[len(c.steps)-1]; got != want {
			t.Errorf("%q: Flush releases %q, want %q", c.bytes, got, want)
		}
	}
}

func TestConcurrentEncodesAgree(t *testing.T) {
	tok := testtokenizer.Qwen(t)
	text := strings.Repeat(prose, 4) + newWords(20_000)
	want := tok.Encode(text, true)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 5 {
				if !slices.Equal(tok.Encode(text, true), want) {
					t.Error("ids differ from those of the first encode")
				}
			}
		})
	}
	wg.Wait()
}

// A word may be as long as a prompt: ten times the length must not take a hundred times as long.
func TestLongWordsAreNotQuadratic(t *testing.T) {
	tok := testtokenizer.Qwen(t)
	for _, unit := range []string{"a", " ", "ab", "漢", "\n"} {
		took := func(n int) time.Duration {
			text := strings.Repeat(unit, n)
			start := time.Now()
			if got := tok.Decode(tok.Encode(text, true), false); got != text {
				t.Fatalf("%d times %q comes back otherwise", n, unit)
			}
			return time.Since(start)
		}
		took(1_000)
		if took(200_000) > 15*time.Second {
			t.Errorf("200,000 times %q takes longer than 15 s", unit)
		}
	}
}

// ggufOf writes a tokenizer.json as the metadata that llama.cpp's converter makes of it.
func ggufOf(t testing.TB, data []byte, pre string) map[string]any {
	t.Helper()
	var f struct {
		AddedTokens []struct {
			ID      int
			Content string
			Special bool
		} `json:"added_tokens"`
		Model struct {
			Vocab  map[string]int
			Merges []any
		}
	}
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	last := slices.Max(slices.Collect(maps.Values(f.Model.Vocab)))
	for _, a := range f.AddedTokens {
		last = max(last, a.ID)
	}
	tokens, types, merges := make([]string, last+1), make([]int32, last+1), make([]string, len(f.Model.Merges))
	for text, id := range f.Model.Vocab {
		tokens[id], types[id] = text, 1
	}
	for _, a := range f.AddedTokens {
		tokens[a.ID], types[a.ID] = a.Content, 4
		if a.Special {
			types[a.ID] = 3
		}
	}
	for i, merge := range f.Model.Merges {
		if pair, ok := merge.([]any); ok {
			merge = fmt.Sprintf("%s %s", pair...)
		}
		merges[i] = merge.(string)
	}
	return map[string]any{
		"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": pre, "tokenizer.ggml.tokens": tokens,
		"tokenizer.ggml.token_type": types, "tokenizer.ggml.merges": merges,
	}
}

func TestQwenFromGGUFAgreesWithHuggingFace(t *testing.T) {
	tok, err := tokenizer.FromGGUF(ggufOf(t, testtokenizer.JSON(t), "qwen2"))
	if err != nil {
		t.Fatal(err)
	}
	readGolden(t, "qwen2.5-goldens.json.gz").check(t, tok)
}

// GGUF has no lstrip and the like, so that the small tokenizers are compared on texts without added tokens.
func TestGGUFDialectsAgreeWithHuggingFace(t *testing.T) {
	for name, pre := range map[string]string{"gpt2": "gpt-2", "llama3": "llama-bpe", "smollm": "smollm"} {
		g := readGolden(t, name+".json.gz")
		meta := ggufOf(t, g.Tokenizer, pre)
		unknown := slices.Index(meta["tokenizer.ggml.tokens"].([]string), "<|unk|>")
		meta["tokenizer.ggml.bos_token_id"] = uint32(len(meta["tokenizer.ggml.tokens"].([]string)) - 1)
		tok, err := tokenizer.FromGGUF(meta)
		if err != nil {
			t.Fatalf("%s: %v", pre, err)
		}
		if _, ok := tok.AddBOS(); ok != (pre == "llama-bpe") {
			t.Errorf("%s: AddBOS says %v", pre, ok)
		}
		compared := 0
		for i, s := range g.Strings {
			if strings.Contains(s, "word") || !slices.Equal(g.IDs[i], g.IDsPlain[i]) || slices.ContainsFunc(g.IDs[i], func(id int32) bool {
				return int(id) == unknown || int(id) >= tok.Vocab()-10
			}) {
				continue
			}
			compared++
			if got := tok.Encode(s, true); !slices.Equal(got, g.IDs[i]) {
				t.Errorf("%s: Encode(%q) = %d, want %d", pre, s, got, g.IDs[i])
			}
		}
		if compared < 30 {
			t.Errorf("%s: only %d strings compared", pre, compared)
		}
	}
}

func TestGGUFRefusals(t *testing.T) {
	small := func() map[string]any {
		return map[string]any{
			"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "default",
			"tokenizer.ggml.tokens": []any{"a", "b", "ab"}, "tokenizer.ggml.merges": []any{"a b"}, "tokenizer.ggml.token_type": []uint8{1, 1, 1},
		}
	}
	if tok, err := tokenizer.FromGGUF(small()); err != nil || !slices.Equal(tok.Encode("abab a", true), []int32{2, 2, 0}) {
		t.Fatalf("the small one fails: %v", err)
	}
	for _, c := range []struct {
		key   string
		value any
		want  string
	}{
		{"model", "llama", `model "llama" is not supported`},
		{"model", 7, `model "" is not supported`},
		{"pre", "chatglm-bpe", `pre "chatglm-bpe" is not supported`},
		{"tokens", "a", "tokens: want a list of strings"},
		{"tokens", []any{"a", 1}, "tokens: want a list of strings"},
		{"tokens", []string{"a", "b", "a"}, `tokens: "a" is there twice`},
		{"merges", nil, "merges: want a list of strings"},
		{"merges", []string{"a c"}, `merges: merge 0: "a", "c"`},
		{"merges", []string{"a"}, `merges: merge "a" is not two tokens`},
		{"token_type", []int32{1}, "token_type: want a list of 3 integers"},
		{"token_type", []int32{1, 1, 99}, "token_type: item 2 is 99"},
		{"token_type", 3, "token_type: want a list"},
	} {
		meta := small()
		meta["tokenizer.ggml."+c.key] = c.value
		if _, err := tokenizer.FromGGUF(meta); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s = %v: error %v, want %q", c.key, c.value, err, c.want)
		}
	}
}

const smallJSON = `{"added_tokens":[ADDED],"normalizer":NORMALIZER,"pre_tokenizer":PRE,"post_processor":POST,"decoder":DECODER,` +
	`"model":{"type":"BPE","vocab":VOCAB,"merges":MERGES}}`

// small fills the small tokenizer.json's holes, some of them otherwise than usual.
func small(holes ...string) []byte {
	return []byte(strings.NewReplacer(append(holes, "ADDED", "", "NORMALIZER", "null", "PRE", `{"type":"ByteLevel"}`, "POST", "null",
		"DECODER", `{"type":"ByteLevel"}`, "VOCAB", `{"a":0,"b":1,"ab":2}`, "MERGES", `["a b"]`)...).Replace(smallJSON))
}

func TestJSONRefusals(t *testing.T) {
	if tok, err := tokenizer.FromJSON(small()); err != nil || !slices.Equal(tok.Encode("abba", true), []int32{2, 1, 0}) {
		t.Fatalf("the small one fails: %v", err)
	}
	for _, c := range []struct{ hole, value, want string }{
		{"VOCAB", `{"a":0,"b":1,"ab":2147483647}`, "out of proportion"},
		{"VOCAB", `{"a":0,"b":1,"ab":2147483648}`, `the id of "ab" is not a whole number`},
		{"VOCAB", `{"a":0,"b":1,"ab":-1}`, `the id of "ab" is not a whole number`},
		{"VOCAB", `{"a":0,"b":1,"ab":1e3}`, `the id of "ab" is not a whole number`},
		{"VOCAB", `{"a":0,"b":1,"ab":"2"}`, `the id of "ab" is not a whole number`},
		{"VOCAB", `{"a":0,"b":1,"ab":1}`, "id 1, which is another token's"},
		{"VOCAB", `{"a":0,"b":1,"ab":2,"ab":3}`, "only 3 different ones"},
		{"VOCAB", `{}`, "vocab is missing or empty"},
		{"VOCAB", `[["a",-1.5]]`, "vocab is not an object"},
		{"MERGES", `["a c"]`, `merge 0: "a", "c"`},
		{"MERGES", `["a b c"]`, `merge "a b c" is not two tokens`},
		{"MERGES", `["ab"]`, `merge "ab" is not two tokens`},
		{"MERGES", `[["a"]]`, "item 0: want a string"},
		{"MERGES", `[["a","b","c"]]`, "want two tokens, not more"},
		{"MERGES", `{"a":"b"}`, "merges is not a list"},
		{"MERGES", `[1]`, "item 0: want a string"},
		{"ADDED", `{"id":4000000,"content":"<x>"}`, "out of proportion"},
		{"ADDED", `{"id":-4,"content":"<x>"}`, `added token "<x>" has id -4`},
		{"ADDED", `{"id":1,"content":"<x>"}`, "id 1, which is another token's"},
		{"ADDED", `{"id":3,"content":""}`, "has 0 bytes"},
		{"ADDED", `{"id":"3","content":"<x>"}`, "added_tokens.id"},
		{"NORMALIZER", `{"type":"NFKC"}`, `normalizer "NFKC" is not supported`},
		{"PRE", `{"type":"Metaspace"}`, `pre_tokenizer "Metaspace" is not supported`},
		{"PRE", `{"type":"Digits"}`, "no ByteLevel"},
		{"PRE", `null`, "pre_tokenizer is missing"},
		{"PRE", `{"type":"Split","pattern":{"Regex":"("},"behavior":"Isolated"}`, `pattern "("`},
		{"PRE", `{"type":"Split","pattern":{},"behavior":"Isolated"}`, "neither Regex nor String"},
		{"PRE", `{"type":"Split","pattern":{"String":"x"},"behavior":"MergedWithNext"}`, `behavior "MergedWithNext" is not supported`},
		{"DECODER", `{"type":"WordPiece"}`, "decoder is not ByteLevel"},
		{"POST", `{"type":"BertProcessing"}`, `post_processor "BertProcessing" is not supported`},
		{"POST", `{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}}]}`, "want one token of the vocabulary"},
	} {
		if _, err := tokenizer.FromJSON(small(c.hole, c.value)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: error %v, want %q", c.hole, c.value, err, c.want)
		}
	}
	for data, want := range map[string]string{
		``: "unexpected end", `[]`: "cannot unmarshal", `{"model":{"type":"Unigram","vocab":[["a",0]]}}`: `model "Unigram" is not supported`,
		`{"model":{"type":"WordPiece"}}`:                               `model "WordPiece" is not supported`,
		`{"model":{"vocab":{"a":0},"continuing_subword_prefix":"##"}}`: "continuing_subword_prefix",
	} {
		if _, err := tokenizer.FromJSON([]byte(data)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", data, err, want)
		}
	}
}

func TestHugeIDsAllocateLittle(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, id := range []string{"2147483647", "1000000000", "70000"} {
		if _, err := tokenizer.FromJSON(small("VOCAB", `{"a":0,"b":1,"ab":`+id+`}`)); err == nil {
			t.Errorf("id %s is accepted beside two tokens", id)
		}
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 10<<20 {
		t.Errorf("%d bytes allocated", grown)
	}
}

func FuzzFromJSON(f *testing.F) {
	f.Add(small())
	f.Add(small("MERGES", `[["a","b"]]`, "ADDED", `{"id":3,"content":"<x>","special":true,"lstrip":true}`, "NORMALIZER", `{"type":"NFC"}`))
	f.Add(small("PRE", `{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"\\s+"},"behavior":"Removed","invert":true},{"type":"ByteLevel"}]}`))
	f.Add(small("VOCAB", `{"\u0061":0,"b":1,"ab":99}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		tok, err := tokenizer.FromJSON(data)
		if err != nil {
			return
		}
		for _, id := range tok.Encode("ab <x> ba\u0301 12", true) {
			if id < 0 || int(id) >= tok.Vocab() {
				t.Fatalf("id %d of %d", id, tok.Vocab())
			}
		}
	})
}

func FuzzFromGGUF(f *testing.F) {
	f.Add("default", "a\nb\nab", "a b", []byte{1, 1, 1}, int64(0))
	f.Add("llama-bpe", "a\nb\n<x>", "", []byte{1, 6, 3}, int64(2))
	f.Fuzz(func(t *testing.T, pre, tokens, merges string, types []byte, bos int64) {
		tok, err := tokenizer.FromGGUF(map[string]any{
			"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": pre, "tokenizer.ggml.tokens": strings.Split(tokens, "\n"),
			"tokenizer.ggml.merges": strings.Split(merges, "\n"), "tokenizer.ggml.token_type": types, "tokenizer.ggml.bos_token_id": bos,
		})
		if err != nil {
			return
		}
		tok.Decode(tok.Encode(tokens+" ab <x>", true), true)
	})
}

func FuzzRoundTrip(f *testing.F) {
	for _, s := range []string{prose, "<|im_start|>user\n<|im_end|>", "e\u0301", "'ſ  \r\n\n x", "\xff\xc3", strings.Repeat("\u0301", 40), "😀👍🏽"} {
		f.Add(s, true)
	}
	tok := testtokenizer.Qwen(f)
	f.Fuzz(func(t *testing.T, s string, special bool) {
		ids := tok.Encode(s, special)
		whole := tok.Decode(ids, false)
		if utf8.ValidString(s) && norm.NFC.IsNormalString(s) && whole != s {
			t.Errorf("Decode(Encode(%q)) = %q", s, whole)
		}
		if got := streamed(tok, ids); got != whole {
			t.Errorf("streamed %q, decoded %q", got, whole)
		}
	})
}
