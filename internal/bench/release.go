package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"

	"gonum.org/v1/gonum/floats"
)

// ReleaseGate is what a release is held against: each part is checked if its files are named. It is also the form of its
// configuration file.
type ReleaseGate struct {
	PerfSummary          string   `json:"perf_summary"` // a report of bench
	PerfGate             string   `json:"perf_gate"`    // the gate for it
	ParityJSON           string   `json:"parity_json"`  // a report of token-parity
	ShadowJSONL          string   `json:"shadow_jsonl"` // what shadow mode has written; no file means no divergence
	MaxShadowDivergences int      `json:"max_shadow_divergences"`
	StabilitySummaries   []string `json:"stability_summaries"` // reports of the same benchmark, run several times
	MaxThroughputCV      float64  `json:"max_throughput_cv"`
	MaxTTFTCV            float64  `json:"max_ttft_cv"`
	Out                  string   `json:"out"`
}

// DefaultReleaseGate has the limits and no files.
func DefaultReleaseGate() ReleaseGate {
	return ReleaseGate{MaxThroughputCV: 0.10, MaxTTFTCV: 0.15, Out: "baselines/latest-release-gate.json", StabilitySummaries: []string{}}
}

// LoadReleaseGate reads a configuration, YAML or JSON, on top of the defaults.
func LoadReleaseGate(path string) (ReleaseGate, error) {
	g := DefaultReleaseGate()
	err := decodeFile(path, &g)
	return g, err
}

// Stability is how much repeated runs differ. A CV is the population's standard deviation over the mean.
type Stability struct {
	NumSamples       int       `json:"num_samples"`
	ThroughputValues []float64 `json:"throughput_values"`
	TTFTValues       []float64 `json:"ttft_values"`
	ThroughputCV     float64   `json:"throughput_cv"`
	TTFTCV           float64   `json:"ttft_cv"`
}

// ReleaseReport is what the release gate writes.
type ReleaseReport struct {
	GatePassed   bool        `json:"gate_passed"`
	GateFailures []string    `json:"gate_failures"`
	Stability    Stability   `json:"stability"`
	Inputs       ReleaseGate `json:"inputs"`
}

// Run checks and writes the report. A check that fails is a *GateError; a file that is missing or not what it should be is
// another error, and then there is no report.
func (g *ReleaseGate) Run() (*ReleaseReport, error) {
	if err := g.validate(); err != nil {
		return nil, err
	}
	r := &ReleaseReport{GateFailures: []string{}, Inputs: *g, Stability: Stability{ThroughputValues: []float64{}, TTFTValues: []float64{}}}
	for _, check := range []func(*ReleaseReport) error{g.perf, g.parity, g.shadow, g.stability} {
		if err := check(r); err != nil {
			return nil, err
		}
	}
	r.GatePassed = len(r.GateFailures) == 0
	if err := WriteJSON(g.Out, r); err != nil {
		return nil, err
	}
	if !r.GatePassed {
		return r, &GateError{"Release gate check failed:", r.GateFailures}
	}
	return r, nil
}

func (g *ReleaseGate) validate() error {
	switch {
	case g.PerfSummary == "" && g.PerfGate == "" && g.ParityJSON == "" && g.ShadowJSONL == "" && len(g.StabilitySummaries) == 0:
		return errors.New("nothing to check: name perf_summary and perf_gate, parity_json, shadow_jsonl or stability_summaries")
	case (g.PerfSummary == "") != (g.PerfGate == ""):
		return errors.New("perf_summary and perf_gate: one without the other checks nothing")
	case len(g.StabilitySummaries) == 1:
		return errors.New("stability_summaries: a single one has no spread; expected at least 2")
	case g.MaxShadowDivergences < 0:
		return fmt.Errorf("max_shadow_divergences is %d: expected 0 or more", g.MaxShadowDivergences)
	case !(g.MaxThroughputCV >= 0):
		return fmt.Errorf("max_throughput_cv is %v: expected 0 or more", g.MaxThroughputCV)
	case !(g.MaxTTFTCV >= 0):
		return fmt.Errorf("max_ttft_cv is %v: expected 0 or more", g.MaxTTFTCV)
	}
	return nil
}

func (r *ReleaseReport) fail(format string, args ...any) {
	r.GateFailures = append(r.GateFailures, fmt.Sprintf(format, args...))
}

// measured is what a report of bench must have to be judged.
type measured struct {
	Mode    string
	Summary *Summary
}

