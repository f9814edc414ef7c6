package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"minisgl/internal/bench"
	"minisgl/internal/bench/benchtest"
)

// benchCommand runs the program and returns its exit code and what it wrote.
func benchCommand(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	got := command(t, nil, "", args...)
	return got.code, got.out, got.err
}

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func pacedServer(t *testing.T) string {
	engine := benchtest.Fake(benchtest.TextModel(t))
	engine.Device = benchtest.Paced(t, time.Millisecond)
	return benchtest.Serve(t, engine)
}

func readReport(t *testing.T, path string) (report struct {
	GatePassed *bool `json:"gate_passed"`
	Summary    struct {
		Tokens int `json:"num_tokens"`
	}
	Profile  map[string]any
	Extended struct{ Points []any }
}) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &report); err != nil {
		t.Fatal(err)
	}
	return report
}

func TestBenchOnlineCommand(t *testing.T) {
	url, dir := pacedServer(t), t.TempDir()
	out := filepath.Join(dir, "sub", "online.json")
	code, stdout, stderr := benchCommand(t, "bench", "online", "--base-url", url, "--out", out, "--gate", file(t, "gate.yaml", "max_avg_e2e_s: 60\n"))
	if code != 0 || !strings.Contains(stdout, "8 requests, 512 tokens in ") || !strings.Contains(stdout, "wrote="+out+"\n") || !strings.Contains(stderr, "all at once: 8 of 8") {
		t.Errorf("%d\n%s\n%s", code, stdout, stderr)
	}
	report := readReport(t, out)
	if report.GatePassed == nil || !*report.GatePassed || report.Summary.Tokens != 512 {
		t.Errorf("%+v", report)
	}
	for flag, want := range map[string]float64{"seed": 123, "batch_size": 8, "min_input_len": 64, "max_input_len": 256, "batch_output_tokens": 64,
		"warmup_input_tokens": 32, "warmup_output_tokens": 16} {
		if report.Profile[flag] != want {
			t.Errorf("the default of %s is %v, want %v", flag, report.Profile[flag], want)
		}
	}

	// A gate that is missed: the report comes first, then the text alone on stderr, then exit code 1.
	code, stdout, stderr = benchCommand(t, "bench", "online", "--base-url", url, "--out", out, "--batch-size", "2", "--batch-output-tokens", "4",
		"--gate", file(t, "gate.json", `{"max_avg_tpot_ms": 0.0001}`))
	if !regexp.MustCompile(`(?m)^Benchmark gate check failed:\n- avg_tpot_ms \d+\.\d{4} > max 0\.0001\n\z`).MatchString(stderr) || code != 1 {
		t.Errorf("%d\n%s\n%s", code, stdout, stderr)
	}
	if report := readReport(t, out); report.GatePassed == nil || *report.GatePassed || report.Summary.Tokens != 8 {
		t.Errorf("%+v", report)
	}

	picture := filepath.Join(dir, "load.svg")
	sweep := []string{"bench", "online", "--base-url", url + "/v1", "--out", out, "--batch-size", "4", "--batch-output-tokens", "4",
		"--concurrency", "1,2,4", "--slo-ttft-ms", "60000", "--endpoint", "chat", "--turns", "2"}
	withPicture := append(slices.Clone(sweep), "--plot", picture)
	draws := bench.CheckPlot(picture) == nil
	if draws {
		sweep = withPicture
	} else if code, _, stderr := benchCommand(t, withPicture...); code != 1 || !strings.Contains(stderr, "-tags plot") {
		t.Errorf("a build that draws no pictures: %d %s", code, stderr)
	}
	code, stdout, stderr = benchCommand(t, sweep...)
	if code != 0 || strings.Count(stdout, " at a time: ") != 3 || !strings.Contains(stdout, "(100.0 %)") {
		t.Errorf("%d\n%s\n%s", code, stdout, stderr)
	}
	if n := len(readReport(t, out).Extended.Points); n != 3 {
		t.Errorf("%d points, want 3", n)
	}
	if svg, err := os.ReadFile(picture); draws && (err != nil || !bytes.Contains(svg, []byte("<svg"))) {
		t.Errorf("the picture: %v", err)
	}
}

func TestBenchOfflineAndThroughputCommands(t *testing.T) {
	model, out := benchtest.TextModel(t), filepath.Join(t.TempDir(), "report.json")
	code, stdout, stderr := benchCommand(t, "bench", "offline", "--model-path", model, "--device", "fake", "--dummy-weight", "--num-page-override", "2048", "--out", out)
	if code != 0 || !strings.Contains(stdout, "16 requests, 1024 tokens in ") || !strings.Contains(stderr, "batch: 1024 of 1024") {
		t.Errorf("%d\n%s\n%s", code, stdout, stderr)
	}
	report := readReport(t, out)
	for flag, want := range map[string]any{"dtype": "float16", "seed": 42.0, "batch_size": 16.0, "min_input_len": 64.0, "max_input_len": 256.0, "batch_output_tokens": 64.0,
		"max_seq_len_override": 2048.0, "max_extend_tokens": 4096.0, "cuda_graph_max_bs": 64.0, "memory_ratio": 0.9, "num_page_override": 2048.0} {
		if report.Profile[flag] != want {
			t.Errorf("the default of %s is %v, want %v", flag, report.Profile[flag], want)
		}
	}
	code, stdout, stderr = benchCommand(t, "bench", "throughput", "--model-path", model, "--device", "fake", "--dummy-weight", "--num-pages", "2048", "--num-seqs", "3",
		"--max-input-len", "110", "--max-output-len", "110", "--out", out)
	if code != 0 || !strings.Contains(stdout, "3 requests, ") {
		t.Errorf("%d\n%s\n%s", code, stdout, stderr)
	}
}

