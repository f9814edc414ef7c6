package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"

	"minisgl"
	"minisgl/internal/bench"
)

type benchCmd struct {
	Offline    benchOfflineCmd    `cmd:"" help:"Measure the engine in this process: start, one request, a batch."`
	Online     benchOnlineCmd     `cmd:"" help:"Measure a server over HTTP, under one load or several."`
	Throughput benchThroughputCmd `cmd:"" help:"Measure the engine in this process with nano-vllm's workload."`
	Local      benchLocalCmd      `cmd:"" help:"Compare this engine with its naive mode and with commands, on one prompt."`
	Server     benchServerCmd     `cmd:"" help:"Compare servers on one prompt: this engine, its naive mode, and others."`
}

// reportFlags say where a report goes and what it is held against.
type reportFlags struct {
	Out  string `placeholder:"FILE" help:"The report, JSON. Default baselines/latest-MODE.json."`
	Gate string `placeholder:"FILE" help:"Limits that the result must keep, YAML or JSON; where it does not, the command fails."`
}

// load reads the gate, before minutes are spent on measuring.
func (f *reportFlags) load(mode string, latencies bool) (*bench.Gate, error) {
	if f.Out == "" {
		f.Out = "baselines/latest-" + mode + ".json"
	}
	if f.Gate == "" {
		return nil, nil
	}
	gate, err := bench.LoadGate(f.Gate)
	if err != nil {
		return nil, fmt.Errorf("--gate: %w", err)
	}
	if !latencies {
		if err := gate.ThroughputOnly(f.Gate, mode); err != nil {
			return nil, fmt.Errorf("--gate: %w", err)
		}
	}
	return gate, nil
}

// finish writes the report and says how it went.
func (f *reportFlags) finish(io streams, r *bench.Report, gate *bench.Gate) error {
	err := r.Finish(gate, f.Out)
	var failed *bench.GateError
	if err != nil && !errors.As(err, &failed) {
		return err
	}
	r.Print(io.out)
	fmt.Fprintf(io.out, "wrote=%s\n", f.Out)
	return sayGate(io, err)
}

// sayGate prints a gate that failed word for word.
func sayGate(io streams, err error) error {
	var failed *bench.GateError
	if !errors.As(err, &failed) {
		return err
	}
	fmt.Fprintln(io.err, failed)
	return errSaid
}

type benchOfflineCmd struct {
	reportFlags
	ModelPath          string  `aliases:"model" default:"Qwen/Qwen2.5-0.5B-Instruct" help:"Folder, .gguf file or name on the hub."`
	DType              string  `name:"dtype" default:"float16" help:"Type of the weights: auto (as stored), float16, bfloat16, float32."`
	Seed               uint64  `default:"42" help:"Of the prompts."`
	MaxSeqLenOverride  int     `default:"2048" help:"Prompt and output of a request together."`
	MaxExtendTokens    int     `default:"4096" help:"Token budget of a step."`
	CUDAGraphMaxBS     int     `name:"cuda-graph-max-bs" default:"64" help:"Largest batch with a CUDA graph."`
	MemoryRatio        float64 `default:"0.9" help:"Share of the device's free memory for weights and KV cache."`
	NumPageOverride    *int    `help:"KV pages. Default: what the memory ratio gives."`
	WarmupPrompt       string  `default:"Hello" help:"Prompt of the warm-up."`
	WarmupTokens       int     `default:"16" help:"Tokens that the warm-up generates."`
	SinglePrompt       string  `default:"Write one short sentence explaining why batching helps GPU utilization." help:"Prompt of the single request."`
	SingleOutputTokens int     `default:"64" help:"Tokens that the single request generates."`
	BatchSize          int     `default:"16" help:"Requests of the batch."`
	MinInputLen        int     `default:"64" help:"Tokens of the shortest prompt of the batch."`
	MaxInputLen        int     `default:"256" help:"Tokens of the longest one."`
	BatchOutputTokens  int     `default:"64" help:"Tokens that each request of the batch generates."`

	Device      string `default:"auto" help:"auto, or a device that 'minisgl info' lists."`
	Threads     int    `help:"Threads of the CPU device; 0 means all cores."`
	DummyWeight bool   `help:"Random weights in the model's shape."`
}

