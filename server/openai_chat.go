package server

import (
	"crypto/rand"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"minisgl"
	"minisgl/model/chat"
)

// decodeChat reads the body of POST /v1/chat/completions.
func (s *Server) decodeChat(llm *minisgl.LLM, f *fields) (*job, *apiError) {
	if e := s.checkModel(llm, f); e != nil {
		return nil, e
	}
	o := f.openAI(llm)
	p := &o.params
	f.maxTokens("max_tokens", p)
	f.maxTokens("max_completion_tokens", p)
	logprobs, top := false, 0
	f.bool("logprobs", &logprobs)
	if f.int("top_logprobs", &top) && top > 0 && !logprobs {
		f.fail("top_logprobs", "only allowed with logprobs")
	}
	if logprobs {
		p.Logprobs = &top
	}
	echo := false
	if f.bool("echo", &echo) && echo {
		f.fail("echo", "not supported for chats")
	}
	r := minisgl.Request{Priority: o.priority}
	hasMessages := f.conversation(&r)
	hasPrompt := f.string("prompt", &r.Prompt)
	if f.err == nil && (!hasMessages && !hasPrompt || hasMessages && len(r.Messages) == 0) {
		f.fail("messages", "expected at least one message")
	}
	if f.err == nil && hasMessages && hasPrompt {
		f.fail("prompt", "give either messages or prompt")
	}
	r.Params = *p
	requests := f.choices(llm, []minisgl.Request{r}, o.n)
	if e := f.finish(); e != nil {
		return nil, e
	}
	format := &chatFormat{id: "chatcmpl-" + rand.Text(), model: s.modelName(llm), created: time.Now().Unix(), includeUsage: o.includeUsage}
	format.texts = tokenTexts{llm.Tokenizer()}
	rename := map[string]string{"prompt": "messages", "logprobs": "top_logprobs"}
	if hasPrompt {
		rename["prompt"] = "prompt"
	}
	return &job{requests: requests, ids: []string{format.id}, stream: o.stream, format: format, rename: rename}, nil
}

// conversation takes messages and how to render them, and reports whether there were messages.
func (f *fields) conversation(r *minisgl.Request) bool {
	add := true
	f.bool("add_generation_prompt", &add)
	r.Chat.NoGenerationPrompt = !add
	take(f, "chat_template_kwargs", &r.Chat.Kwargs, "an object of at most "+strconv.Itoa(maxKwargs)+" bytes", parseKwargs)
	return take(f, "messages", &r.Messages, "an array of messages with role and content", f.parseMessages("messages"))
}

func parseKwargs(raw json.RawMessage) (map[string]any, bool) {
	object, ok := parseObject(raw)
	if !ok || len(raw) > maxKwargs {
		return nil, false
	}
	kwargs := make(map[string]any, len(object.values))
	for name, raw := range object.values {
		value, err := chat.DecodeOrdered(raw)
		if err != nil {
			return nil, false
		}
		kwargs[name] = value
	}
	return kwargs, true
}

// parseMessages takes a conversation. What is wrong with a message it reports itself, so that the error names it.
func (f *fields) parseMessages(name string) func(json.RawMessage) ([]minisgl.Message, bool) {
	count := 0
	return parseList(maxTurns, func(raw json.RawMessage) (m minisgl.Message, ok bool) {
		object, ok := parseObject(raw)
		if ok {
			object.prefix = f.prefix + name + "[" + strconv.Itoa(count) + "]."
			m = object.message()
			f.adopt(object)
		}
		count++
		return m, ok && object.err == nil
	})
}

func (f *fields) message() (m minisgl.Message) {
	if !f.string("role", &m.Role) || m.Role == "" {
		f.fail("role", "expected a string")
	}
	if m.Role == "developer" { // OpenAI's newer name
		m.Role = "system"
	}
	if f.has("tool_calls") && string(f.values["tool_calls"]) != "[]" {
		f.fail("tool_calls", "not supported")
	}
	for _, name := range []string{"name", "tool_call_id", "reasoning_content"} {
		var text string
		if f.string(name, &text) {
			if m.Extra == nil {
				m.Extra = map[string]any{}
			}
			m.Extra[name] = text
		}
	}
	if !f.has("content") && m.Role != "assistant" {
		f.fail("content", "expected a string or an array of text parts")
	}
	take(f, "content", &m.Content, "a string or an array of text parts", func(raw json.RawMessage) (string, bool) {
		if text, ok := parseString(raw); ok {
			return text, true
		}
		parts, ok := parseList(maxTurns, parsePart)(raw)
		return strings.Join(parts, "\n"), ok
	})
	return m
}

