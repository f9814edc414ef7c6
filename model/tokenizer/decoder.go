package tokenizer

import "unicode/utf8"

// A Decoder decodes a stream of ids and never emits half a character. The zero Decoder is not usable: see NewDecoder.
type Decoder struct {
	t           *Tokenizer
	skipSpecial bool
	held        []byte // the beginning of a character
}

// NewDecoder returns a decoder for one stream.
func (t *Tokenizer) NewDecoder(skipSpecial bool) *Decoder {
	return &Decoder{t: t, skipSpecial: skipSpecial}
}

// Append adds the text that is complete after the next id to dst. What it holds back is at most the bytes of one unfinished character.
func (d *Decoder) Append(dst []byte, id int32) []byte {
	if d.skipSpecial && d.t.Special(id) {
		return dst
	}
	token := d.t.bytesOf(id)
	if len(d.held) == 0 && utf8.ValidString(token) {
		return append(dst, token...)
	}
	d.held = append(d.held, token...)
	whole := len(d.held)
	for back := 1; back < utf8.UTFMax && back <= len(d.held); back++ {
		if start := len(d.held) - back; utf8.RuneStart(d.held[start]) {
			if !utf8.FullRune(d.held[start:]) {
				whole = start
			}
			break
		}
	}
	dst = appendLossy(dst, d.held[:whole])
	d.held = append(d.held[:0], d.held[whole:]...)
	return dst
}

// Flush adds what was held back, as U+FFFD, so that the whole equals Decode of all ids.
func (d *Decoder) Flush(dst []byte) []byte {
	dst = appendLossy(dst, d.held)
	d.held = d.held[:0]
	return dst
}
