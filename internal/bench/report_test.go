package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"minisgl"
	"minisgl/internal/bench/benchtest"
)

func silent(string, int, int) {}

// keys lists the paths of an object's members: "summary.ttft_ms.avg". Below "extended" nothing is listed.
func keys(prefix string, value any) (paths []string) {
	object, ok := value.(map[string]any)
	if !ok || prefix == "extended" {
		return []string{prefix}
	}
	if prefix != "" {
		prefix += "."
	}
	for name, member := range object {
		paths = append(paths, keys(prefix+name, member)...)
	}
	slices.Sort(paths)
	return paths
}

// paths joins a prefix to each word.
func paths(prefix, words string) (out []string) {
	for word := range strings.FieldsSeq(words) {
		out = append(out, prefix+word)
	}
	return out
}

var summaryPaths = slices.Concat(
	paths("summary.", "schema_version num_requests num_tokens duration_s throughput_token_per_s throughput_req_per_s"),
	paths("summary.ttft_ms.", "avg p50 p90 p99 max"), paths("summary.tpot_ms.", "avg p50 p90 p99 max"), paths("summary.e2e_s.", "avg p50 p90 p99 max"))

func checkReport(t *testing.T, path string, want ...[]string) map[string]any {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var report map[string]any
	if err := json.Unmarshal(text, &report); err != nil {
		t.Fatal(err)
	}
	wanted := slices.Sorted(slices.Values(slices.Concat(append(want, summaryPaths)...)))
	if got := keys("", report); !slices.Equal(got, wanted) {
		t.Errorf("%s has the keys\n%v\nwant\n%v", path, got, wanted)
	}
	var again strings.Builder
	e := json.NewEncoder(&again) // of a map: sorted keys
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(report); err != nil {
		t.Fatal(err)
	}
	if again.String() != string(text) {
		t.Errorf("%s is not indented by 2 with sorted keys:\n%s", path, text)
	}
	if stamp := report["timestamp_utc"].(string); !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00$`).MatchString(stamp) {
		t.Errorf("timestamp_utc is %q", stamp)
	}
	return report
}

func at(t *testing.T, report map[string]any, path string) any {
	t.Helper()
	var value any = report
	for name := range strings.SplitSeq(path, ".") {
		value = value.(map[string]any)[name]
	}
	return value
}

func checkValues(t *testing.T, report map[string]any, want map[string]any) {
	t.Helper()
	for path, value := range want {
		if got := at(t, report, path); fmt.Sprint(got) != fmt.Sprint(value) {
			t.Errorf("%s is %v, want %v", path, got, value)
		}
	}
}

func TestOfflineReport(t *testing.T) {
	pages := 2048
	o := Offline{
		Engine: minisgl.Options{Model: benchtest.TextModel(t), Device: "fake", DummyWeight: true},
		Profile: OfflineProfile{DType: "float16", Seed: 42, BatchSize: 16, MinInputLen: 64, MaxInputLen: 256, BatchOutputTokens: 64,
			MaxSeqLenOverride: 2048, MaxExtendTokens: 4096, CUDAGraphMaxBS: 64, MemoryRatio: 0.9, NumPageOverride: &pages},
		WarmupPrompt: "Hello", WarmupTokens: 16, SinglePrompt: "Write one short sentence.", SingleOutputTokens: 32, Progress: silent,
	}
	report, err := o.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "new", "folder", "report.json")
	impossible := 1e12
	err = report.Finish(&Gate{MinThroughputTokenPerS: &impossible}, path)
	want := fmt.Sprintf("Benchmark gate check failed:\n- throughput_token_per_s %.4f < min 1000000000000.0000", report.Summary.ThroughputTokenPerS)
	var failed *GateError
	if !errors.As(err, &failed) || err.Error() != want {
		t.Errorf("the gate says %q, want %q", err, want)
	}
	got := checkReport(t, path, paths("", "mode timestamp_utc model_path gate.min_throughput_token_per_s gate_failures gate_passed extended"),
		paths("profile.", "dtype seed batch_size min_input_len max_input_len batch_output_tokens max_seq_len_override max_extend_tokens cuda_graph_max_bs memory_ratio num_page_override"),
		paths("details.", "init_time_s warmup_time_s warmup_tokens single_req_time_s single_out_tokens batch_time_s batch_out_tokens"))
	checkValues(t, got, map[string]any{"mode": "offline", "gate_passed": false, "gate_failures": []any{strings.TrimPrefix(want, "Benchmark gate check failed:\n- ")},
		"details.warmup_tokens": 16, "details.single_out_tokens": 32, "details.batch_out_tokens": 1024, "summary.schema_version": 1,
		"summary.num_requests": 16, "summary.num_tokens": 1024, "summary.ttft_ms.avg": 0, "summary.tpot_ms.max": 0, "summary.e2e_s.p99": 0,
		"profile.num_page_override": 2048, "profile.dtype": "float16", "extended.device": "fake"})
	if got, want := at(t, got, "summary.duration_s"), at(t, got, "details.batch_time_s"); got.(float64)-want.(float64) > 1e-6 {
		t.Errorf("duration_s is %v, batch_time_s %v", got, want)
	}
}

// online is a benchmark of a fake server with the flags' defaults.
func online(t *testing.T, endpoint Endpoint) *Online {
	t.Helper()
	engine := benchtest.Fake(benchtest.TextModel(t))
	engine.Device = benchtest.Paced(t, time.Millisecond)
	client := NewClient(benchtest.Serve(t, engine), "", 0)
	t.Cleanup(client.Close)
	return &Online{Client: client, Loads: []Load{{}}, Progress: silent, Workload: Workload{Endpoint: endpoint, Conversations: 8, Turns: 1, PrefixGroups: 1},
		Profile: OnlineProfile{Seed: 123, BatchSize: 8, MinInputLen: 64, MaxInputLen: 256, BatchOutputTokens: 64, WarmupInputTokens: 32, WarmupOutputTokens: 16}}
}

func TestOnlineReport(t *testing.T) {
	o := online(t, Completions)
	report, extended, err := o.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "report.json")
	if err := errors.Join(report.Finish(nil, path), extended.Failures()); err != nil {
		t.Fatal(err)
	}
	got := checkReport(t, path, paths("", "mode timestamp_utc base_url model_path gate gate_failures gate_passed extended"),
		paths("profile.", "seed batch_size min_input_len max_input_len batch_output_tokens warmup_input_tokens warmup_output_tokens"),
		paths("details.", "warmup_elapsed_s warmup_tokens bench_wall_time_s"))
	checkValues(t, got, map[string]any{"mode": "online", "base_url": o.Client.BaseURL, "model_path": "tiny", "gate": nil, "gate_passed": nil, "gate_failures": []any{},
		"details.warmup_tokens": 16, "summary.num_requests": 8, "summary.num_tokens": 512, "summary.schema_version": 1})
	for _, block := range []string{"ttft_ms", "tpot_ms", "e2e_s"} {
		d := at(t, got, "summary."+block).(map[string]any)
		if p50, p99, most := d["p50"].(float64), d["p99"].(float64), d["max"].(float64); !(d["avg"].(float64) > 0 && p50 <= p99 && p99 <= most && most > 0) {
			t.Errorf("%s: %v", block, d)
		}
	}
	rates := got["summary"].(map[string]any)
	if d := rates["duration_s"].(float64); rates["throughput_token_per_s"].(float64) != 512/d || rates["throughput_req_per_s"].(float64) != 8/d {
		t.Errorf("the throughput is not 512 tokens and 8 requests over %v s: %v", d, rates)
	}
}

func TestThroughputReport(t *testing.T) {
	profile := NanoVLLM
	profile.NumSequences, profile.MaxInputLen, profile.MaxOutputLen = 5, 120, 110
	run := Throughput{Engine: benchtest.Fake(benchtest.TextModel(t)), Profile: profile, Progress: silent}
	report, err := run.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	want := 0
	for _, r := range profile.Requests() {
		want += r.Params.MaxTokens
	}
	if s := report.Summary; s.NumRequests != 5 || s.NumTokens != want {
		t.Errorf("%d requests, %d tokens; want 5, %d", s.NumRequests, s.NumTokens, want)
	}
	path := filepath.Join(t.TempDir(), "report.json")
	if err := report.Finish(nil, path); err != nil {
		t.Fatal(err)
	}
	checkReport(t, path, paths("", "mode timestamp_utc model_path gate gate_failures gate_passed extended"),
		paths("profile.", "seed num_sequences min_len max_input_len max_output_len max_seq_len"))
}
