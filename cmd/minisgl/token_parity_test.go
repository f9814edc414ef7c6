package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"minisgl/internal/goldens"
	_ "minisgl/internal/parity/faults"
)

// token-parity starts the running program again for each side. In a test that is the test's program, which then has to be
// minisgl.
func init() {
	if len(os.Args) == 2 && os.Args[1] == "token-parity-job" {
		main()
	}
}

// tokenParity runs the command on a golden model with a small workload and returns what it wrote, too.
func tokenParity(t *testing.T, model string, args ...string) (result, map[string]any) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "baselines", "report.json")
	got := command(t, nil, "", append([]string{"token-parity", "--model-path", goldens.Get(t, model).Path, "--out", out, "--memory-ratio", "0.5",
		"--token-prompt-count", "3", "--min-input-len", "20", "--max-input-len", "40", "--max-tokens", "20"}, args...)...)
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatalf("%v\n%s", err, got.err)
	}
	var report map[string]any
	if err := json.Unmarshal(text, &report); err != nil {
		t.Fatal(err)
	}
	sorted, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != string(sorted)+"\n" {
		t.Errorf("the keys are not sorted, or the indent is not 2:\n%s", text)
	}
	return got, report
}

func keys(value any) []string { return slices.Sorted(maps.Keys(value.(map[string]any))) }

func wantKeys(t *testing.T, what string, value any, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := keys(value); !slices.Equal(got, want) {
		t.Errorf("%s has the fields %v, want %v", what, got, want)
	}
}

func TestTokenParityPasses(t *testing.T) {
	got, report := tokenParity(t, "tiny-tied", "--backend-a", "reference", "--backend-b", "cpu+generic,cache=naive,chunk=7", "--trace")
	if got.code != 0 {
		t.Fatalf("exit code %d:\n%s%s", got.code, got.out, got.err)
	}
	want := regexp.MustCompile(`^wrote=\S+report\.json
parity_passed=True
set=text_prompts match=True mismatches=0 sig_a=e3b0c44298fc sig_b=e3b0c44298fc
set=token_prompts match=True mismatches=0 sig_a=([0-9a-f]{12}) sig_b=([0-9a-f]{12})
$`)
	if m := want.FindStringSubmatch(got.out); m == nil || m[1] != m[2] {
		t.Errorf("printed\n%s", got.out)
	}
	for _, line := range []string{"reference: loading", "cpu+generic,cache=naive,chunk=7: token_prompts 3/3"} {
		if !strings.Contains(got.err, line) {
			t.Errorf("the progress does not say %q:\n%s", line, got.err)
		}
	}
	wantKeys(t, "the report", report, "timestamp_utc", "model_path", "seed", "backend_a", "backend_b", "profile", "sets", "parity_passed")
	wantKeys(t, "the profile", report["profile"], "max_tokens", "token_prompt_count", "min_input_len", "max_input_len", "shared_prefix_len",
		"max_seq_len_override", "max_extend_tokens", "cuda_graph_max_bs", "memory_ratio", "num_page_override")
	set := report["sets"].([]any)[1].(map[string]any)
	wantKeys(t, "a set", set, "name", "backend_a", "backend_b", "match", "mismatch_count", "signature_a", "signature_b", "duration_a_s",
		"duration_b_s", "first_mismatch", "max_logprob_difference")
	for field, want := range map[string]any{"name": "token_prompts", "backend_a": "reference", "backend_b": "cpu+generic,cache=naive,chunk=7",
		"match": true, "mismatch_count": 0., "first_mismatch": nil} {
		if set[field] != want {
			t.Errorf("%s is %v, want %v", field, set[field], want)
		}
	}
	if skipped := report["sets"].([]any)[0].(map[string]any)["skipped"]; skipped != "the checkpoint has no tokenizer" {
		t.Errorf("skipped: %v", skipped)
	}
	profile := report["profile"].(map[string]any)
	if profile["max_tokens"] != 20. || profile["cuda_graph_max_bs"] != 64. || profile["num_page_override"] != nil || report["seed"] != 42. {
		t.Errorf("the report is %v", report)
	}
}

