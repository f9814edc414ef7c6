package server_test

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"minisgl"
	"minisgl/internal/goldens"
	"minisgl/server"
)

func TestSGLangStreams(t *testing.T) {
	s := fakeText(t)
	const body = `{"text": "Hello there, you out there", "rid": "r1", "sampling_params": {"temperature": 0, "max_new_tokens": 30, "ignore_eos": true}`
	whole := decode[generated](t, s.post("/generate", body+"}"))
	if whole.Meta.ID != "r1" || whole.Meta.FinishReason.Type != "length" || whole.Meta.FinishReason.Length != 30 || len(whole.OutputIDs) != 30 || whole.Index != nil {
		t.Errorf("whole %+v", whole)
	}
	var last generated
	for i, event := range events(t, s.post("/generate", body+`, "stream": true}`)) {
		now := decode[generated](t, event)
		if !strings.HasPrefix(now.Text, last.Text) || len(now.OutputIDs) < len(last.OutputIDs) || now.Meta.CompletionTokens != len(now.OutputIDs) {
			t.Errorf("event %d is not what was before, and more: %s", i, event)
		}
		if now.Meta.FinishReason == nil && now.Meta.E2E != nil {
			t.Errorf("event %d: %s", i, event)
		}
		last = now
	}
	if last.Text != whole.Text || !slices.Equal(last.OutputIDs, whole.OutputIDs) || last.Meta.FinishReason.Type != "length" || last.Meta.CachedTokens == 0 {
		t.Errorf("streamed %+v, whole %+v", last, whole)
	}
	stopped := decode[generated](t, s.post("/generate", strings.Replace(body, `"ignore_eos": true`, fmt.Sprintf(`"stop_token_ids": [%d]`, whole.OutputIDs[9]), 1)+"}"))
	if reason := stopped.Meta.FinishReason; reason.Type != "stop" || reason.Matched != float64(whole.OutputIDs[9]) {
		t.Errorf("stopped by a token: %+v", reason)
	}
	stop := string([]rune(whole.Text)[5:12])
	stopped = decode[generated](t, s.post("/generate", strings.Replace(body, `"ignore_eos": true`, fmt.Sprintf(`"stop": %q`, stop), 1)+"}"))
	if reason := stopped.Meta.FinishReason; reason.Type != "stop" || reason.Matched != stop {
		t.Errorf("stopped by %q: %+v", stop, reason)
	}
}

