package tokenizer

import (
	"fmt"
	"strings"
)

// newTokenizer joins what every format of file yields; steps and bos are left to the caller.
func newTokenizer(v vocabulary, merges []string, ignoreMerges bool) (*Tokenizer, error) {
	t := &Tokenizer{vocabulary: v, bpe: newBPE(&v, len(merges))}
	t.scratchs.New = func() any { return new(scratch) }
	if ignoreMerges {
		t.bpe.words = v.byBytes
	}
	for rank, merge := range merges {
		left, right, ok := strings.Cut(merge, " ")
		if !ok || strings.Contains(right, " ") {
			return nil, fmt.Errorf("merge %d is %q, want two tokens and a space between", rank, merge)
		}
		if err := t.merge(rank, left, right); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (t *Tokenizer) merge(rank int, left, right string) error {
	var ids [3]int32
	for i, token := range [3]string{left, right, left + right} {
		id, ok := t.lookup(token)
		if !ok {
			return fmt.Errorf("merge %d (%q and %q): the vocabulary has no %q", rank, left, right, token)
		}
		ids[i] = id
	}
	t.bpe.pairs.put(ids[0], ids[1], ids[2], uint32(rank))
	return nil
}

// addToken puts an added token where Encode finds it.
func (t *Tokenizer) addToken(token addedToken, stands string) error {
	id, err := t.addAdded(token, stands)
	if err != nil {
		return err
	}
	token.ID = id
	if !token.Normalized {
		return t.raw.add(token, token.Content)
	}
	spelling := token.Content
	if t.nfc {
		spelling = composed(spelling)
	}
	return t.normal.add(token, spelling)
}
