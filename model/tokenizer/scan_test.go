package tokenizer

import (
	"slices"
	"testing"
	"unicode/utf8"
)

// FuzzScanners holds the hand-written scanners against the regular expressions that they stand for.
func FuzzScanners(f *testing.F) {
	for _, s := range []string{
		"It's 10:30\n\n\n  done", "'S 'ſt 'LL'RE 'x", " \t\n x", "12345 ½Ⅷ٣", "a\u0301 \u3000\u3000b", "!!\r\n\r\n x", "  'll", "\u0085\u00a0x", "日本 語!",
	} {
		f.Add(s)
	}
	patterns := make(map[string]*pattern)
	for expr := range scanners {
		p, err := newPattern(expr)
		if err != nil {
			f.Fatal(err)
		}
		patterns[expr] = p
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			return
		}
		for expr, scan := range scanners {
			want := slices.Collect(patterns[expr].split(s))
			var got []string
			for rest := s; rest != ""; {
				n := scan(rest)
				got, rest = append(got, rest[:n]), rest[n:]
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s\n cuts %q\ninto %q\nwant %q", expr, s, got, want)
			}
		}
	})
}

func TestComposeLongRunsOfMarks(t *testing.T) {
	marks := func(mark string, n int) (s string) {
		for range n {
			s += mark
		}
		return s
	}
	for _, c := range []struct{ name, text, want string }{
		{"no U+034F after thirty", "e" + marks("\u0301", 40), "\u00e9" + marks("\u0301", 39)},
		{"marks are put in order", "a" + marks("\u0301", 20) + marks("\u0323", 20), "\u1ea1" + marks("\u0323", 19) + marks("\u0301", 20)},
		{"a mark that stands for two", "a" + marks("\u0344", 20), "\u00e4" + "\u0301" + marks("\u0308\u0301", 19)},
		{"Hangul beside it", "\u1112\u1161\u11ab" + marks("\u0327", 40), "\ud55c" + marks("\u0327", 40)},
		{"no mark at all", "plain", "plain"},
	} {
		if got := composed(c.text); got != c.want {
			t.Errorf("%s: composed(%+q)\n got %+q\nwant %+q", c.name, c.text, got, c.want)
		}
	}
}

// The slow way of composing must agree with norm's on texts that both can compose.
func FuzzCompose(f *testing.F) {
	for _, s := range []string{"e\u0323\u0301x", "\u09c7\u09be", "\u1112\u1161\u11abb", "\u0344\u0315a\u0327", "\ufb1d\u2126\u0f43", "\u212b\u0338"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 30 || !utf8.ValidString(s) {
			return
		}
		if got, want := string(compose(decompose(s))), composed(s); got != want {
			t.Errorf("compose(decompose(%+q)) = %+q, want %+q", s, got, want)
		}
	})
}

func TestPatternThatTakesForever(t *testing.T) {
	p, err := newPattern(`(?:\w+\w+)+\d!`)
	if err != nil {
		t.Fatal(err)
	}
	text := "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	if got := slices.Collect(p.split(text)); !slices.Equal(got, []string{text}) {
		t.Errorf("pieces %q, want the text whole", got)
	}
}
