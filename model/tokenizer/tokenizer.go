// Package tokenizer turns text into token ids and back: byte-level BPE as Qwen2, Qwen3, Llama 3, GPT-2 and SmolLM2 use it,
// read from a tokenizer.json or from GGUF metadata. The server encodes prompts and decodes streams with it; model opens it.
//
// Ids and texts are those of Hugging Face tokenizers 0.23: Encode is its encode without add_special_tokens (see AddBOS), Decode
// its decode.
package tokenizer

import (
	"sync"
	"unicode/utf8"
)

// A Tokenizer is immutable and safe for concurrent use.
type Tokenizer struct {
	*vocabulary
	bpe       bpe
	raw       matcher // added tokens found in the text as it came
	normal    matcher // added tokens found in the normalised text
	nfc       bool
	steps     []step
	bos       int32
	hasBOS    bool
	scratches sync.Pool
}

// Encode returns the ids of text. Special added tokens in the text ("<|im_start|>") become their ids if special is true, and
// are encoded as plain text otherwise. Invalid UTF-8 becomes U+FFFD, as it does in Hugging Face's.
func (t *Tokenizer) Encode(text string, special bool) []int32 {
	if text == "" {
		return nil
	}
	if !utf8.ValidString(text) {
		text = string(appendLossy(nil, []byte(text)))
	}
	e := encoder{t: t, out: make([]int32, 0, len(text)/4+4), scratch: t.scratches.Get().(*scratch)}
	defer t.scratches.Put(e.scratch)
	for s := range t.raw.split(text, special) {
		if s.token {
			e.out = append(e.out, s.id)
			continue
		}
		between := s.text
		if t.nfc {
			between = composed(between)
		}
		for s := range t.normal.split(between, special) {
			if s.token {
				e.out = append(e.out, s.id)
			} else {
				e.pieces(t.steps, s.text)
			}
		}
	}
	return e.out
}

// AddBOS returns the id that Hugging Face's add_special_tokens puts before a text, where the tokenizer names one (Llama 3's
// "<|begin_of_text|>"). Encode does not add it: a chat template writes it out itself, a raw prompt wants it once in front.
func (t *Tokenizer) AddBOS() (id int32, ok bool) { return t.bos, t.hasBOS }

// Decode returns the text of ids; ids out of range add nothing. Invalid UTF-8 comes out as U+FFFD.
func (t *Tokenizer) Decode(ids []int32, skipSpecial bool) string {
	var raw []byte
	for _, id := range ids {
		if !skipSpecial || !t.Special(id) {
			raw = append(raw, t.bytesOf(id)...)
		}
	}
	if utf8.Valid(raw) {
		return string(raw)
	}
	return string(appendLossy(nil, raw))
}

// Vocab is the number of ids: all are in [0, Vocab), though some of them may have no token.
func (t *Tokenizer) Vocab() int { return len(t.bytes) }

// Token returns the id of a token as it stands in the vocabulary or among the added tokens ("<|im_end|>").
func (t *Tokenizer) Token(text string) (id int32, ok bool) { return t.lookup(text) }

// Bytes returns the bytes that a token stands for; nil for an id without a token.
func (t *Tokenizer) Bytes(id int32) []byte {
	if id < 0 || int(id) >= len(t.bytes) || t.kinds[id] == absent {
		return nil
	}
	return append([]byte{}, t.bytes[id]...)
}

// Special reports whether an id is a special added token.
func (t *Tokenizer) Special(id int32) bool {
	return id >= 0 && int(id) < len(t.kinds) && t.kinds[id] == special
}

// An encoder is the state of one Encode.
type encoder struct {
	t       *Tokenizer
	out     []int32
	scratch *scratch
}

// pieces cuts s with the first step, its pieces with the next, and merges what the last step leaves.
func (e *encoder) pieces(steps []step, s string) {
	if s == "" {
		return
	}
	if len(steps) == 0 {
		e.out = e.t.bpe.append(e.out, s, e.scratch)
		return
	}
	switch step, rest := steps[0], steps[1:]; {
	case step.scan != nil:
		for s != "" {
			n := step.scan(s)
			e.pieces(rest, s[:n])
			s = s[n:]
		}
	case step.pattern != nil:
		for piece := range step.pattern.split(s) {
			e.pieces(rest, piece)
		}
	case s[0] != ' ': // what is left is a step that puts a space in front
		e.pieces(rest, " "+s)
	default:
		e.pieces(rest, s)
	}
}