func TestBenchLocalAndServerCommands(t *testing.T) {
	url, model := pacedServer(t), benchtest.TextModel(t)
	own := []string{"--model-path", model, "--device", "fake", "--dummy-weight", "--num-pages", "2048", "--max-new-tokens", "8"}
	code, stdout, stderr := benchCommand(t, append([]string{"bench", "local", "Once"}, own...)...)
	line := `tokens=\d+ duration=\d+\.\d{3}s throughput=\d+\.\d\d tok/s`
	want := `\ABenchmarking prompt='Once' \| model=` + regexp.QuoteMeta(model) + ` \| max_new_tokens=8\nLocal results:\n- minisgl: ` + line + `\n- naive: ` + line +
		`\nPreviews:\n- minisgl: .+\n- naive: .+\n\z`
	if code != 0 || !regexp.MustCompile(want).MatchString(stdout) {
		t.Errorf("%d\n%s\n%s\nwant %s", code, stdout, stderr, want)
	}

	line = `TTFB=\d+\.\d{3}s duration=\d+\.\d{3}s tokens=8 throughput=\d+\.\d\d tok/s\n`
	code, stdout, stderr = benchCommand(t, append([]string{"bench", "server", "Once", "--sglang-url", url, "--peer", "other=" + url, "--peer", "gone=http://127.0.0.1:1"}, own...)...)
	want = `\A- minisgl: ` + line + `- naive: ` + line + `- sglang: ` + line + `- other: ` + line + `\z`
	if code != 0 || !regexp.MustCompile(want).MatchString(stdout) || !strings.Contains(stderr, "gone is left out: ") {
		t.Errorf("%d\n%s\n%s\nwant %s", code, stdout, stderr, want)
	}
}

func TestReleaseGateCommand(t *testing.T) {
	report := func(throughput string) string {
		return file(t, "r.json", `{"mode": "online", "summary": {"schema_version": 1, "throughput_token_per_s": `+throughput+`, "ttft_ms": {"avg": 1}}}`)
	}
	a, b, out := report("100"), report("130"), filepath.Join(t.TempDir(), "release.json")
	config := file(t, "release.yaml", "stability_summaries: ["+a+", "+b+"]\nmax_throughput_cv: 0.2\nout: "+out+"\n")
	if code, stdout, stderr := benchCommand(t, "release-gate", "--config", config); code != 0 || stdout != "wrote="+out+"\nthroughput_cv=0.1304 ttft_cv=0.0000 of 2 runs\n" {
		t.Errorf("%d\n%s\n%s", code, stdout, stderr)
	}
	// A flag stands above the file.
	code, _, stderr := benchCommand(t, "release-gate", "--config", config, "--max-throughput-cv", "0.13")
	if code != 1 || stderr != "Release gate check failed:\n- throughput_cv 0.1304 > max 0.1300\n" {
		t.Errorf("%d\n%s", code, stderr)
	}
	shadow := filepath.Join(t.TempDir(), "none.jsonl")
	if code, _, stderr := benchCommand(t, "release-gate", "--shadow-jsonl", shadow, "--out", out); code != 0 || stderr != "shadow_jsonl: there is no "+shadow+": taken as no divergence\n" {
		t.Errorf("%d\n%s", code, stderr)
	}
}

func TestBenchFlagsThatAreRefused(t *testing.T) {
	latency, unknown := file(t, "gate.yaml", "max_avg_ttft_ms: 1"), file(t, "gate.yaml", "max_ttft_ms: 1")
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"bench offline --gate " + latency, 1, "minisgl: --gate: " + latency + ": max_avg_ttft_ms: bench offline measures no latencies; only throughput can be gated\n"},
		{"bench throughput --gate " + latency, 1, "bench throughput measures no latencies"},
		{"bench online --gate " + unknown, 1, "minisgl: --gate: " + unknown + `: unknown field "max_ttft_ms"` + "\n"},
		{"bench online --gate none.yaml", 1, "--gate: open none.yaml"},
		{"bench online --base-url http://127.0.0.1:1", 1, "http://127.0.0.1:1/v1/models"},
		{"bench online --batch-size 0", 1, "--batch-size 0: expected at least 1"},
		{"bench online --min-input-len 9 --max-input-len 8 --model-path m", 1, "from 9 to 8 tokens"},
		{"bench online --request-rate 0", 1, "--request-rate 0: expected more than 0"},
		{"bench online --concurrency 1,0", 1, "--concurrency 0: expected more than 0"},
		{"bench online --request-rate 1,2 --concurrency 1,2", 1, "only one of them can be a list"},
		{"bench online --plot load.pdf", 1, "--plot: load.pdf: expected a name that ends in .png or .svg"},
		{"bench online --endpoint generale", 2, "--endpoint"},
		{"bench server --peer nowhere --model-path m", 1, `--peer "nowhere": expected NAME=VALUE`},
		{"bench local --peer-cmd =x --model-path m", 1, `--peer-cmd "=x": expected NAME=VALUE`},
		{"bench", 2, "expected one of"},
		{"release-gate", 1, "nothing to check"},
		{"release-gate --config " + latency, 1, "--config: " + latency + `: unknown field "max_avg_ttft_ms"`},
	} {
		if code, _, stderr := benchCommand(t, strings.Fields(c.args)...); code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: %d %s; want %d %q", c.args, code, stderr, c.code, c.want)
		}
	}
}
