package model

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"
)

// testdata/rope.py writes rope.json with transformers' own functions.
func TestRotaryGoldens(t *testing.T) {
	text, err := os.ReadFile("testdata/rope.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		HeadDim      int             `json:"head_dim"`
		MaxPositions int             `json:"max_position_embeddings"`
		Parameters   json.RawMessage `json:"rope_parameters"`
		InvFreq      []float32       `json:"inv_freq"`
		Scale        float64         `json:"scale"`
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	const twoUnits = 2.4e-7 // in the last place of a float32: powf is not rounded correctly everywhere
	for _, c := range cases {
		t.Run(string(c.Parameters), func(t *testing.T) {
			config, err := parseConfig(fmt.Appendf(nil, `{"model_type": "qwen2", "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1,
				"num_attention_heads": 2, "vocab_size": 64, "head_dim": %d, "max_position_embeddings": %d, "rope_parameters": %s}`,
				c.HeadDim, c.MaxPositions, c.Parameters), 0)
			if err != nil {
				t.Fatal(err)
			}
			r := config.rotary()
			if len(r.InvFreq) != c.HeadDim/2 || math.Abs(r.Scale-c.Scale) > 1e-15 {
				t.Fatalf("%d frequencies and scale %v, want %d and %v", len(r.InvFreq), r.Scale, c.HeadDim/2, c.Scale)
			}
			for i, want := range c.InvFreq {
				if got := r.InvFreq[i]; math.Abs(float64(got/want-1)) > twoUnits {
					t.Errorf("frequency %d is %v, want %v", i, got, want)
				}
			}
		})
	}
}
