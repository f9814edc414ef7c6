package tokenizer

import (
	"encoding/json"
	"fmt"

	"github.com/dlclark/regexp2/v2"
)

// A file is a tokenizer.json.
type file struct {
	AddedTokens   []addedToken `json:"added_tokens"`
	Normalizer    *component   `json:"normalizer"`
	PreTokenizer  *component   `json:"pre_tokenizer"`
	PostProcessor *component   `json:"post_processor"`
	Decoder       *component   `json:"decoder"`
	Model         struct {
		Type         string  `json:"type"`
		Vocab        vocab   `json:"vocab"`
		Merges       merges  `json:"merges"`
		Dropout      float64 `json:"dropout"`
		Unk          string  `json:"unk_token"`
		Prefix       string  `json:"continuing_subword_prefix"`
		Suffix       string  `json:"end_of_word_suffix"`
		FuseUnk      bool    `json:"fuse_unk"`
		ByteFallback bool    `json:"byte_fallback"`
		IgnoreMerges bool    `json:"ignore_merges"`
	} `json:"model"`
}

// A component is a normalizer, pre-tokenizer, post-processor or decoder: the fields of all kinds that are supported.
type component struct {
	Type          string      `json:"type"`
	Normalizers   []component `json:"normalizers"`
	PreTokenizers []component `json:"pretokenizers"`
	Processors    []component `json:"processors"`
	Decoders      []component `json:"decoders"`

	AddPrefixSpace   *bool `json:"add_prefix_space"` // ByteLevel; true if not given, as the next
	UseRegex         *bool `json:"use_regex"`
	IndividualDigits bool  `json:"individual_digits"` // Digits

	Pattern struct { // Split
		Regex  *string
		String *string
	} `json:"pattern"`
	Behavior string `json:"behavior"`
	Invert   bool   `json:"invert"`

	Single []struct { // TemplateProcessing
		SpecialToken *struct {
			ID string `json:"id"`
		}
		Sequence *struct{}
	} `json:"single"`
	SpecialTokens map[string]struct {
		IDs []int32 `json:"ids"`
	} `json:"special_tokens"`
}

// FromJSON reads a Hugging Face tokenizer.json. What it cannot follow it refuses by name: other models than byte-level BPE, and
// normalizers, pre-tokenizers, post-processors and decoders that such models do not use.
func FromJSON(data []byte) (*Tokenizer, error) {
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		var peek struct {
			Model struct {
				Type string `json:"type"`
			} `json:"model"`
		}
		if json.Unmarshal(data, &peek) == nil && peek.Model.Type != "" && peek.Model.Type != "BPE" {
			return nil, fmt.Errorf("tokenizer.json: model %q is not supported, only byte-level BPE is", peek.Model.Type)
		}
		return nil, fmt.Errorf("tokenizer.json: %w", err)
	}
	t, err := f.tokenizer()
	if err != nil {
		return nil, fmt.Errorf("tokenizer.json: %w", err)
	}
	return t, nil
}

func (f *file) tokenizer() (*Tokenizer, error) {
	switch m := &f.Model; {
	case m.Type != "BPE" && m.Type != "":
		return nil, fmt.Errorf("model %q is not supported, only byte-level BPE is", m.Type)
	case len(m.Vocab) == 0:
		return nil, fmt.Errorf("model.vocab is missing or empty")
	case m.Dropout != 0:
		return nil, fmt.Errorf("model.dropout %g is not supported", m.Dropout)
	case m.Prefix != "" || m.Suffix != "":
		return nil, fmt.Errorf("model.continuing_subword_prefix %q and end_of_word_suffix %q are not supported", m.Prefix, m.Suffix)
	}
	size := int64(0)
	for _, token := range f.Model.Vocab {
		size = max(size, int64(token.id)+1)
	}
	for _, token := range f.AddedTokens {
		if token.ID < 0 {
			return nil, fmt.Errorf("added token %q has id %d", token.Content, token.ID)
		}
		size = max(size, int64(token.ID)+1)
	}
	v, err := newVocabulary(len(f.Model.Vocab)+len(f.AddedTokens), size)
	if err != nil {
		return nil, err
	}
	for _, token := range f.Model.Vocab {
		if err := v.add(token.text, token.id); err != nil {
			return nil, err
		}
	}
	if n := len(v.byBytes) + len(v.byText); n < len(f.Model.Vocab) {
		return nil, fmt.Errorf("model.vocab has %d tokens, but only %d different ones", len(f.Model.Vocab), n)
	}
	t, err := newTokenizer(v, f.Model.Merges, f.Model.IgnoreMerges)
	if err != nil {
		return nil, err
	}
	if t.nfc, err = isNFC(f.Normalizer); err != nil {
		return nil, err
	}
	for _, token := range f.AddedTokens {
		stands := token.Content
		if token.Normalized && t.nfc {
			stands = composed(stands)
		}
		if raw, ok := appendBytes(nil, stands); ok { // the decoder takes an added token's spelling for the alphabet's, too
			stands = string(raw)
		}
		if err := t.addToken(token, stands); err != nil {
			return nil, err
		}
	}
	if err := f.setUnknown(t); err != nil {
		return nil, err
	}
	if f.PreTokenizer == nil {
		return nil, fmt.Errorf("pre_tokenizer is missing, want ByteLevel: only byte-level BPE is supported")
	}
	byteLevel := false
	if t.steps, err = f.PreTokenizer.preSteps(nil, &byteLevel); err != nil {
		return nil, err
	}
	if !byteLevel {
		return nil, fmt.Errorf("pre_tokenizer has no ByteLevel: only byte-level BPE is supported")
	}
	if f.Decoder == nil || !f.Decoder.onlyByteLevel() {
		return nil, fmt.Errorf("decoder is not ByteLevel: only byte-level BPE is supported")
	}
	return t, f.PostProcessor.setBOS(t)
}

