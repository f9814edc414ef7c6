package main

import (
	"context"
	"fmt"
	"slices"

	"minisgl"
)

// A figure is a rate in tokens a second: of decoding streams behind a context, or of a prefill.
type figure struct {
	prefill int // tokens; 0: decode
	streams int
	context int // tokens before the first decoded one; 0: few
}

func (f figure) String() string {
	switch {
	case f.prefill > 0:
		return fmt.Sprintf("prefill of %d", f.prefill)
	case f.context > 0:
		return fmt.Sprintf("decode at %d tokens of context", f.context)
	case f.streams > 1:
		return fmt.Sprintf("decode, %d streams", f.streams)
	}
	return "decode, 1 stream"
}

func (f figure) unit() string { return "tok/s" }

// shortPrompt is the context of a figure that has none.
const shortPrompt = 16

// A group is figures that each engine measures in one go before it is the other's turn. A prefill may be named twice: the later one counts,
// whose memory was touched before.
type group []figure

var (
	short = group{{streams: 1}, {prefill: 512}, {prefill: 512}}
	many  = group{{streams: 4}, {streams: 8}, {streams: 16}, {streams: 32}}
	long  = group{{prefill: 2048}, {streams: 1, context: 1024}, {streams: 1, context: 4096}}

	groups      = []group{short, many, long}
	avx2Groups  = []group{short, {{streams: 16}}}
	quickGroups = []group{{{streams: 1}, {prefill: 512}}, {{streams: 4}}, {{streams: 1, context: 1024}}}
)

// shallow leaves out the longest context, which takes llama.cpp half a minute to fill: quantised weights are measured there in every other
// round.
func (g group) shallow() group {
	return slices.DeleteFunc(slices.Clone(g), func(f figure) bool { return f.context > 2048 })
}

// A run is a way to keep the weights, and the type of activations where that is a choice.
type run struct {
	weights string // as llama.cpp has them
	dtype   string // minisgl.Options.DType
}

func (r run) String() string {
	if r.dtype != "" {
		return r.weights + ", --dtype " + r.dtype
	}
	return r.weights
}

// Ours may have several runs beside one of llama.cpp's, which always rounds activations.
var (
	bestRuns = [][]run{{{"BF16", ""}, {"BF16", "bfloat16"}}, {{"Q8_0", ""}}, {{"Q4_0", ""}}}
	avx2Runs = [][]run{{{"BF16", ""}}, {{"Q8_0", ""}}, {{"Q4_0", ""}}}
)

// tokens is how many are decoded for a figure.
func (c *config) tokens(f figure) int {
	switch {
	case c.quick:
		return 8
	case f.streams > 1:
		return 16
	}
	return 32
}

// engines measures groups of figures for all runs, in every round.
func (s *section) engines(ctx context.Context, device, llama string, runs [][]run, groups []group) error {
	if s.quick {
		groups = quickGroups
	}
	var err error
	if s.memory, err = newMemory(); err != nil {
		return err
	}
	for s.round = 1; s.round <= s.rounds; s.round++ {
		for _, runs := range runs {
			if err := s.sideBySide(ctx, device, llama, runs, groups); err != nil {
				return err
			}
		}
		if err := s.save(); err != nil {
			return err
		}
	}
	return nil
}

// sideBySide measures runs of ours beside llama.cpp on the same weights.
func (s *section) sideBySide(ctx context.Context, device, llama string, runs []run, groups []group) error {
	var engines []*engine
	for _, r := range runs {
		e, err := s.open(ctx, device, r)
		if err != nil {
			return err
		}
		defer e.Close()
		engines = append(engines, e)
	}
	weights := runs[0].weights
	for _, group := range groups {
		if weights != "BF16" && s.round%2 == 0 {
			group = group.shallow()
		}
		for _, e := range engines {
			if err := s.measure(ctx, ours, e.run.String(), e, func() ([]value, error) { return e.measure(ctx, s.config, group) }); err != nil {
				return err
			}
		}
		if err := s.measure(ctx, theirs, weights, engines[0], func() ([]value, error) {
			return s.batchedBench(ctx, llama, s.gguf[weights], group)
		}); err != nil {
			return err
		}
	}
	return nil
}

// measure runs f undisturbed and keeps its values, together with what the memory gave just before and after.
func (s *section) measure(ctx context.Context, who, run string, e *engine, f func() ([]value, error)) error {
	var before, after float64
	values, foreign, err := s.quietly(ctx, fmt.Sprintf("%s, round %d of %d: %s, %s", s.name, s.round, s.rounds, run, who),
		func() (values []value, err error) {
			before = s.memory.readRate(s.threads)
			values, err = f()
			after = s.memory.readRate(s.threads)
			return values, err
		})
	if err != nil {
		return fmt.Errorf("%s, %s: %w", run, who, err)
	}
	for _, v := range values {
		r := record{Round: s.round, Run: run, Figure: v.figure, Unit: v.unit, Who: who, Value: v.value, Read: (before + after) / 2, Foreign: foreign}
		if v.streams > 0 {
			r.Limit = r.Read / (e.weights + float64(v.streams)*float64(v.context)*e.kvToken) * float64(v.streams)
		}
		s.records = append(s.records, r)
		s.say("  %s: %.1f %s", v.figure, v.value, v.unit)
	}
	return nil
}

// An engine is an opened model of ours.
type engine struct {
	*minisgl.LLM
	run     run
	weights float64 // bytes that a step reads
	kvToken float64 // bytes of a token's keys and values
	seed    uint64
}