func (c *benchOfflineCmd) Run(ctx context.Context, io streams) error {
	gate, err := c.load("offline", false)
	if err != nil {
		return err
	}
	if err := atLeast(1, map[string]int{"--batch-size": c.BatchSize, "--batch-output-tokens": c.BatchOutputTokens, "--warmup-tokens": c.WarmupTokens,
		"--single-output-tokens": c.SingleOutputTokens, "--max-seq-len-override": c.MaxSeqLenOverride, "--max-extend-tokens": c.MaxExtendTokens}); err != nil {
		return err
	}
	o := bench.Offline{
		Engine: minisgl.Options{Model: c.ModelPath, Device: c.Device, Threads: c.Threads, DummyWeight: c.DummyWeight, Progress: progressLines(io)},
		Profile: bench.OfflineProfile{DType: c.DType, Seed: c.Seed, BatchSize: c.BatchSize, MinInputLen: c.MinInputLen, MaxInputLen: c.MaxInputLen,
			BatchOutputTokens: c.BatchOutputTokens, MaxSeqLenOverride: c.MaxSeqLenOverride, MaxExtendTokens: c.MaxExtendTokens,
			CUDAGraphMaxBS: c.CUDAGraphMaxBS, MemoryRatio: c.MemoryRatio, NumPageOverride: c.NumPageOverride},
		WarmupPrompt: c.WarmupPrompt, WarmupTokens: c.WarmupTokens, SinglePrompt: c.SinglePrompt, SingleOutputTokens: c.SingleOutputTokens,
		Progress: benchProgress(io),
	}
	report, err := o.Run(ctx)
	if err != nil {
		return err
	}
	return c.finish(io, report, gate)
}

type benchOnlineCmd struct {
	reportFlags
	BaseURL            string `name:"base-url" default:"http://127.0.0.1:1919" help:"The server."`
	ModelPath          string `aliases:"model" help:"Name of the model in requests. Default: the first of /v1/models."`
	Seed               uint64 `default:"123" help:"Of the prompts and of the arrivals."`
	BatchSize          int    `default:"8" help:"Requests, or conversations."`
	MinInputLen        int    `default:"64" help:"Tokens of the shortest prompt."`
	MaxInputLen        int    `default:"256" help:"Tokens of the longest one."`
	BatchOutputTokens  int    `default:"64" help:"Tokens that each request generates."`
	WarmupInputTokens  int    `default:"32" help:"Tokens of the warm-up's prompt."`
	WarmupOutputTokens int    `default:"16" help:"Tokens that the warm-up generates."`

	Endpoint        string        `enum:"completions,chat,generate," default:"" help:"What requests are sent to: completions (OpenAI, token ids), chat (OpenAI, words) or generate (SGLang, token ids). Default completions; chat if there are turns."`
	APIKey          string        `name:"api-key" env:"MINISGL_API_KEY" help:"Sent as 'Authorization: Bearer KEY'."`
	Timeout         time.Duration `default:"1h" help:"For one request."`
	RequestRate     []float64     `help:"Requests a second, arriving at random (Poisson); several, with commas between them, are measured one after the other."`
	Concurrency     []int         `help:"Requests at a time; several, with commas between them, are measured one after the other."`
	Turns           int           `default:"1" help:"Turns of each conversation."`
	SharedPrefixLen int           `help:"Tokens that prompts have in common, before their own."`
	PrefixGroups    int           `default:"1" help:"How many different shared prefixes there are."`
	SLOTTFTMs       float64       `name:"slo-ttft-ms" help:"Longest time to first token of a good request."`
	SLOTPOTMs       float64       `name:"slo-tpot-ms" help:"Longest mean time per token after the first of a good request."`
	Plot            string        `placeholder:"FILE" help:"Draw latency against load: .png or .svg. Needs a build with -tags plot."`
}

func (c *benchOnlineCmd) Run(ctx context.Context, io streams) error {
	gate, err := c.load("online", true)
	if err != nil {
		return err
	}
	if err := atLeast(1, map[string]int{"--batch-size": c.BatchSize, "--batch-output-tokens": c.BatchOutputTokens, "--turns": c.Turns,
		"--warmup-input-tokens": c.WarmupInputTokens, "--warmup-output-tokens": c.WarmupOutputTokens, "--prefix-groups": c.PrefixGroups}); err != nil {
		return err
	}
	if err := atLeast(0, map[string]int{"--shared-prefix-len": c.SharedPrefixLen}); err != nil {
		return err
	}
	loads, err := c.loads()
	if err != nil {
		return err
	}
	if c.Plot != "" {
		if err := bench.CheckPlot(c.Plot); err != nil {
			return fmt.Errorf("--plot: %w", err)
		}
	}
	endpoint := bench.Endpoint(c.Endpoint)
	if endpoint == "" {
		if endpoint = bench.Completions; c.Turns > 1 {
			endpoint = bench.Chat
		}
	}
	client := bench.NewClient(c.BaseURL, c.APIKey, c.Timeout)
	defer client.Close()
	client.Model = c.ModelPath
	o := bench.Online{
		Client: client,
		Profile: bench.OnlineProfile{Seed: c.Seed, BatchSize: c.BatchSize, MinInputLen: c.MinInputLen, MaxInputLen: c.MaxInputLen,
			BatchOutputTokens: c.BatchOutputTokens, WarmupInputTokens: c.WarmupInputTokens, WarmupOutputTokens: c.WarmupOutputTokens},
		Workload: bench.Workload{Endpoint: endpoint, Conversations: c.BatchSize, Turns: c.Turns, SharedPrefixLen: c.SharedPrefixLen,
			PrefixGroups: c.PrefixGroups},
		Loads: loads, SLO: bench.SLO{TTFTMs: c.SLOTTFTMs, TPOTMs: c.SLOTPOTMs}, Progress: benchProgress(io),
	}
	report, extended, err := o.Run(ctx)
	if err != nil {
		return err
	}
	if c.Plot != "" {
		if err := bench.Plot(c.Plot, report.ModelPath, extended.Points); err != nil {
			return fmt.Errorf("--plot: %w", err)
		}
	}
	extended.Print(io.out)
	err = c.finish(io, report, gate)
	if failures := extended.Failures(); failures != nil {
		fmt.Fprintln(io.err, "minisgl:", failures)
		return errSaid
	}
	return err
}

