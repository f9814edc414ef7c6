package tokenizer

import (
	"slices"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// composed returns s in Unicode's normalisation form C. norm breaks long runs of combining marks with U+034F (UAX #15, stream-safe
// text), which Hugging Face does not: texts with such runs are composed here. Marks younger than Hugging Face's tables (Unicode 13) are
// put in order here and are left where they stand there; 1 of 20,000 texts of random characters had one.
func composed(s string) string {
	if norm.NFC.IsNormalString(s) {
		return s
	}
	marks := 0
	for _, r := range s {
		if r < 0x300 || !unicode.Is(unicode.M, r) {
			marks = 0
		} else if marks++; marks > safeMarks {
			return string(compose(decompose(s)))
		}
	}
	return norm.NFC.String(s)
}

// safeMarks is well below the 30 of stream-safe text, since a mark may stand for several.
const safeMarks = 8

// decompose returns the characters of s in normalisation form D.
func decompose(s string) []rune {
	var out []rune
	for i, w := 0, 0; i < len(s); i += w {
		_, w = utf8.DecodeRuneInString(s[i:])
		if d := norm.NFD.PropertiesString(s[i:]).Decomposition(); d != nil {
			out = append(out, []rune(string(d))...)
		} else {
			out = append(out, []rune(norm.NFD.String(s[i:i+w]))...) // Hangul
		}
	}
	for i := 0; i < len(out); {
		j := i + 1
		if combiningClass(out[i]) != 0 {
			for j < len(out) && combiningClass(out[j]) != 0 {
				j++
			}
			slices.SortStableFunc(out[i:j], func(a, b rune) int { return int(combiningClass(a)) - int(combiningClass(b)) })
		}
		i = j
	}
	return out
}

// compose is the canonical composition algorithm (Unicode 3.11, D117) in place.
func compose(decomposed []rune) []rune {
	out, starter, lastClass := decomposed[:0], -1, 0
	for _, r := range decomposed {
		class := int(combiningClass(r))
		adjacent := starter == len(out)-1
		if starter >= 0 && (adjacent || lastClass < class) {
			if pair, ok := composePair(out[starter], r); ok {
				out[starter] = pair
				continue
			}
		}
		if class == 0 {
			starter = len(out)
		}
		lastClass = class
		out = append(out, r)
	}
	return out
}

func combiningClass(r rune) uint8 {
	if r < 0x300 {
		return 0
	}
	return norm.NFC.PropertiesString(string(r)).CCC()
}

func composePair(a, b rune) (rune, bool) {
	composed := norm.NFC.String(string([]rune{a, b}))
	r, n := utf8.DecodeRuneInString(composed)
	return r, n == len(composed)
}
