package minisgl_test

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"testing"

	"minisgl"
)

// The demo model's text goes the whole way: rendered, encoded, continued and decoded as transformers does it.
func TestDemoSaysWhatTransformersSays(t *testing.T) {
	text, err := os.ReadFile("model/demo/testdata/goldens.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Prompts []struct {
			Kind     string
			Prompt   string // the text that was encoded, for a chat as rendered
			Messages []minisgl.Message
			IDs      []int32 `json:"prompt_ids"`
			Tokens   []int32
			Text     string
		}
	}
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Prompts) != 20 {
		t.Fatalf("%d goldens, want 20", len(golden.Prompts))
	}
	for _, device := range []string{"cpu", "cpu+generic", "reference"} {
		if testing.Short() && device != "cpu" {
			continue
		}
		llm := openDemo(t, func(o *minisgl.Options) { o.Device = device })
		var requests []minisgl.Request
		for i, p := range golden.Prompts {
			if len(p.Messages) > 0 {
				rendered, err := llm.RenderChat(p.Messages, minisgl.ChatOptions{})
				if err != nil || rendered != p.Prompt {
					t.Errorf("prompt %d is rendered as %q (%v), want %q", i, rendered, err, p.Prompt)
				}
			}
			if ids, err := llm.Encode(p.Prompt, true); err != nil || !slices.Equal(ids, p.IDs) {
				t.Errorf("prompt %d is encoded as %v (%v), want %v", i, ids, err, p.IDs)
			}
			requests = append(requests, minisgl.Request{TokenIDs: p.IDs, Params: minisgl.Params{MaxTokens: len(p.Tokens), KeepSpecial: true, IncludeStop: true}})
		}
		outputs, err := llm.Run(context.Background(), requests)
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range golden.Prompts {
			if out := outputs[i]; !slices.Equal(out.TokenIDs, p.Tokens) || out.Text != p.Text {
				t.Errorf("%s, prompt %d: got %q %v, want %q %v", device, i, out.Text, out.TokenIDs, p.Text, p.Tokens)
			}
		}
	}
}
