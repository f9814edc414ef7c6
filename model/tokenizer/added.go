package tokenizer

import (
	"fmt"
	"iter"
	"strings"
	"unicode"
	"unicode/utf8"
)

// An addedToken is one of tokenizer.json's added_tokens.
type addedToken struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"` // not inside a word
	LStrip     bool   `json:"lstrip"`      // takes the white space before it
	RStrip     bool   `json:"rstrip"`      // takes the white space behind it
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

// A matcher finds added tokens in a text: the leftmost, and of those that begin there the longest.
type matcher struct {
	tokens []addedToken
	first  [256]bool
	edges  map[edge]int32 // a trie; node 0 is its root
	ends   map[int32]int  // node to index in tokens
}

type edge struct {
	node int32
	next byte
}

// longestAdded bounds what a match may cost.
const longestAdded = 4096

func (m *matcher) add(t addedToken, spelling string) error {
	if spelling == "" || len(spelling) > longestAdded {
		return fmt.Errorf("added token %d has %d bytes, want 1 to %d", t.ID, len(spelling), longestAdded)
	}
	if m.edges == nil {
		m.edges, m.ends = make(map[edge]int32), make(map[int32]int)
	}
	node := int32(0)
	for i := 0; i < len(spelling); i++ {
		at := edge{node, spelling[i]}
		if m.edges[at] == 0 {
			m.edges[at] = int32(len(m.edges) + 1)
		}
		node = m.edges[at]
	}
	if _, taken := m.ends[node]; !taken {
		m.ends[node] = len(m.tokens)
	}
	m.tokens = append(m.tokens, t)
	m.first[spelling[0]] = true
	return nil
}

// find returns where the next token begins and ends in s at or after from; false if there is none.
func (m *matcher) find(s string, from int) (start, end int, token *addedToken) {
	for start = from; start < len(s); start++ {
		if !m.first[s[start]] {
			continue
		}
		node := int32(0)
		for i := start; i < len(s); i++ {
			if node = m.edges[edge{node, s[i]}]; node == 0 {
				break
			}
			if index, ok := m.ends[node]; ok {
				end, token = i+1, &m.tokens[index]
			}
		}
		if token != nil {
			return start, end, token
		}
	}
	return 0, 0, nil
}

// A segment is an added token or the text between two.
type segment struct {
	text  string
	id    int32
	token bool
}

// split cuts s at its added tokens; at special ones only if special is true. A match that does not count is still passed over.
func (m *matcher) split(s string, special bool) iter.Seq[segment] {
	return func(yield func(segment) bool) {
		if len(m.tokens) == 0 {
			yield(segment{text: s})
			return
		}
		done := 0
		for from := 0; ; {
			start, end, t := m.find(s, from)
			if t == nil {
				break
			}
			from = end
			if t.Special && !special || t.SingleWord && (endsInWord(s[:start]) || beginsWord(s[end:])) {
				continue
			}
			if t.LStrip {
				start = len(strings.TrimRightFunc(s[:start], unicode.IsSpace))
			}
			if t.RStrip {
				end = len(s) - len(strings.TrimLeftFunc(s[end:], unicode.IsSpace))
			}
			if start > done && !yield(segment{text: s[done:start]}) {
				return
			}
			if !yield(segment{id: t.ID, token: true}) {
				return
			}
			done = max(done, end)
		}
		if done < len(s) {
			yield(segment{text: s[done:]})
		}
	}
}

func endsInWord(s string) bool {
	r, n := utf8.DecodeLastRuneInString(s)
	return n > 0 && isWord(r)
}

func beginsWord(s string) bool {
	r, n := utf8.DecodeRuneInString(s)
	return n > 0 && isWord(r)
}

// isWord is \w of UTS #18, annex C.
func isWord(r rune) bool {
	return unicode.In(r, unicode.L, unicode.M, unicode.Nd, unicode.Nl, unicode.Pc, unicode.Other_Alphabetic, unicode.Join_Control)
}
