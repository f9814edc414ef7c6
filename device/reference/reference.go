// Package reference runs programs in float64 with plain loops. It is the specification of every operation and what other
// devices are measured against (device/devicetest, parity): where it and the comment in package device differ, one of them
// has a fault. Only a step's independent sums are spread over threads; each sum runs in one order.
//
// It registers itself as "reference".
package reference

import (
	"fmt"
	"runtime"

	"minisgl/device"
	"minisgl/device/sample"
	"minisgl/tensor"
)

func init() {
	device.Register(device.Driver{
		Name: "reference",
		Help: "plain float64 loops, slow: what other devices are measured against",
		Open: func(o device.OpenOptions) (device.Device, error) {
			if o.Variant != "" {
				return nil, fmt.Errorf("variant %q is unknown: there is none", o.Variant)
			}
			return New(o.Threads), nil
		},
	})
}

// memory is what the device claims to have. Pages take memory only when they are first written.
const memory = 64 << 30

// New returns a device that works on so many threads; 0: as many as there are cores.
func New(threads int) *Device {
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	return &Device{threads}
}

// A Device is the reference device.Device.
type Device struct{ threads int }

func (d *Device) Info() device.Info {
	return device.Info{Name: "reference", Description: fmt.Sprintf("float64 loops, %d threads", d.threads), Kernels: "plain Go",
		MemoryTotal: memory, MemoryFree: memory}
}

func (d *Device) Close() error { return nil }

// Load expands the program's weights to float32.
func (d *Device) Load(p *device.Program, o device.LoadOptions) (device.Runner, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if _, err := o.KVType(tensor.F64, tensor.F32); err != nil { // who asks for float32 gets float64 as well
		return nil, err
	}
	if o.Weights != tensor.Invalid {
		return nil, fmt.Errorf("the reference device does not quantise weights, so they cannot become %s", o.Weights)
	}
	pageBytes := int64(o.PageSize) * int64(p.Layers*2*p.KVHeads*p.HeadDim) * 8
	if o.Pages == 0 {
		if o.MemoryRatio == 0 {
			o.MemoryRatio = 0.9
		}
		o.Pages = int(o.MemoryRatio * memory / float64(max(pageBytes, 1)))
		if o.MaxPages > 0 {
			o.Pages = min(o.Pages, o.MaxPages)
		}
	}
	if kv := float64(o.Pages) * float64(pageBytes); kv > memory {
		return nil, fmt.Errorf("%w: %d KV pages take %.0f bytes, the device claims %d", device.ErrMemory, o.Pages, kv, int64(memory))
	}
	r := &Runner{
		program: p, options: o, threads: d.threads,
		weights:   expand(p, o.Progress),
		checker:   device.NewChecker(p, o),
		buffers:   make([]buffer, len(p.Buffers)),
		pages:     make([][]float64, o.Pages),
		pageBytes: pageBytes,
		sampled:   make([]int32, o.MaxSlots),
		histories: make([]sample.History, o.MaxSlots),
	}
	for i, b := range p.Buffers {
		r.buffers[i].width = b.Width
	}
	return r, nil
}
