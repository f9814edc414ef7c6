package chat

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A golden is a conversation and what transformers' environment renders (Text) or answers (Error) for it.
type golden struct {
	Name     string                       `json:"name"`
	File     string                       `json:"file"`
	Template string                       `json:"template"`
	BOS      string                       `json:"bos"`
	EOS      string                       `json:"eos"`
	Messages []map[string]json.RawMessage `json:"messages"`
	Tools    []json.RawMessage            `json:"tools"`
	Kwargs   map[string]json.RawMessage   `json:"kwargs"`
	Generate bool                         `json:"add_generation_prompt"`
	Text     string                       `json:"text"`
	Error    string                       `json:"error"`
	Raised   string                       `json:"raised"`

	Conversation []map[string]json.RawMessage `json:"conversation"` // what the first goldens call Messages
}

func ordered(t testing.TB, data []byte) any {
	t.Helper()
	v, err := DecodeOrdered(data)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (g *golden) render(t testing.TB) (string, error) {
	t.Helper()
	if g.File != "" {
		source, err := os.ReadFile(filepath.Join("testdata/templates", g.File+".jinja"))
		if err != nil {
			t.Fatal(err)
		}
		g.Template = string(source)
	}
	tmpl, err := New(g.Template, g.BOS, g.EOS)
	if err != nil {
		return "", err
	}
	o := Options{AddGenerationPrompt: g.Generate, Kwargs: map[string]any{}, Now: time.Date(2024, 3, 5, 7, 8, 9, 0, time.UTC)}
	for _, tool := range g.Tools {
		o.Tools = append(o.Tools, ordered(t, tool))
	}
	for name, v := range g.Kwargs {
		o.Kwargs[name] = ordered(t, v)
	}
	var messages []Message
	for _, fields := range append(g.Messages, g.Conversation...) {
		m := Message{Extra: map[string]any{}}
		for name, data := range fields {
			text, isText := ordered(t, data).(string)
			switch {
			case name == "role":
				m.Role = text
			case name == "content" && isText:
				m.Content = text
			default:
				m.Extra[name] = ordered(t, data)
			}
		}
		messages = append(messages, m)
	}
	return tmpl.Render(messages, o)
}

func readGoldens(t testing.TB, name string) (goldens []golden) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(name, ".gz") {
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if data, err = io.ReadAll(z); err != nil {
			t.Fatal(err)
		}
	}
	if err := json.Unmarshal(data, &goldens); err != nil || len(goldens) == 0 {
		t.Fatalf("%s: %d goldens, %v", name, len(goldens), err)
	}
	return goldens
}

func TestQwenRendersAsTransformersDoes(t *testing.T) {
	for i, g := range readGoldens(t, "qwen2.5-goldens.json") {
		g.File = "../qwen2.5"
		if got, err := g.render(t); got != g.Text {
			t.Errorf("conversation %d: %v\n got %q\nwant %q", i, err, got, g.Text)
		}
	}
}

func TestRendersAsTransformersDoes(t *testing.T) {
	for _, g := range readGoldens(t, "goldens.json.gz") {
		t.Run(g.Name, func(t *testing.T) {
			got, err := g.render(t)
			if g.Error == "" {
				if got != g.Text || err != nil {
					t.Errorf("%v\n got %q\nwant %q", err, got, g.Text)
				}
				return
			}
			if err == nil {
				t.Fatalf("got %q, want an error as theirs: %s", got, g.Error)
			}
			var raised *RaisedError
			if errors.As(err, &raised) != (g.Raised != "") || raised != nil && raised.Message != g.Raised {
				t.Errorf("error %q, theirs raised %q", err, g.Raised)
			}
			if raised == nil && !strings.Contains(err.Error(), "line ") {
				t.Errorf("error %q names no line", err)
			}
		})
	}
}

func BenchmarkRender(b *testing.B) {
	source, err := os.ReadFile("testdata/qwen2.5.jinja")
	if err != nil {
		b.Fatal(err)
	}
	tmpl, err := New(string(source), "", "<|im_end|>")
	if err != nil {
		b.Fatal(err)
	}
	messages := []Message{{Role: "system", Content: "Be brief."}}
	for range 10 {
		messages = append(messages, Message{Role: "user", Content: "And tomorrow?"}, Message{Role: "assistant", Content: "Rain."})
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tmpl.Render(messages, Options{AddGenerationPrompt: true}); err != nil {
			b.Fatal(err)
		}
	}
}
