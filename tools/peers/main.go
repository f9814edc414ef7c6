// Command peers measures this engine beside llama.cpp: by turns, with the same weights and threads, on a quiet machine. Its tables and
// its picture are those of docs/performance.md.
//
//	go run ./tools/peers --llama BIN --model FOLDER --bf16 F.gguf --q8 F.gguf --q4 F.gguf --out DIR
//
// BIN is the folder of llama.cpp's programs. FOLDER is a checkpoint in bfloat16, the .gguf files the same model for llama.cpp and,
// quantised, for both. Each section leaves its raw values in DIR/SECTION.json, and results.md and ratios.svg are made of all that lie
// there; --report does only that. The sections are
//
//	best  each engine at its best: decode of one stream by context, several streams, prefill
//	avx2  this engine's path avx2 beside a llama.cpp built for AVX2 only, whose programs are in --llama-avx2
//	http  both servers under 16 clients, and under 8 that share a prefix
//
// What is measured of this engine is all of it, through the library or over HTTP; of llama.cpp its batched-bench, which neither samples
// nor schedules.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

type config struct {
	llama, llamaAVX2 string
	model            string
	gguf             map[string]string // by type of weights
	threads, rounds  int
	out, sections    string
	patience         time.Duration
	quick, report    bool
}

func main() {
	c := config{gguf: map[string]string{}}
	flag.StringVar(&c.llama, "llama", "", "folder of llama.cpp's programs")
	flag.StringVar(&c.llamaAVX2, "llama-avx2", "", "folder of llama.cpp's programs, built for AVX2 only")
	flag.StringVar(&c.model, "model", "", "Hugging Face folder in bfloat16")
	for weights, name := range map[string]string{"BF16": "bf16", "Q8_0": "q8", "Q4_0": "q4"} {
		flag.Func(name, "the model as .gguf in "+weights, func(path string) error { c.gguf[weights] = path; return nil })
	}
	flag.IntVar(&c.threads, "threads", runtime.NumCPU(), "threads of each engine")
	flag.IntVar(&c.rounds, "rounds", 5, "how often everything is measured")
	flag.StringVar(&c.out, "out", "", "folder for the results")
	flag.StringVar(&c.sections, "sections", "best", "what to measure: best, avx2, http, or several of them")
	flag.DurationVar(&c.patience, "patience", 2*time.Minute, "how long to wait for a quiet machine before each measurement")
	flag.BoolVar(&c.quick, "quick", false, "one short round, to see that everything works")
	flag.BoolVar(&c.report, "report", false, "measure nothing, only write tables and picture from --out")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := c.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func (c *config) run(ctx context.Context) error {
	if c.out == "" {
		return fmt.Errorf("--out is missing: the folder for the results")
	}
	if c.report {
		return c.writeReport()
	}
	if c.quick {
		c.rounds = 1
	}
	if err := os.MkdirAll(c.out, 0o755); err != nil {
		return err
	}
	sections := strings.Split(c.sections, ",")
	if err := c.check(sections); err != nil {
		return err
	}
	for _, name := range sections {
		estimate := estimates[name]
		if c.quick {
			estimate /= 3
		}
		c.say("%s: %d × %v, so about %v on a quiet machine", name, c.rounds, estimate, time.Duration(c.rounds)*estimate)
		s := &section{config: c, name: name}
		var err error
		switch name {
		case "best":
			err = s.engines(ctx, "cpu", c.llama, bestRuns, groups)
		case "avx2":
			err = s.engines(ctx, "cpu+avx2", c.llamaAVX2, avx2Runs, avx2Groups)
		case "http":
			err = s.servers(ctx)
		}
		if err != nil {
			return fmt.Errorf("section %s: %w", name, err)
		}
	}
	return c.writeReport()
}

// estimates of a round, on 2 cores without AMX.
var estimates = map[string]time.Duration{"best": 270 * time.Second, "avx2": 80 * time.Second, "http": 2 * time.Minute}

// check finds what is missing before anything is measured.
func (c *config) check(sections []string) error {
	needed := map[string]string{"--model": c.model, "--bf16": c.gguf["BF16"]}
	for _, name := range sections {
		if estimates[name] == 0 {
			return fmt.Errorf("--sections: %q is none of best, avx2, http", name)
		}
	}
	if slices.Contains(sections, "avx2") {
		needed["--llama-avx2"] = c.llamaAVX2
	}
	if slices.Contains(sections, "best") || slices.Contains(sections, "http") {
		needed["--llama"] = c.llama
	}
	if !slices.Equal(sections, []string{"http"}) {
		needed["--q8"], needed["--q4"] = c.gguf["Q8_0"], c.gguf["Q4_0"]
	}
	for name, path := range needed {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (c *config) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

func (c *config) path(name string) string { return filepath.Join(c.out, name) }
