// Package minisgl is the engine as a library: open a model, generate text, close it. The server and the command stand on
// the same calls, so whatever they can do, a program that embeds the engine can do too.
//
//	llm, err := minisgl.Open(ctx, minisgl.Options{Model: "Qwen/Qwen2.5-0.5B-Instruct"})
//	outputs, err := llm.Generate(ctx, []string{"Once upon a time"}, minisgl.Params{MaxTokens: 64})
//
// All methods may be called from any goroutine; requests that run at the same time share steps on the device.
package minisgl

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"minisgl/device"
	"minisgl/internal/shadow"
	"minisgl/model"
	"minisgl/model/tokenizer"
	"minisgl/scheduler"
	"minisgl/scheduler/engine"
)

// An LLM is an opened model on a device, ready to generate.
type LLM struct {
	options      Options
	checkpoint   *model.Checkpoint
	device       device.Device
	info         device.Info
	runner       device.Runner
	shadow       *shadow.Shadow // nil: none
	shadowDevice device.Device  // likewise
	engine       *engine.Engine
	log          *slog.Logger
	observer     Observer
	maxSeqLen    int
	nextID       atomic.Uint64
	close        sync.Once
	closeErr     error
}

// Open finds the model, downloads it if it must, loads it on the device and starts the engine.
func Open(ctx context.Context, o Options) (_ *LLM, err error) {
	if o, err = o.withDefaults(); err != nil {
		return nil, err
	}
	l := &LLM{options: o, log: o.Logger, observer: o.Observer}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	if l.checkpoint, err = openCheckpoint(ctx, o); err != nil {
		return nil, err
	}
	var notes []string
	l.device, notes, err = device.Open(o.Device, o.Threads)
	for _, note := range notes {
		l.log.Warn(note)
	}
	if err != nil {
		return nil, err
	}
	l.info = l.device.Info()
	program := l.checkpoint.Program
	if o.MaxStepTokens == 0 {
		if o.MaxStepTokens = l.info.StepTokens; o.MaxStepTokens == 0 {
			o.MaxStepTokens = DefaultStepTokens
		}
	}
	l.options, l.maxSeqLen = o, program.MaxPositions
	pagesPerSeq := (l.maxSeqLen + o.PageSize - 1) / o.PageSize
	load := device.LoadOptions{
		PageSize: o.PageSize, Pages: o.NumPages, MemoryRatio: o.MemoryRatio, MaxPages: o.MaxRunning*pagesPerSeq + 1,
		MaxSlots: o.MaxRunning, MaxRows: max(o.MaxStepTokens, o.MaxRunning), GraphMaxBatch: o.GraphMaxBatch,
		Progress: func(done float64) { o.Progress("loading "+l.Name(), done) },
	}
	if l.runner, err = l.device.Load(program, load); err != nil {
		return nil, fmt.Errorf("loading %s on %s: %w", l.Name(), l.info.Name, err)
	}
	config := scheduler.Config{
		PageSize: o.PageSize, NumPages: l.runner.Pages(), MaxRunning: o.MaxRunning, MaxStepTokens: o.MaxStepTokens,
		MaxSeqLen: l.maxSeqLen, MaxQueue: o.MaxQueue, Policy: o.Policy, Cache: o.Cache, LookPast: o.LookPast, Vocab: program.Vocab,
		Planner: o.Planner,
	}
	if err = l.startShadow(program, load); err != nil {
		return nil, err
	}
	if l.shadow != nil {
		config.Shadow = l.shadow
	}
	// The devices have the weights now: the mapped files need not stay in memory.
	if err = l.checkpoint.Close(); err != nil {
		return nil, err
	}
	l.engine, err = engine.New(l.runner, engine.Options{Scheduler: config, NoOverlap: o.NoOverlap})
	if err != nil {
		return nil, err
	}
	l.log.Info(fmt.Sprintf("Model backend ready: model=%s device=%s eos_token_id=%v", l.Name(), l.info.Name, l.checkpoint.StopIDs))
	return l, nil
}

// Close aborts what is running and frees the device and the checkpoint. It may be called more than once.
func (l *LLM) Close() error {
	l.close.Do(func() {
		var errs []error
		if l.engine != nil {
			errs = append(errs, l.engine.Close())
		}
		if l.runner != nil {
			errs = append(errs, l.runner.Close())
		}
		errs = append(errs, l.closeShadow())
		if l.device != nil {
			errs = append(errs, l.device.Close())
		}
		if l.checkpoint != nil {
			errs = append(errs, l.checkpoint.Close())
		}
		l.closeErr = errors.Join(errs...)
	})
	return l.closeErr
}

// Drain takes no more requests and waits for those that run, until the context ends.
func (l *LLM) Drain(ctx context.Context) error { return l.engine.Drain(ctx) }