func TestSGLangBatches(t *testing.T) {
	s := fakeText(t)
	one := func(ids string) generated {
		return decode[generated](t, s.post("/generate", `{"input_ids": `+ids+`, "sampling_params": {"temperature": 0, "max_new_tokens": 4}}`))
	}
	want := []generated{one("[1,2,3]"), one("[4]")}
	got := decode[[]generated](t, s.post("/generate", `{"input_ids": [[1,2,3],[4]], "rid": ["a", "b"], "return_logprob": [true, false],
		"sampling_params": [{"temperature": 0, "max_new_tokens": 4}, {"temperature": 0, "max_new_tokens": 2}]}`))
	if len(got) != 2 || !slices.Equal(got[0].OutputIDs, want[0].OutputIDs) || !slices.Equal(got[1].OutputIDs, want[1].OutputIDs[:2]) {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	if got[0].Meta.ID != "a" || got[1].Meta.ID != "b" || *got[1].Index != 1 || len(got[0].Meta.OutputLogprobs) != 4 || got[1].Meta.OutputLogprobs != nil {
		t.Errorf("got %+v", got)
	}
	last := map[int]generated{}
	for _, event := range events(t, s.post("/generate", `{"text": ["a", "b", "c"], "stream": true, "sampling_params": {"n": 2, "max_new_tokens": 3}}`)) {
		g := decode[generated](t, event)
		last[*g.Index] = g
	}
	if len(last) != 6 {
		t.Errorf("%d outputs of 3 prompts, 2 each", len(last))
	}
	if single := decode[[]generated](t, s.post("/generate", `{"text": ["a"], "sampling_params": {"max_new_tokens": 0}}`)); len(single) != 1 || len(single[0].OutputIDs) != 0 {
		t.Errorf("a batch of one without output: %+v", single)
	}
}

// SGLang's input_token_logprobs begin at logprob_start_len with an entry that has no log-probability.
func TestLogprobStartLen(t *testing.T) {
	golden := goldens.Get(t, "tiny-tied")
	s := serve(t, minisgl.Options{Model: golden.Path, Device: "cpu", NumPages: 512}, server.Options{})
	prompt := golden.Prompts[1]
	ask := func(more string) generated {
		return decode[generated](t, s.post("/generate", fmt.Sprintf(`{"input_ids": %s, "return_logprob": true, "sampling_params": {"max_new_tokens": 2, "temperature": 0}%s}`,
			strings.ReplaceAll(fmt.Sprint(prompt.IDs), " ", ","), more)))
	}
	full := ask(`, "logprob_start_len": 0`).Meta.InputLogprobs
	for _, start := range []int{0, 1, len(prompt.IDs) - 1, len(prompt.IDs), -1} {
		got := ask(fmt.Sprintf(`, "logprob_start_len": %d`, start)).Meta
		want := len(prompt.IDs) - start
		if start < 0 {
			want = 0
		}
		if len(got.InputLogprobs) != want || len(got.OutputLogprobs) != 2 || got.InputTop != nil {
			t.Errorf("start %d: %d entries, want %d", start, len(got.InputLogprobs), want)
			continue
		}
		for i, e := range got.InputLogprobs {
			if i == 0 && e.Logprob != nil || i > 0 && *e.Logprob != *full[start+i].Logprob || e.ID != prompt.IDs[start+i] {
				t.Errorf("start %d, entry %d: %+v", start, i, e)
			}
		}
	}
}

func TestTextInLogprobs(t *testing.T) {
	s := serve(t, minisgl.Options{Model: textModel(t), DummyWeight: true, Device: "cpu", NumPages: 512}, server.Options{})
	got := decode[generated](t, s.post("/generate", `{"text": "Hello there, you", "return_logprob": true, "logprob_start_len": 1, "top_logprobs_num": 2,
		"return_text_in_logprobs": true, "sampling_params": {"max_new_tokens": 4, "temperature": 0}}`)).Meta
	text := ""
	for _, e := range got.InputLogprobs {
		text += *e.Text
	}
	if text != " there, you" || got.InputTop[0] != nil || len(got.InputTop[1]) != 2 || got.OutputTop[0][0].ID != got.OutputLogprobs[0].ID {
		t.Errorf("text %q, likeliest %+v", text, got.InputTop)
	}
}

// The two seeds' answers, to the byte.
func TestSeeds(t *testing.T) {
	log := &safeBuffer{}
	s := fakeText(t, func(_ *minisgl.Options, so *server.Options) { so.Logger = slog.New(slog.NewTextHandler(log, nil)) })
	want := decode[completion](t, s.post("/v1/completions", `{"prompt": "Hello", "max_tokens": 30, "temperature": 0, "ignore_eos": true}`)).Choices[0].Text

	a := s.post("/generate", `{"prompt": "Hello", "max_tokens": 30, "ignore_eos": true}`)
	text, ok := strings.CutSuffix(a, "data: [DONE]\n")
	got := ""
	for chunk := range strings.SplitSeq(text, "\ndata: ") {
		got += strings.TrimPrefix(chunk, "data: ")
	}
	if !ok || strings.TrimSuffix(got, "\n") != want || strings.Contains(want, "data: ") {
		t.Errorf("seed A: %q, want the text %q", a, want)
	}

	status, h, b := s.do("POST", "/generate", `{"prompt": "Hello", "max_new_tokens": 30}`)
	lines := strings.Split(b, "\n")
	got = ""
	for _, line := range lines[:len(lines)-2] {
		if !strings.HasPrefix(line, `{"text_delta": "`) || !isASCII(line) {
			t.Errorf("seed B: line %q", line)
		}
		got += decode[struct {
			Text string `json:"text_delta"`
		}](t, line).Text
	}
	if status != 200 || !strings.HasPrefix(h.Get("Content-Type"), "text/event-stream") || !strings.HasSuffix(b, "{\"event\": \"done\"}\n") || got != want {
		t.Errorf("seed B: %d %q, want the text %q", status, b, want)
	}
	if !strings.Contains(log.String(), "Streamed chunk 001 (mode=sglang): '") {
		t.Errorf("log:\n%s", log)
	}

	if status, _, text := s.do("POST", "/generate", `{"prompt": "Hello", "mode": "turbo"}`); status != 400 || text != `{"detail":"mode must be 'sglang' or 'hf'"}` {
		t.Errorf("a bad mode: %d %s", status, text)
	}
	for _, body := range []string{`{"prompt": "Hello", "max_tokens": 30, "ignore_eos": true, "stream": false}`, `{"prompt": "Hello", "max_new_tokens": 30, "mode": "hf", "stream": false}`} {
		whole := decode[struct {
			Text         string
			FinishReason string `json:"finish_reason"`
		}](t, s.post("/generate", body))
		if whole.Text != want || whole.FinishReason != "length" {
			t.Errorf("%s: %+v", body, whole)
		}
	}
}

func isASCII(s string) bool { return !strings.ContainsFunc(s, func(r rune) bool { return r > '~' }) }

func TestTokenize(t *testing.T) {
	s := fakeText(t)
	type answer struct {
		Count, MaxModelLen int
		Tokens             []int32
		TokenStrs          []string `json:"token_strs"`
	}
	got := decode[answer](t, s.post("/tokenize", `{"prompt": "Hello, 世界!", "return_token_strs": true}`))
	if want := s.llm.Tokenizer().Encode("Hello, 世界!", true); !slices.Equal(got.Tokens, want) || got.Count != len(want) || strings.Join(got.TokenStrs, "") != "Hello, 世界!" {
		t.Errorf("got %+v, want %v", got, want)
	}
	back := decode[map[string]string](t, s.post("/detokenize", fmt.Sprintf(`{"tokens": %s}`, strings.ReplaceAll(fmt.Sprint(got.Tokens), " ", ","))))
	if back["prompt"] != "Hello, 世界!" {
		t.Errorf("back: %q", back)
	}
	chat := decode[answer](t, s.post("/tokenize", `{"messages": [{"role": "user", "content": "Hi"}]}`))
	usage := decode[completion](t, s.post("/v1/chat/completions", `{"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}`)).Usage
	if chat.Count != usage.Prompt {
		t.Errorf("/tokenize counts %d tokens, usage %d", chat.Count, usage.Prompt)
	}
	if empty := s.post("/tokenize", `{"prompt": ""}`); decode[answer](t, empty).Tokens == nil {
		t.Errorf("no text: %s", empty)
	}
}

func TestInfo(t *testing.T) {
	s := fakeText(t)
	s.post("/v1/completions", `{"prompt": "a b c", "max_tokens": 5, "ignore_eos": true}`)
	if got := s.post("/flush_cache", ""); got != "Cache flushed.\n" {
		t.Errorf("flush_cache: %q", got)
	}
	for path, want := range map[string]string{
		"/v1": `{"status":"ok"}`, "/ping": "", "/health": "", "/health_generate": "",
		"/v1/models": `"id":"tiny","object":"model"`, "/model_info": `"model_type":"qwen2"`, "/get_model_info": `"is_generation":true`,
		"/server_info": `"device":"fake"`, "/get_server_info": `"internal_states"`, "/get_load": `[{"dp_rank":0,"num_reqs":0`, "/version": `"version"`,
		"/": "<title>minisgl</title>",
	} {
		if status, _, text := s.do("GET", path, ""); status != 200 || !strings.Contains(text, want) || want == "" && text != "" {
			t.Errorf("%s: %d %s, want %s", path, status, text, want)
		}
	}
}
