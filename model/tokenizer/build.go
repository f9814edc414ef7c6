package tokenizer

import (
	"fmt"
	"strings"
)

// newTokenizer joins what every format of file yields; steps and bos are left to the caller.
func newTokenizer(v *vocabulary, merges [][2]string, ignoreMerges bool) (*Tokenizer, error) {
	t := &Tokenizer{vocabulary: v, bpe: newBPE(v, len(merges))}
	t.scratches.New = func() any { return new(scratch) }
	if ignoreMerges {
		t.bpe.words = v.byBytes
	}
	for rank, merge := range merges {
		left, leftOK := t.lookup(merge[0])
		right, rightOK := t.lookup(merge[1])
		merged, ok := t.lookup(merge[0] + merge[1])
		if !leftOK || !rightOK || !ok {
			return nil, fmt.Errorf("merge %d: %q, %q and the two together are not all in the vocabulary", rank, merge[0], merge[1])
		}
		t.bpe.pairs.put(left, right, merged, uint32(rank))
	}
	return t, nil
}

// cutMerge reads a merge that is spelled "a b".
func cutMerge(merge string) ([2]string, error) {
	left, right, ok := strings.Cut(merge, " ")
	if !ok || left == "" || right == "" || strings.Contains(right, " ") {
		return [2]string{}, fmt.Errorf("merge %q is not two tokens with a space between", merge)
	}
	return [2]string{left, right}, nil
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
