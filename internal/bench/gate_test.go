package bench

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPercentile(t *testing.T) {
	ten := []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	for _, c := range []struct {
		values []float64
		want   Distribution
	}{
		{nil, Distribution{}},
		{[]float64{7}, Distribution{7, 7, 7, 7, 7}},
		{[]float64{2, 1}, Distribution{1.5, 2, 2, 2, 2}}, // int(2·0.5) is index 1
		{ten, Distribution{5.5, 6, 10, 10, 10}},
		{append(slices.Clone(ten), 11), Distribution{6, 6, 10, 11, 11}},
	} {
		if got := Distribute(c.values); got != c.want {
			t.Errorf("%v: %+v, want %+v", c.values, got, c.want)
		}
	}
}

func TestGateKeptAndJustMissed(t *testing.T) {
	s := Summary{ThroughputTokenPerS: 99.9999, ThroughputReqPerS: 2}
	s.TTFT.Avg, s.TPOT.Avg, s.E2E.Avg = 50.0001, 7, 1.5
	for _, c := range []struct {
		name, gate string
		want       []string
	}{
		{"empty.yaml", "{}", nil},
		{"kept.yaml", "min_throughput_token_per_s: 99.9999\nmin_throughput_req_per_s: 2\nmax_avg_ttft_ms: 50.0001\nmax_avg_tpot_ms: 7\nmax_avg_e2e_s: 1.5\n", nil},
		{"tokens.yaml", "min_throughput_token_per_s: 100\n", []string{"throughput_token_per_s 99.9999 < min 100.0000"}},
		{"requests.json", `{"min_throughput_req_per_s": 2.0001}`, []string{"throughput_req_per_s 2.0000 < min 2.0001"}},
		{"ttft.yaml", "max_avg_ttft_ms: 50", []string{"avg_ttft_ms 50.0001 > max 50.0000"}},
		{"several.json", "{\n\t\"max_avg_tpot_ms\": 6.9999,\n\t\"max_avg_e2e_s\": 1.4999}",
			[]string{"avg_tpot_ms 7.0000 > max 6.9999", "avg_e2e_s 1.5000 > max 1.4999"}},
	} {
		gate, err := LoadGate(write(t, c.name, c.gate))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := gate.Check(&s); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestGateFilesThatAreRefused(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"max_ttft_ms: 1", `unknown field "max_ttft_ms"`},
		{`{"min_throughput": 1}`, `unknown field "min_throughput"`},
		{"max_avg_ttft_ms: fast", "max_avg_ttft_ms: expected a number, got string"},
		{"max_avg_ttft_ms: [1]", "max_avg_ttft_ms: expected a number, got array"},
		{"max_avg_ttft_ms: -1", "max_avg_ttft_ms is -1: expected 0 or more"},
		{"max_avg_ttft_ms: .nan", "NaN"},
		{"max_avg_ttft_ms: 1\nmax_avg_ttft_ms: 2", "already defined"},
		{"max_avg_ttft_ms: 1\n---\nmax_avg_tpot_ms: 2", "more than one document"},
		{"- 1", "expected keys and values"},
		{"{", "did not find"},
	} {
		path := write(t, "gate.yaml", c.text)
		_, err := LoadGate(path)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v, want the file's name and %q", c.text, err, c.want)
		}
	}
	if _, err := LoadGate("nowhere.yaml"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestLatencyGateForModesWithoutLatencies(t *testing.T) {
	one := 1.0
	if err := (&Gate{MinThroughputTokenPerS: &one, MinThroughputReqPerS: &one}).ThroughputOnly("g", "offline"); err != nil {
		t.Error(err)
	}
	for key, gate := range map[string]Gate{"max_avg_ttft_ms": {MaxAvgTTFTMs: &one}, "max_avg_tpot_ms": {MaxAvgTPOTMs: &one}, "max_avg_e2e_s": {MaxAvgE2ES: &one}} {
		if err := gate.ThroughputOnly("g.yaml", "offline"); err == nil || !strings.HasPrefix(err.Error(), "g.yaml: "+key+": bench offline measures no latencies") {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func FuzzGate(f *testing.F) {
	f.Add([]byte("max_avg_ttft_ms: 1"))
	f.Add([]byte(`{"min_throughput_req_per_s": 2.5}`))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("? {1: 2}\n: 3"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var g Gate
		if decodeStrict(data, &g) == nil {
			g.Check(&Summary{})
		}
	})
}
