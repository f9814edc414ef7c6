package server_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"minisgl"
	"minisgl/server"
)

// Each body is refused with a 400 that names the parameter.
func TestBadParameters(t *testing.T) {
	s := fakeText(t)
	type bad struct{ members, param string }
	common := []bad{
		{`"temperature": "hot"`, "temperature"}, {`"temperature": -1`, "temperature"}, {`"temperature": 1e999`, "temperature"}, {`"temperature": [1]`, "temperature"},
		{`"top_p": 0`, "top_p"}, {`"top_p": 1.5`, "top_p"}, {`"top_k": 1.5`, "top_k"}, {`"top_k": -2`, "top_k"}, {`"min_p": 2`, "min_p"},
		{`"repetition_penalty": 0`, "repetition_penalty"}, {`"presence_penalty": 3`, "presence_penalty"}, {`"frequency_penalty": true`, "frequency_penalty"},
		{`"stop": 7`, "stop"}, {`"stop": [""]`, "stop"}, {`"stop": ["a", null]`, "stop"}, {`"stop_token_ids": [151936]`, "stop_token_ids"},
		{`"stop_token_ids": "x"`, "stop_token_ids"}, {`"logit_bias": {"x": 1}`, "logit_bias"}, {`"logit_bias": {"1": 101}`, "logit_bias"},
		{`"logit_bias": [1]`, "logit_bias"}, {`"ignore_eos": 1`, "ignore_eos"}, {`"skip_special_tokens": "no"`, "skip_special_tokens"},
		{`"n": 0`, "n"}, {`"n": 129`, "n"}, {`"regex": "a+"`, "regex"}, {`"json_schema": "{}"`, "json_schema"}, {`"ebnf": "root ::= 1"`, "ebnf"},
		{`"structural_tag": {}`, "structural_tag"},
	}
	openAI := append([]bad{
		{`"seed": "x"`, "seed"}, {`"stream": "yes"`, "stream"}, {`"stream_options": {"include_usage": true}`, "stream_options"},
		{`"stream": true, "stream_options": {"include_usage": 1}`, "stream_options.include_usage"}, {`"stream": true, "stream_options": []`, "stream_options"},
		{`"min_tokens": 9, "max_tokens": 8`, "min_tokens"}, {`"min_tokens": -1`, "min_tokens"}, {`"max_tokens": 0`, "max_tokens"}, {`"max_tokens": "9"`, "max_tokens"},
		{`"best_of": 2`, "best_of"}, {`"suffix": "x"`, "suffix"}, {`"tools": [{"type": "function"}]`, "tools"}, {`"tool_choice": "required"`, "tool_choice"},
		{`"functions": [{}]`, "functions"}, {`"response_format": {"type": "json_object"}`, "response_format"}, {`"guided_regex": "a"`, "guided_regex"},
		{`"use_beam_search": true`, "use_beam_search"}, {`"logits_processors": ["x"]`, "logits_processors"}, {`"lora_path": "x"`, "lora_path"},
		{`"modalities": ["text", "audio"]`, "modalities"}, {`"audio": {}`, "audio"}, {`"priority": 1.5`, "priority"}, {`"model": 1`, "model"},
	}, common...)
	chat := append([]bad{
		{`"logprobs": 5`, "logprobs"}, {`"top_logprobs": 2`, "top_logprobs"}, {`"logprobs": true, "top_logprobs": 129`, "top_logprobs"},
		{`"messages": []`, "messages"}, {`"messages": "Hi"`, "messages"}, {`"messages": [{"content": "Hi"}]`, "messages[0].role"}, {`"messages": [1]`, "messages"},
		{`"messages": [{"role": "user"}]`, "messages[0].content"}, {`"messages": [{"role": "user", "content": 1}]`, "messages[0].content"},
		{`"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]`, "messages[1].content"},
		{`"messages": [{"role": "assistant", "tool_calls": [{}]}]`, "messages[0].tool_calls"}, {`"messages": null`, "messages"},
		{`"prompt": "x"`, "prompt"}, {`"continue_final_message": true`, "continue_final_message"}, {`"chat_template": "x"`, "chat_template"}, {`"echo": true`, "echo"},
		{`"add_generation_prompt": 1`, "add_generation_prompt"}, {`"chat_template_kwargs": []`, "chat_template_kwargs"}, {`"max_completion_tokens": -1`, "max_completion_tokens"},
	}, openAI...)
	completions := append([]bad{
		{`"prompt": []`, "prompt"}, {`"prompt": 1`, "prompt"}, {`"prompt": ["a", 1]`, "prompt"}, {`"prompt": [1, 1.5]`, "prompt"}, {`"prompt": [[1], ["a"]]`, "prompt"},
		{`"prompt": ""`, "prompt"}, {`"prompt": null`, "prompt"}, {`"prompt": [151936]`, "prompt"}, {`"prompt": [-1]`, "prompt"}, {`"prompt": [[1], []]`, "prompt"},
		{`"logprobs": true`, "logprobs"}, {`"logprobs": 129`, "logprobs"}, {`"echo": "yes"`, "echo"},
	}, openAI...)
	var sglang []bad
	for _, b := range common {
		sglang = append(sglang, bad{`"sampling_params": {` + b.members + `}`, "sampling_params." + b.param})
	}
	sglang = append(sglang, bad{`"sampling_params": {"max_new_tokens": -1}`, "sampling_params.max_new_tokens"}, bad{`"sampling_params": 1`, "sampling_params"},
		bad{`"sampling_params": {"min_new_tokens": 5, "max_new_tokens": 4}`, "sampling_params.min_new_tokens"}, bad{`"sampling_params": [{}, {}]`, "sampling_params"},
		bad{`"sampling_params": {"sampling_seed": "x"}`, "sampling_params.sampling_seed"}, bad{`"return_logprob": 1`, "return_logprob"},
		bad{`"return_logprob": true, "top_logprobs_num": -1`, "top_logprobs_num"}, bad{`"logprob_start_len": "0"`, "logprob_start_len"},
		bad{`"token_ids_logprob": [1]`, "token_ids_logprob"}, bad{`"rid": 1`, "rid"}, bad{`"text": 1`, "text"}, bad{`"input_ids": [1]`, "text"},
		bad{`"text": null, "input_ids": [1, "a"]`, "input_ids"}, bad{`"text": null, "input_ids": [151936]`, "input_ids"}, bad{`"text": []`, "text"},
		bad{`"lora_path": "x"`, "lora_path"}, bad{`"image_data": "x"`, "image_data"}, bad{`"return_hidden_states": true`, "return_hidden_states"})
	seedA := []bad{{`"max_tokens": 0`, "max_tokens"}, {`"max_tokens": "x"`, "max_tokens"}, {`"max_tokens": 1, "ignore_eos": 1`, "ignore_eos"},
		{`"prompt": 1, "max_tokens": 1`, "prompt"}, {`"prompt": "", "max_tokens": 1`, "prompt"}}
	seedB := []bad{{`"max_new_tokens": 0`, "max_new_tokens"}, {`"max_new_tokens": 1.5`, "max_new_tokens"}, {`"mode": 1`, "mode"}, {`"prompt": 1`, "prompt"}, {`"stream": 0`, "stream"}}

	for _, endpoint := range []struct {
		path, base string
		bad        []bad
	}{
		{"/v1/chat/completions", `"messages": [{"role": "user", "content": "Hi"}]`, chat},
		{"/v1/completions", `"prompt": "Hi"`, completions},
		{"/generate", `"text": "Hi"`, sglang},
		{"/generate", `"prompt": "Hi"`, seedA},
		{"/generate", `"prompt": "Hi"`, seedB},
		{"/tokenize", `"model": null`, []bad{{`"x": 1`, "prompt"}, {`"prompt": 1`, "prompt"}, {`"prompt": "a", "add_special_tokens": 1`, "add_special_tokens"}}},
		{"/detokenize", `"model": null`, []bad{{`"x": 1`, "tokens"}, {`"tokens": ["a"]`, "tokens"}, {`"tokens": [-1]`, "tokens"}}},
		{"/abort_request", `"model": null`, []bad{{`"rid": 1`, "rid"}, {`"abort_all": 1`, "abort_all"}, {`"rid": null`, "rid"}}},
	} {
		for _, b := range endpoint.bad {
			body := "{" + endpoint.base + ", " + b.members + "}"
			status, _, text := s.do("POST", endpoint.path, body)
			got := decode[failure](t, text).Error
			if status != http.StatusBadRequest || got.Param == nil || *got.Param != b.param || got.Type != "invalid_request_error" || !strings.Contains(got.Message, b.param) {
				t.Errorf("%s %s: %d %s, want param %s", endpoint.path, body, status, text, b.param)
			}
		}
	}
	if stats := s.llm.Stats(); stats.Steps != 0 {
		t.Errorf("bad requests made %d steps", stats.Steps)
	}
}

