package shadow_test

import (
	"bytes"
	"strings"
	"testing"

	"minisgl/internal/shadow"
)

func TestSummary(t *testing.T) {
	const report = `{"kind": "positions", "reason": "value mismatch at idx=0: 1 != 2", "req_uids": [1]}
{"kind": "sampled_tokens", "reason": "value mismatch at idx=3: 7 != 9", "margin": 0.25, "step": 4}

{"kind": "write_pos", "reason": "shape mismatch: (1,) != (2,)"}
{"kind": "write_pos", "reason": "value mismatch at idx=0: 1 != 2"}
{"kind": "sampled_tokens", "reason": "value mismatch at idx=0: 1 != 2"}
{"reason": "value mismatch at idx=0: 1 != 2"}
{"kind": "sampled_tokens"}`
	for _, test := range []struct {
		input string
		top   int
		want  string
	}{
		{"", 10, "divergence_entries=0\ntop_kinds:\ntop_reasons:\n"},
		{report, 10, `divergence_entries=7
top_kinds:
  sampled_tokens: 3
  write_pos: 2
  positions: 1
  unknown: 1
top_reasons:
  value mismatch at idx=0: 1 != 2: 4
  value mismatch at idx=3: 7 != 9: 1
  shape mismatch: (1,) != (2,): 1
  unknown: 1
`},
		{report + "\n", 1, `divergence_entries=7
top_kinds:
  sampled_tokens: 3
top_reasons:
  value mismatch at idx=0: 1 != 2: 4
`},
		{report, 0, "divergence_entries=7\ntop_kinds:\ntop_reasons:\n"},
	} {
		summary, err := shadow.Summarise(strings.NewReader(test.input))
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		if err := summary.Print(&out, test.top); err != nil || out.String() != test.want {
			t.Errorf("top %d: %v, got\n%s\nwant\n%s", test.top, err, out.String(), test.want)
		}
	}
}

func TestSummaryOfSomethingElse(t *testing.T) {
	for input, want := range map[string]string{
		"{\"kind\": \"positions\"}\nnot JSON": "line 2",
		"[1, 2]":                              "line 1",
		`{"kind": 3}`:                         "line 1",
		`{"kind": "cut`:                       "line 1",
	} {
		if _, err := shadow.Summarise(strings.NewReader(input)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error that names %s", input, err, want)
		}
	}
}

func FuzzSummarise(f *testing.F) {
	f.Add([]byte("{\"kind\": \"positions\", \"reason\": \"a\"}\n\n{}\r\n"), 1)
	f.Add([]byte("{\"kind\": \"\\ud800\"}\nnull"), 0)
	f.Fuzz(func(t *testing.T, text []byte, top int) {
		if top < 0 {
			return
		}
		s, err := shadow.Summarise(bytes.NewReader(text))
		if err != nil {
			return
		}
		kinds, reasons := 0, 0
		for i := range s.Kinds {
			kinds += s.Kinds[i].N
		}
		for i := range s.Reasons {
			reasons += s.Reasons[i].N
		}
		if kinds != s.Entries || reasons != s.Entries || s.Entries > bytes.Count(text, []byte("\n"))+1 {
			t.Errorf("%+v", s)
		}
		if err := s.Print(&bytes.Buffer{}, top); err != nil {
			t.Error(err)
		}
	})
}
