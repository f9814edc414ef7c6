// Package tokenizer turns text into token ids and back: byte-level BPE as Qwen2, Llama 3 and GPT-2 use it, read from a
// tokenizer.json or from GGUF metadata.
package tokenizer

// A Tokenizer is immutable and safe for concurrent use.
type Tokenizer struct{ _ struct{} }

// FromJSON reads a Hugging Face tokenizer.json.
func FromJSON(data []byte) (*Tokenizer, error) { panic("TODO") }

// FromGGUF reads the tokenizer.ggml.* keys of a GGUF file's metadata.
func FromGGUF(meta map[string]any) (*Tokenizer, error) { panic("TODO") }

// Encode returns the ids of text. Special added tokens in the text ("<|im_start|>") become their ids if special is true, and
// are encoded as plain text otherwise. Invalid UTF-8 becomes U+FFFD, as it does in Hugging Face's.
func (t *Tokenizer) Encode(text string, special bool) []int32 { panic("TODO") }

// Decode returns the text of ids; ids out of range add nothing. Invalid UTF-8 comes out as U+FFFD.
func (t *Tokenizer) Decode(ids []int32, skipSpecial bool) string { panic("TODO") }

// Vocab is the number of ids: all are in [0, Vocab), though some of them may have no token.
func (t *Tokenizer) Vocab() int { panic("TODO") }

// Token returns the id of a token as it stands in the vocabulary or among the added tokens ("<|im_end|>").
func (t *Tokenizer) Token(text string) (id int32, ok bool) { panic("TODO") }

// Bytes returns the bytes that a token stands for; nil for an id without a token.
func (t *Tokenizer) Bytes(id int32) []byte { panic("TODO") }

// Special reports whether an id is a special added token.
func (t *Tokenizer) Special(id int32) bool { panic("TODO") }

// A Decoder decodes a stream of ids and never emits half a character. The zero Decoder is not usable: see NewDecoder.
type Decoder struct{ _ struct{} }

// NewDecoder returns a decoder for one stream.
func (t *Tokenizer) NewDecoder(skipSpecial bool) *Decoder { panic("TODO") }

// Append adds the text that is complete after the next id to dst. What it holds back is at most the bytes of one unfinished character.
func (d *Decoder) Append(dst []byte, id int32) []byte { panic("TODO") }

// Flush adds what was held back, as U+FFFD, so that the whole equals Decode of all ids.
func (d *Decoder) Flush(dst []byte) []byte { panic("TODO") }
