package page

import (
	"strings"
	"testing"
)

func TestPagesChangeHands(t *testing.T) {
	p := NewPool(3)
	a, _ := p.Take()
	b, _ := p.Take()
	c, _ := p.Take()
	if _, ok := p.Take(); ok || a == b || b == c || a == c {
		t.Fatalf("took %d, %d, %d and a fourth of three", a, b, c)
	}
	p.Cache(a)
	p.Cache(b)
	p.Evict(a)
	p.Release(c)
	if p.Count(Free) != 2 || p.Count(Held) != 0 || p.Count(Cached) != 1 || p.Owner(b) != Cached {
		t.Errorf("free %d, held %d, cached %d; want 2, 0, 1", p.Count(Free), p.Count(Held), p.Count(Cached))
	}
	if again, _ := p.Take(); again != c {
		t.Errorf("took %d, want the page freed last, %d", again, c)
	}
	if err := p.Check(); err != nil {
		t.Error(err)
	}
}

func TestWrongOwnerPanics(t *testing.T) {
	for name, misuse := range map[string]func(p *Pool, held int32){
		"release twice":  func(p *Pool, held int32) { p.Release(held); p.Release(held) },
		"cache a free":   func(p *Pool, held int32) { p.Cache(held + 1) },
		"evict a held":   func(p *Pool, held int32) { p.Evict(held) },
		"release cached": func(p *Pool, held int32) { p.Cache(held); p.Release(held) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if r := recover(); r == nil || !strings.Contains(r.(string), "page") {
					t.Errorf("recovered %v, want a message that names the page", r)
				}
			}()
			p := NewPool(2)
			held, _ := p.Take()
			misuse(p, held)
		})
	}
}

func TestCheckFindsLosses(t *testing.T) {
	for name, corrupt := range map[string]func(p *Pool){
		"owner":      func(p *Pool) { p.owner[0] = Held },
		"free list":  func(p *Pool) { p.free = p.free[1:] },
		"free twice": func(p *Pool) { p.free[1] = p.free[0] },
	} {
		p := NewPool(3)
		if corrupt(p); p.Check() == nil {
			t.Errorf("%s: nothing found", name)
		}
	}
}
