//go:build cuda

package driver_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"minisgl/device_cuda/driver"
)

// numbers downloads what the kernel add adds to.
func numbers(t *testing.T, card *driver.Card, p driver.Ptr, count int) []uint32 {
	t.Helper()
	raw := make([]byte, 4*count)
	if err := card.Download(raw, p); err != nil {
		t.Fatal(err)
	}
	result := make([]uint32, count)
	for i := range result {
		result[i] = binary.LittleEndian.Uint32(raw[4*i:])
	}
	return result
}

func TestRun(t *testing.T) {
	card := open(t, stubbed(t))
	p := alloc(t, card, 8)
	if err := errors.Join(card.Fill(p, 0, 8), card.Run(launches(t, card, p, 2, "add", "add", "add")), card.Run(nil)); err != nil {
		t.Fatal(err)
	}
	if got := numbers(t, card, p, 2); got[0] != 3 || got[1] != 3 {
		t.Errorf("%v, want [3 3]", got)
	}
}

func TestStepsUploadThenRun(t *testing.T) {
	for _, graph := range []bool{false, true} {
		for _, check := range []bool{false, true} {
			t.Run(fmt.Sprintf("graph=%v check=%v", graph, check), func(t *testing.T) {
				o := stubbed(t)
				o.Check = check
				card := open(t, o)
				p, src := alloc(t, card, 8), pinned(t, card, 8)
				steps := plan(t, card, launches(t, card, p, 2, "add", "slow", "add"), graph)
				copy(src.Bytes, []byte{10, 0, 0, 0, 20, 0, 0, 0})
				if err := card.Submit(steps, p, src, 8).Wait(); err != nil {
					t.Fatal(err)
				}
				if err := card.Submit(steps, p, src, 4).Wait(); err != nil { // resets the first number alone
					t.Fatal(err)
				}
				if got := numbers(t, card, p, 2); got[0] != 12 || got[1] != 24 {
					t.Errorf("%v, want [12 24]", got)
				}
				if err := steps.Close(); err != nil {
					t.Error(err)
				}
				wantError(t, card.Submit(steps, p, src, 8).Wait(), "plan is closed")
				wantError(t, card.Submit(nil, p, src, 8).Wait(), "not of this card")
				wantError(t, card.Submit(steps, p, src, 9).Wait(), "9 bytes of a buffer of 8")
			})
		}
	}
}

// A wait for a slow step must not keep others from being queued behind it.
func TestSubmitDoesNotWait(t *testing.T) {
	card := open(t, stubbed(t))
	slow := plan(t, card, launches(t, card, 0, 0, "slow", "slow", "slow", "slow"), true) // 20 ms
	began := time.Now()
	first := card.Submit(slow, 0, driver.Pinned{}, 0)
	waited := make(chan time.Time)
	go func() {
		if err := first.Wait(); err != nil {
			t.Error(err)
		}
		waited <- time.Now()
	}()
	second := card.Submit(slow, 0, driver.Pinned{}, 0)
	submitted := time.Now()
	if firstDone := <-waited; firstDone.Before(submitted) {
		t.Skip("this machine is too busy to tell")
	}
	if err := second.Wait(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 40*time.Millisecond {
		t.Errorf("two steps of 20 ms took %v", took)
	}
	if err := first.Wait(); err != nil {
		t.Errorf("second wait for the same step: %v", err)
	}
}

func TestManySubmittersAndWaiters(t *testing.T) {
	card := open(t, stubbed(t))
	p := alloc(t, card, 4)
	if err := card.Fill(p, 0, 4); err != nil {
		t.Fatal(err)
	}
	add := plan(t, card, launches(t, card, p, 1, "add"), true)
	const submitters, steps = 4, 200
	var all sync.WaitGroup
	for range submitters {
		all.Go(func() {
			for range steps {
				ticket := card.Submit(add, 0, driver.Pinned{}, 0)
				all.Go(func() {
					if err := ticket.Wait(); err != nil {
						t.Error(err)
					}
				})
				card.Info()
			}
		})
	}
	all.Wait()
	if got := numbers(t, card, p, 1)[0]; got != submitters*steps {
		t.Errorf("%d steps ran, want %d", got, submitters*steps)
	}
}

// A card that fails under many submitters and waiters leaves none of them hanging.
func TestFailureUnderLoad(t *testing.T) {
	o := stubbed(t)
	const last = 137
	o.FailStep = last + 1
	card := open(t, o)
	p := alloc(t, card, 4)
	add := plan(t, card, launches(t, card, p, 1, "add"), true)
	var good, lost atomic.Int64
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 100 {
				ticket := card.Submit(add, 0, driver.Pinned{}, 0)
				all.Go(func() {
					switch err := ticket.Wait(); {
					case err == nil:
						good.Add(1)
					case errors.Is(err, driver.ErrLost):
						lost.Add(1)
					default:
						t.Error(err)
					}
				})
				card.Info()
			}
		})
	}
	all.Wait()
	if good.Load() > last || good.Load()+lost.Load() != 400 {
		t.Errorf("%d steps ran and %d were lost, want %d at most and the rest", good.Load(), lost.Load(), last)
	}
}