func TestBadBodies(t *testing.T) {
	s := fakeText(t)
	for _, path := range []string{"/v1/chat/completions", "/v1/completions", "/generate", "/tokenize", "/detokenize", "/abort_request"} {
		for _, body := range []string{"", "null", "[]", `"x"`, "{", `{"prompt": "a"} x`, `{"prompt": "a"}{}`, `{"prompt": "a",}`, `{prompt: 1}`, `{"prompt": }`,
			"{\"prompt\": \"\xff\"}", "{\"prompt\": \"a\", \"\xc3\x28\": 1}", strings.Repeat("[", 20_000), `{"a":` + strings.Repeat("[", 20_000)} {
			if status, _, text := s.do("POST", path, body); status != http.StatusBadRequest || decode[failure](t, text).Error.Type != "invalid_request_error" {
				t.Errorf("%s %.40q: %d %s", path, body, status, text)
			}
		}
	}
	if status, _, _ := s.do("POST", "/generate", "{}", "Content-Encoding", "gzip"); status != http.StatusUnsupportedMediaType {
		t.Errorf("a compressed body: %d", status)
	}
}

func TestPromptTooLong(t *testing.T) {
	s := fakeText(t)
	long := strings.Repeat("word ", 600)
	for path, body := range map[string]string{
		"/v1/chat/completions": `{"messages": [{"role": "user", "content": "` + long + `"}]`,
		"/v1/completions":      `{"prompt": "` + long + `"`,
		"/generate":            `{"text": "` + long + `"`,
	} {
		for _, stream := range []bool{false, true} {
			status, _, text := s.do("POST", path, fmt.Sprintf(`%s, "stream": %v}`, body, stream))
			got := decode[failure](t, text).Error
			if status != http.StatusBadRequest || got.Code == nil || *got.Code != "context_length_exceeded" || !strings.Contains(got.Message, "511") ||
				!strings.Contains(got.Message, " 60") {
				t.Errorf("%s: %d %s", path, status, text)
			}
		}
	}
}

