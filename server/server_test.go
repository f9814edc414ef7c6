package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"minisgl"
	"minisgl/device"
	_ "minisgl/device_cpu"
	"minisgl/internal/testtokenizer"
	"minisgl/server"
)

// textModel writes a folder with a tiny config (weights come from DummyWeight), Qwen2.5's tokenizer and a chat template.
func textModel(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{
		"config.json": `{"model_type": "qwen2", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
			"num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 151936, "max_position_embeddings": 512,
			"rms_norm_eps": 1e-6, "rope_theta": 10000, "tie_word_embeddings": true, "torch_dtype": "float32", "hidden_act": "silu"}`,
		"generation_config.json": `{"eos_token_id": [151645, 151643]}`,
		"tokenizer.json":         string(testtokenizer.JSON(t)),
		"tokenizer_config.json": `{"eos_token": "<|im_end|>", "chat_template":
			"{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"}`,
	}
	for name, text := range files {
		write(t, dir, name, text)
	}
	return dir
}

// A site is a server with a model, and a client of it.
type site struct {
	t      testing.TB
	llm    *minisgl.LLM
	server *server.Server
	web    *httptest.Server
}

// serve opens a model and serves it until the test ends.
func serve(t testing.TB, mo minisgl.Options, so server.Options) *site {
	t.Helper()
	s := &site{t: t, server: server.New(so)}
	mo.Observer = s.server.Observer()
	var err error
	if s.llm, err = minisgl.Open(context.Background(), mo); err != nil {
		t.Fatal(err)
	}
	s.server.Attach(s.llm)
	s.web = httptest.NewServer(s.server)
	t.Cleanup(func() {
		s.web.Close()
		if err := s.llm.Close(); err != nil && !errors.Is(err, device.ErrLost) {
			t.Error(err)
		}
	})
	return s
}

// fakeText is a text model on the fake device: every token is a hash of those before it.
func fakeText(t testing.TB, change ...func(*minisgl.Options, *server.Options)) *site {
	t.Helper()
	mo, so := minisgl.Options{Model: textModel(t), DummyWeight: true, Device: "fake", PageSize: 4, NumPages: 8192}, server.Options{ModelName: "tiny"}
	for _, c := range change {
		c(&mo, &so)
	}
	return serve(t, mo, so)
}

// do sends a request and returns status, headers and body.
func (s *site) do(method, path, body string, headers ...string) (int, http.Header, string) {
	s.t.Helper()
	r, err := http.NewRequest(method, s.web.URL+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := s.web.Client().Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(text)
}

// post sends a body that must succeed.
func (s *site) post(path, body string) string {
	s.t.Helper()
	status, _, text := s.do("POST", path, body)
	if status != http.StatusOK {
		s.t.Fatalf("POST %s %s: %d %s", path, body, status, text)
	}
	return text
}

// decode reads JSON into a new T.
func decode[T any](t testing.TB, text string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// events splits an event stream into the data of its events, and checks that it ends with [DONE].
func events(t testing.TB, text string) []string {
	t.Helper()
	parts := strings.Split(strings.TrimSuffix(text, "\n\n"), "\n\n")
	for i, part := range parts {
		data, ok := strings.CutPrefix(part, "data: ")
		if !ok {
			t.Fatalf("event %d is %q", i, part)
		}
		parts[i] = data
	}
	if last := len(parts) - 1; parts[last] != "[DONE]" {
		t.Fatalf("the stream ends with %q", parts[last])
	}
	return parts[:len(parts)-1]
}

// patience is how long a test waits for what must come: a busy machine may stand still for seconds.
const patience = time.Minute

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still not: %s", what)
		}
	}
}

// noLeaks checks that the test's goroutines end, behind the cleanups that are registered later.
func noLeaks(t testing.TB) {
	t.Cleanup(func() {
		for end := time.Now().Add(patience); ; {
			err := goleak.Find()
			if err == nil {
				return
			}
			if time.Now().After(end) {
				t.Fatal(err)
			}
		}
	})
}

// A safeBuffer is a log that the test reads while the server writes.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// failure is OpenAI's error object.
type failure struct {
	Error struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    *string `json:"code"`
	} `json:"error"`
	Detail string `json:"detail"`
}

func write(t testing.TB, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
