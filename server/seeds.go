package server

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"

	"minisgl"
)

// The dialects of POST /generate. Seed A and B are the two Python systems called mini-sglang whose clients still speak to us.
type dialect uint8

const (
	sglangNative dialect = iota
	seedA
	seedB
)

// dialectOf tells the dialects apart by the members that only one of them has.
func dialectOf(f *fields) dialect {
	switch {
	case f.has("text"), f.has("input_ids"), !f.has("prompt"):
		return sglangNative
	case f.has("max_tokens"), f.has("ignore_eos"):
		return seedA
	}
	return seedB
}

func (s *Server) decodeGenerate(llm *minisgl.LLM, f *fields) (*job, *apiError) {
	switch dialectOf(f) {
	case seedA:
		return s.decodeSeedA(f)
	case seedB:
		return s.decodeSeedB(f)
	}
	return s.decodeSGLang(llm, f)
}

const (
	seedAMaxTokens = 1024
	seedBMaxTokens = 512
)

// decodeSeedA reads {prompt, max_tokens, ignore_eos}: greedy and streaming, unless the body says otherwise.
func (s *Server) decodeSeedA(f *fields) (*job, *apiError) {
	r := minisgl.Request{Params: minisgl.Params{MaxTokens: seedAMaxTokens}}
	stream := true
	f.string("prompt", &r.Prompt)
	f.maxTokens("max_tokens", &r.Params)
	f.sampling(&r.Params)
	f.bool("stream", &stream)
	if e := f.finish(); e != nil {
		return nil, e
	}
	return seedJob(r, stream, &seedAFormat{}, map[string]string{"prompt": "prompt"}), nil
}

// decodeSeedB reads {prompt, max_new_tokens, stream, mode}: greedy and streaming, unless the body says otherwise. Both modes are
// this engine.
func (s *Server) decodeSeedB(f *fields) (*job, *apiError) {
	r := minisgl.Request{Params: minisgl.Params{MaxTokens: seedBMaxTokens}}
	stream, mode := true, "sglang"
	f.string("prompt", &r.Prompt)
	f.maxTokens("max_new_tokens", &r.Params)
	f.sampling(&r.Params)
	f.bool("stream", &stream)
	f.string("mode", &mode)
	if f.err == nil && mode != "sglang" && mode != "hf" {
		return nil, &apiError{status: http.StatusBadRequest, detail: "mode must be 'sglang' or 'hf'"}
	}
	if e := f.finish(); e != nil {
		return nil, e
	}
	format := &seedBFormat{mode: mode, log: s.log, stride: s.options.StreamLogStride}
	return seedJob(r, stream, format, map[string]string{"prompt": "prompt", "max_tokens": "max_new_tokens"}), nil
}

func seedJob(r minisgl.Request, stream bool, f format, rename map[string]string) *job {
	return &job{requests: []minisgl.Request{r}, ids: []string{rand.Text()}, stream: stream, format: f, rename: rename}
}

// seedWhole is the answer to stream:false, for which the seeds have no form: text, finish_reason, usage.
type seedWhole struct{ usage usage }

func (f *seedWhole) begin(streams []*minisgl.Stream) { f.usage.begin(streams, 1) }

func (f *seedWhole) whole(b []byte, outputs []minisgl.Output) []byte {
	f.usage.finish(0, &outputs[0].Finish)
	b = appendString(append(b, `{"text":`...), outputs[0].Text)
	b = append(append(b, `,"finish_reason":"`...), outputs[0].Reason.String()...)
	return append(f.usage.appendJSON(append(b, `","usage":`...)), '}')
}

// seedAFormat writes "data: <text>\n" for each chunk. The text is written as it is, so one with a line end spans lines.
type seedAFormat struct{ seedWhole }

func (f *seedAFormat) chunk(b []byte, _ int, c *minisgl.Chunk) []byte {
	if c.Text == "" {
		return b
	}
	return append(append(append(b, "data: "...), c.Text...), '\n')
}

func (f *seedAFormat) end(b []byte) []byte { return append(b, "data: [DONE]\n"...) }

func (f *seedAFormat) failure(b []byte, e *apiError) []byte {
	return append(e.appendJSON(append(b, "data: "...)), '\n')
}

// seedBFormat writes lines of JSON as Python's json.dumps does, and logs some of them.
type seedBFormat struct {
	seedWhole
	mode   string
	log    *slog.Logger
	stride int
	chunks int
}

func (f *seedBFormat) chunk(b []byte, _ int, c *minisgl.Chunk) []byte {
	if c.Text == "" {
		return b
	}
	if f.chunks++; f.chunks == 1 || f.chunks%f.stride == 0 {
		f.log.Info(fmt.Sprintf("Streamed chunk %03d (mode=%s): '%s'", f.chunks, f.mode, c.Text))
	}
	return append(appendASCII(append(b, `{"text_delta": `...), c.Text), "}\n"...)
}

func (f *seedBFormat) end(b []byte) []byte { return append(b, "{\"event\": \"done\"}\n"...) }

func (f *seedBFormat) failure(b []byte, e *apiError) []byte { return append(e.appendJSON(b), '\n') }