// Warmup generates a few tokens, so that the first request does not pay for cold caches.
func (l *LLM) Warmup(ctx context.Context) error {
	const tokens = 4
	start := time.Now()
	prompt := []int32{0, 1, 2, 3}
	prepared, err := l.Prepare(Request{TokenIDs: prompt[:min(len(prompt), l.checkpoint.Program.Vocab, l.maxSeqLen-1)],
		Params: Params{MaxTokens: tokens, IgnoreEOS: true}})
	if err != nil {
		return err
	}
	prepared.stream.narrate = false
	stream, err := prepared.Stream(ctx)
	if err != nil {
		return err
	}
	out, err := stream.Output()
	if err != nil {
		return err
	}
	l.log.Info(fmt.Sprintf("Warmup complete | tokens=%d duration=%.3fs", len(out.TokenIDs), time.Since(start).Seconds()))
	return nil
}

// Generate continues each prompt, all of them at once, and returns the outputs in the order of the prompts. For chats and
// token ids see Run.
func (l *LLM) Generate(ctx context.Context, prompts []string, p Params) ([]Output, error) {
	requests := make([]Request, len(prompts))
	for i, prompt := range prompts {
		requests[i] = Request{Prompt: prompt, Params: p}
	}
	return l.Run(ctx, requests)
}

// Run answers requests, all of them at once, and returns the outputs in their order. Where more are asked for than the
// queue holds, the rest waits its turn. The first error ends the call and aborts what still runs.
func (l *LLM) Run(ctx context.Context, requests []Request) ([]Output, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	streams, outputs := make([]*Stream, 0, len(requests)), make([]Output, 0, len(requests))
	collect := func() (err error) {
		i := len(outputs)
		out, err := streams[i].Output()
		if err != nil {
			return fmt.Errorf("request %d: %w", i, err)
		}
		outputs = append(outputs, out)
		return nil
	}
	for i, r := range requests {
		stream, err := l.Stream(ctx, r)
		for errors.Is(err, scheduler.ErrQueueFull) && len(outputs) < len(streams) {
			if err := collect(); err != nil {
				return nil, err
			}
			stream, err = l.Stream(ctx, r)
		}
		if err != nil {
			return nil, fmt.Errorf("request %d: %w", i, err)
		}
		streams = append(streams, stream)
	}
	for len(outputs) < len(streams) {
		if err := collect(); err != nil {
			return nil, err
		}
	}
	return outputs, nil
}

// Abort ends a request by its ID; AbortAll ends all.
func (l *LLM) Abort(id string) { l.engine.Abort(id) }
func (l *LLM) AbortAll()       { l.engine.AbortAll() }

// FlushCache drops the prefix cache, but for what running requests use. It reports whether nothing was running.
func (l *LLM) FlushCache() bool { return l.engine.FlushCache() }

// Stats is a recent snapshot of load and memory.
func (l *LLM) Stats() engine.Stats { return l.engine.Stats() }

// Done is closed when the engine has ended, by Close or because the device was lost; Err then tells which.
func (l *LLM) Done() <-chan struct{} { return l.engine.Done() }
func (l *LLM) Err() error            { return l.engine.Err() }

// Name is the model's name: the last part of what Options.Model named.
func (l *LLM) Name() string {
	name := l.options.Model
	if strings.ContainsAny(name, `\`) || filepath.IsAbs(name) || strings.HasPrefix(name, ".") {
		name = filepath.Base(filepath.Clean(name))
	}
	return strings.TrimSuffix(name, ".gguf")
}

// Tokenizer is the model's tokenizer; nil if the checkpoint has none.
func (l *LLM) Tokenizer() *tokenizer.Tokenizer { return l.checkpoint.Tokenizer }

// Config describes the model. Vocab is the number of logits; ids from the tokenizer's Vocab on have no text.
func (l *LLM) Config() model.Config { return l.checkpoint.Config }

// Defaults are the sampling parameters that the checkpoint's generation_config.json proposes.
func (l *LLM) Defaults() model.Defaults { return l.checkpoint.Defaults }

// StopIDs are the tokens that end a generation.
func (l *LLM) StopIDs() []int32 { return l.checkpoint.StopIDs }

// MaxSeqLen is the number of tokens that a prompt and its output may have together.
func (l *LLM) MaxSeqLen() int { return l.maxSeqLen }

// DeviceInfo describes the device, Memory what the model takes of it in bytes, Options what was chosen.
func (l *LLM) DeviceInfo() device.Info  { return l.info }
func (l *LLM) Memory() device.MemoryUse { return l.runner.Memory() }
func (l *LLM) Options() Options         { return l.options }

// HasChatTemplate reports whether conversations can be rendered.
func (l *LLM) HasChatTemplate() bool {
	return l.checkpoint.Chat != nil && l.checkpoint.Tokenizer != nil
}
