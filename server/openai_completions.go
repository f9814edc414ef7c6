package server

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"minisgl"
)

const defaultCompletionTokens = 16 // OpenAI's

// decodeCompletions reads the body of POST /v1/completions.
func (s *Server) decodeCompletions(llm *minisgl.LLM, f *fields) (*job, *apiError) {
	if e := s.checkModel(llm, f); e != nil {
		return nil, e
	}
	o := f.openAI(llm)
	p := &o.params
	format := &completionFormat{id: "cmpl-" + rand.Text(), model: s.modelName(llm), created: time.Now().Unix(),
		includeUsage: o.includeUsage, n: o.n, keepSpecial: p.KeepSpecial, texts: tokenTexts{llm.Tokenizer()}}
	f.bool("echo", &format.echo)
	p.MaxTokens = defaultCompletionTokens
	if f.int("max_tokens", &p.MaxTokens) {
		switch {
		case p.MaxTokens == 0 && format.echo: // only score the prompt
			p.MaxTokens = minisgl.NoTokens
		case p.MaxTokens < 1:
			f.fail("max_tokens", "%d: expected at least 1, or 0 with echo", p.MaxTokens)
		}
	}
	var logprobs int
	if f.int("logprobs", &logprobs) {
		p.Logprobs = &logprobs
		if format.echo {
			p.PromptLogprobs = new(int)
		}
	}
	var prompts []minisgl.Request
	most := mostOutputs(llm)
	want := fmt.Sprintf("a string, an array of strings, an array of token ids, or an array of those (at most %d)", most)
	given := take(f, "prompt", &prompts, want, parsePrompts(most))
	if f.err == nil && (!given || len(prompts) == 0) {
		f.fail("prompt", "expected at least one prompt")
	}
	f.refuseEmpty("prompt", prompts)
	for i := range prompts {
		prompts[i].Params, prompts[i].Priority = *p, o.priority
	}
	requests := f.choices(llm, prompts, o.n)
	if e := f.finish(); e != nil {
		return nil, e
	}
	format.prompts = prompts
	return &job{requests: requests, ids: []string{format.id}, stream: o.stream, format: format,
		rename: map[string]string{"prompt": "prompt", "input_ids": "prompt"}}, nil
}

// parsePrompts takes the four forms of prompt.
func parsePrompts(most int) func(json.RawMessage) ([]minisgl.Request, bool) {
	return func(raw json.RawMessage) ([]minisgl.Request, bool) {
		if texts, ok := parseOneOrMany(most, parseString)(raw); ok {
			return asRequests(texts, nil), true
		}
		if ids, ok := parseTokens(raw); ok {
			return asRequests(nil, [][]int32{ids}), true
		}
		lists, ok := parseList(most, parseTokens)(raw)
		return asRequests(nil, lists), ok
	}
}

func asRequests(texts []string, lists [][]int32) []minisgl.Request {
	requests := make([]minisgl.Request, 0, len(texts)+len(lists))
	for _, text := range texts {
		requests = append(requests, minisgl.Request{Prompt: text})
	}
	for _, ids := range lists {
		requests = append(requests, minisgl.Request{TokenIDs: ids})
	}
	return requests
}

// refuseEmpty fails for prompts of nothing, before others of the same batch run.
func (f *fields) refuseEmpty(name string, requests []minisgl.Request) {
	for i := range requests {
		if r := &requests[i]; r.Prompt == "" && len(r.TokenIDs) == 0 {
			f.fail(name, "prompt %d is empty", i)
		}
	}
}

// completionFormat writes text_completion objects.
type completionFormat struct {
	id, model    string
	created      int64
	includeUsage bool
	echo         bool
	n            int // choices of each prompt
	keepSpecial  bool
	prompts      []minisgl.Request
	texts        tokenTexts
	usage        usage
	choices      []completionChoice
}

// A completionChoice is what is known of one choice between its chunks.
type completionChoice struct {
	prompt  []int32
	began   bool
	offsets *offsets // of tokens in the text; nil until asked for
}

func (f *completionFormat) begin(streams []*minisgl.Stream) {
	f.choices = make([]completionChoice, len(streams))
	for i, s := range streams {
		f.choices[i].prompt = s.Prompt()
	}
	f.usage.begin(streams, f.n)
}

func (f *completionFormat) head(b []byte) []byte {
	b = append(append(append(b, `{"id":"`...), f.id...), `","object":"text_completion","created":`...)
	b = append(appendInt(b, int(f.created)), `,"model":`...)
	return append(appendString(b, f.model), `,"choices":[`...)
}

func (f *completionFormat) chunk(b []byte, i int, c *minisgl.Chunk) []byte {
	scored := len(c.Prompt) > 0 || len(c.Tokens) > 0 && c.Tokens[0].Scored
	if c.Text == "" && !scored && c.Finish == nil && (f.choices[i].began || !f.echo) {
		return b
	}
	b = f.head(append(b, "data: "...))
	b = f.choice(b, i, c)
	b = append(b, ']')
	if f.includeUsage {
		b = append(b, `,"usage":null`...)
	}
	return append(b, "}\n\n"...)
}

