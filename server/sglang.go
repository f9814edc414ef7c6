package server

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"minisgl"
)

const defaultNewTokens = 128 // SGLang's

// sglangNames are SGLang's names of minisgl's parameters.
var sglangNames = map[string]string{
	"prompt": "text", "input_ids": "input_ids", "logprobs": "top_logprobs_num", "prompt_logprobs": "logprob_start_len",
	"max_tokens":         "sampling_params.max_new_tokens",
	"min_tokens":         "sampling_params.min_new_tokens",
	"temperature":        "sampling_params.temperature",
	"top_p":              "sampling_params.top_p",
	"top_k":              "sampling_params.top_k",
	"min_p":              "sampling_params.min_p",
	"repetition_penalty": "sampling_params.repetition_penalty",
	"presence_penalty":   "sampling_params.presence_penalty",
	"frequency_penalty":  "sampling_params.frequency_penalty",
	"stop":               "sampling_params.stop",
	"stop_token_ids":     "sampling_params.stop_token_ids",
	"logit_bias":         "sampling_params.logit_bias",
}

// decodeSGLang reads SGLang's own form of POST /generate: text or input_ids, one or a batch of them; the other members are
// one value for all or an array with one for each.
func (s *Server) decodeSGLang(llm *minisgl.LLM, f *fields) (*job, *apiError) {
	format := &sglangFormat{model: s.modelName(llm), texts: tokenTexts{llm.Tokenizer()}, started: time.Now()}
	requests := f.sglangPrompts(llm, format)
	size := len(requests)
	returnLogprob := perRequest(f, "return_logprob", size, false, "true or false", parseBool)
	startLen := perRequest(f, "logprob_start_len", size, -1, "a whole number", parseInt)
	top := perRequest(f, "top_logprobs_num", size, 0, "a whole number", parseInt)
	ids := perRequest(f, "rid", size, "", "a string", parseString)
	f.bool("return_text_in_logprobs", &format.textInLogprobs)
	priority := 0
	f.int("priority", &priority)
	stream := false
	f.bool("stream", &stream)
	format.n = 1
	params := f.sglangSampling(llm, size, &format.n)
	if e := f.finish(); e != nil {
		return nil, e
	}
	for i := range requests {
		p := &params[i]
		if returnLogprob[i] {
			p.Logprobs = &top[i]
			if startLen[i] >= 0 {
				p.PromptLogprobs = &startLen[i]
			}
		}
		requests[i].Params, requests[i].Priority = *p, priority
		if ids[i] == "" {
			ids[i] = rand.Text()
		}
	}
	format.batch = format.batch || format.n > 1
	all := f.choices(llm, requests, format.n)
	if f.err != nil {
		return nil, f.err
	}
	j := &job{requests: all, stream: stream, format: format, rename: sglangNames}
	for i := range j.requests {
		id := ids[i/format.n]
		if format.n > 1 {
			id += "-" + strconv.Itoa(i%format.n)
		}
		j.ids = append(j.ids, id)
	}
	format.ids, format.requests = j.ids, j.requests
	return j, nil
}

// sglangPrompts takes text or input_ids.
func (f *fields) sglangPrompts(llm *minisgl.LLM, format *sglangFormat) []minisgl.Request {
	most := mostOutputs(llm)
	var texts []string
	var lists [][]int32
	want := fmt.Sprintf("a string or an array of at most %d strings", most)
	hasText := take(f, "text", &texts, want, func(raw json.RawMessage) ([]string, bool) {
		format.batch = len(raw) > 0 && raw[0] == '['
		return parseOneOrMany(most, parseString)(raw)
	})
	want = fmt.Sprintf("an array of token ids or an array of at most %d of those", most)
	hasIDs := take(f, "input_ids", &lists, want, func(raw json.RawMessage) ([][]int32, bool) {
		if ids, ok := parseTokens(raw); ok && len(ids) > 0 {
			return [][]int32{ids}, true
		}
		format.batch = true
		return parseList(most, parseTokens)(raw)
	})
	requests := asRequests(texts, lists)
	if f.err == nil && (hasText == hasIDs || len(requests) == 0) {
		f.fail("text", "expected either text or input_ids, and not empty")
	}
	f.refuseEmpty(map[bool]string{true: "text", false: "input_ids"}[hasText], requests)
	return requests
}

