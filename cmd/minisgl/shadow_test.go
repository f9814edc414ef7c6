package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"minisgl"
	"minisgl/internal/goldens"
	"minisgl/scheduler"
)

func TestShadowOptions(t *testing.T) {
	all := map[string]string{
		"MINISGL_CPU_BACKEND": "python", "MINISGL_CPU_BACKEND_SHADOW": "1", "MINISGL_CPU_BACKEND_SHADOW_REPORT": "env.jsonl",
		"MINISGL_CPU_BACKEND_SHADOW_MAX_DIFFS": "7", "MINISGL_CPU_BACKEND_SHADOW_EVERY_N": "3", "MINISGL_CPU_BACKEND_SHADOW_DEVICE": "reference",
	}
	yes, no, path, device, five, two, optimized := true, false, "flag.jsonl", "cpu", 5, 2, "rust_hotpath"
	for name, test := range map[string]struct {
		flags   shadowFlags
		env     map[string]string
		planner scheduler.Planner
		want    minisgl.Shadow
	}{
		"nothing":   {want: minisgl.Shadow{MaxDiffs: 128, EveryN: 1}},
		"variables": {env: all, planner: scheduler.Reference, want: minisgl.Shadow{Planner: true, Report: "env.jsonl", MaxDiffs: 7, EveryN: 3, Device: "reference"}},
		"flags": {flags: shadowFlags{Shadow: &yes, ShadowReport: &path, ShadowMaxDiffs: &five, ShadowEveryN: &two, ShadowDevice: &device},
			want: minisgl.Shadow{Planner: true, Report: "flag.jsonl", MaxDiffs: 5, EveryN: 2, Device: "cpu"}},
		"flags win": {flags: shadowFlags{CPUBackend: &optimized, Shadow: &no, ShadowReport: &path, ShadowMaxDiffs: &five, ShadowEveryN: &two, ShadowDevice: new(string)},
			env: all, planner: scheduler.Optimized, want: minisgl.Shadow{Report: "flag.jsonl", MaxDiffs: 5, EveryN: 2}},
	} {
		var o minisgl.Options
		if err := test.flags.set(&o, streams{getenv: func(name string) string { return test.env[name] }}); err != nil || o.Planner != test.planner || o.Shadow != test.want {
			t.Errorf("%s: %v, %v, %+v", name, err, o.Planner, o.Shadow)
		}
	}
}

func TestMalformedShadowOptionsAreNamed(t *testing.T) {
	tiny := goldens.Get(t, "tiny-tied").Path
	for variable, bad := range map[string]string{
		"MINISGL_CPU_BACKEND":                  "turbo",
		"MINISGL_CPU_BACKEND_SHADOW":           "maybe",
		"MINISGL_CPU_BACKEND_SHADOW_MAX_DIFFS": "0",
		"MINISGL_CPU_BACKEND_SHADOW_EVERY_N":   "often",
		"MINISGL_CPU_BACKEND_SHADOW_DEVICE":    "tpu",
	} {
		got := command(t, map[string]string{variable: bad}, "", "serve", "--model-path", tiny, "--port", "0")
		if got.code != 1 || !strings.Contains(got.err, variable+"=") || !strings.Contains(got.err, `"`+bad+`"`) {
			t.Errorf("%s=%s: exit code %d, %s", variable, bad, got.code, got.err)
		}
	}
	for _, args := range [][]string{{"--cpu-backend", "turbo"}, {"--cpu-backend", ""}, {"--shadow-max-diffs", "0"}, {"--shadow-every-n", "-1"}, {"--shadow-device", "tpu"}} {
		got := command(t, nil, "", append([]string{"serve", "--model-path", tiny, "--port", "0"}, args[0]+"="+args[1])...)
		if got.code != 1 || !strings.Contains(got.err, args[0]) || !strings.Contains(got.err, args[1]) {
			t.Errorf("%v: exit code %d, %s", args, got.code, got.err)
		}
	}
}

// A shadow that finds nothing leaves no file, and says at the end what it has compared: here the server's warm-up.
func TestShadowOfAServer(t *testing.T) {
	report := filepath.Join(t.TempDir(), "report.jsonl")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	log := watch{until: "Serving ", then: cancel}
	run(ctx, []string{"serve", "--model-path", goldens.Get(t, "tiny-tied").Path, "--port", "0", "--device", "cpu", "--num-pages", "64",
		"--cpu-backend", "reference", "--shadow", "--shadow-device", "reference", "--shadow-report", report},
		streams{in: strings.NewReader(""), out: &log, err: &log, getenv: func(string) string { return "" }})
	if want := "Shadow complete | steps=4 outputs=4 skipped=0 divergences=0"; !strings.Contains(log.text.String(), want) {
		t.Errorf("%s does not say %s", log.text.String(), want)
	}
	if _, err := os.Stat(report); err == nil {
		t.Error("there is a report")
	}
}

// watch keeps what is written, and acts when a text turns up in it.
type watch struct {
	mu    sync.Mutex
	text  strings.Builder
	until string
	then  func()
}

func (w *watch) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(p)
	if strings.Contains(w.text.String(), w.until) {
		w.then()
	}
	return len(p), nil
}

func TestShadowReport(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.jsonl")
	if got := command(t, nil, "", "shadow-report", "--input", missing); got != (result{1, "", "input file does not exist: " + missing + "\n"}) {
		t.Errorf("missing: %+v", got)
	}
	if got := command(t, nil, "", "shadow-report", "--input", missing, "--allow-missing"); got != (result{0, "divergence_entries=0\ntop_kinds:\ntop_reasons:\n", ""}) {
		t.Errorf("missing, allowed: %+v", got)
	}
	report := filepath.Join(t.TempDir(), "report.jsonl")
	text := `{"kind":"positions","reason":"shape mismatch: (1,) != (2,)"}` + "\n" + `{"kind":"write_pos","reason":"value mismatch at idx=4: 4 != 5"}` + "\n"
	if err := os.WriteFile(report, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	want := result{0, "divergence_entries=2\ntop_kinds:\n  positions: 1\ntop_reasons:\n  shape mismatch: (1,) != (2,): 1\n", ""}
	if got := command(t, nil, "", "shadow-report", "--input", report, "--top", "1"); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if err := os.WriteFile(report, []byte(text+"{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := command(t, nil, "", "shadow-report", "--input", report); got.code != 1 || !strings.Contains(got.err, report) || !strings.Contains(got.err, "line 3") {
		t.Errorf("cut: %+v", got)
	}
	if got := command(t, nil, "", "shadow-report"); got.code != 2 || !strings.Contains(got.err, "--input") {
		t.Errorf("no input: %+v", got)
	}
}
