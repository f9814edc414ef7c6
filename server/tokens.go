package server

import (
	"strconv"
	"unicode/utf8"

	"minisgl"
	"minisgl/model/tokenizer"
)

// usage adds up OpenAI's usage over the requests of a job. A prompt counts once, however many choices it has.
type usage struct {
	choices                int // of each prompt
	prompt, cached, output int
}

func (u *usage) begin(streams []*minisgl.Stream, choices int) {
	u.choices = choices
	for i := 0; i < len(streams); i += choices {
		u.prompt += len(streams[i].Prompt())
	}
}

func (u *usage) finish(i int, f *minisgl.Finish) {
	u.output += f.Usage.Output
	if i%u.choices == 0 {
		u.cached += f.Usage.Cached
	}
}

func (u *usage) appendJSON(b []byte) []byte {
	b = appendInt(append(b, `{"prompt_tokens":`...), u.prompt)
	b = appendInt(append(b, `,"completion_tokens":`...), u.output)
	b = appendInt(append(b, `,"total_tokens":`...), u.prompt+u.output)
	b = appendInt(append(b, `,"prompt_tokens_details":{"cached_tokens":`...), u.cached)
	return append(b, `}}`...)
}

// tokenTexts shows tokens one by one. Its tokenizer may be nil.
type tokenTexts struct{ *tokenizer.Tokenizer }

func (t tokenTexts) bytes(id int32) []byte {
	if t.Tokenizer == nil {
		return nil
	}
	return t.Bytes(id)
}

// text is a token's text; where it is no text by itself, being part of a character, its bytes as OpenAI writes them: \xe2\x82.
// Without a tokenizer it is "token_id:17", vLLM's form.
func (t tokenTexts) text(id int32) string { return t.show(id, "") }

// legacyText is text in the form of OpenAI's completions: bytes:\xe2\x82.
func (t tokenTexts) legacyText(id int32) string { return t.show(id, "bytes:") }

func (t tokenTexts) show(id int32, prefix string) string {
	raw := t.bytes(id)
	switch {
	case raw == nil:
		return "token_id:" + strconv.Itoa(int(id))
	case utf8.Valid(raw):
		return string(raw)
	}
	b := []byte(prefix)
	for _, c := range raw {
		b = append(b, '\\', 'x', hex[c>>4], hex[c&15])
	}
	return string(b)
}

// offsets tells where each token of an output begins in its text, in characters.
type offsets struct {
	decoder *tokenizer.Decoder
	buffer  []byte
	at      int
}

func newOffsets(t tokenTexts, keepSpecial bool) *offsets {
	if t.Tokenizer == nil {
		return &offsets{}
	}
	return &offsets{decoder: t.NewDecoder(!keepSpecial)}
}

// next returns where a token begins, which follows those before.
func (o *offsets) next(id int32) int {
	at := o.at
	if o.decoder != nil {
		o.buffer = o.decoder.Append(o.buffer[:0], id)
		o.at += utf8.RuneCount(o.buffer)
	}
	return at
}

func appendErrorEvent(b []byte, e *apiError) []byte {
	return append(e.appendJSON(append(b, "data: "...)), "\n\n"...)
}
