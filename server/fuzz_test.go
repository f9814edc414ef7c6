package server

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"minisgl"
	_ "minisgl/device/fake"
	"minisgl/internal/goldens"
)

// opened is a model for decoders, which ask it for its limits and defaults. It stays open until the process ends.
var opened = sync.OnceValues(func() (*minisgl.LLM, error) {
	return minisgl.Open(context.Background(), minisgl.Options{Model: modelPath, Device: "fake"})
})

var modelPath string

// Whatever a body holds, decoding it does not panic, takes memory in proportion to its size, and says what is wrong in a 400
// (404 for a model) that is not long.
func fuzzBodies(f *testing.F, decoder func(*Server) func(*minisgl.LLM, *fields) (*job, *apiError), seeds ...string) {
	modelPath = goldens.Get(f, "tiny-tied").Path
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	server := New(Options{})
	f.Fuzz(func(t *testing.T, body []byte) {
		llm, err := opened()
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		members, e := parseFields(body)
		var j *job
		if e == nil {
			j, e = decoder(server)(llm, members)
		}
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20+uint64(len(body))*100 {
			t.Errorf("%d bytes were allocated for a body of %d", took, len(body))
		}
		switch {
		case e == nil && (len(j.requests) == 0 || len(j.ids) == 0 || j.format == nil):
			t.Errorf("an empty job: %+v", j)
		case e != nil && (e.status != 400 && e.status != 404 || e.message+e.detail == "" || len(e.message) > 1000 || !utf8.ValidString(e.message)):
			t.Errorf("%d %q", e.status, e.message)
		}
	})
}

const anyParams = `"temperature": 0.7, "top_p": 0.9, "top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1, "presence_penalty": 1, "frequency_penalty": -1,
	"logit_bias": {"5": -100}, "stop": ["a", "b"], "stop_token_ids": [1, 2], "ignore_eos": true, "skip_special_tokens": false, "n": 2`

const anyOpenAI = anyParams + `, "seed": -1, "stream": true, "stream_options": {"include_usage": true}, "min_tokens": 1, "max_tokens": 5, "model": "default",
	"priority": 1, "include_stop_str_in_output": true, "best_of": 2, "tools": [], "response_format": {"type": "text"}, "user": "x"`

func FuzzChatBody(f *testing.F) {
	fuzzBodies(f, func(s *Server) func(*minisgl.LLM, *fields) (*job, *apiError) { return s.decodeChat },
		`{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": null, "name": "x"}], `+anyOpenAI+`}`,
		`{"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}], "logprobs": true, "top_logprobs": 3, "chat_template_kwargs": {"a": [1, {"b": null}]}}`,
		`{"prompt": "x", "add_generation_prompt": false, "continue_final_message": false}`,
		`{"messages": [`+strings.Repeat(`{"role":"a","content":""},`, 100)+`{"role":"a","content":""}]}`)
}

func FuzzCompletionBody(f *testing.F) {
	fuzzBodies(f, func(s *Server) func(*minisgl.LLM, *fields) (*job, *apiError) { return s.decodeCompletions },
		`{"prompt": "Hi", "echo": true, "logprobs": 3, `+anyOpenAI+`}`, `{"prompt": ["a", "b"]}`, `{"prompt": [1, 2, 3]}`, `{"prompt": [[1], [2, 3]], "n": 128}`,
		`{"prompt": [`+strings.Repeat(`"",`, 2000)+`""]}`)
}

func FuzzGenerateBody(f *testing.F) {
	fuzzBodies(f, func(s *Server) func(*minisgl.LLM, *fields) (*job, *apiError) { return s.decodeGenerate },
		`{"text": "Hi", "sampling_params": {"max_new_tokens": 5, "sampling_seed": 1, "no_stop_trim": true, `+anyParams+`}, "rid": "x", "stream": true}`,
		`{"input_ids": [[1, 2], [3]], "sampling_params": [{}, {"n": 1}], "return_logprob": [true, false], "logprob_start_len": [0, -1], "top_logprobs_num": 5}`,
		`{"prompt": "x", "max_tokens": 3, "ignore_eos": true}`, `{"prompt": "x", "max_new_tokens": 3, "mode": "hf", "stream": false}`,
		`{"text": ["a"], "sampling_params": [`+strings.Repeat(`{},`, 2000)+`{}]}`)
}
