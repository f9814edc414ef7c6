package device_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"minisgl/device"
)

// The specs of these drivers tell what the registry made of them.
type opened struct{ device.OpenOptions }

func (o *opened) Info() device.Info { return device.Info{Name: o.Spec} }
func (o *opened) Close() error      { return nil }
func (o *opened) Load(*device.Program, device.LoadOptions) (device.Runner, error) {
	return nil, errors.New("not for loading")
}

func init() {
	open := func(o device.OpenOptions) (device.Device, error) { return &opened{o}, nil }
	device.Register(device.Driver{Name: "named", Open: open})
	device.Register(device.Driver{Name: "good", Auto: 1_000_001, Open: open})
	device.Register(device.Driver{Name: "better", Auto: 1_000_002, Open: func(device.OpenOptions) (device.Device, error) {
		return nil, errors.New("no such card")
	}})
}

func TestOpen(t *testing.T) {
	for _, c := range []struct {
		spec           string
		index, variant string
		notes          []string
		err            string
	}{
		{spec: "named"},
		{spec: "named:1", index: "1"},
		{spec: "named+generic", variant: "generic"},
		{spec: "named:1+generic", index: "1", variant: "generic"},
		{spec: "auto", notes: []string{"device auto: better is not usable: no such card"}},
		{spec: "", notes: []string{"device auto: better is not usable: no such card"}},
		{spec: "better:0", err: `device "better:0": no such card`},
		{spec: "nmaed", err: `unknown device "nmaed": this build has auto, better,`},
	} {
		d, notes, err := device.Open(c.spec, 3)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%q: error %v, want %q", c.spec, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", c.spec, err)
			continue
		}
		o := d.(*opened)
		if o.Index != c.index || o.Variant != c.variant || o.Threads != 3 || !slices.Equal(notes, c.notes) {
			t.Errorf("%q: opened with %+v, notes %q", c.spec, o.OpenOptions, notes)
		}
	}
}

func TestRegisteringANameTwicePanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	device.Register(device.Driver{Name: "named"})
}
