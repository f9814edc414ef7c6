package router_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"minisgl/scheduler"
	"minisgl/scheduler/router"
)

func TestRoute(t *testing.T) {
	const gone = router.Unavailable
	for _, test := range []struct {
		name   string
		load   []int // open requests before
		cached []int
		want   []int // engines of the requests that follow each other and stay open
	}{
		{"equals take turns", []int{0, 0, 0}, []int{0, 0, 0}, []int{0, 1, 2, 0, 1}},
		{"the least loaded first", []int{2, 0, 1}, []int{0, 0, 0}, []int{1, 2, 1, 2, 0}},
		{"a short prefix decides ties only", []int{0, 0}, []int{0, 20}, []int{1, 0, 1, 0}},
		{"a prefix of 300 tokens is worth two requests", []int{0, 0}, []int{0, 300}, []int{1, 1, 1, 0, 1, 0}},
		{"the longest of several", []int{0, 0, 0}, []int{300, 700, 0}, []int{1, 1, 1, 1, 0, 1}},
		{"all have it", []int{1, 0}, []int{5000, 5000}, []int{1, 0, 1}},
		{"no prefix is worth more than 32 requests", []int{0, 31}, []int{0, 1 << 20}, []int{1, 1, 0, 1}},
		{"who is gone gets nothing", []int{0, 5, 0}, []int{gone, 0, gone}, []int{1, 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := router.New(len(test.load))
			for engine, n := range test.load {
				only := slices.Repeat([]int{gone}, len(test.load))
				only[engine] = 0
				for i := range n {
					if _, err := r.Route(fmt.Sprint("before ", engine, i), only); err != nil {
						t.Fatal(err)
					}
				}
			}
			var got []int
			for i := range test.want {
				engine, err := r.Route(fmt.Sprint(i), test.cached)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, engine)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("went to %v, want %v", got, test.want)
			}
		})
	}
}

func TestOpenRequests(t *testing.T) {
	r := router.New(2)
	if _, err := r.Route("a", []int{router.Unavailable, router.Unavailable}); !errors.Is(err, router.ErrUnavailable) {
		t.Errorf("nobody is there: %v", err)
	}
	engine, err := r.Route("a", []int{0, 7})
	if err != nil || engine != 1 {
		t.Fatalf("engine %d, %v", engine, err)
	}
	if at, ok := r.Engine("a"); !ok || at != 1 {
		t.Errorf("a is at %d, %v", at, ok)
	}
	if _, err := r.Route("a", []int{0, 0}); !errors.Is(err, scheduler.ErrDuplicate) {
		t.Errorf("the same id twice: %v", err)
	}
	r.Done("a")
	r.Done("a") // as often as one likes
	if _, ok := r.Engine("a"); ok {
		t.Error("a is still open")
	}
	if engine, err := r.Route("a", []int{0, 7}); err != nil || engine != 1 {
		t.Errorf("again: engine %d, %v", engine, err)
	}
}

// From many goroutines at once, no engine gets more than its share.
func TestBalanceFromManyGoroutines(t *testing.T) {
	const engines, each = 4, 250
	r := router.New(engines)
	var mu sync.Mutex
	got := make([]int, engines)
	var clients sync.WaitGroup
	for c := range engines {
		clients.Go(func() {
			for i := range each {
				engine, err := r.Route(fmt.Sprint(c, " ", i), make([]int, engines))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				got[engine]++
				mu.Unlock()
			}
		})
	}
	clients.Wait()
	if want := slices.Repeat([]int{each}, engines); !slices.Equal(got, want) {
		t.Errorf("engines got %v, want %v", got, want)
	}
}

func BenchmarkRoute(b *testing.B) {
	r := router.New(8)
	cached := []int{0, 0, 0, 500, 0, 0, 0, 0}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Route("id", cached); err != nil {
			b.Fatal(err)
		}
		r.Done("id")
	}
}