// loads is what --request-rate and --concurrency ask for.
func (c *benchOnlineCmd) loads() (loads []bench.Load, err error) {
	if len(c.RequestRate) > 1 && len(c.Concurrency) > 1 {
		return nil, errors.New("--request-rate and --concurrency: only one of them can be a list")
	}
	rates, widths := c.RequestRate, c.Concurrency
	if len(rates) == 0 {
		rates = []float64{0}
	} else if err := allPositive("--request-rate", rates); err != nil {
		return nil, err
	}
	if len(widths) == 0 {
		widths = []int{0}
	} else if err := allPositive("--concurrency", widths); err != nil {
		return nil, err
	}
	for _, rate := range rates {
		for _, width := range widths {
			loads = append(loads, bench.Load{RequestRate: rate, Concurrency: width})
		}
	}
	return loads, nil
}

func allPositive[T int | float64](flag string, values []T) error {
	for _, v := range values {
		if !(v > 0) {
			return fmt.Errorf("%s %v: expected more than 0", flag, v)
		}
	}
	return nil
}

type benchThroughputCmd struct {
	reportFlags
	modelFlags
	Seed         uint64 `default:"0" help:"Of the workload."`
	NumSeqs      int    `default:"256" help:"Requests."`
	MinLen       int    `default:"100" help:"Tokens of the shortest prompt and of the shortest output."`
	MaxInputLen  int    `default:"1024" help:"Tokens of the longest prompt."`
	MaxOutputLen int    `default:"1024" help:"Tokens of the longest output."`
}

func (c *benchThroughputCmd) Run(ctx context.Context, io streams) error {
	gate, err := c.load("throughput", false)
	if err != nil {
		return err
	}
	if err := atLeast(1, map[string]int{"--num-seqs": c.NumSeqs}); err != nil {
		return err
	}
	log, err := logger(io, true)
	if err != nil {
		return err
	}
	options, err := c.options(io)
	if err != nil {
		return err
	}
	options.Logger = log
	for _, note := range c.meaningless() {
		log.Warn(note)
	}
	profile := bench.NanoVLLM
	profile.Seed, profile.NumSequences, profile.MinLen = c.Seed, c.NumSeqs, c.MinLen
	profile.MaxInputLen, profile.MaxOutputLen = c.MaxInputLen, c.MaxOutputLen
	run := bench.Throughput{Engine: options, Profile: profile, Progress: benchProgress(io)}
	report, err := run.Run(ctx)
	if err != nil {
		return err
	}
	return c.finish(io, report, gate)
}

// atLeast names the first flag, in the order of their names, whose value is too small.
func atLeast(least int, flags map[string]int) error {
	bad := ""
	for flag, value := range flags {
		if value < least && (bad == "" || flag < bad) {
			bad = flag
		}
	}
	if bad == "" {
		return nil
	}
	return fmt.Errorf("%s %d: expected at least %d", bad, flags[bad], least)
}

// benchProgress shows progress on io.err: a bar on a terminal, elsewhere a line for each stage and each tenth of it.
func benchProgress(io streams) bench.Progress {
	if !isTerminal(io.err) {
		lastStage, lastTenth := "", -1
		return func(stage string, done, total int) {
			tenth := done * 10 / max(total, 1)
			if stage != lastStage {
				lastStage, lastTenth = stage, -1
			}
			if tenth > lastTenth {
				lastTenth = tenth
				fmt.Fprintf(io.err, "%s: %d of %d\n", stage, done, total)
			}
		}
	}
	var bar *progressbar.ProgressBar
	current := ""
	return func(stage string, done, total int) {
		if stage != current {
			current = stage
			bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(io.err), progressbar.OptionSetDescription(stage),
				progressbar.OptionShowCount(), progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(100*time.Millisecond))
		}
		bar.Set(done)
	}
}

func isTerminal(w any) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