// setUnknown says what becomes of bytes that the vocabulary lacks.
func (f *file) setUnknown(t *Tokenizer) error {
	missing := false
	for _, id := range t.bpe.ofByte {
		missing = missing || id < 0
	}
	if !missing {
		return nil
	}
	if f.Model.ByteFallback {
		return fmt.Errorf("model.byte_fallback is not supported where the vocabulary lacks bytes")
	}
	if f.Model.Unk == "" {
		return nil
	}
	id, ok := t.lookup(f.Model.Unk)
	if !ok {
		return fmt.Errorf("model.unk_token %q is not in the vocabulary", f.Model.Unk)
	}
	t.bpe.unk, t.bpe.fuse = id, f.Model.FuseUnk
	return nil
}

func isNFC(c *component) (bool, error) {
	switch {
	case c == nil:
		return false, nil
	case c.Type == "NFC":
		return true, nil
	case c.Type == "Sequence":
		nfc := false
		for i := range c.Normalizers {
			one, err := isNFC(&c.Normalizers[i])
			if err != nil {
				return false, err
			}
			nfc = nfc || one
		}
		return nfc, nil
	}
	return false, fmt.Errorf("normalizer %q is not supported, only NFC is", c.Type)
}

func (c *component) preSteps(steps []step, byteLevel *bool) ([]step, error) {
	if *byteLevel {
		return nil, fmt.Errorf("pre_tokenizer %q comes after ByteLevel", c.Type)
	}
	switch c.Type {
	case "Sequence":
		var err error
		for i := range c.PreTokenizers {
			if steps, err = c.PreTokenizers[i].preSteps(steps, byteLevel); err != nil {
				return nil, err
			}
		}
		return steps, nil
	case "ByteLevel":
		*byteLevel = true
		if c.AddPrefixSpace == nil || *c.AddPrefixSpace {
			steps = append(steps, step{})
		}
		if c.UseRegex == nil || *c.UseRegex {
			steps = append(steps, step{scan: scanGPT2})
		}
		return steps, nil
	case "Digits":
		return append(steps, step{scan: scanDigits(c.IndividualDigits)}), nil
	case "Split":
		s, err := c.splitStep()
		return append(steps, s), err
	}
	return nil, fmt.Errorf("pre_tokenizer %q is not supported: Sequence, Split, Digits and ByteLevel are", c.Type)
}

func (c *component) splitStep() (step, error) {
	var expr string
	switch {
	case c.Pattern.Regex != nil:
		expr = *c.Pattern.Regex
	case c.Pattern.String != nil:
		expr = regexp2.Escape(*c.Pattern.String)
	default:
		return step{}, fmt.Errorf("pre_tokenizer Split: pattern has neither Regex nor String")
	}
	if c.Behavior != "Isolated" && c.Behavior != "Removed" {
		return step{}, fmt.Errorf("pre_tokenizer Split: behavior %q is not supported: Isolated and Removed are", c.Behavior)
	}
	// The patterns with a scanner match all of a text, so that nothing lies between their matches.
	if scan := scanners[expr]; scan != nil && (c.Behavior == "Isolated" || c.Invert) {
		return step{scan: scan}, nil
	}
	p, err := newPattern(expr)
	if err != nil {
		return step{}, fmt.Errorf("pre_tokenizer Split: %w", err)
	}
	if c.Behavior == "Removed" {
		p.dropMatches, p.dropBetweens = !c.Invert, c.Invert
	}
	return step{pattern: p}, nil
}

func (c *component) onlyByteLevel() bool {
	if c.Type != "Sequence" {
		return c.Type == "ByteLevel"
	}
	return len(c.Decoders) == 1 && c.Decoders[0].onlyByteLevel()
}

// setBOS looks for the token that a post-processor puts before a text. What it puts behind one is left out: a prompt goes on.
func (c *component) setBOS(t *Tokenizer) error {
	if c == nil {
		return nil
	}
	switch c.Type {
	case "ByteLevel":
		return nil
	case "Sequence":
		for i := range c.Processors {
			if err := c.Processors[i].setBOS(t); err != nil {
				return err
			}
		}
		return nil
	case "TemplateProcessing":
	default:
		return fmt.Errorf("post_processor %q is not supported: ByteLevel, TemplateProcessing and Sequence are", c.Type)
	}
	for _, piece := range c.Single {
		if piece.SpecialToken == nil {
			return nil
		}
		ids := c.SpecialTokens[piece.SpecialToken.ID].IDs
		if t.hasBOS || len(ids) != 1 || ids[0] < 0 || int(ids[0]) >= t.Vocab() {
			return fmt.Errorf("post_processor: %q is ids %d, want one token of the vocabulary before a text", piece.SpecialToken.ID, ids)
		}
		t.bos, t.hasBOS = ids[0], true
	}
	return nil
}
