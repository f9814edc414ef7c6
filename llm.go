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
	"minisgl/model"
	"minisgl/model/tokenizer"
	"minisgl/scheduler"
	"minisgl/scheduler/router"
)

// An LLM is an opened model on one device or several, ready to generate. Each device has an engine; requests are shared among them.
type LLM struct {
	options    Options
	checkpoint *model.Checkpoint
	replicas   []*replica // at least one
	router     *router.Router
	log        *slog.Logger
	observer   Observer
	maxSeqLen  int
	nextID     atomic.Uint64
	watchers   sync.WaitGroup
	done       chan struct{}
	close      sync.Once
	closeErr   error
}

// Open finds the model, downloads it if it must, loads it on each device, one after the other, and starts the engines.
func Open(ctx context.Context, o Options) (_ *LLM, err error) {
	if o, err = o.withDefaults(); err != nil {
		return nil, err
	}
	l := &LLM{options: o, log: o.Logger, observer: o.Observer, done: make(chan struct{})}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	if l.checkpoint, err = openCheckpoint(ctx, o); err != nil {
		return nil, err
	}
	l.maxSeqLen = l.checkpoint.Program.MaxPositions
	if err = l.openDevices(); err != nil {
		return nil, err
	}
	for _, r := range l.replicas {
		if err = l.load(r); err != nil {
			return nil, err
		}
		l.log.Info(fmt.Sprintf("Model backend ready: model=%s device=%s eos_token_id=%v", l.Name(), r.name, l.checkpoint.StopIDs))
	}
	// The devices have the weights now: the mapped files need not stay in memory.
	if err = l.checkpoint.Close(); err != nil {
		return nil, err
	}
	if l.options.MaxStepTokens == 0 {
		l.options.MaxStepTokens = l.replicas[0].stepTokens()
	}
	l.router = router.New(len(l.replicas))
	l.watch()
	return l, nil
}

// Close aborts what is running and frees the devices and the checkpoint. It may be called more than once.
func (l *LLM) Close() error {
	l.close.Do(func() {
		var errs []error
		for _, r := range l.replicas {
			if r.engine != nil {
				errs = append(errs, r.engine.Close())
			}
		}
		l.watchers.Wait()
		for _, r := range l.replicas {
			errs = append(errs, r.close()...)
		}
		l.logShadow()
		if l.checkpoint != nil {
			errs = append(errs, l.checkpoint.Close())
		}
		l.closeErr = errors.Join(errs...)
	})
	return l.closeErr
}

// Warmup generates a few tokens on each device, so that the first request does not pay for cold caches.
func (l *LLM) Warmup(ctx context.Context) error {
	const tokens = 4
	return l.probe(ctx, tokens, func(r *replica, took time.Duration) {
		text := fmt.Sprintf("Warmup complete | tokens=%d duration=%.3fs", tokens, took.Seconds())
		if len(l.replicas) > 1 {
			text += " device=" + r.name
		}
		l.log.Info(text)
	})
}

// Probe generates a token on each device that is not lost: do they still work?
func (l *LLM) Probe(ctx context.Context) error {
	return l.probe(ctx, 1, func(*replica, time.Duration) {})
}

// probe generates tokens on all devices that are left, at the same time, and calls ended for each.
func (l *LLM) probe(ctx context.Context, tokens int, ended func(*replica, time.Duration)) error {
	start := time.Now()
	prompt := []int32{0, 1, 2, 3}
	request := Request{TokenIDs: prompt[:min(len(prompt), l.checkpoint.Program.Vocab, l.maxSeqLen-1)],
		Params: Params{MaxTokens: tokens, IgnoreEOS: true}}
	var streams []*Stream
	for _, r := range l.replicas {
		if r.lost.Load() && len(l.replicas) > 1 {
			continue
		}
		prepared, err := l.Prepare(request)
		if err != nil {
			return err
		}
		prepared.stream.narrate = false
		stream, err := prepared.on(ctx, func(s *Stream) (*replica, error) { return r, r.engine.Submit(s.request) })
		if err != nil {
			return r.fault(err)
		}
		defer stream.Close()
		streams = append(streams, stream)
	}
	for _, stream := range streams {
		if _, err := stream.Output(); err != nil {
			return err
		}
		ended(stream.replica, time.Since(start))
	}
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

// DeviceInfo describes the device; of several it has all names, and else speaks of the first. See Engines.
func (l *LLM) DeviceInfo() device.Info {
	info := l.replicas[0].info
	for _, r := range l.replicas[1:] {
		info.Name += "," + r.info.Name
	}
	return info
}

// Memory is what the model takes of the devices, in bytes.
func (l *LLM) Memory() (sum device.MemoryUse) {
	for _, r := range l.replicas {
		m := r.runner.Memory()
		sum = device.MemoryUse{Weights: sum.Weights + m.Weights, KV: sum.KV + m.KV, Scratch: sum.Scratch + m.Scratch}
	}
	return sum
}

// Options are what was chosen.
func (l *LLM) Options() Options { return l.options }

// HasChatTemplate reports whether conversations can be rendered.
func (l *LLM) HasChatTemplate() bool {
	return l.checkpoint.Chat != nil && l.checkpoint.Tokenizer != nil
}
