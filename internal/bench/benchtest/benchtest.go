// Package benchtest gives tests of benchmarks a model that answers at once, and a server of it.
package benchtest

import (
	"context"
	"crypto/rand"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"minisgl"
	"minisgl/device"
	"minisgl/device/fake"
	"minisgl/internal/testtokenizer"
	"minisgl/server"
)

// TextModel writes a folder with a tiny config, Qwen2.5's tokenizer and a chat template. It has no weights: open it with
// DummyWeight.
func TextModel(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"config.json": `{"model_type": "qwen2", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
			"num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 151936, "max_position_embeddings": 4096,
			"rms_norm_eps": 1e-6, "rope_theta": 10000, "tie_word_embeddings": true, "torch_dtype": "float32", "hidden_act": "silu"}`,
		"tokenizer.json": string(testtokenizer.JSON(t)),
		"tokenizer_config.json": `{"eos_token": "<|im_end|>", "chat_template":
			"{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Fake are the options of a TextModel on the fake device, whose tokens are hashes of those before.
func Fake(model string) minisgl.Options {
	return minisgl.Options{Model: model, DummyWeight: true, Device: "fake", NumPages: 4096, MaxQueue: 4096}
}

// Paced registers a fake device whose steps take a given time, so that tokens come one by one, and returns its name.
func Paced(t testing.TB, step time.Duration) string {
	name := "paced-" + strings.ToLower(rand.Text()[:8])
	device.Register(device.Driver{Name: name, Open: func(device.OpenOptions) (device.Device, error) {
		return fake.New(fake.Options{Run: fake.Concurrent, Trusting: true, Fault: func(int) fake.Fault { return fake.Fault{Delay: step} }}), nil
	}})
	return name
}

// Serve serves a model until the test ends and returns its URL.
func Serve(t testing.TB, o minisgl.Options) string {
	t.Helper()
	handler := server.New(server.Options{ModelName: "tiny"})
	o.Observer = handler.Observer()
	llm, err := minisgl.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	handler.Attach(llm)
	web := httptest.NewServer(handler)
	t.Cleanup(func() {
		web.Close()
		if err := llm.Close(); err != nil {
			t.Error(err)
		}
	})
	return web.URL
}
