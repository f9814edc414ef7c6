package eval

import (
	"context"
	"math"
	"strings"
	"testing"

	"minisgl"
)

// What types of weights and KV cost on the demo model stays what docs/quantisation.md tells.
func TestWhatTypesCost(t *testing.T) {
	g, err := Read("testdata/demo-greedy.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		quantize, kv string
		divergence   float64 // at most
		differ       int     // of 20 answers, at most
	}{
		{"none", "float32", 1e-10, 0},
		{"none", "bfloat16", 1e-6, 0},
		{"none", "int8", 1e-5, 0},
		{"q8_0", "bfloat16", 5e-5, 2},
		{"q4_0", "bfloat16", 1e-2, 12},
	} {
		t.Run(c.quantize+" "+c.kv, func(t *testing.T) {
			llm, err := minisgl.Open(context.Background(), minisgl.Options{Model: minisgl.Demo, Device: "cpu", Quantize: c.quantize, KVDType: c.kv, NumPages: 512})
			if err != nil {
				t.Fatal(err)
			}
			defer llm.Close()
			if strings.Contains(llm.DeviceInfo().Kernels, "generic") {
				t.Skip("plain Go takes minutes, and computes the same")
			}
			r, err := Run(context.Background(), llm, g, Options{Limits: DefaultLimits(), Once: true, Progress: func(string) {}})
			if err != nil {
				t.Fatal(err)
			}
			p := r.Passes[0]
			if len(r.Passes) != 1 || p.Divergence > c.divergence || p.SequencesDiffer > c.differ || math.Abs(p.Perplexity/r.Perplexity-1) > 0.03 {
				t.Errorf("perplexity %v, by the goldens %v: %+v", p.Perplexity, r.Perplexity, p)
			}
			if c.quantize == "q4_0" && p.Divergence < 1e-3 {
				t.Errorf("a divergence of %v: is it quantised?", p.Divergence)
			}
		})
	}
}
