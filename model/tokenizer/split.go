package tokenizer

import (
	"fmt"
	"iter"
	"time"

	"github.com/dlclark/regexp2/v2"
)

// A step cuts text into pieces, in one of three ways: by scan, by pattern, or, if it has neither, by putting a space before text that has none.
type step struct {
	scan    scanner
	pattern *pattern
}

// A pattern cuts text with a regular expression that no scanner is written for.
type pattern struct {
	expr                      *regexp2.Regexp
	dropMatches, dropBetweens bool
}

// patternTime is what a pattern may spend on one text. Then the rest is one piece: a hostile tokenizer.json must not stop the server.
const patternTime = 2 * time.Second

func newPattern(expr string) (*pattern, error) {
	compiled, err := regexp2.Compile(expr)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", expr, err)
	}
	compiled.MatchTimeout = patternTime
	return &pattern{expr: compiled}, nil
}

func (p *pattern) split(s string) iter.Seq[string] {
	return func(yield func(string) bool) {
		deadline := time.Now().Add(patternTime)
		done := 0
		piece := func(end int, drop bool) bool {
			from := done
			done = end
			return drop || end == from || yield(s[from:end])
		}
		match, err := p.expr.FindStringMatch(s)
		for err == nil && match != nil && time.Now().Before(deadline) {
			start, n := match.ByteRange()
			if !piece(start, p.dropBetweens) || !piece(start+n, p.dropMatches) {
				return
			}
			match, err = p.expr.FindNextMatch(match)
		}
		piece(len(s), p.dropBetweens && err == nil && match == nil)
	}
}
