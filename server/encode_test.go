package server

import (
	"bytes"
	"encoding/json"
	"testing"
)

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "plain", "é\n\t\"\\/<&>\x00\x1f\x7f", "\xff\xfe \u2028\u2029 😀", "\b\f\r"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var want bytes.Buffer
		e := json.NewEncoder(&want)
		e.SetEscapeHTML(false)
		if err := e.Encode(s); err != nil {
			t.Fatal(err)
		}
		if got := appendString(nil, s); string(got)+"\n" != want.String() {
			t.Errorf("%q is written %s, encoding/json writes %s", s, got, &want)
		}
		var back, same string
		if err := json.Unmarshal(appendASCII(nil, s), &back); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if json.Unmarshal(want.Bytes(), &same); back != same {
			t.Errorf("%q in ASCII reads %q", s, back)
		}
	})
}

// What Python's json.dumps wrote.
func TestAppendASCII(t *testing.T) {
	for s, want := range map[string]string{
		"abc":                       `"abc"`,
		"é\n\t\"\\/<&>\x00\x1f\x7f": `"\u00e9\n\t\"\\/<&>\u0000\u001f\u007f"`,
		"😀 你好 \u2028\uffff":         `"\ud83d\ude00 \u4f60\u597d \u2028\uffff"`,
		"\b\f\r":                    `"\b\f\r"`,
	} {
		if got := appendASCII(nil, s); string(got) != want {
			t.Errorf("%q is written %s, Python writes %s", s, got, want)
		}
	}
}