// perRequest takes a member that holds one value for all requests or an array with one for each.
func perRequest[T any](f *fields, name string, size int, fallback T, want string, parse func(json.RawMessage) (T, bool)) []T {
	values := []T{fallback}
	isArray := false
	take(f, name, &values, want+", or an array with one for each request", func(raw json.RawMessage) ([]T, bool) {
		isArray = len(raw) > 0 && raw[0] == '['
		return parseOneOrMany(size, parse)(raw)
	})
	return spread(f, name, values, size, isArray)
}

// spread makes a list for each request of a list with one value for all or one for each.
func spread[T any](f *fields, name string, values []T, size int, isArray bool) []T {
	if isArray && len(values) != size {
		f.fail(name, "%d values for %d requests", len(values), size)
	}
	if isArray && len(values) == size {
		return values
	}
	all := make([]T, size)
	for i := range all {
		if len(values) > 0 {
			all[i] = values[0]
		}
	}
	return all
}

// sglangSampling takes sampling_params, an object or an array of objects.
func (f *fields) sglangSampling(llm *minisgl.LLM, size int, n *int) []minisgl.Params {
	objects := []*fields{{}}
	isArray := false
	take(f, "sampling_params", &objects, "an object, or an array with one for each request", func(raw json.RawMessage) ([]*fields, bool) {
		isArray = raw[0] == '['
		return parseOneOrMany(size, parseObject)(raw)
	})
	params := make([]minisgl.Params, len(objects))
	for i, o := range objects {
		o.prefix = "sampling_params."
		p := &params[i]
		*p = defaults(llm)
		p.MaxTokens = defaultNewTokens
		o.sampling(p)
		if o.int("max_new_tokens", &p.MaxTokens) {
			switch {
			case p.MaxTokens == 0:
				p.MaxTokens = minisgl.NoTokens
			case p.MaxTokens < 0:
				o.fail("max_new_tokens", "%d: expected at least 0", p.MaxTokens)
			}
		}
		o.int("min_new_tokens", &p.MinTokens)
		o.bool("no_stop_trim", &p.IncludeStop)
		take(o, "sampling_seed", &p.Seed, "a whole number", parseSeed)
		count := o.count("n")
		if i > 0 && count != *n {
			o.fail("n", "%d here and %d before: it must be the same for all requests", count, *n)
		}
		*n = count
		if e := o.finish(); e != nil && f.err == nil {
			f.err = e
		}
	}
	return spread(f, "sampling_params", params, size, isArray)
}

// sglangFormat writes SGLang's objects. Streams repeat all that has come in each event, as SGLang does by default.
type sglangFormat struct {
	model          string
	batch          bool // the answer is an array, events carry an index
	n              int
	textInLogprobs bool
	requests       []minisgl.Request
	ids            []string
	texts          tokenTexts
	started        time.Time
	prompts        [][]int32
	outputs        []minisgl.Output // so far
}

func (f *sglangFormat) begin(streams []*minisgl.Stream) {
	f.outputs = make([]minisgl.Output, len(streams))
	for _, s := range streams {
		f.prompts = append(f.prompts, s.Prompt())
	}
}

func (f *sglangFormat) chunk(b []byte, i int, c *minisgl.Chunk) []byte {
	o := &f.outputs[i]
	o.Text += c.Text
	o.Tokens = append(o.Tokens, c.Tokens...)
	o.Prompt = append(o.Prompt, c.Prompt...)
	for _, t := range c.Tokens {
		o.TokenIDs = append(o.TokenIDs, t.ID)
	}
	if c.Finish != nil {
		o.Finish = *c.Finish
	}
	return append(f.object(append(b, "data: "...), i, o, c.Finish != nil), "\n\n"...)
}

func (f *sglangFormat) end(b []byte) []byte { return append(b, "data: [DONE]\n\n"...) }

func (f *sglangFormat) failure(b []byte, e *apiError) []byte { return f.end(appendErrorEvent(b, e)) }

func (f *sglangFormat) whole(b []byte, outputs []minisgl.Output) []byte {
	if !f.batch {
		return f.object(b, 0, &outputs[0], true)
	}
	for i := range outputs {
		b = append(b, "[,"[min(i, 1)])
		b = f.object(b, i, &outputs[i], true)
	}
	return append(b, ']')
}

