package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"minisgl/device"
	"minisgl/device/fake"
	"minisgl/internal/goldens"
)

// A served is a running serve command.
type served struct {
	t    *testing.T
	url  string
	log  *watch
	stop context.CancelFunc
	code chan int
}

// serveOn serves the tiny model and returns when it is ready.
func serveOn(t *testing.T, env map[string]string, args ...string) *served {
	t.Helper()
	ready := make(chan struct{})
	s := &served{t: t, code: make(chan int, 1), log: &watch{until: "Serving "}}
	s.log.then = func() {
		select {
		case <-ready:
		default:
			close(ready)
		}
	}
	var ctx context.Context
	ctx, s.stop = context.WithTimeout(context.Background(), patience)
	t.Cleanup(s.stop)
	args = append([]string{"serve", "--model-path", goldens.Get(t, "tiny-tied").Path, "--port", "0", "--num-pages", "256"}, args...)
	go func() {
		s.code <- run(ctx, args, streams{in: strings.NewReader(""), out: s.log, err: s.log, getenv: func(name string) string { return env[name] }})
	}()
	select {
	case <-ready:
	case code := <-s.code:
		t.Fatalf("exit code %d: %s", code, s.log)
	}
	_, rest, _ := strings.Cut(s.log.String(), "http://")
	s.url = "http://" + strings.Fields(rest)[0]
	return s
}

func (w *watch) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// post generates four tokens and returns the answer.
func (s *served) post() string {
	s.t.Helper()
	response, err := http.Post(s.url+"/generate", "application/json", strings.NewReader(`{"input_ids": [1, 2, 3], "sampling_params": {"max_new_tokens": 4}}`))
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	return fmt.Sprint(response.StatusCode, " ", string(text))
}

// waitFor waits until the log says a text.
func (s *served) waitFor(text string) {
	s.t.Helper()
	for end := time.Now().Add(patience); !strings.Contains(s.log.String(), text); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("the log does not say %q:\n%s", text, s.log)
		}
	}
}

func (s *served) exit() int {
	s.t.Helper()
	select {
	case code := <-s.code:
		return code
	case <-time.After(patience):
		s.t.Fatalf("it does not end: %s", s.log)
		return -1
	}
}

// breakable registers a fake device that is lost once the flag is set.
func breakable(name string, lost *atomic.Bool) string {
	device.Register(device.Driver{Name: name, Open: func(device.OpenOptions) (device.Device, error) {
		return fake.New(fake.Options{Run: fake.Concurrent, Fault: func(int) (f fake.Fault) {
			if lost.Load() {
				f.Err = device.ErrLost
			}
			return f
		}}), nil
	}})
	return name
}

func TestServeOnSeveralCPUs(t *testing.T) {
	s := serveOn(t, nil, "--device", "cpu,cpu+generic,cpu")
	for range 4 {
		if got := s.post(); !strings.HasPrefix(got, "200 ") {
			t.Error(got)
		}
	}
	s.stop()
	if code := s.exit(); code != 0 {
		t.Errorf("exit code %d: %s", code, s.log)
	}
	for _, device := range []string{"cpu#0", "cpu+generic", "cpu#2"} {
		for _, want := range []string{"Model backend ready: model=%s device=" + device + " eos", "duration=%s device=" + device + "\n"} {
			before, after, _ := strings.Cut(want, "%s")
			if i := strings.Index(s.log.String(), before); i < 0 || !strings.Contains(s.log.String()[i:], after) {
				t.Errorf("the log does not say %q … %q:\n%s", before, after, s.log)
			}
		}
	}
}

