package main

import (
	"bytes"
	"encoding/xml"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// What llama-batched-bench of September 2026 prints for -npp 16,512,512 -ntg 8 -npl 1, its log cut away.
const batchedBench = `
{"n_kv_max": 4096, "n_batch": 2048, "n_ubatch": 512, "flash_attn": -1, "is_pp_shared": 0, "n_gpu_layers": -1, "n_threads": 2, "n_threads_batch": 2, "pp": 16, "tg": 8, "pl": 1, "n_kv": 24, "t_pp": 0.105000, "speed_pp": 152.380951, "t_tg": 0.320000, "speed_tg": 25.000000, "t": 0.425000, "speed": 56.470589}
{"n_kv_max": 4096, "n_batch": 2048, "n_ubatch": 512, "flash_attn": -1, "is_pp_shared": 0, "n_gpu_layers": -1, "n_threads": 2, "n_threads_batch": 2, "pp": 512, "tg": 8, "pl": 1, "n_kv": 520, "t_pp": 2.560000, "speed_pp": 200.000000, "t_tg": 0.330000, "speed_tg": 24.242424, "t": 2.890000, "speed": 179.930801}
{"n_kv_max": 4096, "n_batch": 2048, "n_ubatch": 512, "flash_attn": -1, "is_pp_shared": 0, "n_gpu_layers": -1, "n_threads": 2, "n_threads_batch": 2, "pp": 512, "tg": 8, "pl": 1, "n_kv": 520, "t_pp": 1.600000, "speed_pp": 320.000000, "t_tg": 0.330000, "speed_tg": 24.242424, "t": 1.930000, "speed": 269.430054}

llama_perf_context_print:        load time =     900.00 ms
`

func TestBatchedBench(t *testing.T) {
	got, err := parseBatchedBench([]byte(batchedBench), short)
	want := []value{{"decode, 1 stream", "tok/s", 25, 1, 16}, {"prefill of 512", "tok/s", 320, 0, 512}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	if _, err := parseBatchedBench([]byte(batchedBench), many); err == nil || !strings.Contains(err.Error(), "4 streams") {
		t.Errorf("output without streams: got error %v", err)
	}
}

func TestDecodeRateCountsWhileAllStreamsRun(t *testing.T) {
	at := func(ms ...int) (times []time.Time) {
		for _, n := range ms {
			times = append(times, time.UnixMilli(int64(n)))
		}
		return times
	}
	for _, c := range []struct {
		name     string
		arrivals [][]time.Time
		want     float64
	}{
		{"one stream", [][]time.Time{at(100, 200, 300)}, 10},
		{"the second begins a step later", [][]time.Time{at(100, 200, 300, 400), at(200, 300, 400, 500)}, 20},
		{"two tokens at once", [][]time.Time{at(100, 300, 300, 500, 500)}, 10},
	} {
		if got := decodeRate(c.arrivals); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %v tok/s, want %v", c.name, got, c.want)
		}
	}
}

func TestComputedTokens(t *testing.T) {
	for answer, want := range map[string]int{
		`{"usage": {"prompt_tokens": 1032, "prompt_tokens_details": {"cached_tokens": 1000}}}`:                                32,
		`{"usage": {"prompt_tokens": 1032, "prompt_tokens_details": {"cached_tokens": 0}}, "timings": {"prompt_n": 1032}}`:    1032,
		`{"usage": {"prompt_tokens": 1032, "prompt_tokens_details": {"cached_tokens": 1000}}, "timings": {"prompt_n": 1031}}`: 1031,
	} {
		if got, err := computedTokens([]byte(answer)); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", answer, got, err, want)
		}
	}
	if _, err := computedTokens([]byte(`{"usage": {"prompt_tokens": 5}}`)); err == nil {
		t.Error("an answer without cached tokens: no error")
	}
}

var twoRounds = []record{
	{Round: 1, Run: "BF16", Figure: "decode, 1 stream", Who: ours, Value: 30, Read: 33e9, Limit: 33},
	{Round: 1, Run: "BF16, --dtype bfloat16", Figure: "decode, 1 stream", Who: ours, Value: 15, Read: 33e9, Limit: 33},
	{Round: 1, Run: "BF16", Figure: "decode, 1 stream", Who: theirs, Value: 20, Read: 33e9, Limit: 33},
	{Round: 2, Run: "BF16", Figure: "decode, 1 stream", Who: ours, Value: 20, Read: 22e9, Limit: 22},
	{Round: 2, Run: "BF16, --dtype bfloat16", Figure: "decode, 1 stream", Who: ours, Value: 20, Read: 22e9, Limit: 22},
	{Round: 2, Run: "BF16", Figure: "decode, 1 stream", Who: theirs, Value: 16, Read: 22e9, Limit: 22},
}

func TestReport(t *testing.T) {
	var text bytes.Buffer
	writeEngines(&text, twoRounds)
	for _, line := range []string{
		"| BF16 | decode, 1 stream | 25.0 | 91 % | 18.0 | 67 % | **1.38** | 1.50 1.25 |",
		"| BF16, --dtype bfloat16 | decode, 1 stream | 17.5 | 68 % | 18.0 | 67 % | **1.00** | 0.75 1.25 |",
		"22.0 to 33.0 GB/s",
	} {
		if !strings.Contains(text.String(), line) {
			t.Errorf("no %q in\n%s", line, &text)
		}
	}
}

func TestPictureIsXML(t *testing.T) {
	picture := drawRatios([]sectionFile{{Section: "best", Records: twoRounds}, {Section: "http"}})
	dots := 0
	for d := xml.NewDecoder(bytes.NewReader(picture)); ; {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "circle" {
			dots++
		}
	}
	if dots != 4 {
		t.Errorf("%d dots for 2 figures of 2 rounds", dots)
	}
}
