package chat

import (
	"html"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A method is a filter, or a method of a type: x | f(a) or x.f(a).
type method func(r *run, x value, a args) value

func (m method) of(x value) function {
	return func(r *run, a args) value { return m(r, x, a) }
}

// globals are the functions that every template knows.
var globals = map[string]function{
	"range": func(r *run, a args) value {
		b := r.bind(a, "start", "stop", "step")
		from, to, step := int64(0), b.whole(r, 0, 0), b.whole(r, 2, 1)
		if b.has(1) {
			from, to = to, b.whole(r, 1, 0)
		}
		if step == 0 {
			r.fail("range's step is zero")
		}
		out := new(list)
		for i := from; step > 0 && i < to || step < 0 && i > to; {
			if len(out.items) == maxRange {
				r.fail("a range has more than %d items", maxRange)
			}
			r.make(16)
			out.items = append(out.items, i)
			next := i + step
			if (next > i) != (step > 0) {
				break
			}
			i = next
		}
		return out
	},
	"dict": func(r *run, a args) value { return r.dictOf(a) },
	"namespace": func(r *run, a args) value {
		return &namespace{*r.dictOf(a)}
	},
	"raise_exception": func(r *run, a args) value {
		message := r.bind(a, "message")
		panic(fault{&RaisedError{r.str(message.get(0, ""))}})
	},
	"strftime_now": func(r *run, a args) value {
		return r.strftime(r.bind(a, "format").text(r, 0, ""))
	},
}

func (r *run) dictOf(a args) *dict {
	out := newDict()
	for _, x := range a.pos {
		d, ok := x.(*dict)
		if !ok {
			r.fail("an argument is a %s, want a dict", typeName(x))
		}
		r.make(64 * len(d.keys))
		for _, key := range d.keys {
			out.set(key, d.vals[key])
		}
	}
	r.make(64 * len(a.named))
	for _, arg := range a.named {
		out.set(arg.name, arg.v)
	}
	return out
}

// text makes a filter of a function over strings.
func text(f func(string) string) method {
	return func(r *run, x value, a args) value {
		r.bind(a)
		s := r.str(x)
		out := f(s)
		r.make(len(s) + len(out))
		return out
	}
}

func length(r *run, x value, _ args) value {
	switch x := x.(type) {
	case string:
		r.read(len(x))
		return int64(utf8.RuneCountInString(x))
	case *list, *dict, undefined:
		return int64(len(r.items(x)))
	}
	r.fail("a %s has no length", typeName(x))
	return nil
}

func otherwise(r *run, x value, a args) value {
	b := r.bind(a, "default_value", "boolean")
	_, unknown := x.(undefined)
	if unknown || truth(b.get(1, false)) && !truth(x) {
		return b.get(0, "")
	}
	return x
}

var filters = map[string]method{
	"trim": func(r *run, x value, a args) value {
		return strip(r, r.str(x), a)
	},
	"upper":      text(strings.ToUpper),
	"lower":      text(strings.ToLower),
	"title":      text(title),
	"capitalize": text(capitalize),
	"string":     text(func(s string) string { return s }),
	"safe":       text(func(s string) string { return s }),
	"escape":     text(html.EscapeString),
	"e":          text(html.EscapeString),
	"length":     length,
	"count":      length,
	"default":    otherwise,
	"d":          otherwise,
	"tojson":     tojson,
	"list":       func(r *run, x value, a args) value { return r.newList(r.items(x)) },
	"items":      func(r *run, x value, a args) value { return pairs(r, x, a) },
	"replace": func(r *run, x value, a args) value {
		return replace(r, r.str(x), a)
	},
	"join": func(r *run, x value, a args) value {
		b := r.bind(a, "d", "attribute")
		items := r.items(x)
		if b.has(1) {
			items = r.mapped(items, func(x value) value { return r.path(x, b[1]) })
		}
		return r.joined(r.str(b.get(0, "")), items)
	},
	"first": func(r *run, x value, a args) value {
		if items := r.items(x); len(items) > 0 {
			return items[0]
		}
		return undefined{"the first item of nothing"}
	},
	"last": func(r *run, x value, a args) value {
		if items := r.items(x); len(items) > 0 {
			return items[len(items)-1]
		}
		return undefined{"the last item of nothing"}
	},
	"reverse": func(r *run, x value, a args) value {
		out := r.newList(r.items(x))
		slices.Reverse(out.items)
		if _, ok := x.(string); ok {
			return r.joined("", out.items)
		}
		return out
	},
	"sort": func(r *run, x value, a args) value {
		b := r.bind(a, "reverse", "case_sensitive", "attribute")
		out := r.newList(r.items(x))
		key := func(v value) value {
			if b.has(2) {
				v = r.path(v, b[2])
			}
			if s, ok := v.(string); ok && !truth(b.get(1, false)) {
				return strings.ToLower(s)
			}
			return v
		}
		slices.SortStableFunc(out.items, func(x, y value) int {
			if truth(b.get(0, false)) {
				x, y = y, x
			}
			return r.compare(key(x), key(y), 0)
		})
		return out
	},
	"dictsort": func(r *run, x value, a args) value {
		out := pairs(r, x, a).(*list)
		slices.SortStableFunc(out.items, func(x, y value) int {
			return strings.Compare(strings.ToLower(r.str(x.(*list).items[0])), strings.ToLower(r.str(y.(*list).items[0])))
		})
		return out
	},
	"unique": func(r *run, x value, a args) value {
		out := new(list)
		for _, item := range r.items(x) {
			if !slices.ContainsFunc(out.items, func(seen value) bool { return r.equal(seen, item, 0) }) {
				r.make(16)
				out.items = append(out.items, item)
			}
		}
		return out
	},
	"min": func(r *run, x value, a args) value { return r.extreme(x, -1) },
	"max": func(r *run, x value, a args) value { return r.extreme(x, 1) },
	"sum": func(r *run, x value, a args) value {
		var sum value = int64(0)
		for _, item := range r.items(x) {
			sum = r.operate("+", sum, item)
		}
		return sum
	},
	"abs": func(r *run, x value, a args) value {
		if order := r.compare(x, int64(0), 0); order < 0 {
			return r.operate("-", int64(0), x)
		}
		return x
	},
	"int": func(r *run, x value, a args) value {
		b := r.bind(a, "default")
		switch x := x.(type) {
		case bigInt:
			return x
		case float64:
			if math.Abs(x) < math.MaxInt64 {
				return int64(x)
			}
		case string:
			if i, err := strconv.ParseInt(strings.TrimSpace(x), 10, 64); err == nil {
				return i
			}
			if f, err := strconv.ParseFloat(strings.TrimSpace(x), 64); err == nil && math.Abs(f) < math.MaxInt64 {
				return int64(f)
			}
		}
		if i, ok := whole(x); ok {
			return i
		}
		return b.get(0, int64(0))
	},
	"float": func(r *run, x value, a args) value {
		b := r.bind(a, "default")
		if s, ok := x.(string); ok {
			if f, err := strconv.ParseFloat(strings.TrimSpace(s), 64); err == nil {
				return f
			}
		}
		if f, ok := real(x); ok {
			return f
		}
		return b.get(0, 0.0)
	},
	"round": func(r *run, x value, a args) value {
		b := r.bind(a, "precision", "method")
		if i, ok := whole(x); ok {
			return i
		}
		f, ok := real(x)
		if !ok {
			r.fail("cannot round a %s", typeName(x))
		}
		scale := math.Pow10(int(min(max(b.whole(r, 0, 0), -300), 300)))
		round, ok := map[string]func(float64) float64{"common": math.RoundToEven, "ceil": math.Ceil, "floor": math.Floor}[b.text(r, 1, "common")]
		if !ok {
			r.fail("round's method is not common, ceil or floor")
		}
		return round(f*scale) / scale
	},
	"indent": func(r *run, x value, a args) value {
		b := r.bind(a, "width", "first", "blank")
		width, ok := b.get(0, int64(4)).(string)
		if !ok {
			width = r.repeat(" ", b.whole(r, 0, 4)).(string)
		}
		s := r.str(x)
		r.make(16*strings.Count(s, "\n") + 2*len(s))
		lines := strings.Split(s, "\n")
		for i := range lines {
			if (i > 0 || truth(b.get(1, false))) && (lines[i] != "" || truth(b.get(2, false))) {
				lines[i] = r.join(width, lines[i])
			}
		}
		return strings.Join(lines, "\n")
	},
}

func init() { // these name filters and tests, or are made of what does
	filters["map"] = func(r *run, x value, a args) value {
		if len(a.pos) == 0 {
			b := r.bind(a, "attribute", "default")
			return &list{items: r.mapped(r.someItems(x), func(x value) value {
				v := r.path(x, b.get(0, nil))
				if _, unknown := v.(undefined); unknown && b.has(1) {
					return b[1]
				}
				return v
			})}
		}
		f := filters[r.str(a.pos[0])]
		if f == nil {
			r.fail("there is no filter %q", r.str(a.pos[0]))
		}
		a.pos = a.pos[1:]
		return &list{items: r.mapped(r.someItems(x), func(x value) value { return f(r, x, a) })}
	}
	for name, how := range map[string]struct{ attribute, keep bool }{
		"select": {false, true}, "reject": {false, false}, "selectattr": {true, true}, "rejectattr": {true, false},
	} {
		filters[name] = func(r *run, x value, a args) value {
			of := func(x value) value { return x }
			if how.attribute {
				if len(a.pos) == 0 {
					r.fail("%s wants the name of an attribute", name)
				}
				path := a.pos[0]
				a.pos = a.pos[1:]
				of = func(x value) value { return r.path(x, path) }
			}
			test := func(r *run, x value, _ args) bool { return truth(x) }
			if len(a.pos) > 0 {
				if test = tests[r.str(a.pos[0])]; test == nil {
					r.fail("there is no test %q", r.str(a.pos[0]))
				}
				a.pos = a.pos[1:]
			}
			out := new(list)
			for _, item := range r.someItems(x) {
				if test(r, of(item), a) == how.keep {
					r.make(16)
					out.items = append(out.items, item)
				}
			}
			return out
		}
	}
}

// someItems are the items of x, none if x is None or 0.
func (r *run) someItems(x value) []value {
	if !truth(x) {
		return nil
	}
	return r.items(x)
}

func (r *run) newList(items []value) *list {
	r.make(16 * len(items))
	return &list{items: slices.Clone(items)}
}

func (r *run) mapped(items []value, f func(value) value) []value {
	r.make(16 * len(items))
	out := make([]value, len(items))
	for i, item := range items {
		r.step()
		out[i] = f(item)
	}
	return out
}

// path follows "function.name" or an index.
func (r *run) path(x, path value) value {
	names, ok := path.(string)
	if !ok {
		return r.item(x, path)
	}
	for _, name := range strings.Split(names, ".") {
		if i, err := strconv.ParseInt(name, 10, 64); err == nil {
			x = r.item(x, i)
		} else {
			x = r.item(x, name)
		}
	}
	return x
}

func (r *run) joined(between string, items []value) string {
	var b strings.Builder
	for i, item := range items {
		if i > 0 {
			r.add(&b, between)
		}
		r.add(&b, r.str(item))
	}
	return b.String()
}

func (r *run) add(b *strings.Builder, s string) {
	r.make(len(s))
	b.WriteString(s)
}

func (r *run) extreme(x value, sign int) value {
	items := r.items(x)
	if len(items) == 0 {
		return undefined{"the extreme of nothing"}
	}
	best := items[0]
	for _, item := range items[1:] {
		if r.compare(item, best, 0)*sign > 0 {
			best = item
		}
	}
	return best
}

func capitalize(s string) string {
	first, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return s
	}
	return string(unicode.ToTitle(first)) + strings.ToLower(s[n:])
}