// A body of 100 MB is cut off at the limit, and not read at all where its length is announced.
func TestLargeBody(t *testing.T) {
	s := fakeText(t, func(_ *minisgl.Options, so *server.Options) { so.MaxBodyBytes = 1 << 20 })
	for _, announced := range []int64{100 << 20, -1} {
		body := &countingReader{left: 100 << 20}
		r := httptest.NewRequest("POST", "/v1/completions", body)
		r.ContentLength = announced
		w := httptest.NewRecorder()
		s.server.ServeHTTP(w, r)
		if w.Code != http.StatusRequestEntityTooLarge || *decode[failure](t, w.Body.String()).Error.Code != "body_too_large" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if most := map[bool]int{true: 0, false: 2 << 20}[announced > 0]; body.read > most {
			t.Errorf("%d bytes were read, with an announced length of %d", body.read, announced)
		}
	}
}

type countingReader struct{ left, read int }

func (r *countingReader) Read(p []byte) (int, error) {
	n := min(len(p), r.left)
	for i := range p[:n] {
		p[i] = ' '
	}
	r.left, r.read = r.left-n, r.read+n
	return n, nil
}

func TestKeys(t *testing.T) {
	s := fakeText(t, func(_ *minisgl.Options, so *server.Options) { so.APIKeys = []string{"one", "second key"} })
	for header, want := range map[string]int{"Bearer one": 200, "bearer second key": 200, "Bearer two": 401, "Bearer ": 401, "": 401, "one": 401, "Basic one": 401, "Bearer one ": 401} {
		status, h, text := s.do("GET", "/v1/models", "", "Authorization", header)
		if status != want && header != "Bearer one " { // net/http trims headers
			t.Errorf("%q: %d, want %d", header, status, want)
		}
		if status == 401 && (h.Get("WWW-Authenticate") != "Bearer" || *decode[failure](t, text).Error.Code != "invalid_api_key") {
			t.Errorf("%q: %s", header, text)
		}
	}
	for _, path := range []string{"/health", "/ping", "/metrics", "/"} {
		if status, _, _ := s.do("GET", path, ""); status != 200 {
			t.Errorf("%s: %d", path, status)
		}
	}
	for _, path := range []string{"/v1/completions", "/generate", "/flush_cache", "/abort_request"} {
		if status, _, _ := s.do("POST", path, "{}"); status != 401 {
			t.Errorf("%s without a key: %d", path, status)
		}
	}
}

