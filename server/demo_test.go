package server_test

import (
	"encoding/json"
	"strings"
	"testing"

	"minisgl"
	"minisgl/server"
)

type demoAnswer struct {
	Choices []struct {
		Message      struct{ Content string }
		Text         string
		FinishReason string `json:"finish_reason"`
		Delta        struct{ Content string }
	}
	Usage struct {
		PromptTokens        int `json:"prompt_tokens"`
		PromptTokensDetails struct {
			CachedTokens int `json:"cached_tokens"`
		} `json:"prompt_tokens_details"`
	}
}

// A conversation with the demo model over HTTP, where the words have to make sense.
func TestConversationWithTheDemo(t *testing.T) {
	s := serve(t, minisgl.Options{Device: "cpu", NumPages: 1024}, server.Options{})
	type message = map[string]string
	messages := []message{{"role": "system", "content": "You are Bolt, a cheerful robot."}, {"role": "user", "content": "My name is Priyanka."}}
	chat := func(stream bool, stop string) string {
		body, err := json.Marshal(map[string]any{"messages": messages, "temperature": 0, "stream": stream, "stop": stop, "max_tokens": 60})
		if err != nil {
			t.Fatal(err)
		}
		return s.post("/v1/chat/completions", strings.Replace(string(body), `"stop":""`, `"stop":null`, 1))
	}
	say := func(text string) demoAnswer {
		t.Helper()
		c := decode[demoAnswer](t, chat(false, ""))
		messages = append(messages, message{"role": "assistant", "content": c.Choices[0].Message.Content}, message{"role": "user", "content": text})
		return c
	}

	first := say("What is my name?")
	second := decode[demoAnswer](t, chat(false, ""))
	answer := second.Choices[0]
	if !strings.Contains(answer.Message.Content, "Priyanka") || answer.FinishReason != "stop" {
		t.Errorf("the earlier turn is forgotten: %+v after %+v", answer, first.Choices[0])
	}
	if cached := second.Usage.PromptTokensDetails.CachedTokens; cached < first.Usage.PromptTokens/16*16 {
		t.Errorf("%d of the second turn's %d prompt tokens came from the cache; the first turn had %d", cached, second.Usage.PromptTokens, first.Usage.PromptTokens)
	}

	var streamed strings.Builder
	for _, event := range events(t, chat(true, "")) {
		for _, choice := range decode[demoAnswer](t, event).Choices {
			streamed.WriteString(choice.Delta.Content)
		}
	}
	if streamed.String() != answer.Message.Content {
		t.Errorf("streamed %q, whole %q", streamed.String(), answer.Message.Content)
	}

	stopped := decode[demoAnswer](t, chat(false, "Priyanka")).Choices[0]
	if want, _, _ := strings.Cut(answer.Message.Content, "Priyanka"); stopped.Message.Content != want || stopped.FinishReason != "stop" {
		t.Errorf("stopped at the name: %+v, want %q", stopped, want)
	}

	messages = []message{{"role": "system", "content": "Answer in one word."}, {"role": "user", "content": "What is the opposite of hot?"}}
	if c := decode[demoAnswer](t, chat(false, "")); len(strings.Fields(c.Choices[0].Message.Content)) != 1 {
		t.Errorf("asked for one word, got %q", c.Choices[0].Message.Content)
	}
}

// The CPU answers over HTTP as the float64 reference does.
func TestDemoOnTwoDevices(t *testing.T) {
	body := `{"prompt": ["Once upon a time", "Q: What colour is the sky?\nA:"], "temperature": 0, "max_tokens": 40}`
	var texts []string
	for _, device := range []string{"cpu", "reference"} {
		s := serve(t, minisgl.Options{Device: device, NumPages: 256}, server.Options{})
		c := decode[demoAnswer](t, s.post("/v1/completions", body))
		texts = append(texts, c.Choices[0].Text+"|"+c.Choices[1].Text)
	}
	if texts[0] != texts[1] || !strings.Contains(texts[0], "there was") || !strings.Contains(texts[0], "blue") {
		t.Errorf("cpu: %q\nreference: %q", texts[0], texts[1])
	}
}
