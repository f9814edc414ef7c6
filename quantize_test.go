package minisgl_test

import (
	"context"
	"strings"
	"testing"

	"minisgl"
	"minisgl/internal/goldens"
)

// Quantising at load takes a quarter to a half of the memory and changes the log-probabilities a little, not much.
func TestQuantizeAtLoad(t *testing.T) {
	golden := goldens.Get(t, "ratio14to2")
	none := 0
	request := minisgl.Request{TokenIDs: golden.Prompts[4].IDs, Params: minisgl.Params{MaxTokens: 1, Logprobs: &none}}
	logprob := func(quantize string) (float64, int64) {
		llm := open(t, minisgl.Options{Model: golden.Path, Device: "cpu", Quantize: quantize, MaxSeqLen: 256, NumPages: 64})
		out, err := llm.Run(context.Background(), []minisgl.Request{request})
		if err != nil {
			t.Fatal(err)
		}
		return float64(out[0].Tokens[0].Logprob), llm.Memory().Weights
	}
	exact, bytes := logprob("none")
	for _, c := range []struct {
		name         string
		share, error float64
	}{{"q8_0", 0.6, 0.3}, {"q4_0", 0.4, 1.5}} {
		got, quantised := logprob(c.name)
		if got == exact || got > exact+c.error || got < exact-c.error {
			t.Errorf("%s: log-probability %v, %v unquantised", c.name, got, exact)
		}
		if float64(quantised) > c.share*float64(bytes) {
			t.Errorf("%s: weights take %d bytes, %d unquantised", c.name, quantised, bytes)
		}
	}
	_, err := minisgl.Open(context.Background(), minisgl.Options{Model: golden.Path, Device: "cpu", Quantize: "q3"})
	if err == nil || !strings.Contains(err.Error(), "q8_0") {
		t.Errorf("q3: error %v", err)
	}
}
