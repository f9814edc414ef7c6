package reference

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"minisgl/device"
	"minisgl/device/sample"
)

// A Runner runs steps when they are waited for.
type Runner struct {
	program   *device.Program
	options   device.LoadOptions
	threads   int
	weights   weights
	pageBytes int64
	checker   *device.Checker

	mu      sync.Mutex
	flight  []*device.Step // submitted and not run yet, oldest first
	buffers []buffer
	// pages[i] is KV page i: PageSize positions, each with Layers times [key heads | value heads]. Nil until it is written.
	pages     [][]float64
	sampled   []int32 // by slot: the token sampled last
	histories []sample.History
	workspace sample.Workspace
	logits    []float32

	// The step that runs:
	tokens []int32 // of each row
	places []place // of each row
}

// place is where a row stands in its sequence.
type place struct {
	sequence *device.Sequence
	position int32
}

func (r *Runner) Pages() int { return len(r.pages) }

func (r *Runner) Memory() device.MemoryUse {
	r.mu.Lock()
	defer r.mu.Unlock()
	use := device.MemoryUse{Weights: r.weights.bytes()}
	for _, page := range r.pages {
		use.KV += int64(len(page)) * 8
	}
	for _, b := range r.buffers {
		use.Scratch += int64(len(b.values)) * 8
	}
	return use
}

func (r *Runner) Submit(s *device.Step) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flight = append(r.flight, s)
}

func (r *Runner) Wait(s *device.Step) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(r.flight, s) {
		return errors.New("reference: the step was not submitted, or was waited for already")
	}
	if r.flight[0] != s {
		return errors.New("reference: an earlier step has not been waited for")
	}
	r.flight = slices.Delete(r.flight, 0, 1)
	return r.run(s)
}

func (r *Runner) Close() error { return nil }

func (r *Runner) run(s *device.Step) error {
	if err := r.checker.Check(s); err != nil {
		return fmt.Errorf("reference: %w", err)
	}
	r.prepare(s)
	defer func() { clear(r.places) }() // they point into the step
	for i, op := range r.program.Ops {
		switch o := op.(type) {
		case *device.Embed:
			r.embed(o)
		case *device.RMSNorm:
			r.rmsNorm(o)
		case *device.Linear:
			r.linear(o)
		case *device.RotaryStore:
			r.rotaryStore(o)
		case *device.Attention:
			r.attention(o)
		case *device.GatedSiLU:
			r.gatedSiLU(o)
		case *device.SelectRows:
			r.selectRows(o, s.Outputs)
		case *device.LMHead:
			r.lmHead(o)
			r.answer(s, &r.buffers[o.Logits])
		}
		if s.Trace != nil {
			b := &r.buffers[op.Output()]
			s.Trace(device.Tap{Op: i, Label: op.Label(), Rows: b.rows(), Width: b.width, Data: b.values})
		}
	}
	return nil
}

// prepare copies pages, resets slots, gets memory for pages that have none, and finds each row's token and place. Padding
// rows are dropped.
func (r *Runner) prepare(s *device.Step) {
	for _, c := range s.Copies {
		positionValues := int(r.pageBytes) / 8 / r.options.PageSize
		copy(r.page(c.Dst)[:int(c.Tokens)*positionValues], r.page(c.Src))
	}
	for _, reset := range s.Resets {
		r.histories[reset.Slot].Reset(reset.Prompt, reset.Output)
	}
	r.tokens, r.places = r.tokens[:0], r.places[:0]
	for i := range s.Sequences {
		q := &s.Sequences[i]
		for _, id := range q.Pages {
			r.page(id)
		}
		for row := range q.Rows {
			token := s.Tokens[q.First+row]
			if token < 0 {
				token = max(r.sampled[-1-token], 0)
			}
			r.tokens = append(r.tokens, token)
			r.places = append(r.places, place{q, q.Position + row})
		}
	}
}

func (r *Runner) page(i int32) []float64 {
	if r.pages[i] == nil {
		r.pages[i] = make([]float64, r.pageBytes/8)
	}
	return r.pages[i]
}

// kv returns the keys and values, [key heads | value heads], of a position of a sequence.
func (r *Runner) kv(q *device.Sequence, position int32, layer int) []float64 {
	size := int32(r.options.PageSize)
	n := 2 * r.program.KVHeads * r.program.HeadDim
	at := (int(position%size)*r.program.Layers + layer) * n
	return r.page(q.Pages[position/size])[at : at+n]
}

// answer samples or scores each output. Logits are rounded to float32 for it.
func (r *Runner) answer(s *device.Step, logits *buffer) {
	s.ResizeResults()
	for k := range s.Outputs {
		r.logits = r.logits[:0]
		for _, l := range logits.row(k) {
			r.logits = append(r.logits, float32(l))
		}
		o := &s.Outputs[k]
		r.workspace.Read(&s.Results[k], r.logits, o, &r.histories[o.Slot])
		if o.Target == device.Sample {
			r.sampled[o.Slot] = s.Results[k].Token
		}
	}
}
