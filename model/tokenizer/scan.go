package tokenizer

import (
	"unicode"
	"unicode/utf8"
)

// A scanner returns the length in bytes of the first piece of s, which is not empty and valid UTF-8.
type scanner func(s string) int

// The patterns that scanners are written for, as tokenizer.json spells them.
const (
	patternGPT2   = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	patternQwen2  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternLlama3 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

var scanners = map[string]scanner{
	patternGPT2:   scanGPT2,
	patternQwen2:  func(s string) int { return scanCL100K(s, 1) },
	patternLlama3: func(s string) int { return scanCL100K(s, 3) },
}

// Classes of characters, disjoint.
const (
	other uint8 = iota
	letter
	number
	blank // white space but newlines
	newline
)

// classes of the basic multilingual plane.
var classes = func() (table [1 << 16]uint8) {
	for _, c := range []struct {
		class uint8
		of    *unicode.RangeTable
	}{{letter, unicode.L}, {number, unicode.N}, {blank, unicode.White_Space}} {
		for _, r := range c.of.R16 {
			for x := uint32(r.Lo); x <= uint32(r.Hi); x += uint32(r.Stride) {
				table[x] = c.class
			}
		}
	}
	table['\n'], table['\r'] = newline, newline
	return table
}()

// class returns the class of the character at s[i] and its length.
func class(s string, i int) (uint8, int) {
	if c := s[i]; c < utf8.RuneSelf {
		return classes[c], 1
	}
	r, n := utf8.DecodeRuneInString(s[i:])
	switch {
	case int(r) < len(classes):
		return classes[r], n
	case unicode.IsLetter(r):
		return letter, n
	case unicode.IsNumber(r):
		return number, n
	}
	return other, n
}

// run returns where the characters of a class that begin at s[i] end.
func run(s string, i int, of uint8) int {
	for i < len(s) {
		c, n := class(s, i)
		if c != of {
			break
		}
		i += n
	}
	return i
}

// scanCL100K is the pattern of Qwen2 (one digit a piece) and Llama 3 (three).
func scanCL100K(s string, digits int) int {
	c, n := class(s, 0)
	switch c {
	case letter:
		return run(s, n, letter)
	case number:
		for ; digits > 1 && n < len(s); digits-- {
			c, w := class(s, n)
			if c != number {
				break
			}
			n += w
		}
		return n
	case newline:
		return scanSpace(s, true)
	}
	if w := contraction(s, true); w > 0 {
		return w
	}
	next, w := newline, 0
	if n < len(s) {
		next, w = class(s, n)
	}
	switch {
	case next == letter:
		return run(s, n+w, letter)
	case c == other:
		n = run(s, n, other)
	case s[0] == ' ' && next == other:
		n = run(s, n+w, other)
	default:
		return scanSpace(s, true)
	}
	return run(s, n, newline)
}

func scanGPT2(s string) int {
	if w := contraction(s, false); w > 0 {
		return w
	}
	c, n := class(s, 0)
	if s[0] == ' ' && len(s) > 1 {
		next, w := class(s, 1)
		if next == letter || next == number || next == other {
			return run(s, 1+w, next)
		}
	}
	if c == blank || c == newline {
		return scanSpace(s, false)
	}
	return run(s, n, c)
}

// contraction returns the length of 's, 't, 're, 've, 'm, 'll or 'd at the start of s; 0 if there is none. fold ignores case,
// for which U+017F is an s too.
func contraction(s string, fold bool) int {
	if s[0] != '\'' || len(s) < 2 {
		return 0
	}
	lower := func(c byte) byte {
		if fold && 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		return c
	}
	switch first := lower(s[1]); first {
	case 's', 't', 'm', 'd':
		return 2
	case 'r', 'v', 'l':
		if len(s) > 2 {
			second := lower(s[2])
			if first == 'l' && second == 'l' || first != 'l' && second == 'e' {
				return 3
			}
		}
	case "ſ"[0]:
		if fold && len(s) > 2 && s[1:3] == "ſ" {
			return 3
		}
	}
	return 0
}

// scanSpace is the patterns' end, for s that begins with white space: \s*[\r\n]+ if newlines is true, \s+(?!\S), \s+.
func scanSpace(s string, newlines bool) int {
	end, last, line := 0, 0, 0
	for end < len(s) {
		c, n := class(s, end)
		if c != blank && c != newline {
			break
		}
		last, end = end, end+n
		if c == newline {
			line = end
		}
	}
	switch {
	case newlines && line > 0:
		return line
	case end < len(s) && last > 0:
		return last
	}
	return end
}

// scanDigits cuts numbers from what is between them, and every character of a number from the next if each is true.
func scanDigits(each bool) scanner {
	return func(s string) int {
		c, n := class(s, 0)
		isNumber := c == number
		for n < len(s) && !(isNumber && each) {
			c, w := class(s, n)
			if (c == number) != isNumber {
				break
			}
			n += w
		}
		return n
	}
}
