package minisgl

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"minisgl/model"
	"minisgl/model/demo"
	"minisgl/model/hub"
	"minisgl/scheduler"
	"minisgl/tensor"
)

// Demo is the name of the model that the binary carries; see package model/demo.
const Demo = "demo"

// Defaults of Options.
const (
	DefaultMaxRunning    = 256
	DefaultStepTokens    = 8192
	DefaultMaxQueue      = 1024
	DefaultPageSize      = 16
	DefaultLookPast      = 8
	DefaultGraphMaxBatch = 256
)

// Options say what to open, where, and how much of the machine to use. The zero value of each field is its default.
type Options struct {
	// Model is a folder, a .gguf file, or a name on the hub ("Qwen/Qwen2.5-0.5B-Instruct"). Demo is the small model that the
	// binary carries, and the default.
	Model          string
	Source         string // "huggingface" or "modelscope"
	ModelScopeName string // the model's name on ModelScope, where it differs
	Revision       string
	File           string // which file of a GGUF repository
	// DType is the type of the weights: "auto" (as stored), "float16", "bfloat16", "float32". Named, "bfloat16" also lets a device round
	// activations to it where that is faster.
	DType       string
	Quantize    string // "q8_0" or "q4_0": weights of 16 or 32 bits are quantised when they are loaded; "" or "none": as stored
	KVDType     string // of the KV cache: "auto" (the device's choice), "float32", "bfloat16", "int8"
	DummyWeight bool   // random weights of the config's shape

	// Device is "auto", "cpu", "cuda:0", …: see device.Drivers. A list, "cuda:0,cuda:1", has an engine on each, among which requests are
	// shared; bounds such as MaxRunning and MaxQueue are those of one engine.
	Device     string
	AllDevices bool // "auto" stands for all devices of the best kind, not only the first
	Threads    int  // of each CPU device; 0: all cores, shared by those in a list

	MaxSeqLen     int     // 0: what the model was made for
	MaxRunning    int     // requests that run at once
	MaxQueue      int     // requests that wait; more are refused
	MaxStepTokens int     // token budget of a step; 0: what suits the device
	MemoryRatio   float64 // share of free memory for weights and KV cache, in (0, 1]; 0: the device's default
	NumPages      int     // KV pages; 0: what MemoryRatio gives
	PageSize      int     // tokens of a page
	GraphMaxBatch int     // largest batch with a CUDA graph; negative: none

	Cache     scheduler.CacheKind
	Policy    scheduler.Policy
	LookPast  int // waiting requests that may be passed over; negative: none
	NoOverlap bool

	Planner scheduler.Planner // which of the two planners serves
	Shadow  Shadow            // what runs beside and is compared

	Logger          *slog.Logger // nil: silent
	DecodeLogStride int          // each how many tokens of a request a line is logged; 0: 32
	Observer        Observer     // nil: none
	// Progress is told how far a stage of Open has come, in [0, 1].
	Progress func(stage string, done float64)
	// DownloadProgress is told of each file's bytes; total is -1 where unknown.
	DownloadProgress func(file string, done, total int64)
}

// An Observer hears how long things took. Its methods are called on the engines' goroutines, of several at the
// same time, and must not block.
type Observer interface {
	TimeToFirstToken(time.Duration)
	InterTokenLatency(time.Duration)
	Finished(scheduler.FinishReason, scheduler.Usage, time.Duration)
}

type noObserver struct{}

func (noObserver) TimeToFirstToken(time.Duration)                                  {}
func (noObserver) InterTokenLatency(time.Duration)                                 {}
func (noObserver) Finished(scheduler.FinishReason, scheduler.Usage, time.Duration) {}

func (o Options) withDefaults() (Options, error) {
	if o.Model == "" {
		o.Model = Demo
	}
	for name, value := range map[string]int{"MaxSeqLen": o.MaxSeqLen, "MaxRunning": o.MaxRunning, "MaxQueue": o.MaxQueue,
		"MaxStepTokens": o.MaxStepTokens, "NumPages": o.NumPages, "PageSize": o.PageSize, "Threads": o.Threads} {
		if value < 0 {
			return o, fmt.Errorf("%s is %d: it cannot be negative", name, value)
		}
	}
	if o.MemoryRatio < 0 || o.MemoryRatio > 1 {
		return o, fmt.Errorf("MemoryRatio is %v: it is a share in (0, 1]", o.MemoryRatio)
	}
	_, err := parseDType(o.DType)
	if err != nil {
		return o, err
	}
	if _, err = parseQuantize(o.Quantize); err != nil {
		return o, err
	}
	if _, err = parseKVDType(o.KVDType); err != nil {
		return o, err
	}
	setDefault(&o.MaxRunning, DefaultMaxRunning)
	setDefault(&o.MaxQueue, DefaultMaxQueue)
	setDefault(&o.PageSize, DefaultPageSize)
	setDefault(&o.LookPast, DefaultLookPast)
	setDefault(&o.GraphMaxBatch, DefaultGraphMaxBatch)
	setDefault(&o.DecodeLogStride, 32)
	if o.Shadow, err = o.Shadow.withDefaults(); err != nil {
		return o, err
	}
	o.LookPast = max(o.LookPast, 0)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Observer == nil {
		o.Observer = noObserver{}
	}
	if o.Progress == nil {
		o.Progress = func(string, float64) {}
	}
	return o, nil
}

func setDefault(field *int, value int) {
	if *field == 0 {
		*field = value
	}
}

func parseQuantize(name string) (tensor.DType, error) {
	switch strings.ToLower(name) {
	case "", "none":
		return tensor.Invalid, nil
	case "q8_0":
		return tensor.Q8_0, nil
	case "q4_0":
		return tensor.Q4_0, nil
	}
	return 0, fmt.Errorf("quantize %q: expected q8_0 or q4_0, or none", name)
}

func parseKVDType(name string) (tensor.DType, error) {
	switch strings.ToLower(name) {
	case "", "auto":
		return tensor.Invalid, nil
	case "float32", "float":
		return tensor.F32, nil
	case "bfloat16":
		return tensor.BF16, nil
	case "int8":
		return tensor.I8, nil
	}
	return 0, fmt.Errorf("KV dtype %q: expected auto, float32, bfloat16 or int8", name)
}

func parseDType(name string) (tensor.DType, error) {
	switch strings.ToLower(name) {
	case "", "auto":
		return tensor.Invalid, nil
	case "float16", "half":
		return tensor.F16, nil
	case "bfloat16":
		return tensor.BF16, nil
	case "float32", "float":
		return tensor.F32, nil
	}
	return 0, fmt.Errorf("dtype %q: expected auto, float16, bfloat16 or float32", name)
}

func openCheckpoint(ctx context.Context, o Options) (*model.Checkpoint, error) {
	dtype, err := parseDType(o.DType)
	if err != nil {
		return nil, err
	}
	checkpoint := model.Options{DType: dtype, MaxSeqLen: o.MaxSeqLen, RandomFill: o.DummyWeight}
	if o.Model == Demo {
		return model.OpenFS(demo.FS(), ".", checkpoint)
	}
	path, err := hub.Resolve(ctx, o.Model, hub.Options{Source: o.Source, Revision: o.Revision, File: o.File,
		ModelScopeName: o.ModelScopeName, Progress: o.DownloadProgress})
	if err != nil {
		return nil, err
	}
	return model.Open(path, checkpoint)
}
