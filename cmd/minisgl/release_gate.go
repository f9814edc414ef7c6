package main

import (
	"errors"
	"fmt"
	"os"

	"minisgl/internal/bench"
)

// releaseGateCmd's flags, where given, stand above the configuration file.
type releaseGateCmd struct {
	Config               string   `placeholder:"FILE" help:"What to check, YAML or JSON; the keys are the flags' names with underscores."`
	PerfSummary          string   `placeholder:"FILE" help:"A report of bench."`
	PerfGate             string   `placeholder:"FILE" help:"The gate that it must pass."`
	ParityJSON           string   `name:"parity-json" placeholder:"FILE" help:"A report of token-parity that must have passed."`
	ShadowJSONL          string   `name:"shadow-jsonl" placeholder:"FILE" help:"What shadow mode has written; no such file means no divergence."`
	MaxShadowDivergences *int     `help:"Divergences in it at most. Default 0."`
	StabilitySummaries   []string `placeholder:"FILE,…" help:"Reports of the same benchmark, run several times."`
	MaxThroughputCV      *float64 `name:"max-throughput-cv" help:"Their throughputs' standard deviation over their mean at most. Default 0.10."`
	MaxTTFTCV            *float64 `name:"max-ttft-cv" help:"The same of their times to first token. Default 0.15."`
	Out                  string   `placeholder:"FILE" help:"The result, JSON. Default baselines/latest-release-gate.json."`
}

func (c *releaseGateCmd) Run(io streams) error {
	gate := bench.DefaultReleaseGate()
	if c.Config != "" {
		var err error
		if gate, err = bench.LoadReleaseGate(c.Config); err != nil {
			return fmt.Errorf("--config: %w", err)
		}
	}
	for _, flag := range []struct {
		field *string
		value string
	}{{&gate.PerfSummary, c.PerfSummary}, {&gate.PerfGate, c.PerfGate}, {&gate.ParityJSON, c.ParityJSON}, {&gate.ShadowJSONL, c.ShadowJSONL}, {&gate.Out, c.Out}} {
		if flag.value != "" {
			*flag.field = flag.value
		}
	}
	if len(c.StabilitySummaries) > 0 {
		gate.StabilitySummaries = c.StabilitySummaries
	}
	gate.MaxShadowDivergences = first(c.MaxShadowDivergences, &gate.MaxShadowDivergences)
	gate.MaxThroughputCV = first(c.MaxThroughputCV, &gate.MaxThroughputCV)
	gate.MaxTTFTCV = first(c.MaxTTFTCV, &gate.MaxTTFTCV)

	report, err := gate.Run()
	var failed *bench.GateError
	if err != nil && !errors.As(err, &failed) {
		return err
	}
	if _, missing := os.Stat(gate.ShadowJSONL); gate.ShadowJSONL != "" && missing != nil {
		fmt.Fprintf(io.err, "shadow_jsonl: there is no %s: taken as no divergence\n", gate.ShadowJSONL)
	}
	fmt.Fprintf(io.out, "wrote=%s\n", gate.Out)
	if s := report.Stability; s.NumSamples > 0 {
		fmt.Fprintf(io.out, "throughput_cv=%.4f ttft_cv=%.4f of %d runs\n", s.ThroughputCV, s.TTFTCV, s.NumSamples)
	}
	return sayGate(io, err)
}
