// Package faults registers a device that is wrong in a known way, for tests of the tools that must find it out (token parity,
// the accuracy gate). Only tests import it. Its specs are
//
//	faulty:L+scale  attention of layer L multiplies its scores with a wrong scale
//	faulty+stale    page copies are left out: their readers see what was in the page before
//	faulty+crowd    log-probabilities are a hair off where several requests share a step
//
// and apart from that it is the device reference.
package faults

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"minisgl/device"
	"minisgl/device/reference"
)

func init() {
	device.Register(device.Driver{Name: "faulty", Help: "wrong on purpose, for tests", Open: open})
}

// WrongScale is what the variant scale multiplies the layer's scale with.
const WrongScale = 1.5

type faulty struct {
	device.Device
	info  device.Info
	layer int                               // whose scale is wrong; -1: none
	wrap  func(device.Runner) device.Runner // nil: as it is
}

func open(o device.OpenOptions) (device.Device, error) {
	d := &faulty{Device: reference.New(o.Threads), layer: -1}
	d.info = d.Device.Info()
	d.info.Name = o.Spec
	switch o.Variant {
	case "stale":
		d.wrap = func(r device.Runner) device.Runner { return staleRunner{r} }
	case "crowd":
		d.wrap = func(r device.Runner) device.Runner { return crowdRunner{r} }
	case "scale":
		var err error
		if d.layer, err = strconv.Atoi(o.Index); err != nil {
			return nil, fmt.Errorf("layer %q: expected a number", o.Index)
		}
	default:
		return nil, fmt.Errorf("variant %q is unknown: there are scale, stale and crowd", o.Variant)
	}
	return d, nil
}

func (d *faulty) Info() device.Info { return d.info }

func (d *faulty) Load(p *device.Program, o device.LoadOptions) (device.Runner, error) {
	wrong := *p
	wrong.Ops = slices.Clone(p.Ops)
	for i, op := range wrong.Ops {
		if attention, ok := op.(*device.Attention); ok && attention.Layer == d.layer {
			changed := *attention
			changed.Scale *= WrongScale
			wrong.Ops[i] = &changed
		}
	}
	runner, err := d.Device.Load(&wrong, o)
	if err != nil || d.wrap == nil {
		return runner, err
	}
	return d.wrap(runner), nil
}

type staleRunner struct{ device.Runner }

func (r staleRunner) Submit(s *device.Step) {
	s.Copies = nil
	r.Runner.Submit(s)
}

type crowdRunner struct{ device.Runner }

func (r crowdRunner) Wait(s *device.Step) error {
	err := r.Runner.Wait(s)
	for i := range s.Results {
		if len(s.Sequences) > 1 {
			s.Results[i].Logprob = math.Nextafter32(s.Results[i].Logprob, 0)
		}
	}
	return err
}