// object adds the answer to one request.
func (f *sglangFormat) object(b []byte, i int, o *minisgl.Output, finished bool) []byte {
	b = appendString(append(b, `{"text":`...), o.Text)
	b = appendInts(append(b, `,"output_ids":`...), o.TokenIDs)
	b = appendString(append(b, `,"meta_info":{"id":`...), f.ids[i])
	b = append(b, `,"finish_reason":`...)
	if finished {
		b = appendSGLangFinish(b, &o.Finish)
	} else {
		b = append(b, "null"...)
	}
	b = appendInt(append(b, `,"prompt_tokens":`...), len(f.prompts[i]))
	b = appendInt(append(b, `,"completion_tokens":`...), len(o.Tokens))
	b = appendInt(append(b, `,"cached_tokens":`...), o.Usage.Cached)
	b = append(b, `,"weight_version":"default"`...)
	if f.requests[i].Params.Logprobs != nil {
		b = f.appendLogprobs(b, i, o)
	}
	if finished {
		b = appendSeconds(append(b, `,"e2e_latency":`...), time.Since(f.started).Seconds())
	}
	b = append(b, '}')
	if f.batch {
		b = appendInt(append(b, `,"index":`...), i)
	}
	return append(b, '}')
}

func appendSGLangFinish(b []byte, finish *minisgl.Finish) []byte {
	b = append(append(append(b, `{"type":"`...), finish.Reason.String()...), '"')
	switch matched := finish.Matched.(type) {
	case string:
		b = appendString(append(b, `,"matched":`...), matched)
	case int32:
		b = appendInt(append(b, `,"matched":`...), int(matched))
	}
	switch finish.Reason.String() {
	case "length":
		b = appendInt(append(b, `,"length":`...), finish.Usage.Output)
	case "abort":
		b = append(b, `,"message":"Aborted"`...)
	}
	return append(b, '}')
}

// appendLogprobs adds the lists of [log-probability, token id, text or null]. The prompt's begin at logprob_start_len, with
// a first entry whose log-probability is null, as SGLang's do wherever they begin.
func (f *sglangFormat) appendLogprobs(b []byte, i int, o *minisgl.Output) []byte {
	p := &f.requests[i].Params
	var input []minisgl.Token
	if p.PromptLogprobs != nil && *p.PromptLogprobs < len(f.prompts[i]) {
		ids := f.prompts[i][*p.PromptLogprobs:]
		scores := o.Prompt[min(len(o.Prompt), max(0, len(o.Prompt)-len(ids)+1)):]
		input = append([]minisgl.Token{{ID: ids[0]}}, scores...)
	}
	b = f.tokens(append(b, `,"input_token_logprobs":`...), input)
	b = f.tokens(append(b, `,"output_token_logprobs":`...), o.Tokens)
	if *p.Logprobs > 0 {
		b = f.tops(append(b, `,"input_top_logprobs":`...), input)
		b = f.tops(append(b, `,"output_top_logprobs":`...), o.Tokens)
	}
	return b
}

func (f *sglangFormat) tokens(b []byte, tokens []minisgl.Token) []byte {
	b = append(b, '[')
	for i, t := range tokens {
		if i > 0 {
			b = append(b, ',')
		}
		b = f.triple(b, t.ID, t.Logprob, t.Scored)
	}
	return append(b, ']')
}

func (f *sglangFormat) tops(b []byte, tokens []minisgl.Token) []byte {
	b = append(b, '[')
	for i, t := range tokens {
		if i > 0 {
			b = append(b, ',')
		}
		if !t.Scored {
			b = append(b, "null"...)
			continue
		}
		b = append(b, '[')
		for k, top := range t.Top {
			if k > 0 {
				b = append(b, ',')
			}
			b = f.triple(b, top.Token, top.Logprob, true)
		}
		b = append(b, ']')
	}
	return append(b, ']')
}

func (f *sglangFormat) triple(b []byte, id int32, logprob float32, scored bool) []byte {
	b = append(b, '[')
	if scored {
		b = appendLogprob(b, logprob)
	} else {
		b = append(b, "null"...)
	}
	b = append(appendInt(append(b, ','), int(id)), ',')
	if f.textInLogprobs && f.texts.Tokenizer != nil {
		b = appendString(b, f.texts.Decode([]int32{id}, false))
	} else {
		b = append(b, "null"...)
	}
	return append(b, ']')
}
