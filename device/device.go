// Package device is the border between what is computed and where: a Program describes a model, a Step describes one
// batch, and a Device runs steps of a program. A device knows no scheduler, no HTTP and no checkpoint format. Devices
// register themselves by name; importing a device's package for its side effect makes it available to Open.
//
// # Numbers
//
// A device accumulates in float32 or better, and the order in which it sums a row's values depends on neither the other
// rows of the step, nor how the sequence was cut into chunks, nor the page size, nor the number of threads: the same
// request gets bit-identical results alone or in a crowd. devicetest.Run checks this and all else on this page.
package device

import (
	"errors"
	"fmt"
	"slices"

	"minisgl/tensor"
)

// A Device is one place that can hold programs: a CPU with its SIMD units, one GPU.
type Device interface {
	Info() Info
	// Load compiles a program. The weights' memory may be unmapped once it returns. A program that Program.Validate finds
	// fault with is an error, and what does not fit is ErrMemory.
	Load(p *Program, o LoadOptions) (Runner, error)
	Close() error
}

// Info describes a device to people.
type Info struct {
	Name        string // the spec that opens it: "cpu", "cuda:0", "cpu+generic"
	Description string // "AMD EPYC, 2 threads"
	Kernels     string // the kernel path that was chosen, and the features that led to it: "avx512 (avx512f avx512bw …)"
	MemoryTotal int64  // bytes
	MemoryFree  int64  // bytes a program may still take
	StepTokens  int    // rows of a step that keep the device busy without making its decode rows wait; 0: no preference
}

// LoadOptions bounds what a runner must be able to do.
type LoadOptions struct {
	PageSize int // tokens of a KV page, ≥ 1
	// KV is the type in which keys and values are kept; tensor.Invalid leaves it to the device. See KVType.
	KV tensor.DType
	// Weights is the type to which weights of plain types are quantised; tensor.Invalid keeps them as they are.
	Weights tensor.DType
	// Activations is the type to which a device may round the inputs of matrix products where that is faster; tensor.Invalid
	// leaves it to the device: a CPU then rounds them no further than to nearly float32, 16 bits, a GPU to the weights' type.
	Activations tensor.DType
	// Pages is the number of KV pages; 0 lets the device take as many as MemoryRatio allows.
	Pages int
	// MemoryRatio is the share of free memory that weights and KV may take together, in (0, 1]; 0 is the device's default.
	MemoryRatio float64
	// MaxPages caps what MemoryRatio gives; 0: no cap. More pages than all slots at full length can hold are of no use.
	MaxPages int
	MaxSlots int // requests that run at once
	MaxRows  int // rows of a step
	// GraphMaxBatch is the largest decode batch for which a device captures a graph; 0: none. Devices without graphs ignore it.
	GraphMaxBatch int
	// Progress, if set, is told the share of the work done so far, in [0, 1].
	Progress func(done float64)
}

// KVType returns the type that a device is to keep keys and values in, of those that it has: the first where KV leaves it to
// the device, and ErrKVType with their names where KV is none of them.
func (o *LoadOptions) KVType(have ...tensor.DType) (tensor.DType, error) {
	if o.KV == tensor.Invalid {
		return have[0], nil
	}
	if !slices.Contains(have, o.KV) {
		return tensor.Invalid, fmt.Errorf("%w %s: it has %v", ErrKVType, o.KV, have)
	}
	return o.KV, nil
}

// A Runner runs steps of one program, in the order they were submitted. Submit and Wait may be called from different
// goroutines; calls of one of them may not overlap.
type Runner interface {
	// Pages is the number of KV pages there are: page ids are in [0, Pages).
	Pages() int
	// Memory is what the runner holds, in bytes.
	Memory() MemoryUse
	// Submit hands over a step and returns at once. The step's Tokens may refer to tokens that earlier steps are still
	// sampling. At most two steps may be in flight.
	Submit(*Step)
	// Wait returns once the step has run and its Results are written. An error means that nothing of the step's results
	// and none of the KV it should have written can be trusted; ErrLost means that the runner cannot go on.
	Wait(*Step) error
	Close() error
}

// MemoryUse says where a runner's memory went, in bytes.
type MemoryUse struct{ Weights, KV, Scratch int64 }

// ErrLost is the error of a runner that cannot run any further step: the driver or the card has failed.
var ErrLost = errors.New("device lost")

// ErrKVType is the error of a Load that asks for a type of KV cache that the device does not have.
var ErrKVType = errors.New("the device has no KV cache of type")

// ErrMemory is the error of a Load that does not fit.
var ErrMemory = errors.New("not enough memory")
