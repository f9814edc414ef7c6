package tokenizer_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"minisgl/internal/testtokenizer"
	"minisgl/model/tokenizer"
)

const prose = `The scheduler matches the prefix, takes pages and plans a step; the device runs the whole of it and samples. ` +
	`It's 10:30, and we're at 3.14% of $9,999 — "naïve" façades in Zürich don't count.

	func (t *Table) Get(key string) (value int, ok bool) {
		return t.values[key%len(t.values)], t.used[key]
	}

数据结构与算法分析。東京は明るい。Москва не сразу строилась.
`

func BenchmarkEncode(b *testing.B) {
	tok := testtokenizer.Qwen(b)
	for _, text := range []struct{ name, text string }{
		{"prose", strings.Repeat(prose, 64)},
		{"new words", newWords(100_000)},
		{"one word of 100 KB", strings.Repeat("abcdefghij", 10_000)},
		{"white space", strings.Repeat(" ", 100_000)},
	} {
		b.Run(text.name, func(b *testing.B) {
			b.SetBytes(int64(len(text.text)))
			b.ReportAllocs()
			for b.Loop() {
				tok.Encode(text.text, true)
			}
		})
	}
}

// newWords are random, so that hardly any is in the cache.
func newWords(size int) string {
	r := rand.New(rand.NewPCG(1, 2))
	var text strings.Builder
	for text.Len() < size {
		for range 3 + r.IntN(12) {
			text.WriteByte(byte('a' + r.IntN(26)))
		}
		text.WriteByte(' ')
	}
	return text.String()
}

func BenchmarkDecoder(b *testing.B) {
	tok := testtokenizer.Qwen(b)
	ids := tok.Encode(strings.Repeat(prose, 64), true)
	b.ReportAllocs()
	var text []byte
	for b.Loop() {
		d := tok.NewDecoder(true)
		for _, id := range ids {
			text = d.Append(text[:0], id)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(ids)), "ns/token")
}

func BenchmarkFromJSON(b *testing.B) {
	data := testtokenizer.JSON(b)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tokenizer.FromJSON(data); err != nil {
			b.Fatal(err)
		}
	}
}
