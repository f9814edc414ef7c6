package tokenizer

import (
	"fmt"
	"math"
	"strings"
)

type kind uint8

const (
	absent kind = iota
	plain
	special
)

// A vocabulary is the tokens of both kinds, those of the model and the added ones.
type vocabulary struct {
	bytes []string // what a token stands for, by id
	kinds []kind

	byBytes map[string]int32 // tokens spelled in GPT-2's alphabet, by what they stand for
	byText  map[string]int32 // all others, and the added tokens, as they are spelled

	text strings.Builder // what byBytes' keys are cut from
}

// room is how far ids may lie beyond the number of tokens: files leave gaps, but a table of 2^31 entries for three tokens is an attack.
const room = 1 << 16

// newVocabulary has place for the ids below size.
func newVocabulary(tokens int, size int64) (*vocabulary, error) {
	if size > 2*int64(tokens)+room || size > math.MaxInt32 {
		return nil, fmt.Errorf("id %d is out of proportion to the %d tokens", size-1, tokens)
	}
	return &vocabulary{
		bytes:   make([]string, size),
		kinds:   make([]kind, size),
		byBytes: make(map[string]int32, tokens),
		byText:  make(map[string]int32),
	}, nil
}

func (v *vocabulary) add(text string, id int32) error {
	if v.kinds[id] != absent {
		return fmt.Errorf("token %q has id %d, which is another token's", text, id)
	}
	v.kinds[id] = plain
	var buf [128]byte
	if raw, ok := appendBytes(buf[:0], text); ok {
		from := v.text.Len()
		v.text.Write(raw)
		v.bytes[id] = v.text.String()[from:]
		v.byBytes[v.bytes[id]] = id
	} else {
		v.bytes[id] = text
		v.byText[text] = id
	}
	return nil
}

// addAdded adds a token that is found in texts before the model sees them. If the model has it, it keeps the model's id.
func (v *vocabulary) addAdded(t addedToken, stands string) (id int32, err error) {
	id, ok := v.lookup(t.Content)
	if !ok {
		if id = t.ID; v.kinds[id] != absent {
			return 0, fmt.Errorf("added token %q has id %d, which is another token's", t.Content, id)
		}
		v.bytes[id] = stands
		v.kinds[id] = plain
		v.byText[t.Content] = id
	}
	if t.Special {
		v.kinds[id] = special
	}
	return id, nil
}

func (v *vocabulary) lookup(text string) (id int32, ok bool) {
	if id, ok = v.byText[text]; ok {
		return id, true
	}
	var buf [128]byte
	if raw, spelled := appendBytes(buf[:0], text); spelled {
		id, ok = v.byBytes[string(raw)]
	}
	return id, ok
}

func (v *vocabulary) bytesOf(id int32) string {
	if id < 0 || int(id) >= len(v.bytes) {
		return ""
	}
	return v.bytes[id]
}
