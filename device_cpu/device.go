package cpu

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/klauspost/cpuid/v2"

	"minisgl/device"
)

func init() {
	var names []string
	for _, v := range variants {
		names = append(names, v.name)
	}
	device.Register(device.Driver{
		Name: "cpu",
		Help: "CPU with SIMD kernels (variants: " + strings.Join(names, ", ") + ")",
		Auto: 10,
		Open: open,
	})
}

// stepTokens is how many rows keep the cores busy: from here on a step's time grows with its rows, so that more of them only
// make decode rows wait.
const stepTokens = 256

type cpuDevice struct {
	spec    string
	variant variant
	threads int
}

func open(o device.OpenOptions) (device.Device, error) {
	if o.Index != "" {
		return nil, fmt.Errorf("there is one CPU device, so %q after the colon means nothing", o.Index)
	}
	if o.Threads < 0 || o.Threads > maxThreads {
		return nil, fmt.Errorf("%d threads: want 1 to %d, or 0 for as many as there are cores", o.Threads, maxThreads)
	}
	v, err := choose(o.Variant)
	if err != nil {
		return nil, err
	}
	d := &cpuDevice{spec: "cpu", variant: v, threads: o.Threads}
	if o.Variant != "" {
		d.spec += "+" + o.Variant
	}
	if d.threads == 0 {
		d.threads = min(defaultThreads(), maxThreads)
	}
	return d, nil
}

// maxThreads is far beyond what the work of a step can be cut into.
const maxThreads = 1024

func (d *cpuDevice) Info() device.Info {
	total, available := machineMemory()
	name := cpuid.CPU.BrandName
	if name == "" {
		name = runtime.GOARCH + " processor"
	}
	plural := "s"
	if d.threads == 1 {
		plural = ""
	}
	return device.Info{
		Name:        d.spec,
		Description: fmt.Sprintf("%s, %d thread%s", name, d.threads, plural),
		Kernels:     d.variant.describe(),
		MemoryTotal: total,
		MemoryFree:  available,
		StepTokens:  stepTokens,
	}
}

func (d *cpuDevice) Close() error { return nil }
