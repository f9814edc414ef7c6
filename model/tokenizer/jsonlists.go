package tokenizer

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
)

// The two large parts of a tokenizer.json are read by hand: encoding/json takes three times as long over a map of 150,000 tokens.

// A vocab is model.vocab in the order of the file.
type vocab []struct {
	text string
	id   int32
}

func (v *vocab) UnmarshalJSON(data []byte) error {
	c := cursor{text: string(data)}
	if !c.take('{') {
		return fmt.Errorf("model.vocab is not an object")
	}
	*v = make(vocab, 0, len(data)/16)
	for !c.take('}') {
		token, err := c.string()
		if err != nil {
			return fmt.Errorf("model.vocab: %w", err)
		}
		c.take(':')
		id, ok := c.id()
		if !ok {
			return fmt.Errorf("model.vocab: the id of %q is not a whole number from 0 to %d", token, math.MaxInt32)
		}
		*v = append(*v, struct {
			text string
			id   int32
		}{token, id})
		c.take(',')
	}
	return nil
}

// merges are spelled "a b" or, newer, ["a", "b"].
type merges [][2]string

func (m *merges) UnmarshalJSON(data []byte) error {
	c := cursor{text: string(data)}
	if !c.take('[') {
		return fmt.Errorf("model.merges is not a list")
	}
	*m = make(merges, 0, len(data)/16)
	for !c.take(']') {
		merge, err := c.merge()
		if err != nil {
			return fmt.Errorf("model.merges: item %d: %w", len(*m), err)
		}
		*m = append(*m, merge)
		c.take(',')
	}
	return nil
}

// A cursor walks over JSON that encoding/json has found to be well-formed.
type cursor struct {
	text string
	at   int
}

func (c *cursor) space() {
	for c.at < len(c.text) && strings.IndexByte(" \t\r\n", c.text[c.at]) >= 0 {
		c.at++
	}
}

func (c *cursor) take(want byte) bool {
	c.space()
	if c.at < len(c.text) && c.text[c.at] == want {
		c.at++
		return true
	}
	return false
}

func (c *cursor) string() (string, error) {
	if !c.take('"') {
		return "", fmt.Errorf("want a string at %.20q", c.text[c.at:])
	}
	from := c.at
	for escaped := false; c.at < len(c.text); c.at++ {
		switch c.text[c.at] {
		case '\\':
			escaped = true
			c.at++
		case '"':
			c.at++
			if !escaped {
				return c.text[from : c.at-1], nil
			}
			var s string
			err := json.Unmarshal([]byte(c.text[from-1:c.at]), &s)
			return s, err
		}
	}
	return "", fmt.Errorf("a string does not end")
}

func (c *cursor) id() (int32, bool) {
	c.space()
	from, id := c.at, 0
	for c.at < len(c.text) && '0' <= c.text[c.at] && c.text[c.at] <= '9' {
		if id = 10*id + int(c.text[c.at]-'0'); id > math.MaxInt32 {
			return 0, false
		}
		c.at++
	}
	whole := c.at < len(c.text) && strings.IndexByte(".eE", c.text[c.at]) < 0
	return int32(id), whole && c.at > from
}

func (c *cursor) merge() (merge [2]string, err error) {
	if !c.take('[') {
		spelled, err := c.string()
		if err != nil {
			return merge, err
		}
		return cutMerge(spelled)
	}
	for i := range merge {
		if merge[i], err = c.string(); err != nil {
			return merge, err
		}
		c.take(',')
	}
	if !c.take(']') {
		return merge, fmt.Errorf("want two tokens, not more")
	}
	return merge, nil
}
