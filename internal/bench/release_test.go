package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func onlineReport(t *testing.T, throughput, ttft float64) string {
	return write(t, "report.json", fmt.Sprintf(`{"mode": "online", "summary": {"schema_version": 1, "throughput_token_per_s": %v, "ttft_ms": {"avg": %v}}}`, throughput, ttft))
}

func TestReleaseGate(t *testing.T) {
	lines := func(n int) string { return strings.Repeat(`{"kind": "positions", "reason": "x"}`+"\n", n) }
	files := map[string]string{
		"report":   onlineReport(t, 100, 20),
		"gate":     write(t, "gate.yaml", "min_throughput_token_per_s: 100\nmax_avg_ttft_ms: 20\n"),
		"strict":   write(t, "gate.yaml", "min_throughput_token_per_s: 100.0001\nmax_avg_ttft_ms: 19.9999\n"),
		"parity":   write(t, "parity.json", `{"parity_passed": true, "sets": []}`),
		"mismatch": write(t, "parity.json", `{"parity_passed": false, "sets": [{"name": "text_prompts", "match": true, "mismatch_count": 0}, {"name": "token_prompts", "match": false, "mismatch_count": 3}]}`),
		"shadow2":  write(t, "shadow.jsonl", lines(2)+"\n"),
		"missing":  filepath.Join(t.TempDir(), "none.jsonl"),
	}
	// 90, 110: mean 100, population deviation 10. 85, 115: 15.
	spread := []string{onlineReport(t, 90, 85), onlineReport(t, 110, 115)}
	for _, c := range []struct {
		name string
		gate ReleaseGate
		want []string
	}{
		{"all kept, each at its limit", ReleaseGate{PerfSummary: files["report"], PerfGate: files["gate"], ParityJSON: files["parity"], ShadowJSONL: files["shadow2"],
			MaxShadowDivergences: 2, StabilitySummaries: spread, MaxThroughputCV: 0.1000001, MaxTTFTCV: 0.1500001}, nil},
		{"throughput and latency just missed", ReleaseGate{PerfSummary: files["report"], PerfGate: files["strict"]},
			[]string{"throughput_token_per_s 100.0000 < min 100.0001", "avg_ttft_ms 20.0000 > max 19.9999"}},
		{"parity", ReleaseGate{ParityJSON: files["mismatch"]}, []string{"token parity check failed", "token parity: set=token_prompts mismatches=3"}},
		{"one divergence too many", ReleaseGate{ShadowJSONL: files["shadow2"], MaxShadowDivergences: 1}, []string{"shadow_divergences 2 > max 1"}},
		{"no shadow file", ReleaseGate{ShadowJSONL: files["missing"]}, nil},
		{"spread just too wide", ReleaseGate{StabilitySummaries: spread, MaxThroughputCV: 0.0999, MaxTTFTCV: 0.1499},
			[]string{"throughput_cv 0.1000 > max 0.0999", "ttft_cv 0.1500 > max 0.1499"}},
	} {
		c.gate.Out = filepath.Join(t.TempDir(), "deep", "release.json")
		report, err := c.gate.Run()
		if report == nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if !slices.Equal(report.GateFailures, c.want) || report.GatePassed != (len(c.want) == 0) {
			t.Errorf("%s: %q, want %q", c.name, report.GateFailures, c.want)
		}
		var failed *GateError
		if errors.As(err, &failed) != (len(c.want) > 0) || err != nil && err.Error() != "Release gate check failed:\n- "+strings.Join(c.want, "\n- ") {
			t.Errorf("%s: %v", c.name, err)
		}
		text, err := os.ReadFile(c.gate.Out)
		if err != nil {
			t.Fatal(err)
		}
		var object map[string]any
		if err := json.Unmarshal(text, &object); err != nil {
			t.Fatal(err)
		}
		wanted := slices.Sorted(slices.Values(slices.Concat(paths("", "gate_passed gate_failures"),
			paths("stability.", "num_samples throughput_values ttft_values throughput_cv ttft_cv"),
			paths("inputs.", "perf_summary perf_gate parity_json shadow_jsonl max_shadow_divergences stability_summaries max_throughput_cv max_ttft_cv out"))))
		if got := keys("", object); !slices.Equal(got, wanted) {
			t.Errorf("%s: keys %v, want %v", c.name, got, wanted)
		}
	}
}

func TestReleaseGateInputsThatAreRefused(t *testing.T) {
	report, gate := onlineReport(t, 100, 20), write(t, "gate.yaml", "max_avg_ttft_ms: 20")
	offline := write(t, "offline.json", `{"mode": "offline", "summary": {"schema_version": 1, "throughput_token_per_s": 5}}`)
	for _, c := range []struct {
		gate ReleaseGate
		want string
	}{
		{ReleaseGate{}, "nothing to check"},
		{ReleaseGate{PerfSummary: report}, "perf_summary and perf_gate"},
		{ReleaseGate{PerfGate: gate}, "perf_summary and perf_gate"},
		{ReleaseGate{PerfSummary: gate, PerfGate: gate}, "perf_summary: " + gate},
		{ReleaseGate{PerfSummary: report, PerfGate: report}, "perf_gate: " + report + ": unknown field"},
		{ReleaseGate{PerfSummary: offline, PerfGate: gate}, "max_avg_ttft_ms: bench offline measures no latencies"},
		{ReleaseGate{ParityJSON: report}, "has no parity_passed"},
		{ReleaseGate{ShadowJSONL: report, MaxShadowDivergences: -1}, "max_shadow_divergences is -1"},
		{ReleaseGate{ShadowJSONL: write(t, "s.jsonl", `{"kind": "positions"}`+"\n{")}, "line 2"},
		{ReleaseGate{ShadowJSONL: t.TempDir()}, "shadow_jsonl: "},
		{ReleaseGate{StabilitySummaries: []string{report}}, "expected at least 2"},
		{ReleaseGate{StabilitySummaries: []string{report, offline}}, "of bench offline, those before of bench online"},
		{ReleaseGate{StabilitySummaries: []string{report, onlineReport(t, 0, 1)}}, "throughput_token_per_s is 0"},
		{ReleaseGate{StabilitySummaries: []string{report, filepath.Join(t.TempDir(), "none.json")}}, "none.json"},
		{ReleaseGate{StabilitySummaries: []string{report, write(t, "x.json", "{}")}}, "schema_version 1"},
	} {
		c.gate.Out = filepath.Join(t.TempDir(), "out.json")
		if r, err := c.gate.Run(); err == nil || r != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.gate, err, c.want)
		}
		if _, err := os.Stat(c.gate.Out); err == nil {
			t.Errorf("%+v: a result was written", c.gate)
		}
	}
}

func TestReleaseGateFiles(t *testing.T) {
	got, err := LoadReleaseGate(write(t, "release.yaml", "perf_summary: a.json\nstability_summaries:\n  - b.json\n  - c.json\nmax_ttft_cv: 0.5\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got.PerfSummary != "a.json" || len(got.StabilitySummaries) != 2 || got.MaxTTFTCV != 0.5 || got.MaxThroughputCV != 0.10 || got.MaxShadowDivergences != 0 {
		t.Errorf("%+v", got)
	}
	for text, want := range map[string]string{"perf_sumary: a": `unknown field "perf_sumary"`, "stability_summaries: a": "stability_summaries: expected a list, got string",
		"max_shadow_divergences: 1.5": "max_shadow_divergences: expected a whole number, got number 1.5", "parity_json: 3": "parity_json: expected a text, got number"} {
		if _, err := LoadReleaseGate(write(t, "release.yaml", text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