// choice adds one choice with the text and tokens of a chunk, after the prompt where that is to be echoed.
func (f *completionFormat) choice(b []byte, i int, c *minisgl.Chunk) []byte {
	state := &f.choices[i]
	echo := f.echo && !state.began
	state.began = true
	text := c.Text
	if echo {
		text = f.promptText(i) + text
	}
	b = append(appendInt(append(b, `{"index":`...), i), `,"text":`...)
	b = append(appendString(b, text), `,"logprobs":`...)
	b = f.appendLogprobs(b, state, c, echo)
	b = append(b, `,"finish_reason":`...)
	if c.Finish == nil {
		return append(b, "null}"...)
	}
	f.usage.finish(i, c.Finish)
	return append(append(append(b, '"'), c.Finish.Reason.String()...), `"}`...)
}

// promptText is the prompt as echo shows it.
func (f *completionFormat) promptText(i int) string {
	if r := &f.prompts[i/f.n]; r.Prompt != "" {
		return r.Prompt
	}
	if f.texts.Tokenizer == nil {
		return ""
	}
	return f.texts.Decode(f.choices[i].prompt, !f.keepSpecial)
}

// appendLogprobs adds the four parallel arrays of OpenAI's completions, or null. With echo they begin with the prompt's tokens, of
// which the first has no log-probability.
func (f *completionFormat) appendLogprobs(b []byte, state *completionChoice, c *minisgl.Chunk, echo bool) []byte {
	if f.prompts[0].Params.Logprobs == nil {
		return append(b, "null"...)
	}
	tokens := c.Tokens
	if echo {
		tokens = nil
		for i, id := range state.prompt {
			t := minisgl.Token{ID: id}
			if i > 0 && i <= len(c.Prompt) {
				t = c.Prompt[i-1]
			}
			tokens = append(tokens, t)
		}
		tokens = append(tokens, c.Tokens...)
	}
	if len(tokens) == 0 {
		return append(b, "null"...)
	}
	if state.offsets == nil {
		state.offsets = newOffsets(f.texts, f.keepSpecial)
	}
	list := func(b []byte, name string, item func(b []byte, t *minisgl.Token) []byte) []byte {
		b = append(append(append(b, '"'), name...), `":[`...)
		for i := range tokens {
			if i > 0 {
				b = append(b, ',')
			}
			b = item(b, &tokens[i])
		}
		return append(b, ']')
	}
	b = list(append(b, '{'), "text_offset", func(b []byte, t *minisgl.Token) []byte { return appendInt(b, state.offsets.next(t.ID)) })
	b = list(append(b, ','), "tokens", func(b []byte, t *minisgl.Token) []byte { return appendString(b, f.texts.legacyText(t.ID)) })
	b = list(append(b, ','), "token_logprobs", func(b []byte, t *minisgl.Token) []byte {
		if !t.Scored {
			return append(b, "null"...)
		}
		return appendLogprob(b, t.Logprob)
	})
	b = list(append(b, ','), "top_logprobs", f.appendTop)
	return append(b, '}')
}

// appendTop adds an object from texts to log-probabilities: the likeliest and, as OpenAI has it, the token itself.
func (f *completionFormat) appendTop(b []byte, t *minisgl.Token) []byte {
	if !t.Scored {
		return append(b, "null"...)
	}
	b = append(b, '{')
	seen := make(map[string]bool, len(t.Top)+1)
	add := func(id int32, logprob float32) {
		text := f.texts.legacyText(id)
		if seen[text] {
			return
		}
		if len(seen) > 0 {
			b = append(b, ',')
		}
		seen[text] = true
		b = appendLogprob(append(appendString(b, text), ':'), logprob)
	}
	for _, top := range t.Top {
		add(top.Token, top.Logprob)
	}
	add(t.ID, t.Logprob)
	return append(b, '}')
}

func (f *completionFormat) end(b []byte) []byte {
	if f.includeUsage {
		b = append(f.head(append(b, "data: "...)), `],"usage":`...)
		b = append(f.usage.appendJSON(b), "}\n\n"...)
	}
	return append(b, "data: [DONE]\n\n"...)
}

func (f *completionFormat) failure(b []byte, e *apiError) []byte { return appendErrorEvent(b, e) }

func (f *completionFormat) whole(b []byte, outputs []minisgl.Output) []byte {
	b = f.head(b)
	for i, o := range outputs {
		if i > 0 {
			b = append(b, ',')
		}
		b = f.choice(b, i, &minisgl.Chunk{Text: o.Text, Tokens: o.Tokens, Prompt: o.Prompt, Finish: &o.Finish})
	}
	return append(f.usage.appendJSON(append(b, `],"usage":`...)), '}')
}
