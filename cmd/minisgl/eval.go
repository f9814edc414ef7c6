package main

import (
	"context"
	"fmt"
	"strings"

	"minisgl/internal/bench"
	"minisgl/internal/eval"
)

type evalCmd struct {
	Goldens        string   `required:"" placeholder:"FILE" help:"What another implementation computed: see tools/goldens."`
	Out            string   `default:"baselines/latest-eval.json" placeholder:"FILE" help:"The report, JSON."`
	MaxRegret      *float64 `placeholder:"X" help:"Limit on the log-probability that choosing our likeliest token costs. Default of each limit: what the goldens say, else 0.25."`
	MaxMeanError   *float64 `placeholder:"X" help:"Limit on the mean distance of log-probabilities, else 0.1."`
	MaxP99Error    *float64 `name:"max-p99-error" placeholder:"X" help:"Limit on its 99th percentile, else 0.3."`
	MaxError       *float64 `placeholder:"X" help:"Limit on the largest distance, else 1."`
	BatchInvariant bool     `default:"true" negatable:"" help:"Fail if a result in a batch differs by a bit from the result alone."`
	Once           bool     `help:"Only the first pass: how accurate, not whether results stay the same in a batch."`
	modelFlags
}

func (c *evalCmd) Run(ctx context.Context, io streams) error {
	log, err := logger(io, true)
	if err != nil {
		return err
	}
	goldens, err := eval.Read(c.Goldens)
	if err != nil {
		return fmt.Errorf("--goldens: %w", err)
	}
	llm, err := c.open(ctx, io, log, nil)
	if err != nil {
		return err
	}
	defer llm.Close()
	limits := eval.Limits{MaxRegret: c.MaxRegret, MaxMeanError: c.MaxMeanError, MaxP99Error: c.MaxP99Error, MaxError: c.MaxError}
	report, err := eval.Run(ctx, llm, goldens, eval.Options{
		Limits:         limits.Or(goldens.Limits).Or(eval.DefaultLimits()),
		BatchInvariant: c.BatchInvariant,
		Once:           c.Once,
		Progress:       func(line string) { fmt.Fprintln(io.err, line) },
	})
	if err != nil {
		return err
	}
	report.Goldens = c.Goldens
	if err := bench.WriteJSON(c.Out, report); err != nil {
		return err
	}
	fmt.Fprintf(io.out, "wrote=%s\n", c.Out)
	report.Print(io.out)
	if !report.GatePassed {
		fmt.Fprintf(io.err, "accuracy gate failed:\n- %s\n", strings.Join(report.GateFailures, "\n- "))
		return errSaid
	}
	return nil
}
