package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"minisgl"
	"minisgl/server"
)

// completion is the answer of either OpenAI endpoint, or one chunk of it.
type completion struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	Model   string `json:"model"`
	Choices []struct {
		Index        int     `json:"index"`
		Text         string  `json:"text"`
		Message      *turn   `json:"message"`
		Delta        *turn   `json:"delta"`
		FinishReason *string `json:"finish_reason"`
		Logprobs     *struct {
			Content []struct {
				Token   string  `json:"token"`
				Logprob float64 `json:"logprob"`
				Bytes   []int   `json:"bytes"`
				Top     []struct {
					Token   string  `json:"token"`
					Logprob float64 `json:"logprob"`
				} `json:"top_logprobs"`
			} `json:"content"`
			Offsets  []int                `json:"text_offset"`
			Tokens   []string             `json:"tokens"`
			Logprobs []*float64           `json:"token_logprobs"`
			Top      []map[string]float64 `json:"top_logprobs"`
		} `json:"logprobs"`
	} `json:"choices"`
	Usage *struct {
		Prompt     int `json:"prompt_tokens"`
		Completion int `json:"completion_tokens"`
		Total      int `json:"total_tokens"`
		Details    struct {
			Cached int `json:"cached_tokens"`
		} `json:"prompt_tokens_details"`
	} `json:"usage"`
}

type turn struct {
	Role    string  `json:"role"`
	Content *string `json:"content"`
}

const hello = `{"messages": [{"role": "user", "content": "Hello"}], "temperature": 0, "ignore_eos": true`

func TestChat(t *testing.T) {
	s := fakeText(t)
	got := decode[completion](t, s.post("/v1/chat/completions", hello+`, "max_tokens": 7}`))
	if !strings.HasPrefix(got.ID, "chatcmpl-") || got.Object != "chat.completion" || got.Model != "tiny" || got.Created == 0 || len(got.Choices) != 1 {
		t.Fatalf("got %+v", got)
	}
	choice := got.Choices[0]
	if choice.Message.Role != "assistant" || *choice.Message.Content == "" || *choice.FinishReason != "length" || choice.Logprobs != nil {
		t.Errorf("choice %+v", choice)
	}
	rendered := "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
	prompt := len(s.llm.Tokenizer().Encode(rendered, true))
	if u := got.Usage; u.Prompt != prompt || u.Completion != 7 || u.Total != prompt+7 {
		t.Errorf("usage %+v, the prompt has %d tokens", u, prompt)
	}

	// The same as a list of parts, with names of the model that are accepted, and a prompt that is rendered already.
	for _, body := range []string{
		`{"messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}], "max_completion_tokens": 7, "temperature": 0, "ignore_eos": true}`,
		hello + `, "max_tokens": 7, "model": "default", "user": "me", "metadata": {"a": 1}, "tools": [], "tool_choice": "none", "n": null, "made_up": 1}`,
		hello + `, "max_tokens": 7.0, "model": "tiny", "response_format": { "type": "text" }, "best_of": 1, "lora_path": "", "functions": [ ], "guided_json": null, "use_beam_search": false}`,
		hello + fmt.Sprintf(`, "max_tokens": 7, "model": %q}`, s.llm.Options().Model),
		fmt.Sprintf(`{"prompt": %q, "max_tokens": 7, "temperature": 0}`, rendered),
	} {
		again := decode[completion](t, s.post("/v1/chat/completions", body))
		if *again.Choices[0].Message.Content != *choice.Message.Content {
			t.Errorf("%s: got %q, want %q", body, *again.Choices[0].Message.Content, *choice.Message.Content)
		}
		if again.Usage.Details.Cached == 0 {
			t.Errorf("%s: nothing was cached", body)
		}
	}
}

func TestChatStreams(t *testing.T) {
	s := fakeText(t)
	whole := decode[completion](t, s.post("/v1/chat/completions", hello+`, "max_tokens": 40}`))
	status, header, text := s.do("POST", "/v1/chat/completions", hello+`, "max_tokens": 40, "stream": true, "stream_options": {"include_usage": true}}`)
	if status != http.StatusOK || !strings.HasPrefix(header.Get("Content-Type"), "text/event-stream") {
		t.Fatalf("%d %v", status, header)
	}
	var content strings.Builder
	all := events(t, text)
	for i, event := range all {
		chunk := decode[completion](t, event)
		if chunk.Object != "chat.completion.chunk" || chunk.ID != decode[completion](t, all[0]).ID || !strings.Contains(event, `"usage":`) {
			t.Errorf("event %s", event)
		}
		if i == len(all)-1 {
			if len(chunk.Choices) != 0 || chunk.Usage.Completion != 40 || chunk.Usage.Prompt != whole.Usage.Prompt {
				t.Errorf("the last event is %s", event)
			}
			continue
		}
		delta := chunk.Choices[0].Delta
		switch finish := chunk.Choices[0].FinishReason; {
		case (i == 0) != (delta.Role == "assistant"), (i == len(all)-2) != (finish != nil), finish != nil && (*finish != "length" || delta.Content != nil):
			t.Errorf("event %d of %d is %s", i, len(all), event)
		case delta.Content != nil:
			content.WriteString(*delta.Content)
		}
	}
	if want := *whole.Choices[0].Message.Content; content.String() != want {
		t.Errorf("streamed %q, whole %q", content.String(), want)
	}
	if strings.Contains(s.post("/v1/chat/completions", hello+`, "max_tokens": 2, "stream": true}`), "usage") {
		t.Error("usage that nobody asked for")
	}
}