// parsePart takes {"type": "text", "text": …}.
func parsePart(raw json.RawMessage) (text string, ok bool) {
	part, ok := parseObject(raw)
	if !ok {
		return "", false
	}
	var kind string
	isText := part.string("type", &kind) && kind == "text" && part.string("text", &text)
	return text, isText
}

// chatFormat writes chat.completion objects.
type chatFormat struct {
	id, model    string
	created      int64
	includeUsage bool
	texts        tokenTexts
	usage        usage
	began        []bool
}

func (f *chatFormat) begin(streams []*minisgl.Stream) {
	f.began = make([]bool, len(streams))
	f.usage.begin(streams, len(streams))
}

func (f *chatFormat) head(b []byte, object string) []byte {
	b = append(append(append(b, `{"id":"`...), f.id...), `","object":"`...)
	b = append(append(b, object...), `","created":`...)
	b = appendInt(b, int(f.created))
	b = append(b, `,"model":`...)
	return append(appendString(b, f.model), `,"choices":[`...)
}

func (f *chatFormat) chunk(b []byte, i int, c *minisgl.Chunk) []byte {
	if !f.began[i] {
		f.began[i] = true
		b = append(f.delta(b, i), `"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]`...)
		b = f.endChunk(b)
	}
	scored := len(c.Tokens) > 0 && c.Tokens[0].Scored
	if c.Text != "" || scored {
		b = appendString(append(f.delta(b, i), `"content":`...), c.Text)
		b = f.appendLogprobs(append(b, `},"logprobs":`...), c.Tokens)
		b = f.endChunk(append(b, `,"finish_reason":null}]`...))
	}
	if c.Finish != nil {
		f.usage.finish(i, c.Finish)
		b = append(f.delta(b, i), `},"logprobs":null,"finish_reason":"`...)
		b = append(append(b, c.Finish.Reason.String()...), `"}]`...)
		b = f.endChunk(b)
	}
	return b
}

func (f *chatFormat) delta(b []byte, i int) []byte {
	b = f.head(append(b, "data: "...), "chat.completion.chunk")
	return append(appendInt(append(b, `{"index":`...), i), `,"delta":{`...)
}

func (f *chatFormat) endChunk(b []byte) []byte {
	if f.includeUsage {
		b = append(b, `,"usage":null`...)
	}
	return append(b, "}\n\n"...)
}

func (f *chatFormat) end(b []byte) []byte {
	if f.includeUsage {
		b = append(f.head(append(b, "data: "...), "chat.completion.chunk"), `],"usage":`...)
		b = append(f.usage.appendJSON(b), "}\n\n"...)
	}
	return append(b, "data: [DONE]\n\n"...)
}

func (f *chatFormat) failure(b []byte, e *apiError) []byte { return appendErrorEvent(b, e) }

func (f *chatFormat) whole(b []byte, outputs []minisgl.Output) []byte {
	b = f.head(b, "chat.completion")
	for i, o := range outputs {
		f.usage.finish(i, &o.Finish)
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendInt(append(b, `{"index":`...), i), `,"message":{"role":"assistant","content":`...)
		b = append(appendString(b, o.Text), `,"refusal":null},"logprobs":`...)
		b = f.appendLogprobs(b, o.Tokens)
		b = append(append(append(b, `,"finish_reason":"`...), o.Reason.String()...), `"}`...)
	}
	return append(f.usage.appendJSON(append(b, `],"usage":`...)), '}')
}

// appendLogprobs adds the log-probabilities of tokens as chats have them, or null.
func (f *chatFormat) appendLogprobs(b []byte, tokens []minisgl.Token) []byte {
	if len(tokens) == 0 || !tokens[0].Scored {
		return append(b, "null"...)
	}
	b = append(b, `{"content":[`...)
	for i, t := range tokens {
		if i > 0 {
			b = append(b, ',')
		}
		b = f.appendToken(b, t.ID, t.Logprob)
		b = append(b, `,"top_logprobs":[`...)
		for k, top := range t.Top {
			if k > 0 {
				b = append(b, ',')
			}
			b = append(f.appendToken(b, top.Token, top.Logprob), '}')
		}
		b = append(b, `]}`...)
	}
	return append(b, `],"refusal":null}`...)
}

// appendToken adds a token's object without its closing brace.
func (f *chatFormat) appendToken(b []byte, id int32, logprob float32) []byte {
	raw := f.texts.bytes(id)
	b = appendString(append(b, `{"token":`...), f.texts.text(id))
	b = appendLogprob(append(b, `,"logprob":`...), logprob)
	b = append(b, `,"bytes":[`...)
	for i, c := range raw {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendInt(b, int(c))
	}
	return append(b, ']')
}
