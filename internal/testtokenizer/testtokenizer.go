// Package testtokenizer gives tests a tokenizer that people use, Qwen2.5's (Apache-2.0; see testdata/README.md).
package testtokenizer

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"io"
	"testing"

	"minisgl/model/tokenizer"
)

//go:embed testdata/qwen2.5-tokenizer.json.gz
var qwen []byte

// JSON returns Qwen2.5's tokenizer.json.
func JSON(tb testing.TB) []byte {
	tb.Helper()
	return Unzip(tb, qwen)
}

// Qwen returns Qwen2.5's tokenizer.
func Qwen(tb testing.TB) *tokenizer.Tokenizer {
	tb.Helper()
	t, err := tokenizer.FromJSON(JSON(tb))
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

// Unzip returns what a gzip file holds.
func Unzip(tb testing.TB, zipped []byte) []byte {
	tb.Helper()
	r, err := gzip.NewReader(bytes.NewReader(zipped))
	if err != nil {
		tb.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}