func TestStopStrings(t *testing.T) {
	s := fakeText(t)
	full := *decode[completion](t, s.post("/v1/chat/completions", hello+`, "max_tokens": 60}`)).Choices[0].Message.Content
	runes := []rune(full)
	for from := 3; from < len(runes)-9; from += 11 {
		stop := string(runes[from : from+9]) // spans tokens, and so chunks
		want, _, _ := strings.Cut(full, stop)
		quoted, _ := json.Marshal(stop)
		body := hello + fmt.Sprintf(`, "max_tokens": 60, "stop": ["never there", %s]`, quoted)
		got := decode[completion](t, s.post("/v1/chat/completions", body+"}")).Choices[0]
		if *got.Message.Content != want || *got.FinishReason != "stop" {
			t.Errorf("stop at %q: got %q (%s), want %q", stop, *got.Message.Content, *got.FinishReason, want)
		}
		kept := decode[completion](t, s.post("/v1/chat/completions", body+`, "include_stop_str_in_output": true}`)).Choices[0]
		if *kept.Message.Content != want+stop {
			t.Errorf("stop kept at %q: got %q", stop, *kept.Message.Content)
		}
		streamed := ""
		for _, event := range events(t, s.post("/v1/chat/completions", body+`, "stream": true}`)) {
			if delta := decode[completion](t, event).Choices[0].Delta; delta.Content != nil {
				streamed += *delta.Content
			}
		}
		if streamed != want {
			t.Errorf("stop at %q: streamed %q, want %q", stop, streamed, want)
		}
	}
}

func TestChoices(t *testing.T) {
	s := serve(t, minisgl.Options{Model: textModel(t), DummyWeight: true, Device: "cpu", NumPages: 512}, server.Options{ModelName: "tiny"})
	body := `{"prompt": ["One two three", "Four"], "n": 3, "max_tokens": 5, "seed": 7, "ignore_eos": true`
	got := decode[completion](t, s.post("/v1/completions", body+"}"))
	prompt := len(s.llm.Tokenizer().Encode("One two three", true)) + len(s.llm.Tokenizer().Encode("Four", true))
	if u := got.Usage; len(got.Choices) != 6 || u.Prompt != prompt || u.Completion != 30 || u.Total != prompt+30 {
		t.Fatalf("%d choices, usage %+v", len(got.Choices), u)
	}
	texts := map[string]bool{}
	for i, choice := range got.Choices {
		if texts[choice.Text] = true; choice.Index != i {
			t.Errorf("choice %d has index %d", i, choice.Index)
		}
	}
	if len(texts) != 6 {
		t.Errorf("a seed gives %d different texts of 6", len(texts))
	}
	streamed := make([]string, 6)
	for _, event := range events(t, s.post("/v1/completions", body+`, "stream": true}`)) {
		for _, choice := range decode[completion](t, event).Choices {
			streamed[choice.Index] += choice.Text
		}
	}
	for i, choice := range got.Choices {
		if streamed[i] != choice.Text {
			t.Errorf("choice %d: streamed %q, whole %q", i, streamed[i], choice.Text)
		}
	}
}

func TestChatLogprobs(t *testing.T) {
	s := serve(t, minisgl.Options{Model: textModel(t), DummyWeight: true, Device: "cpu", NumPages: 512}, server.Options{})
	body := hello + `, "max_tokens": 6, "logprobs": true, "top_logprobs": 3, "skip_special_tokens": false`
	got := decode[completion](t, s.post("/v1/chat/completions", body+"}")).Choices[0]
	if len(got.Logprobs.Content) != 6 {
		t.Fatalf("log-probabilities of %d tokens", len(got.Logprobs.Content))
	}
	var raw []byte
	for i, c := range got.Logprobs.Content {
		for _, b := range c.Bytes {
			raw = append(raw, byte(b))
		}
		if len(c.Top) != 3 || c.Top[0].Token != c.Token || c.Top[0].Logprob != c.Logprob || c.Logprob > 0 || c.Top[1].Logprob < c.Top[2].Logprob {
			t.Errorf("token %d: %+v", i, c)
		}
	}
	if text := strings.ToValidUTF8(string(raw), "\ufffd"); utf8.Valid(raw) && text != *got.Message.Content {
		t.Errorf("the bytes say %q, the text %q", text, *got.Message.Content)
	}
	streamed := 0
	for _, event := range events(t, s.post("/v1/chat/completions", body+`, "stream": true}`)) {
		if l := decode[completion](t, event).Choices[0].Logprobs; l != nil {
			for _, c := range l.Content {
				if want := got.Logprobs.Content[streamed]; c.Token != want.Token || c.Logprob != want.Logprob {
					t.Errorf("token %d streamed as %+v, want %+v", streamed, c, want)
				}
				streamed++
			}
		}
	}
	if streamed != 6 {
		t.Errorf("%d tokens were streamed", streamed)
	}
}

