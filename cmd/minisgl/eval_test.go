package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"minisgl/internal/goldens"
)

func TestEval(t *testing.T) {
	for _, test := range []struct {
		device string
		args   []string
		code   int
		out    []string
		err    []string
	}{
		{"cpu", nil, 0, []string{"wrote=", "\neval_passed=True\n", "\npass=alone ", "\npass=alone_again ", "\npass=batched ", "\npass=padded "}, nil},
		{"faulty:1+scale", nil, 1, []string{"\neval_passed=False\n"}, []string{"\naccuracy gate failed:\n- alone: max_regret ", "\n- alone: max_error ",
			"sequence ", "position ", "token ", "ours ", "golden "}},
		{"cpu", []string{"--max-error", "1e-9"}, 1, nil, []string{"\naccuracy gate failed:\n- alone: max_error ", " > max 1e-09 (sequence "}},
		{"faulty+crowd", []string{"--once"}, 0, []string{"\neval_passed=True\n", "\npass=alone "}, nil},
		{"faulty+crowd", []string{"--no-batch-invariant"}, 0, []string{"\neval_passed=True\n", "identical=False"}, nil},
	} {
		out := filepath.Join(t.TempDir(), "eval.json")
		got := command(t, nil, "", append([]string{"eval", "--goldens", "../../internal/eval/testdata/tiny-tied.json.gz", "--device", test.device,
			"--model-path", goldens.Get(t, "tiny-tied").Path, "--kv-dtype", "float32", "--num-pages", "512", "--out", out}, test.args...)...)
		if got.code != test.code {
			t.Errorf("%s %v: exit code %d, want %d:\n%s%s", test.device, test.args, got.code, test.code, got.out, got.err)
		}
		for what, texts := range map[string][]string{got.out: test.out, got.err: test.err} {
			for _, want := range texts {
				if !strings.Contains(what, want) {
					t.Errorf("%s %v: it does not say %q:\n%s", test.device, test.args, want, what)
				}
			}
		}
		text, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		var report map[string]any
		if err := json.Unmarshal(text, &report); err != nil {
			t.Fatal(err)
		}
		wantKeys(t, "the report", report, "timestamp_utc", "model_path", "device", "kernels", "goldens", "goldens_dtype", "num_sequences", "num_positions",
			"limits", "batch_invariant", "goldens_perplexity", "passes", "gate_failures", "gate_passed")
		if report["gate_passed"] != (test.code == 0) {
			t.Errorf("%s: the report says %v", test.device, report["gate_passed"])
		}
	}
}
