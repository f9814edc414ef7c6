package parity

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"slices"
	"time"
)

// A Report is what token-parity writes. Its fields are the contract's; position, margin, max_logprob_difference, skipped and
// trace are ours.
type Report struct {
	TimestampUTC string  `json:"timestamp_utc"`
	ModelPath    string  `json:"model_path"`
	Seed         uint64  `json:"seed"`
	BackendA     string  `json:"backend_a"`
	BackendB     string  `json:"backend_b"`
	Profile      Profile `json:"profile"`
	Sets         []Set   `json:"sets"`
	ParityPassed bool    `json:"parity_passed"`
	Trace        *Trace  `json:"trace,omitempty"`
}

// A Set compares the outputs of one set of prompts.
type Set struct {
	Name          string    `json:"name"`
	BackendA      string    `json:"backend_a"`
	BackendB      string    `json:"backend_b"`
	Match         bool      `json:"match"`
	MismatchCount int       `json:"mismatch_count"`
	SignatureA    string    `json:"signature_a"`
	SignatureB    string    `json:"signature_b"`
	DurationA     float64   `json:"duration_a_s"`
	DurationB     float64   `json:"duration_b_s"`
	FirstMismatch *Mismatch `json:"first_mismatch"`
	// MaxLogprobDifference is the largest difference between the log-probabilities that the two sides gave to the tokens on
	// which they agree. 0 means bit-identical.
	MaxLogprobDifference Figure `json:"max_logprob_difference"`
	Skipped              string `json:"skipped,omitempty"`
}

// A Mismatch is the first prompt of a set whose outputs differ.
type Mismatch struct {
	Index    int     `json:"index"` // of the prompt
	LenA     int     `json:"len_a"`
	LenB     int     `json:"len_b"`
	PreviewA []int32 `json:"preview_a"` // the first 16 tokens
	PreviewB []int32 `json:"preview_b"`
	Position int     `json:"position"` // of the first token that differs, counted from the output's first
	// Margin is how much likelier (log-probability) side A found its token there than its second choice; null where A's
	// output has ended. A margin of the size of MaxLogprobDifference is what rounding may decide.
	Margin *Figure `json:"margin"`
	TokenA *int32  `json:"token_a"` // the tokens at the position; null where the output has ended
	TokenB *int32  `json:"token_b"`
}

const previewTokens = 16

// Compare makes the report of what two sides answered to the same job. The side's names come from the jobs.
func Compare(a, b Job, setsA, setsB []Outputs, now time.Time) (*Report, error) {
	r := &Report{TimestampUTC: now.UTC().Format("2006-01-02T15:04:05.000000-07:00"), ModelPath: a.Model.Path, Seed: a.Seed, BackendA: a.Backend,
		BackendB: b.Backend, Profile: a.Profile, ParityPassed: true}
	if len(setsA) != len(setsB) {
		return nil, fmt.Errorf("%s answered %d sets, %s %d", a.Backend, len(setsA), b.Backend, len(setsB))
	}
	for i := range setsA {
		set, err := compareSets(&setsA[i], &setsB[i])
		if err != nil {
			return nil, err
		}
		set.BackendA, set.BackendB = a.Backend, b.Backend
		r.Sets = append(r.Sets, set)
		r.ParityPassed = r.ParityPassed && set.Match
	}
	return r, nil
}

