package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"

	"minisgl"
	"minisgl/internal/logging"
	"minisgl/model/hub"
	"minisgl/scheduler"
)

const modelHint = "Name another with --model-path (a folder, a .gguf file or a name on the hub such as Qwen/Qwen2.5-0.5B-Instruct) or in MODEL_NAME."

// modelFlags choose a model, a device and how much of the machine to use: the same for every command that runs one.
type modelFlags struct {
	ModelPath   string `aliases:"model" placeholder:"MODEL" help:"Folder, .gguf file or name on the hub. Else MODEL_LOCAL_DIR, then MODEL_NAME, then the built-in demo."`
	ModelSource string `enum:"huggingface,modelscope" default:"huggingface" help:"Where names are looked up: ${enum}."`
	Revision    string `help:"Branch, tag or commit on the hub."`
	DType       string `name:"dtype" default:"auto" help:"Type of the weights: auto (as stored), float16, bfloat16, float32. bfloat16 also lets a CPU round activations to it where that is faster."`
	Quantize    string `name:"quantize" enum:"none,q8_0,q4_0" default:"none" help:"Quantise weights of 16 or 32 bits when they are loaded: ${enum}."`
	KVDType     string `name:"kv-dtype" enum:"auto,float32,bfloat16,int8" default:"auto" help:"Type of the KV cache: ${enum}. auto is what suits the device: bfloat16 on a CPU."`
	DummyWeight bool   `help:"Random weights in the model's shape, for benchmarks."`

	Device  string `default:"auto" help:"auto, or a device that 'minisgl info' lists. Several, as in cuda:0,cuda:1, get an engine each and share the requests; so do all cards that auto finds for serve, unless ENABLE_MULTI_DEVICE=0."`
	Threads int    `help:"Threads of each CPU device; 0 means all cores, shared by the CPU devices there are."`

	MaxRunningRequests int     `default:"256" help:"Requests that run at once, on each device."`
	MaxQueue           int     `name:"max-queued-requests" default:"1024" help:"Requests that wait, for each device; more are answered with 429."`
	MaxSeqLenOverride  int     `help:"Prompt and output of a request together; 0 means what the model was made for."`
	MaxPrefillLength   int     `aliases:"max-extend-length" help:"Token budget of a step, so the prefill chunk; 0 means what suits the device: 8192 on a GPU, 256 on a CPU."`
	MemoryRatio        float64 `help:"Share of the device's free memory for weights and KV cache. Default 0.9 on a GPU; on a CPU 0.7 of the available RAM."`
	NumPages           int     `help:"KV pages; 0 means as many as the memory ratio allows."`
	PageSize           int     `default:"16" help:"Tokens of a KV page."`
	CacheType          string  `aliases:"cache" enum:"radix,naive" default:"radix" help:"Prefix cache: ${enum}."`
	SchedulePolicy     string  `enum:"fcfs,lpm" default:"fcfs" help:"Order of waiting requests: fcfs, or lpm (longest cached prefix first)."`

	TensorParallelSize int    `aliases:"tp-size,tp" default:"1" help:"Accepted for compatibility; only 1."`
	CUDAGraphMaxBS     *int   `name:"cuda-graph-max-bs" aliases:"graph" help:"Largest batch with a CUDA graph; 0 disables them."`
	AttentionBackend   string `aliases:"attn" help:"Accepted for compatibility: each device has one."`
	NumTokenizer       *int   `help:"Accepted for compatibility: requests are tokenised in parallel anyway."`

	shadowFlags
}

// open opens the model that flags and environment name, narrating to io.err. change, if not nil, has the last word on the options.
func (f *modelFlags) open(ctx context.Context, io streams, log *slog.Logger, change func(*minisgl.Options)) (*minisgl.LLM, error) {
	options, err := f.options(io)
	if err != nil {
		return nil, err
	}
	options.Logger = log
	if change != nil {
		change(&options)
	}
	if options.Model == minisgl.Demo {
		fmt.Fprintln(io.err, "This is the small demo model. "+modelHint)
	}
	for _, note := range f.meaningless() {
		log.Warn(note)
	}
	llm, err := minisgl.Open(ctx, options)
	if errors.Is(err, minisgl.ErrShadowDevice) {
		err = fmt.Errorf("%s%s: %w", f.shadowDeviceName(), options.Shadow.Device, err)
	}
	return llm, err
}

