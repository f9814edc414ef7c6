package parity

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"minisgl/device"
	"minisgl/tensor"
)

const referenceName = "reference"

// A replayed device holds the program and takes part in a lockstep.
type replayed struct {
	name   string
	device device.Device
	runner device.Runner
	pages  []int32
}

// load loads the program for one sequence of so many tokens on the device that a side names.
func load(spec string, p *device.Program, tokens int) (_ *replayed, err error) {
	side, err := ParseSide(spec)
	if err != nil {
		return nil, err
	}
	r := &replayed{name: spec}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if r.device, _, err = device.Open(side.Device, side.Threads); err != nil {
		return nil, err
	}
	pages := (tokens + side.page - 1) / side.page
	options := device.LoadOptions{PageSize: side.page, KV: tensor.F32, Pages: pages, MaxSlots: 1, MaxRows: tokens}
	r.runner, err = r.device.Load(p, options)
	if errors.Is(err, device.ErrKVType) {
		options.KV = tensor.Invalid // rounded keys and values will show as an error of attention
		r.runner, err = r.device.Load(p, options)
	}
	if err != nil {
		return nil, err
	}
	for page := range pages {
		r.pages = append(r.pages, int32(page))
	}
	return r, nil
}

func (r *replayed) close() {
	if r == nil {
		return
	}
	if r.runner != nil {
		r.runner.Close()
	}
	if r.device != nil {
		r.device.Close()
	}
}

// lockstep runs tokens [from, to) of one sequence as a step on all devices at once, and calls compare for each operation with
// its output on each device; behind SelectRows that is the last row. No output is kept longer than that, so that a long prompt of a large model can be traced: each
// device waits inside Step.Trace until the others have come as far.
func lockstep(ctx context.Context, devices []*replayed, tokens []int32, from, to int, compare func([]device.Tap)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	taps, compared := make([]chan device.Tap, len(devices)), make([]chan struct{}, len(devices))
	var running sync.WaitGroup
	output := device.Output{Row: int32(to - from - 1), Target: device.Sample, Position: int32(to), Params: device.Greedy()}
	if to < len(tokens) {
		output.Target = tokens[to]
	}
	for i, d := range devices {
		taps[i], compared[i] = make(chan device.Tap), make(chan struct{})
		step := &device.Step{
			Tokens:    tokens[from:to],
			Sequences: []device.Sequence{{Rows: int32(to - from), Position: int32(from), Pages: d.pages}},
			Outputs:   []device.Output{output},
		}
		step.Trace = func(tap device.Tap) {
			select {
			case taps[i] <- tap:
			case <-ctx.Done():
				return
			}
			select {
			case <-compared[i]:
			case <-ctx.Done():
			}
		}
		running.Go(func() {
			defer close(taps[i])
			d.runner.Submit(step)
			if err := d.runner.Wait(step); err != nil {
				cancel(fmt.Errorf("%s: %w", d.name, err))
			}
		})
	}
	err := compareAll(ctx, devices, taps, compared, compare)
	if err != nil {
		cancel(err)
	}
	running.Wait()
	return context.Cause(ctx)
}

func compareAll(ctx context.Context, devices []*replayed, taps []chan device.Tap, compared []chan struct{}, compare func([]device.Tap)) error {
	for op := 0; ; op++ {
		current, ended := make([]device.Tap, 0, len(taps)), 0
		for i := range taps {
			select {
			case tap, open := <-taps[i]:
				if !open {
					ended++
				}
				current = append(current, tap)
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if ended > 0 {
			if ended < len(taps) {
				return fmt.Errorf("only some devices trace more than %d operations", op)
			}
			return nil
		}
		for i, tap := range current {
			want := current[0]
			if tap.Op != want.Op || tap.Width != want.Width || tap.Rows < want.Rows || len(tap.Data) < want.Rows*want.Width {
				return fmt.Errorf("%s traces operation %d (%s) as %d rows of %d, %s as %d rows of %d", devices[i].name, tap.Op, tap.Label, tap.Rows,
					tap.Width, devices[0].name, want.Rows, want.Width)
			}
		}
		compare(current)
		for i := range compared {
			select {
			case compared[i] <- struct{}{}:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
}