func TestSubmitAllocatesNothing(t *testing.T) {
	card := open(t, stubbed(t))
	p, src := alloc(t, card, 8), pinned(t, card, 8)
	add := plan(t, card, launches(t, card, p, 2, "add"), true)
	if n := testing.AllocsPerRun(200, func() {
		if err := card.Submit(add, p, src, 8).Wait(); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a step", n)
	}
}

// After a kernel has failed every call says so, at once, and nobody waits for ever.
func TestKernelFailure(t *testing.T) {
	for _, test := range []struct {
		name   string
		graph  bool
		check  bool
		inject bool // by Options.FailStep in place of a broken kernel
		says   []string
	}{
		{"graph", true, false, false, []string{"cuda:0", "step 2", "unspecified launch failure", "CUDA_ERROR_LAUNCH_FAILED, 719", "MINISGL_CUDA_CHECK=1"}},
		{"launches", false, false, false, []string{"step 2", "CUDA_ERROR_LAUNCH_FAILED"}},
		{"check mode names it", true, true, false, []string{"step 2", "kernel 1 of 3, broken", "CUDA_ERROR_LAUNCH_FAILED"}},
		{"injected", true, false, true, []string{"step 2", "CUDA_ERROR_LAUNCH_FAILED"}},
		{"injected in check mode", true, true, true, []string{"step 2", "kernel 2 of 3, add", "CUDA_ERROR_LAUNCH_FAILED"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := stubbed(t)
			o.Check = test.check
			middle := "broken"
			if test.inject {
				o.FailStep, middle = 2, "add"
			}
			card := open(t, o)
			p := alloc(t, card, 4)
			good := plan(t, card, launches(t, card, p, 1, "add", "slow"), test.graph)
			bad := plan(t, card, launches(t, card, p, 1, "add", middle, "add"), test.graph)
			if err := card.Submit(good, 0, driver.Pinned{}, 0).Wait(); err != nil {
				t.Fatal(err)
			}
			var tickets []driver.Ticket
			for _, steps := range []*driver.Plan{bad, good, good} {
				tickets = append(tickets, card.Submit(steps, 0, driver.Pinned{}, 0))
			}
			errs := map[string]error{}
			for i, ticket := range tickets {
				errs[fmt.Sprint("step ", i+2)] = ticket.Wait()
			}
			wantError(t, errs["step 2"], test.says...)
			_, errs["alloc"] = card.Alloc(4)
			errs["upload"] = card.Upload(p, []byte{1})
			errs["free"] = card.Free(p)
			errs["run"] = card.Run(nil)
			errs["later step"] = card.Submit(good, 0, driver.Pinned{}, 0).Wait()
			for what, err := range errs {
				if !errors.Is(err, driver.ErrLost) {
					t.Errorf("%s: %v, want ErrLost", what, err)
				}
			}
			if err := card.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
}

func TestRunNamesTheKernelInCheckMode(t *testing.T) {
	o := stubbed(t)
	o.Check = true
	card := open(t, o)
	err := card.Run(launches(t, card, 0, 0, "add", "slow", "broken"))
	wantError(t, err, "kernel 2 of 3, broken")
	if !errors.Is(err, driver.ErrLost) {
		t.Errorf("%v, want ErrLost", err)
	}
}

// The launch after a broken kernel is refused, and is not to blame.
func TestRunBlamesNobodyOutsideCheckMode(t *testing.T) {
	card := open(t, stubbed(t))
	err := card.Run(launches(t, card, 0, 0, "broken", "add"))
	wantError(t, err, "run: unspecified launch failure")
}

func TestWrongLaunches(t *testing.T) {
	card := open(t, stubbed(t))
	right := launches(t, card, 0, 0, "add")[0]
	for says, change := range map[string]func(*driver.Launch){
		"no function":                           func(l *driver.Launch) { l.Function = driver.Function{Name: "add"} },
		"block of 0 threads":                    func(l *driver.Launch) { l.Block = 0 },
		"block of 257 threads; it must":         func(l *driver.Launch) { l.Block = 257 },
		"dimension 1 must be 1 to 65535":        func(l *driver.Launch) { l.Grid[1] = 65536 },
		"parameters of 4097 bytes":              func(l *driver.Launch) { l.Params = make([]byte, 4097) },
		"grid of [0 1 1]":                       func(l *driver.Launch) { l.Grid[0] = 0 },
		"232401 bytes of dynamic shared memory": func(l *driver.Launch) { l.Shared = 232448 - 48 + 1 },
	} {
		wrong := right
		change(&wrong)
		_, err := card.NewPlan([]driver.Launch{right, wrong}, true)
		wantError(t, err, "launch 1, add", says)
	}
	largest := right
	largest.Shared, largest.Block = 232448-48, 256
	if _, err := card.NewPlan([]driver.Launch{largest}, true); err != nil {
		t.Error(err)
	}
}

func TestTimed(t *testing.T) {
	card := open(t, stubbed(t))
	times, err := card.Timed(launches(t, card, 0, 0, "slow", "add", "slow"), 5)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []time.Duration{5 * time.Millisecond, 0, 5 * time.Millisecond} {
		if difference := times[i] - want; difference.Abs() > 2*time.Millisecond {
			t.Errorf("launch %d took %v, want about %v", i, times[i], want)
		}
	}
}

// BenchmarkStep is what a step costs the host, with a card that takes no time: one at a time, with the next step submitted
// before the last is read, and Submit alone.
func BenchmarkStep(b *testing.B) {
	card := open(b, stubbed(b))
	p, src := alloc(b, card, 4096), pinned(b, card, 4096)
	add := plan(b, card, launches(b, card, p, 2, "add"), true)
	b.Run("alone", func(b *testing.B) {
		for b.Loop() {
			if err := card.Submit(add, p, src, 4096).Wait(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("overlapped", func(b *testing.B) {
		last := card.Submit(add, p, src, 4096)
		for b.Loop() {
			next := card.Submit(add, p, src, 4096)
			if err := last.Wait(); err != nil {
				b.Fatal(err)
			}
			last = next
		}
	})
	b.Run("submit", func(b *testing.B) {
		for b.Loop() {
			card.Submit(add, p, src, 4096)
		}
	})
}