func (f *modelFlags) options(io streams) (minisgl.Options, error) {
	o := minisgl.Options{
		Model: f.ModelPath, Source: f.ModelSource, ModelScopeName: io.getenv("MODELSCOPE_MODEL_NAME"), Revision: f.Revision, DType: f.DType,
		DummyWeight: f.DummyWeight, Quantize: f.Quantize, KVDType: f.KVDType, Device: f.Device, Threads: f.Threads, MaxSeqLen: f.MaxSeqLenOverride, MaxRunning: f.MaxRunningRequests,
		MaxQueue: f.MaxQueue, MaxStepTokens: f.MaxPrefillLength, MemoryRatio: f.MemoryRatio, NumPages: f.NumPages, PageSize: f.PageSize,
		Progress: progressLines(io), DownloadProgress: hub.ProgressBar(io.err),
	}
	for _, name := range []string{"MODEL_LOCAL_DIR", "MODEL_NAME"} {
		if o.Model == "" {
			o.Model = io.getenv(name)
		}
	}
	if o.Model == "" {
		o.Model = minisgl.Demo
	}
	if f.TensorParallelSize != 1 {
		return o, fmt.Errorf("--tensor-parallel-size %d: only 1 is supported", f.TensorParallelSize)
	}
	for flag, value := range map[string]int{"--max-running-requests": f.MaxRunningRequests, "--max-queued-requests": f.MaxQueue, "--page-size": f.PageSize} {
		if value < 1 {
			return o, fmt.Errorf("%s %d: expected at least 1", flag, value)
		}
	}
	for flag, value := range map[string]int{"--max-seq-len-override": f.MaxSeqLenOverride, "--max-prefill-length": f.MaxPrefillLength,
		"--num-pages": f.NumPages, "--threads": f.Threads} {
		if value < 0 {
			return o, fmt.Errorf("%s %d: expected 0 or more", flag, value)
		}
	}
	if f.MemoryRatio < 0 || f.MemoryRatio > 1 {
		return o, fmt.Errorf("--memory-ratio %v: expected a share in (0, 1]", f.MemoryRatio)
	}
	if f.CacheType == "naive" {
		o.Cache = scheduler.Naive
	}
	if f.SchedulePolicy == "lpm" {
		o.Policy = scheduler.LPM
	}
	if f.CUDAGraphMaxBS != nil {
		o.GraphMaxBatch = cmp.Or(*f.CUDAGraphMaxBS, -1)
	}
	var err error
	if o.NoOverlap, err = envBool(io, "MINISGL_DISABLE_OVERLAP_SCHEDULING", false); err != nil {
		return o, err
	}
	if o.DecodeLogStride, err = envInt(io, "DECODE_LOG_STRIDE", 32, 1); err != nil {
		return o, err
	}
	return o, f.shadowFlags.set(&o, io)
}

// meaningless lists the flags that were given and do nothing on this device.
func (f *modelFlags) meaningless() (notes []string) {
	note := func(set bool, flag, why string) {
		if set {
			notes = append(notes, flag+" has no effect: "+why)
		}
	}
	cards := strings.Count(f.Device, "cuda")
	note(f.CUDAGraphMaxBS != nil && cards == 0, "--cuda-graph-max-bs", "this device has no graphs")
	note(f.AttentionBackend != "", "--attention-backend", "each device has one")
	note(f.NumTokenizer != nil, "--num-tokenizer", "requests are tokenised in parallel anyway")
	note(f.Threads != 0 && cards > strings.Count(f.Device, ","), "--threads", "it is for the CPU device")
	return notes
}

// logger makes the logger that LOG_LEVEL asks for; commands that talk to a person default to warnings.
func logger(io streams, quiet bool) (*slog.Logger, error) {
	text := io.getenv("LOG_LEVEL")
	if text == "" && quiet {
		text = "WARNING"
	}
	level, err := logging.ParseLevel(text)
	if err != nil {
		return nil, err
	}
	return logging.New(io.err, "minisgl", level), nil
}

// progressLines shows how far loading has come, on a terminal only.
func progressLines(io streams) func(stage string, done float64) {
	file, ok := io.err.(*os.File)
	if !ok {
		return nil
	}
	if info, err := file.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	var mu sync.Mutex
	last := -1
	return func(stage string, done float64) {
		mu.Lock()
		defer mu.Unlock()
		percent := int(done * 100)
		if percent == last {
			return
		}
		last = percent
		fmt.Fprintf(io.err, "\r%s %3d%%", stage, percent)
		if percent >= 100 {
			fmt.Fprint(io.err, "\r\033[K")
		}
	}
}

func envBool(io streams, name string, fallback bool) (bool, error) {
	text := io.getenv(name)
	if text == "" {
		return fallback, nil
	}
	value, err := strconv.ParseBool(text)
	if err != nil {
		return false, fmt.Errorf("%s=%q: expected 1 or 0", name, text)
	}
	return value, nil
}

func envInt(io streams, name string, fallback, least int) (int, error) {
	text := io.getenv(name)
	if text == "" {
		return fallback, nil
	}
	value, err := strconv.Atoi(text)
	if err != nil || value < least {
		return 0, fmt.Errorf("%s=%q: expected a whole number from %d on", name, text, least)
	}
	return value, nil
}

func envFloat(io streams, name string, fallback float64) (float64, error) {
	text := io.getenv(name)
	if text == "" {
		return fallback, nil
	}
	value, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, fmt.Errorf("%s=%q: expected a number", name, text)
	}
	return value, nil
}
