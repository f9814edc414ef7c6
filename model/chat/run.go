package chat

import (
	"strings"
	"time"
)

// A run is the state of one rendering.
type run struct {
	scope         *scope
	out           *strings.Builder
	line          int // of the template, for errors
	steps, memory int // what is left
	recursion     int
	now           time.Time
}

func (r *run) fail(format string, args ...any) { failAt(r.line, format, args...) }

func (r *run) step() {
	if r.steps--; r.steps < 0 {
		r.fail("the template takes more than %d steps", maxSteps)
	}
}

// read accounts for n bytes that are looked at.
func (r *run) read(n int) {
	r.steps -= n / 64
	r.step()
}

// make accounts for n bytes about to be allocated.
func (r *run) make(n int) {
	if r.memory -= n; r.memory < 0 {
		r.fail("the template makes more than %d MB of text", maxMemory>>20)
	}
	r.read(n)
}

func (r *run) deeper(depth int) {
	if depth > maxNesting {
		r.fail("a value is nested more than %d deep", maxNesting)
	}
}

func (r *run) write(s string) {
	r.make(len(s))
	r.out.WriteString(s)
}

// capture returns what f writes.
func (r *run) capture(f func()) string {
	outer := r.out
	r.out = new(strings.Builder)
	f()
	text := r.out.String()
	r.out = outer
	return text
}

// args are a call's arguments.
type args struct {
	pos   []value
	named []variable
}

// missing stands for an argument that was not given.
type missing struct{}

// bind puts arguments in the order of a function's parameters.
func (r *run) bind(a args, names ...string) bound {
	if len(a.pos) > len(names) {
		r.fail("%d arguments, want at most %d", len(a.pos), len(names))
	}
	b := make(bound, len(names))
	for i := range b {
		b[i] = missing{}
	}
	copy(b, a.pos)
next:
	for _, arg := range a.named {
		for i, name := range names {
			if name == arg.name {
				b[i] = arg.v
				continue next
			}
		}
		r.fail("unexpected argument %s", arg.name)
	}
	return b
}

type bound []value

func (b bound) has(i int) bool { return b[i] != missing{} }

func (b bound) get(i int, otherwise value) value {
	if !b.has(i) {
		return otherwise
	}
	return b[i]
}

func (b bound) text(r *run, i int, otherwise string) string {
	v := b.get(i, otherwise)
	s, ok := v.(string)
	if !ok {
		r.fail("an argument is a %s, want a string", typeName(v))
	}
	return s
}

func (b bound) whole(r *run, i int, otherwise int64) int64 {
	v := b.get(i, otherwise)
	n, ok := whole(v)
	if !ok {
		r.fail("an argument is a %s, want a whole number", typeName(v))
	}
	return n
}

// A loop is what the name loop stands for.
type loop struct {
	items []value
	at    int
	last  []value // of changed
}

func (l *loop) attr(r *run, name string) value {
	n := int64(len(l.items))
	at := int64(l.at)
	switch name {
	case "index":
		return at + 1
	case "index0":
		return at
	case "revindex":
		return n - at
	case "revindex0":
		return n - at - 1
	case "first":
		return at == 0
	case "last":
		return at == n-1
	case "length":
		return n
	case "depth": // of recursion, which is not supported
		return int64(1)
	case "depth0":
		return int64(0)
	case "previtem":
		if at > 0 {
			return l.items[at-1]
		}
		return undefined{"there is no previous item"}
	case "nextitem":
		if at < n-1 {
			return l.items[at+1]
		}
		return undefined{"there is no next item"}
	case "cycle":
		return function(func(r *run, a args) value {
			if len(a.pos) == 0 {
				r.fail("loop.cycle has nothing to cycle through")
			}
			return a.pos[l.at%len(a.pos)]
		})
	case "changed":
		return function(func(r *run, a args) value {
			same := l.last != nil && r.equal(&list{items: l.last}, &list{items: a.pos}, 0)
			l.last = append([]value{}, a.pos...)
			return !same
		})
	}
	return undefined{"'loop." + name + "'"}
}