// The server goes on as long as a device is left.
func TestServeLosesItsDevices(t *testing.T) {
	var lost [3]atomic.Bool
	devices := []string{"--device", breakable("first", &lost[0]) + "," + breakable("second", &lost[1])}
	s := serveOn(t, nil, devices...)
	lost[0].Store(true)
	failed := 0
	for range 10 {
		if got := s.post(); strings.HasPrefix(got, "500 ") && strings.Contains(got, "device fake#0: device lost") {
			failed++
		} else if !strings.HasPrefix(got, "200 ") {
			t.Error(got)
		}
	}
	if failed != 1 {
		t.Errorf("%d requests failed, want the one that met the loss", failed)
	}
	lost[1].Store(true)
	if got := s.post(); !strings.Contains(got, "device fake#1: device lost") {
		t.Error(got)
	}
	if code := s.exit(); code != 1 || !strings.Contains(s.log.String(), "the engine has stopped: device fake#0: device lost\ndevice fake#1: device lost\n") {
		t.Errorf("none is left: exit code %d, %s", code, s.log)
	}

	// To be stopped is no fault, even with a device less.
	lost[0].Store(false)
	lost[1].Store(false)
	s = serveOn(t, nil, devices...)
	lost[1].Store(true)
	for range 3 {
		s.post()
	}
	s.waitFor("Device fake#1 is taken out, 1 of 2 engines go on: device lost")
	s.stop()
	if code := s.exit(); code != 0 {
		t.Errorf("one is left: exit code %d, %s", code, s.log)
	}

	lost[2].Store(true)
	got := command(t, nil, "", "serve", "--model-path", goldens.Get(t, "tiny-tied").Path, "--port", "0", "--num-pages", "256",
		"--device", "first,"+breakable("third", &lost[2]))
	if got.code != 1 || !strings.Contains(got.err, "device fake#1: device lost") {
		t.Errorf("a device that fails when it is warmed up: %+v", got)
	}
}

// ENABLE_MULTI_DEVICE is about auto: one engine on each card, unless it is 0.
func TestEnableMultiDevice(t *testing.T) {
	var present atomic.Bool
	device.Register(device.Driver{Name: "herd", Auto: 1000, Count: func() int { return 3 }, Open: func(o device.OpenOptions) (device.Device, error) {
		if !present.Load() {
			return nil, errors.New("the test is over")
		}
		return &named{fake.New(fake.Options{}), "herd:" + cmp.Or(o.Index, "0")}, nil
	}})
	present.Store(true)
	defer present.Store(false)
	for _, test := range []struct {
		value  string
		args   []string
		device []string
	}{
		{"", nil, []string{"herd:0", "herd:1", "herd:2"}},
		{"1", nil, []string{"herd:0", "herd:1", "herd:2"}},
		{"0", nil, []string{"herd:0"}},
		{"0", []string{"--device", "herd:2,herd:1"}, []string{"herd:2", "herd:1"}},
		{"1", []string{"--device", "herd:1"}, []string{"herd:1"}},
	} {
		s := serveOn(t, map[string]string{"ENABLE_MULTI_DEVICE": test.value}, test.args...)
		s.stop()
		s.exit()
		var got []string
		for line := range strings.Lines(s.log.String()) {
			if _, after, ok := strings.Cut(line, "Model backend ready: "); ok {
				_, after, _ = strings.Cut(after, "device=")
				got = append(got, strings.Fields(after)[0])
			}
		}
		if strings.Join(got, ",") != strings.Join(test.device, ",") {
			t.Errorf("ENABLE_MULTI_DEVICE=%s %v: engines on %v, want %v", test.value, test.args, got, test.device)
		}
	}
	got := command(t, map[string]string{"ENABLE_MULTI_DEVICE": "some"}, "", "serve", "--port", "0")
	if got.code != 1 || !strings.Contains(got.err, `ENABLE_MULTI_DEVICE="some"`) {
		t.Errorf("a malformed value: %+v", got)
	}
	if got := command(t, nil, "", "info"); !strings.Contains(got.out, "herd:0: ") || !strings.Contains(got.out, "herd:2: ") {
		t.Errorf("info does not list all: %s", got.out)
	}
}

// named is a device under another name.
type named struct {
	device.Device
	name string
}

func (n *named) Info() device.Info {
	i := n.Device.Info()
	i.Name = n.name
	return i
}
