package minisgl_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"minisgl"
	"minisgl/device"
	"minisgl/device/fake"
)

// recorder is a device that remembers how it was opened and loaded.
type recorder struct {
	device.Device
	name string
	open device.OpenOptions
	load device.LoadOptions
}

func (r *recorder) Info() device.Info {
	i := r.Device.Info()
	i.Name = r.name
	return i
}

func (r *recorder) Load(p *device.Program, o device.LoadOptions) (device.Runner, error) {
	r.load = o
	return r.Device.Load(p, o)
}

// record registers a driver whose devices, as many as count says, are remembered.
func record(count int, auto *atomic.Bool) (name string, opened func() []*recorder) {
	var all []*recorder
	name = fmt.Sprintf("recorded%d", deviceNames.Add(1))
	d := device.Driver{Name: name, Count: func() int { return count }, Open: func(o device.OpenOptions) (device.Device, error) {
		if auto != nil && !auto.Load() {
			return nil, errors.New("not its turn")
		}
		if o.Index == "2" {
			return nil, errors.New("it is broken")
		}
		r := &recorder{Device: fake.New(fake.Options{Memory: 1 << 20}), name: name + ":" + cmp.Or(o.Index, "0"), open: o}
		all = append(all, r)
		return r, nil
	}}
	if auto != nil {
		d.Auto = 1000
	}
	device.Register(d)
	return name, func() []*recorder { return all }
}

// What engines get of the machine. Nothing is promised twice.
func TestSharesOfTheMachine(t *testing.T) {
	for _, test := range []struct {
		specs   string // N is the driver
		threads int
		ratio   float64
		want    []float64 // memory ratios
	}{
		{"N", 0, 0, []float64{0}},
		{"N", 0, 0.9, []float64{0.9}},
		{"N:0,N:1", 0, 0.9, []float64{0.9, 0.9}},
		{"N:0,N:0", 0, 0.9, []float64{0.45, 0.45}},
		{"N,N:1,N:0+x", 3, 0.5, []float64{0.25, 0.5, 0.25}},
		{"N,N", 0, 0, []float64{0.35, 0.35}},
	} {
		name, opened := record(2, nil)
		options := several(t, strings.ReplaceAll(test.specs, "N", name))
		options.NumPages, options.MemoryRatio, options.Threads = 0, test.ratio, test.threads
		options.MaxRunning, options.MaxSeqLen = 2, 64
		open(t, options)
		var ratios []float64
		threads := 0
		for _, r := range opened() {
			ratios = append(ratios, r.load.MemoryRatio)
			threads += r.open.Threads
			if test.threads != 0 && r.open.Threads != test.threads {
				t.Errorf("%s: %d threads, want the %d that were asked for", test.specs, r.open.Threads, test.threads)
			}
		}
		if !slices.Equal(ratios, test.want) {
			t.Errorf("%s with %v: memory ratios %v, want %v", test.specs, test.ratio, ratios, test.want)
		}
		if n := len(ratios); n > 1 && test.threads == 0 && (threads < n || threads > max(n, runtime.GOMAXPROCS(0))) {
			t.Errorf("%s: %d threads in all for %d cores", test.specs, threads, runtime.GOMAXPROCS(0))
		}
	}

	name, _ := record(1, nil)
	options := several(t, name, name+"+x")
	options.NumPages, options.PageSize = 20_000, 4 // of 1 MiB
	_, err := minisgl.Open(context.Background(), options)
	if !errors.Is(err, device.ErrMemory) || !strings.Contains(err.Error(), "2 engines on "+name+":0 take 1.3 MB together") {
		t.Errorf("pages that fit once: %v", err)
	}
}

func TestAllDevicesOfTheBestKind(t *testing.T) {
	var turn atomic.Bool
	name, _ := record(4, &turn)
	turn.Store(true)
	defer turn.Store(false)
	for _, test := range []struct {
		device string
		all    bool
		want   []string
	}{
		{"auto", true, []string{":0", ":1", ":3"}}, // the broken one is passed over
		{"auto", false, []string{":0"}},
		{name, true, []string{":0"}},
		{name + ":3," + name + ":1", true, []string{":3", ":1"}},
	} {
		options := several(t, test.device)
		options.AllDevices = test.all
		var got []string
		for _, e := range open(t, options).Engines() {
			got = append(got, strings.TrimPrefix(e.Name, name))
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s, all %v: %v, want %v", test.device, test.all, got, test.want)
		}
	}
	_, err := minisgl.Open(context.Background(), several(t, name+":1", name+":2"))
	if err == nil || !strings.Contains(err.Error(), name+":2") || !strings.Contains(err.Error(), "it is broken") {
		t.Errorf("a broken device that was asked for: %v", err)
	}
	if _, err = minisgl.Open(context.Background(), several(t, "cpu", "", "cpu")); err == nil || !strings.Contains(err.Error(), `"cpu,,cpu"`) {
		t.Errorf("a list with a hole: %v", err)
	}
}