func TestCompletionLogprobsWithEcho(t *testing.T) {
	s := serve(t, minisgl.Options{Model: textModel(t), DummyWeight: true, Device: "cpu", NumPages: 512}, server.Options{})
	const prompt = "Once upon a time"
	ids := s.llm.Tokenizer().Encode(prompt, true)
	for _, maxTokens := range []int{0, 1, 5} {
		body := fmt.Sprintf(`{"prompt": %q, "max_tokens": %d, "temperature": 0, "logprobs": 2, "echo": true, "ignore_eos": true`, prompt, maxTokens)
		choice := decode[completion](t, s.post("/v1/completions", body+"}")).Choices[0]
		l := choice.Logprobs
		if n := len(ids) + maxTokens; len(l.Tokens) != n || len(l.Logprobs) != n || len(l.Top) != n || len(l.Offsets) != n {
			t.Fatalf("%d tokens, %d log-probabilities, %d likeliest, %d offsets; want %d", len(l.Tokens), len(l.Logprobs), len(l.Top), len(l.Offsets), n)
		}
		if !strings.HasPrefix(choice.Text, prompt) || l.Logprobs[0] != nil || l.Top[0] != nil {
			t.Errorf("text %q, first log-probability %v", choice.Text, l.Logprobs[0])
		}
		runes := []rune(choice.Text)
		for i, token := range l.Tokens {
			if i > 0 && (l.Logprobs[i] == nil || l.Top[i][token] != *l.Logprobs[i] || len(l.Top[i]) < 2 || len(l.Top[i]) > 3) {
				t.Errorf("token %d %q: %v of %v", i, token, l.Logprobs[i], l.Top[i])
			}
			if at := l.Offsets[i]; !strings.HasPrefix(token, "bytes:") && !strings.HasPrefix(string(runes[at:]), token) {
				t.Errorf("token %d %q is not at %d of %q", i, token, at, choice.Text)
			}
		}
		var tokens []string
		text := ""
		for _, event := range events(t, s.post("/v1/completions", body+`, "stream": true}`)) {
			c := decode[completion](t, event).Choices[0]
			if text += c.Text; c.Logprobs != nil {
				tokens = append(tokens, c.Logprobs.Tokens...)
			}
		}
		if text != choice.Text || !slices.Equal(tokens, l.Tokens) {
			t.Errorf("streamed %q %q, whole %q %q", text, tokens, choice.Text, l.Tokens)
		}
	}
}

func TestTokenPrompts(t *testing.T) {
	s := fakeText(t)
	a, b := s.llm.Tokenizer().Encode("Hello there", true), s.llm.Tokenizer().Encode("Good morning", true)
	list := func(v any) string { text, _ := json.Marshal(v); return string(text) }
	texts := func(prompt string) (texts []string) {
		for _, choice := range decode[completion](t, s.post("/v1/completions", `{"prompt": `+prompt+`, "echo": true, "temperature": 0}`)).Choices {
			texts = append(texts, choice.Text)
		}
		return texts
	}
	want := texts(`["Hello there", "Good morning"]`)
	if got := texts(list([][]int32{a, b})); !slices.Equal(got, want) || !strings.HasPrefix(want[1], "Good morning") {
		t.Errorf("ids give %q, texts %q", got, want)
	}
	if got := texts(list(a)); !slices.Equal(got, want[:1]) {
		t.Errorf("one prompt of ids gives %q, want %q", got, want[:1])
	}
	usage := decode[completion](t, s.post("/v1/completions", `{"prompt": "Hello there"}`)).Usage
	if usage.Completion != 16 {
		t.Errorf("%d tokens, OpenAI's default is 16", usage.Completion)
	}
}

func TestCheckpointDefaults(t *testing.T) {
	dir := textModel(t)
	write(t, dir, "generation_config.json", `{"temperature": 0.001, "top_k": 1, "repetition_penalty": 1.1, "eos_token_id": 151645}`)
	s := serve(t, minisgl.Options{Model: dir, DummyWeight: true, Device: "cpu", NumPages: 512}, server.Options{})
	text := func(more string) string {
		return decode[completion](t, s.post("/v1/completions", `{"prompt": "Hi there, hi there", "max_tokens": 20`+more+`}`)).Choices[0].Text
	}
	asDefault, greedy := text(""), text(`, "temperature": 0, "repetition_penalty": 1.1`)
	if asDefault != greedy {
		t.Errorf("with the checkpoint's defaults %q, want %q", asDefault, greedy)
	}
	if free := text(`, "temperature": 1, "top_k": -1, "repetition_penalty": 1, "seed": 1`); free == greedy {
		t.Errorf("parameters of the request have no effect: %q", free)
	}
}
