// Package fake is a device without weights, for tests of the scheduler, the engine and the server. Where a model would store
// keys and values it stores a hash of the token, its position and everything that the row read before it; where a model
// would compute logits it hashes all KV that the output's row reads through its page table. So a page that is stale,
// foreign, wrongly copied or in the wrong place changes the tokens that follow, as it would in a model, and Continue says
// without any page what a request must produce. Steps that break the device's contract, or that read KV nobody wrote, are
// errors that say why. Faults and delays can be injected.
//
// It registers itself as "fake".
package fake

import (
	"fmt"
	"time"

	"minisgl/device"
)

func init() {
	device.Register(device.Driver{
		Name: "fake",
		Help: "no model: tokens are hashes of the KV they read, for tests (variants: wait, concurrent)",
		Open: func(o device.OpenOptions) (device.Device, error) {
			switch o.Variant {
			case "":
				return New(Options{}), nil
			case "wait":
				return New(Options{Run: AtWait}), nil
			case "concurrent":
				return New(Options{Run: Concurrent}), nil
			}
			return nil, fmt.Errorf("variant %q is unknown: there are wait and concurrent", o.Variant)
		},
	})
}

// Options of a fake device. The zero value is a device that works at once and never fails.
type Options struct {
	Run Mode
	// Trusting makes steps cheaper, for benchmarks of what drives the device: they are not checked, and a sequence's KV is
	// believed to be what its last page says. Correct steps get the same tokens.
	Trusting bool
	// Memory is what the device claims to have, in bytes; a token's KV takes 8. 0: 16 GiB.
	Memory int64
	// Fault, if set, is asked before each step what goes wrong with it. Steps are numbered from 0.
	Fault func(step int) Fault
	// OnViolation, if set, is told of a step that breaks the contract, before Wait returns the error.
	OnViolation func(error)
}

// Mode says when a step runs.
type Mode uint8

const (
	AtSubmit   Mode = iota // inside Submit
	AtWait                 // inside Wait
	Concurrent             // on a goroutine of the runner
)

// A Fault is what goes wrong with a step.
type Fault struct {
	// Err makes Wait return it. What the step should have written is garbage then. After device.ErrLost no step runs.
	Err   error
	Delay time.Duration         // the step takes so long
	NaN   func(output int) bool // the logits of these outputs are not numbers
}

// New returns a device.
func New(o Options) *Device {
	if o.Memory == 0 {
		o.Memory = 16 << 30
	}
	return &Device{o}
}

// A Device is a fake device.Device.
type Device struct{ options Options }

func (d *Device) Info() device.Info {
	return device.Info{Name: "fake", Description: "no model, tokens are hashes", Kernels: "none",
		MemoryTotal: d.options.Memory, MemoryFree: d.options.Memory}
}

func (d *Device) Close() error { return nil }

// Load returns a *Runner. Of the program it uses Vocab and MaxPositions. It has no numbers, so any type of KV will do.
func (d *Device) Load(p *device.Program, o device.LoadOptions) (device.Runner, error) {
	if o.Pages == 0 {
		o.Pages = 4096
		if o.MaxPages > 0 {
			o.Pages = min(o.Pages, o.MaxPages)
		}
	}
	if kv := float64(o.Pages) * float64(o.PageSize) * 8; kv > float64(d.options.Memory) {
		return nil, fmt.Errorf("%w: %d pages of %d tokens take %.0f bytes, there are %d", device.ErrMemory, o.Pages, o.PageSize, kv,
			d.options.Memory)
	}
	if o.Progress != nil {
		o.Progress(1)
	}
	return newRunner(p, o, d.options), nil
}

// Program returns a program without operations, which is all that a fake device needs.
func Program(vocab, maxPositions int) *device.Program {
	return &device.Program{Name: "fake", Vocab: vocab, MaxPositions: maxPositions, Layers: 1, Heads: 1, KVHeads: 1, HeadDim: 2}
}
