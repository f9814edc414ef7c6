package parity_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"minisgl/internal/goldens"
	"minisgl/internal/parity"
	_ "minisgl/internal/parity/faults"
)

// profile is small enough for the reference.
var profile = parity.Profile{MaxTokens: 12, TokenPromptCount: 4, MinInputLen: 20, MaxInputLen: 40, MaxSeqLenOverride: 256,
	MaxExtendTokens: 64, MemoryRatio: 0.5}

// compare runs a model on two sides, and the trace if they differ.
func compare(t *testing.T, model, a, b string, profile parity.Profile) *parity.Report {
	t.Helper()
	jobs := [2]parity.Job{}
	var sets [2][]parity.Outputs
	for i, backend := range []string{a, b} {
		jobs[i] = parity.Job{Model: parity.Model{Path: goldens.Get(t, model).Path}, Profile: profile, Seed: 42, Backend: backend}
		sets[i] = run(t, jobs[i]).Sets
	}
	report, err := parity.Compare(jobs[0], jobs[1], sets[0], sets[1], time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if replay := report.FirstDifference(sets[0]); replay != nil {
		jobs[0].Trace = replay
		report.Trace = run(t, jobs[0]).Trace
	}
	var text strings.Builder
	report.Print(&text)
	t.Log("\n" + text.String())
	return report
}

func run(t *testing.T, j parity.Job) parity.Answer {
	t.Helper()
	answer, err := j.Run(context.Background(), func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// On correct devices tokens are equal, or the first difference is one that rounding may make.
func TestCPUAgreesWithReference(t *testing.T) {
	for _, model := range goldens.All(t) {
		t.Run(model.Name, func(t *testing.T) {
			r := compare(t, model.Name, "reference", "cpu", profile)
			if r.ParityPassed {
				return
			}
			if r.Trace.Finding != nil || r.Trace.MarginReference > r.Trace.LogitErrorA+r.Trace.LogitErrorB {
				t.Errorf("the tokens differ by more than rounding: %+v", r.Trace)
			}
		})
	}
}

// One device, cut up in every way, gives the same tokens and log-probabilities.
func TestModifiersChangeNothing(t *testing.T) {
	shared := profile
	shared.SharedPrefixLen = 19
	for _, side := range []string{"cpu,planner=reference", "cpu,cache=naive", "cpu,chunk=7,overlap=off", "cpu,page=1,threads=1,running=2"} {
		r := compare(t, "tiny-tied", "cpu", side, shared)
		tokens := r.Sets[1]
		if !r.ParityPassed || tokens.MaxLogprobDifference != 0 || tokens.SignatureA != tokens.SignatureB {
			t.Errorf("%s: %+v", side, tokens)
		}
		if r.Sets[0].Skipped == "" {
			t.Errorf("%s: the text prompts were not skipped, though the checkpoint has no tokenizer", side)
		}
	}
}

func TestWrongScaleIsTraced(t *testing.T) {
	long := profile
	long.MaxTokens, long.TokenPromptCount = 32, 8
	for _, a := range []string{"reference", "cpu"} {
		r := compare(t, "ratio14to2", a, "faulty:3+scale", long)
		if r.ParityPassed {
			t.Fatal("the fault was not found: the tokens are equal")
		}
		f := r.Trace.Finding
		if f == nil || f.Operation != "layers.3.attention" || f.Layer == nil || *f.Layer != 3 || f.Side != "b" {
			t.Fatalf("the finding is %+v", f)
		}
		wrong, right := math.Abs(float64(f.ValueB-f.ValueReference)), math.Abs(float64(f.ValueA-f.ValueReference))
		if !(wrong > 1e-3*math.Abs(float64(f.ValueReference)) && right < wrong/1000) {
			t.Errorf("the values do not show the fault: %+v", f)
		}
	}
}

func TestStalePageIsFound(t *testing.T) {
	shared := profile
	shared.SharedPrefixLen = 19 // ends inside a page
	r := compare(t, "tiny-tied", "reference", "faulty+stale", shared)
	m := r.Sets[1].FirstMismatch
	if r.ParityPassed || m == nil {
		t.Fatal("the fault was not found: the tokens are equal")
	}
	if m.Index == 0 || m.Margin == nil || slices.Equal(m.PreviewA, m.PreviewB) || m.PreviewA[m.Position] == m.PreviewB[m.Position] {
		t.Errorf("the mismatch is %+v", m)
	}
	if r.Trace.Finding != nil || r.Trace.TokenA != r.Trace.TokenB {
		t.Errorf("the replay has no page copies, so it finds nothing, but it says %+v", r.Trace)
	}
	var text strings.Builder
	r.Print(&text)
	for _, want := range []string{fmt.Sprintf("first mismatch: prompt %d, token %d ", m.Index, m.Position), "not from an operation"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the report does not say %q:\n%s", want, text.String())
		}
	}
}

// A correct device has errors, and none of them stands out.
func TestRoundingDoesNotStandOut(t *testing.T) {
	for _, model := range goldens.All(t) {
		for _, prompt := range model.Prompts[2:5] {
			job := parity.Job{Model: parity.Model{Path: model.Path}, Profile: profile,
				Trace: &parity.Replay{BackendA: "cpu", BackendB: "cpu+generic", Tokens: prompt.IDs}}
			trace := run(t, job).Trace
			if trace.Finding != nil {
				t.Errorf("%s, %d tokens: %+v", model.Name, len(prompt.IDs), trace.Finding)
			}
			largest, jump, at := 1./(1<<24), 0.0, ""
			for _, op := range trace.Operations {
				e := max(float64(op.ErrorA), float64(op.ErrorB))
				if e/largest > jump {
					jump, at = e/largest, op.Step+" "+op.Label
				}
				largest = max(largest, e)
			}
			t.Logf("%s, %d tokens: largest error %.1e, largest jump %.1f at %s", model.Name, len(prompt.IDs), largest, jump, at)
		}
	}
}