// title writes each word's first letter large and the others small, as Jinja does.
func title(s string) string {
	inWord := false
	return strings.Map(func(c rune) rune {
		first := !inWord
		inWord = !unicode.IsSpace(c) && !strings.ContainsRune("-([{<", c)
		if first {
			return unicode.ToTitle(c)
		}
		return unicode.ToLower(c)
	}, s)
}

var tests = map[string]func(r *run, x value, a args) bool{
	"defined":   func(r *run, x value, a args) bool { _, unknown := x.(undefined); return !unknown },
	"undefined": func(r *run, x value, a args) bool { _, unknown := x.(undefined); return unknown },
	"none":      func(r *run, x value, a args) bool { return x == nil },
	"string":    func(r *run, x value, a args) bool { _, ok := x.(string); return ok },
	"boolean":   func(r *run, x value, a args) bool { _, ok := x.(bool); return ok },
	"true":      func(r *run, x value, a args) bool { return x == true },
	"false":     func(r *run, x value, a args) bool { return x == false },
	"float":     func(r *run, x value, a args) bool { _, ok := x.(float64); return ok },
	"integer":   func(r *run, x value, a args) bool { return typeName(x) == "int" },
	"number": func(r *run, x value, a args) bool {
		_, ok := real(x)
		return ok || typeName(x) == "int"
	},
	"mapping":  func(r *run, x value, a args) bool { _, ok := x.(*dict); return ok },
	"sequence": func(r *run, x value, a args) bool { return iterable(x) },
	"iterable": func(r *run, x value, a args) bool { return iterable(x) },
	"callable": func(r *run, x value, a args) bool { _, ok := x.(function); return ok },
	"odd":      func(r *run, x value, a args) bool { return r.operate("%", x, int64(2)) == int64(1) },
	"even":     func(r *run, x value, a args) bool { return r.operate("%", x, int64(2)) == int64(0) },
	"divisibleby": func(r *run, x value, a args) bool {
		return r.operate("%", x, r.bind(a, "num").get(0, nil)) == int64(0)
	},
	"lower": func(r *run, x value, a args) bool {
		s := r.str(x)
		return s == strings.ToLower(s) && s != strings.ToUpper(s)
	},
	"upper": func(r *run, x value, a args) bool {
		s := r.str(x)
		return s == strings.ToUpper(s) && s != strings.ToLower(s)
	},
	"sameas": func(r *run, x value, a args) bool {
		return typeName(x) == typeName(r.bind(a, "other").get(0, nil)) && holds("==")(r, x, a)
	},
	"in": holds("in"),
	"==": holds("=="),
	"eq": holds("=="),
	"ne": holds("!="),
	"lt": holds("<"),
	"le": holds("<="),
	"gt": holds(">"),
	"ge": holds(">="),

	"equalto": holds("=="), "lessthan": holds("<"), "greaterthan": holds(">"),
}

// holds makes a test of an operator.
func holds(op string) func(r *run, x value, a args) bool {
	return func(r *run, x value, a args) bool { return r.holds(op, x, r.bind(a, "other").get(0, nil)) }
}

func iterable(x value) bool {
	switch x.(type) {
	case string, *list, *dict, undefined:
		return true
	}
	return false
}
