package parity

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

// The hashes come from the seed's definition, computed with Python's hashlib.
func TestSignature(t *testing.T) {
	for want, outputs := range map[string][]Output{
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855": nil,
		"8a29967dceab9912152a6c7291b9f45bb76211d306c8cdfceb9d451a6bde03df": {{Tokens: []int32{1, 2, 151643}}, {}, {Tokens: []int32{-1, 0}}},
	} {
		if got := Signature(outputs); got != want {
			t.Errorf("signature of %v: %s, want %s", outputs, got, want)
		}
	}
}

func output(tokens ...int32) Output {
	o := Output{Prompt: []int32{7}, Tokens: tokens}
	for range tokens {
		o.Logprobs, o.Margins = append(o.Logprobs, -0.5), append(o.Margins, 2)
	}
	return o
}

func pointer[T any](v T) *T { return &v }

func TestCompare(t *testing.T) {
	long := make([]int32, 40)
	for _, test := range []struct {
		name       string
		a, b       []Output
		mismatches int
		first      *Mismatch
	}{
		{"equal", []Output{output(1, 2), output()}, []Output{output(1, 2), output()}, 0, nil},
		{"second prompt, third token", []Output{output(1, 2), output(4, 5, 6)}, []Output{output(1, 2), output(4, 5, 7, 8)}, 1,
			&Mismatch{Index: 1, LenA: 3, LenB: 4, PreviewA: []int32{4, 5, 6}, PreviewB: []int32{4, 5, 7, 8}, Position: 2, Margin: pointer(Figure(2)),
				TokenA: pointer(int32(6)), TokenB: pointer(int32(7))}},
		{"one ends early, and there is another", []Output{output(4), output(3)}, []Output{output(4, 5), output(2)}, 2,
			&Mismatch{Index: 0, LenA: 1, LenB: 2, PreviewA: []int32{4}, PreviewB: []int32{4, 5}, Position: 1, TokenB: pointer(int32(5))}},
		{"behind the preview", []Output{output(append(long, 1)...)}, []Output{output(append(long, 2)...)}, 1,
			&Mismatch{Index: 0, LenA: 41, LenB: 41, PreviewA: long[:16], PreviewB: long[:16], Position: 40, Margin: pointer(Figure(2)),
				TokenA: pointer(int32(1)), TokenB: pointer(int32(2))}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := Compare(Job{Backend: "cpu"}, Job{Backend: "reference"}, []Outputs{{Name: TokenPrompts, Outputs: test.a}},
				[]Outputs{{Name: TokenPrompts, Outputs: test.b}}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			set := r.Sets[0]
			if set.MismatchCount != test.mismatches || set.Match != (test.mismatches == 0) || r.ParityPassed != set.Match {
				t.Errorf("%d mismatches, match %v, passed %v", set.MismatchCount, set.Match, r.ParityPassed)
			}
			if !reflect.DeepEqual(set.FirstMismatch, test.first) {
				t.Errorf("first mismatch %+v, want %+v", set.FirstMismatch, test.first)
			}
			if (set.SignatureA == set.SignatureB) != set.Match {
				t.Errorf("signatures %s and %s", set.SignatureA, set.SignatureB)
			}
		})
	}
}

func TestOtherPromptsAreAnError(t *testing.T) {
	a, b := output(1), output(1)
	b.Prompt = []int32{8}
	_, err := Compare(Job{}, Job{}, []Outputs{{Outputs: []Output{a}}}, []Outputs{{Outputs: []Output{b}}}, time.Now())
	if err == nil || !strings.Contains(err.Error(), "prompt 0") {
		t.Errorf("error %v", err)
	}
}

func TestFigures(t *testing.T) {
	for text, want := range map[string]float64{"-0.25": -0.25, "0": 0, `"+Inf"`: math.Inf(1), `"-Inf"`: math.Inf(-1), `"NaN"`: math.NaN()} {
		got, err := json.Marshal(Figure(want))
		if err != nil || string(got) != text {
			t.Errorf("%v is written %s (%v), want %s", want, got, err, text)
		}
		var back Figure
		if err := json.Unmarshal([]byte(text), &back); err != nil || math.Float64bits(float64(back)) != math.Float64bits(want) {
			t.Errorf("%s is read as %v (%v)", text, back, err)
		}
	}
}
