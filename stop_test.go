package minisgl

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestStopStrings(t *testing.T) {
	for _, test := range []struct {
		name    string
		stops   []string
		include bool
		min     int
		pieces  []string // the text of each token
		emitted []string // what is shown after each
		matched string
	}{
		{"no stop strings", nil, false, 0, []string{"one ", "two"}, []string{"one ", "two"}, ""},
		{"inside a token", []string{"END"}, false, 0, []string{"a", "bENDc"}, []string{"a", "b"}, "END"},
		{"across tokens, prefix held back", []string{"\n\nUser:"}, false, 0, []string{"Hi\n", "\nUs", "er: x"}, []string{"Hi", "", ""}, "\n\nUser:"},
		{"a prefix that leads nowhere", []string{"abc"}, false, 0, []string{"ab", "ab", "x"}, []string{"", "ab", "abx"}, ""},
		{"kept in the text", []string{"."}, true, 0, []string{"One. Two"}, []string{"One."}, "."},
		{"the earliest wins", []string{"late", "early"}, false, 0, []string{"x early late"}, []string{"x "}, "early"},
		{"not before min_tokens", []string{"a"}, false, 2, []string{"a", "a", "xa"}, []string{"a", "a", "x"}, "a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := stopMatcher{stops: test.stops, min: test.min}
			for i, piece := range test.pieces {
				m.buffer = append(m.buffer, piece...)
				ended := m.scan(i+1, test.include)
				if got := m.emit(ended || i == len(test.pieces)-1); got != test.emitted[i] {
					t.Errorf("after token %d: %q is shown, want %q", i, got, test.emitted[i])
				}
			}
			if got := fmt.Sprint(m.matched); got != test.matched && !(m.matched == nil && test.matched == "") {
				t.Errorf("matched %q, want %q", got, test.matched)
			}
		})
	}
}

// However a text is cut into tokens, what is shown is the text up to the first stop string in it.
func TestStopStringsWhateverTheCuts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		letters := rapid.StringOfN(rapid.RuneFrom([]rune("ab")), 1, 4, -1)
		stops := rapid.SliceOfN(letters, 1, 3).Draw(t, "stops")
		pieces := rapid.SliceOfN(rapid.StringOfN(rapid.RuneFrom([]rune("abc")), 0, 5, -1), 1, 8).Draw(t, "pieces")

		m := stopMatcher{stops: stops}
		var shown strings.Builder
		text, ended := "", false
		for i := 0; i < len(pieces) && !ended; i++ {
			text += pieces[i]
			m.buffer = append(m.buffer, pieces[i]...)
			ended = m.scan(i+1, false)
			shown.WriteString(m.emit(ended || i == len(pieces)-1))
		}
		want := text
		for _, stop := range stops {
			if i := strings.Index(text, stop); i >= 0 && i < len(want) {
				want = text[:i]
			}
		}
		if shown.String() != want {
			t.Fatalf("shown %q, want %q", shown.String(), want)
		}
	})
}

func TestParamsOutOfRange(t *testing.T) {
	minus := -1
	for _, test := range []struct {
		param  string
		params Params
	}{
		{"temperature", Params{Temperature: -0.1}},
		{"temperature", Params{Temperature: math.NaN()}},
		{"temperature", Params{Temperature: math.Inf(1)}},
		{"top_p", Params{TopP: 1.5}},
		{"min_p", Params{MinP: -1}},
		{"top_k", Params{TopK: -2}},
		{"repetition_penalty", Params{RepetitionPenalty: -1}},
		{"presence_penalty", Params{PresencePenalty: 3}},
		{"frequency_penalty", Params{FrequencyPenalty: -3}},
		{"max_tokens", Params{MaxTokens: -2}},
		{"min_tokens", Params{MaxTokens: 4, MinTokens: 5}},
		{"stop", Params{Stop: []string{""}}},
		{"stop", Params{Stop: make([]string, MaxStopStrings+1)}},
		{"logprobs", Params{Logprobs: &minus}},
		{"prompt_logprobs", Params{PromptLogprobs: &minus}},
	} {
		err := test.params.Validate()
		if bad, ok := err.(*ParamError); !ok || bad.Param != test.param {
			t.Errorf("%+v: error %v, want one about %s", test.params, err, test.param)
		}
	}
	if err := (&Params{Temperature: 2, TopP: 1, TopK: -1, Stop: []string{"x"}}).Validate(); err != nil {
		t.Errorf("good parameters: %v", err)
	}
}