func TestPaths(t *testing.T) {
	s := fakeText(t)
	for _, c := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/nowhere", 404, ""}, {"POST", "/v1/embeddings", 404, ""}, {"GET", "/v1/models/other", 404, ""}, {"GET", "/v1/models/tiny", 200, ""},
		{"GET", "/v1/completions", 405, "POST"}, {"DELETE", "/generate", 405, "POST"}, {"POST", "/health", 405, "GET, HEAD"}, {"PUT", "/flush_cache", 405, "GET, HEAD, POST"},
	} {
		status, h, text := s.do(c.method, c.path, "")
		if status != c.status || h.Get("Allow") != c.allow || status >= 400 && decode[failure](t, text).Error.Message == "" {
			t.Errorf("%s %s: %d, Allow %q, %s", c.method, c.path, status, h.Get("Allow"), text)
		}
	}
	status, _, text := s.do("POST", "/v1/completions", `{"model": "gpt-9", "prompt": "x"}`)
	if e := decode[failure](t, text).Error; status != 404 || *e.Code != "model_not_found" || !strings.Contains(e.Message, "tiny") {
		t.Errorf("unknown model: %d %s", status, text)
	}
	if status, _, _ := s.do("POST", "/flush_cache", "", "Sec-Fetch-Site", "cross-site"); status != http.StatusForbidden {
		t.Errorf("a page of another site: %d", status)
	}
	if _, h, _ := s.do("GET", "/v1", "", "X-Request-Id", "mine-1"); h.Get("X-Request-Id") != "mine-1" {
		t.Errorf("X-Request-Id is %q", h.Get("X-Request-Id"))
	}
	if _, h, _ := s.do("GET", "/v1", ""); h.Get("X-Request-Id") == "" || h.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("headers %v", h)
	}
}

func TestFullQueue(t *testing.T) {
	s := fakeText(t, func(mo *minisgl.Options, _ *server.Options) {
		mo.Device, mo.MaxRunning, mo.MaxQueue = paced(t, 20*time.Millisecond), 1, 1
	})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for range 2 {
		go s.get(ctx, `{"prompt": "x", "max_tokens": 400, "stream": true, "ignore_eos": true}`)
		eventually(t, "one more request is there", func() bool { return s.llm.Stats().Running == 1 })
	}
	eventually(t, "a request waits", func() bool { return s.llm.Stats().Waiting == 1 })
	for _, stream := range []bool{false, true} {
		status, h, text := s.do("POST", "/v1/completions", fmt.Sprintf(`{"prompt": "x", "stream": %v}`, stream))
		if status != http.StatusTooManyRequests || h.Get("Retry-After") == "" || decode[failure](t, text).Error.Type != "rate_limit_error" {
			t.Errorf("%d %v %s", status, h, text)
		}
	}
	if status, _, _ := s.do("POST", "/flush_cache", ""); status != http.StatusBadRequest {
		t.Errorf("flushing the cache of running requests: %d", status)
	}
	if status, _, text := s.do("POST", "/v1/completions", `{"prompt": ["a", "b"], "n": 2}`); status != http.StatusBadRequest {
		t.Errorf("more than ever fits: %d %s", status, text)
	}
}

func TestBatchRunsWholeOrNotAtAll(t *testing.T) {
	s := fakeText(t)
	long := strings.Repeat(" dog", 600)
	for _, test := range []struct{ path, body, want string }{
		{"/v1/completions", `{"prompt": [[1, 2], [200000]]}`, "token 0 is 200000"},
		{"/v1/completions", `{"prompt": ["a", "` + long + `"], "stream": true}`, "600 tokens"},
		{"/generate", `{"input_ids": [[1, 2], [3, -1]]}`, "token 1 is -1"},
		{"/generate", `{"text": ["a", "` + long + `"], "stream": true}`, "600 tokens"},
		{"/generate", `{"text": ["a", "b"], "sampling_params": [{}, {"top_p": 7}]}`, "top_p"},
	} {
		status, _, text := s.do("POST", test.path, test.body)
		if message := decode[failure](t, text).Error.Message; status != 400 || !strings.Contains(message, test.want) {
			t.Errorf("%s: %d %s, want 400 and %q", test.path, status, text, test.want)
		}
		if stats := s.llm.Stats(); stats.Steps > 0 || stats.Running+stats.Waiting > 0 {
			t.Fatalf("%s: something of the batch has run: %+v", test.path, stats)
		}
	}
}
