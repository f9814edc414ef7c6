//go:build cuda

package cuda

import (
	"fmt"
	"strconv"

	"minisgl/device"
	"minisgl/device_cuda/driver"
	"minisgl/tensor"
)

func init() {
	device.Register(device.Driver{
		Name: "cuda",
		Help: "NVIDIA GPU; cuda:1 for the second card (variants: float32)",
		Auto: 20,
		Open: open,
		Count: func() int {
			n, err := driver.Count(driver.Options{})
			if err != nil {
				return 0
			}
			return n
		},
	})
}

// stepTokens is how many rows keep the card busy: from here on a step's time grows with its rows.
const stepTokens = 8192

// float32Variant computes everything in float32, without tensor cores.
const float32Variant = "float32"

type cudaDevice struct {
	spec    string
	variant string
	card    *driver.Card
}

func open(o device.OpenOptions) (device.Device, error) {
	ordinal := 0
	if o.Index != "" {
		n, err := strconv.Atoi(o.Index)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%q is not a card's number: expected cuda:0, cuda:1, …", o.Index)
		}
		ordinal = n
	}
	if o.Variant != "" && o.Variant != float32Variant {
		return nil, fmt.Errorf("unknown variant %q: there is %s", o.Variant, float32Variant)
	}
	card, err := driver.Open(ordinal, driver.Options{})
	if err != nil {
		return nil, err
	}
	d := &cudaDevice{spec: fmt.Sprintf("cuda:%d", ordinal), variant: o.Variant, card: card}
	if o.Variant != "" {
		d.spec += "+" + o.Variant
	}
	return d, nil
}

func (d *cudaDevice) Info() device.Info {
	i := d.card.Info()
	arithmetic := "tensor cores, weights and KV in the checkpoint's 16-bit type"
	if d.variant == float32Variant {
		arithmetic = "float32"
	}
	return device.Info{
		Name:        d.spec,
		Description: fmt.Sprintf("%s, %d multiprocessors, driver %s", i.Name, i.Multiprocessors, i.Driver),
		Kernels:     fmt.Sprintf("sm_%d%d (%s)", i.Major, i.Minor, arithmetic),
		MemoryTotal: i.MemoryTotal,
		MemoryFree:  i.MemoryFree,
		StepTokens:  stepTokens,
	}
}

func (d *cudaDevice) Close() error { return d.card.Close() }

// element is the type in which weights, inputs of matrix products and KV are kept. bfloat16 stays; all else becomes float16,
// which holds quantised weights and, but for its range, rounds float32 less than bfloat16 does.
func (d *cudaDevice) element(p *device.Program) tensor.DType {
	if d.variant == float32Variant {
		return tensor.F32
	}
	for _, op := range p.Ops {
		if l, ok := op.(*device.Linear); ok {
			for _, t := range l.Weight.Parts {
				if t.DType == tensor.BF16 {
					return tensor.BF16
				}
			}
		}
	}
	if p.DType == tensor.BF16 {
		return tensor.BF16
	}
	return tensor.F16
}