func loadSummary(field, path string) (*measured, error) {
	var m measured
	if err := readJSON(path, &m); err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	if m.Summary == nil || m.Summary.SchemaVersion != 1 {
		return nil, fmt.Errorf("%s: %s: expected a report of bench with a summary of schema_version 1", field, path)
	}
	return &m, nil
}

func readJSON(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func (g *ReleaseGate) perf(r *ReleaseReport) error {
	if g.PerfSummary == "" {
		return nil
	}
	m, err := loadSummary("perf_summary", g.PerfSummary)
	if err != nil {
		return err
	}
	gate, err := LoadGate(g.PerfGate)
	if err != nil {
		return fmt.Errorf("perf_gate: %w", err)
	}
	if m.Mode != "online" {
		if err := gate.ThroughputOnly(g.PerfGate, m.Mode); err != nil {
			return fmt.Errorf("perf_gate: %w", err)
		}
	}
	r.GateFailures = append(r.GateFailures, gate.Check(m.Summary)...)
	return nil
}

func (g *ReleaseGate) parity(r *ReleaseReport) error {
	if g.ParityJSON == "" {
		return nil
	}
	var report struct {
		Passed *bool `json:"parity_passed"`
		Sets   []struct {
			Name       string
			Match      bool
			Mismatches int `json:"mismatch_count"`
		}
	}
	if err := readJSON(g.ParityJSON, &report); err != nil {
		return fmt.Errorf("parity_json: %w", err)
	}
	if report.Passed == nil {
		return fmt.Errorf("parity_json: %s has no parity_passed: expected a report of token-parity", g.ParityJSON)
	}
	if *report.Passed {
		return nil
	}
	r.fail("token parity check failed")
	for _, set := range report.Sets {
		if !set.Match {
			r.fail("token parity: set=%s mismatches=%d", set.Name, set.Mismatches)
		}
	}
	return nil
}

func (g *ReleaseGate) shadow(r *ReleaseReport) error {
	if g.ShadowJSONL == "" {
		return nil
	}
	data, err := os.ReadFile(g.ShadowJSONL)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // shadow mode makes the file when it has something to say
		return fmt.Errorf("shadow_jsonl: %w", err)
	}
	count, number := 0, 0
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		number++
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		var record struct{ Kind *string }
		if err := json.Unmarshal(line, &record); err != nil || record.Kind == nil {
			return fmt.Errorf("shadow_jsonl: %s line %d: expected a JSON object with a kind", g.ShadowJSONL, number)
		}
		count++
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("shadow_jsonl: %s: %w", g.ShadowJSONL, err)
	}
	if count > g.MaxShadowDivergences {
		r.fail("shadow_divergences %d > max %d", count, g.MaxShadowDivergences)
	}
	return nil
}

func (g *ReleaseGate) stability(r *ReleaseReport) error {
	s := &r.Stability
	mode := ""
	for i, path := range g.StabilitySummaries {
		m, err := loadSummary("stability_summaries", path)
		if err != nil {
			return err
		}
		if i == 0 {
			mode = m.Mode
		}
		if m.Mode != mode {
			return fmt.Errorf("stability_summaries: %s is of bench %s, those before of bench %s", path, m.Mode, mode)
		}
		if !(m.Summary.ThroughputTokenPerS > 0) {
			return fmt.Errorf("stability_summaries: %s: throughput_token_per_s is %v", path, m.Summary.ThroughputTokenPerS)
		}
		s.ThroughputValues = append(s.ThroughputValues, m.Summary.ThroughputTokenPerS)
		s.TTFTValues = append(s.TTFTValues, m.Summary.TTFT.Avg)
	}
	s.NumSamples = len(g.StabilitySummaries)
	s.ThroughputCV, s.TTFTCV = variation(s.ThroughputValues), variation(s.TTFTValues)
	if s.ThroughputCV > g.MaxThroughputCV {
		r.fail("throughput_cv %.4f > max %.4f", s.ThroughputCV, g.MaxThroughputCV)
	}
	if s.TTFTCV > g.MaxTTFTCV {
		r.fail("ttft_cv %.4f > max %.4f", s.TTFTCV, g.MaxTTFTCV)
	}
	return nil
}

// variation is the coefficient of variation; 0 where the mean is 0, as the latencies of offline reports are.
func variation(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	n := float64(len(values))
	mean := floats.Sum(values) / n
	if mean == 0 {
		return 0
	}
	squares := 0.0
	for _, v := range values {
		squares += (v - mean) * (v - mean)
	}
	return math.Sqrt(squares/n) / mean
}