func compareSets(a, b *Outputs) (Set, error) {
	s := Set{Name: a.Name, Skipped: a.Skipped, DurationA: a.Duration, DurationB: b.Duration, SignatureA: Signature(a.Outputs),
		SignatureB: Signature(b.Outputs)}
	if len(a.Outputs) != len(b.Outputs) {
		return s, fmt.Errorf("%s: one side answered %d prompts, the other %d", a.Name, len(a.Outputs), len(b.Outputs))
	}
	worst := 0.0
	for i := range a.Outputs {
		x, y := &a.Outputs[i], &b.Outputs[i]
		if !slices.Equal(x.Prompt, y.Prompt) {
			return s, fmt.Errorf("%s: prompt %d has other tokens on the other side: %v and %v", a.Name, i, x.Prompt, y.Prompt)
		}
		same := firstDifference(x.Tokens, y.Tokens)
		for k := range same {
			worst = math.Max(worst, difference(float64(x.Logprobs[k]), float64(y.Logprobs[k])))
		}
		if slices.Equal(x.Tokens, y.Tokens) {
			continue
		}
		if s.MismatchCount++; s.FirstMismatch == nil {
			s.FirstMismatch = mismatch(i, same, x, y)
		}
	}
	s.Match, s.MaxLogprobDifference = s.MismatchCount == 0, Figure(worst)
	return s, nil
}

// difference is |x − y|, and 0 for equal infinities.
func difference(x, y float64) float64 {
	if x == y {
		return 0
	}
	return math.Abs(x - y)
}

func mismatch(index, position int, x, y *Output) *Mismatch {
	m := &Mismatch{Index: index, LenA: len(x.Tokens), LenB: len(y.Tokens), Position: position, PreviewA: preview(x.Tokens),
		PreviewB: preview(y.Tokens), Margin: at(x.Margins, position), TokenA: at(x.Tokens, position), TokenB: at(y.Tokens, position)}
	return m
}

// at returns a pointer to a copy of an element, nil if there is none.
func at[T any](list []T, i int) *T {
	if i >= len(list) {
		return nil
	}
	element := list[i]
	return &element
}

func preview(tokens []int32) []int32 {
	return append([]int32{}, tokens[:min(previewTokens, len(tokens))]...)
}

// firstDifference is the length of the common beginning.
func firstDifference(x, y []int32) int {
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return i
		}
	}
	return min(len(x), len(y))
}

// Signature is the SHA-256, in hex, over each output's length as uint32 and its tokens as int32, little-endian.
func Signature(outputs []Output) string {
	var data []byte
	for _, o := range outputs {
		data = binary.LittleEndian.AppendUint32(data, uint32(len(o.Tokens)))
		for _, token := range o.Tokens {
			data = binary.LittleEndian.AppendUint32(data, uint32(token))
		}
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Print writes the lines that scripts read, and below a set that differs where it does.
func (r *Report) Print(w io.Writer) {
	fmt.Fprintf(w, "parity_passed=%s\n", title(r.ParityPassed))
	for _, s := range r.Sets {
		fmt.Fprintf(w, "set=%s match=%s mismatches=%d sig_a=%s sig_b=%s\n", s.Name, title(s.Match), s.MismatchCount, s.SignatureA[:12], s.SignatureB[:12])
		if m := s.FirstMismatch; m != nil {
			fmt.Fprintf(w, "  first mismatch: prompt %d, token %d (a: %s, b: %s), margin %s; where tokens agree, log-probabilities differ by up to %.3g\n",
				m.Index, m.Position, orEnded("%d", m.TokenA), orEnded("%d", m.TokenB), orEnded("%.3g", m.Margin), s.MaxLogprobDifference)
		}
	}
	if r.Trace != nil {
		r.Trace.Print(w)
	}
}

func orEnded[T any](format string, value *T) string {
	if value == nil {
		return "ended"
	}
	return fmt.Sprintf(format, *value)
}

// title is a boolean as the seed's Python prints it.
func title(b bool) string {
	if b {
		return "True"
	}
	return "False"
}

// FirstDifference returns what Trace needs to replay the first differing step of a report, nil if there is none. The sets are
// side A's, whose tokens lead up to the step.
func (r *Report) FirstDifference(setsA []Outputs) *Replay {
	for i, s := range r.Sets {
		if m := s.FirstMismatch; m != nil {
			output := &setsA[i].Outputs[m.Index]
			return &Replay{Set: s.Name, Index: m.Index, Position: m.Position, BackendA: r.BackendA, BackendB: r.BackendB,
				Tokens: slices.Concat(output.Prompt, output.Tokens[:m.Position])}
		}
	}
	return nil
}