func TestTokenParityOfPlanners(t *testing.T) {
	got, report := tokenParity(t, "tiny-tied", "--backend-a", "python", "--backend-b", "rust_hotpath", "--shared-prefix-len", "19")
	if got.code != 0 || report["backend_a"] != "python" || report["backend_b"] != "rust_hotpath" {
		t.Errorf("exit code %d:\n%s%s", got.code, got.out, got.err)
	}
}

func TestTokenParityFails(t *testing.T) {
	got, report := tokenParity(t, "ratio14to2", "--backend-a", "cpu", "--backend-b", "faulty:3+scale", "--trace")
	if got.code != 1 || !strings.HasSuffix(got.err, "\ntoken parity check failed\n") {
		t.Errorf("exit code %d, said\n%s", got.code, got.err)
	}
	for _, want := range []string{"wrote=", "\nparity_passed=False\n", "\nset=token_prompts match=False mismatches=",
		"\n  first mismatch: prompt ", "\n  layers.3.attention on faulty:3+scale (prefill) stands out"} {
		if !strings.Contains(got.out, want) {
			t.Errorf("it did not print %q:\n%s", want, got.out)
		}
	}
	set := report["sets"].([]any)[1].(map[string]any)
	if report["parity_passed"] != false || set["match"] != false {
		t.Errorf("the report is %v", report)
	}
	wantKeys(t, "a mismatch", set["first_mismatch"], "index", "len_a", "len_b", "preview_a", "preview_b", "position", "margin", "token_a", "token_b")
	trace := report["trace"].(map[string]any)
	finding := trace["finding"].(map[string]any)
	for field, want := range map[string]any{"operation": "layers.3.attention", "layer": 3., "side": "b", "backend": "faulty:3+scale", "step": "prefill"} {
		if !reflect.DeepEqual(finding[field], want) {
			t.Errorf("the finding's %s is %v, want %v", field, finding[field], want)
		}
	}
	for _, field := range []string{"value_a", "value_b", "value_reference", "row", "element"} {
		if _, ok := finding[field].(float64); !ok {
			t.Errorf("the finding's %s is %v", field, finding[field])
		}
	}
}

func TestTokenParityFindsStalePage(t *testing.T) {
	got, report := tokenParity(t, "tiny-tied", "--backend-a", "cpu", "--backend-b", "faulty+stale", "--shared-prefix-len", "19", "--max-extend-tokens", "64")
	mismatch, _ := report["sets"].([]any)[1].(map[string]any)["first_mismatch"].(map[string]any)
	if got.code != 1 || mismatch == nil || mismatch["index"] == 0. || // the first prompt finds nothing in the cache
		!strings.Contains(got.out, fmt.Sprintf("first mismatch: prompt %v, token %v ", mismatch["index"], mismatch["position"])) {
		t.Errorf("exit code %d, mismatch %v:\n%s", got.code, mismatch, got.out)
	}
}

func TestTokenParityErrors(t *testing.T) {
	for _, test := range []struct {
		args []string
		code int
		want []string
	}{
		{[]string{"--backend-a", "cpu,planner=simple"}, 1, []string{`"simple"`, "optimized or reference"}},
		{[]string{"--backend-a", "cpu,cache=lru"}, 1, []string{"cache=lru", "naive, radix"}},
		{[]string{"--backend-a", "tpu"}, 1, []string{`unknown device "tpu"`, "the process of backend tpu"}},
		{[]string{"--max-input-len", "10"}, 1, []string{"--max-input-len 10", "at least 64"}},
		{[]string{"--shared-prefix-len", "64"}, 1, []string{"--shared-prefix-len 64", "less than --min-input-len 64"}},
		{[]string{"--dtype", "int3"}, 2, []string{"--dtype", "int3"}},
	} {
		got := command(t, nil, "", append([]string{"token-parity", "--model-path", goldens.Get(t, "tiny-tied").Path}, test.args...)...)
		for _, want := range test.want {
			if got.code != test.code || !strings.Contains(got.err, want) {
				t.Errorf("%v: exit code %d, want %d, and an error that says %q:\n%s", test.args, got.code, test.code, want, got.err)
			}
		}
	}
}
