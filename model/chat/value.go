package chat

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A value is what an expression yields: nil (None), bool, int64, float64, bigInt, string, *list, *dict, *namespace, *loop, function or
// undefined. Lists and dicts do not change once a template can see them.
type value = any

type (
	// A bigInt is a whole number from JSON that an int64 does not hold. It can be written, not computed with.
	bigInt string

	list struct {
		items []value
		tuple bool
	}
	// A dict keeps the order in which keys were set.
	dict struct {
		keys []value
		vals map[value]value
	}
	namespace struct{ dict }
	function  func(r *run, a args) value
	// undefined says what was looked for.
	undefined struct{ what string }
)

func newDict() *dict { return &dict{vals: make(map[value]value)} }

func (d *dict) set(key, v value) {
	if _, ok := d.vals[key]; !ok {
		d.keys = append(d.keys, key)
	}
	d.vals[key] = v
}

// A scope is the variables of a loop's turn or of a macro's call, or the template's own.
type scope struct {
	parent *scope
	vars   []variable
}

type variable struct {
	name string
	v    value
}

func (s *scope) set(name string, v value) {
	for i := range s.vars {
		if s.vars[i].name == name {
			s.vars[i].v = v
			return
		}
	}
	s.vars = append(s.vars, variable{name, v})
}

func (r *run) get(name string) value {
	for s := r.scope; s != nil; s = s.parent {
		r.read(4 * len(s.vars))
		for i := range s.vars {
			if s.vars[i].name == name {
				return s.vars[i].v
			}
		}
	}
	return undefined{"'" + name + "'"}
}

// from converts what a Go program passes.
func (r *run) from(x any, depth int) value {
	if depth > maxNesting {
		panic(fault{fmt.Errorf("chat template: a value is nested more than %d deep", maxNesting)})
	}
	r.memory += 64
	switch x := x.(type) {
	case nil, bool, int64, float64:
		return x
	case string:
		r.memory += 32 * len(x)
		return x
	case int:
		return int64(x)
	case json.Number:
		return number(string(x))
	case *dict:
		out := newDict()
		for _, key := range x.keys {
			out.set(key, r.from(x.vals[key], depth+1))
		}
		return out
	case map[string]any:
		out := newDict()
		for _, key := range slices.Sorted(maps.Keys(x)) {
			out.set(key, r.from(x[key], depth+1))
		}
		return out
	case []any:
		out := &list{items: make([]value, len(x))}
		for i := range x {
			out.items[i] = r.from(x[i], depth+1)
		}
		return out
	}
	switch v := reflect.ValueOf(x); {
	case v.CanInt():
		return v.Int()
	case v.CanUint() && v.Uint() <= math.MaxInt64:
		return int64(v.Uint())
	case v.CanFloat():
		return v.Float()
	case v.Kind() == reflect.Slice:
		out := new(list)
		for i := range v.Len() {
			out.items = append(out.items, r.from(v.Index(i).Interface(), depth+1))
		}
		return out
	}
	panic(fault{fmt.Errorf("chat template: cannot pass a %T to a template", x)})
}

// number reads JSON's spelling.
func number(s string) value {
	if !strings.ContainsAny(s, ".eE") {
		if i, err := strconv.ParseInt(s, 10, 64); err == nil {
			return i
		}
		return bigInt(s)
	}
	f, _ := strconv.ParseFloat(s, 64) // out of range: infinite, as in Python
	return f
}

func truth(v value) bool {
	switch v := v.(type) {
	case nil, undefined:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case *list:
		return len(v.items) > 0
	case *dict:
		return len(v.keys) > 0
	}
	return true
}

// typeName is Python's.
func typeName(v value) string {
	switch v := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int64, bigInt:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case *list:
		if v.tuple {
			return "tuple"
		}
		return "list"
	case *dict:
		return "dict"
	case *namespace:
		return "namespace"
	case undefined:
		return "undefined"
	}
	return "function"
}

// str is Python's str(v), and nothing for what is undefined.
func (r *run) str(v value) string {
	switch v := v.(type) {
	case string:
		return v
	case undefined:
		return ""
	}
	var b strings.Builder
	r.repr(&b, v, 0)
	return b.String()
}

// repr writes Python's repr(v).
func (r *run) repr(b *strings.Builder, v value, depth int) {
	r.deeper(depth)
	before := b.Len()
	switch v := v.(type) {
	case nil:
		b.WriteString("None")
	case bool:
		b.WriteString(map[bool]string{true: "True", false: "False"}[v])
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case bigInt:
		b.WriteString(string(v))
	case float64:
		b.WriteString(floatRepr(v))
	case string:
		b.WriteString(quote(v))
	case *list:
		edges := "[]"
		if v.tuple {
			edges = "()"
		}
		b.WriteByte(edges[0])
		for i, item := range v.items {
			if i > 0 {
				b.WriteString(", ")
			}
			r.repr(b, item, depth+1)
		}
		if v.tuple && len(v.items) == 1 {
			b.WriteByte(',')
		}
		b.WriteByte(edges[1])
		before = b.Len()
	case *dict:
		b.WriteByte('{')
		for i, key := range v.keys {
			if i > 0 {
				b.WriteString(", ")
			}
			r.repr(b, key, depth+1)
			b.WriteString(": ")
			r.repr(b, v.vals[key], depth+1)
		}
		b.WriteByte('}')
		before = b.Len()
	case undefined:
		b.WriteString("Undefined")
	default:
		fmt.Fprintf(b, "<%s>", typeName(v))
	}
	r.make(b.Len() - before + 2)
}

func floatRepr(f float64) string {
	switch {
	case math.IsInf(f, 0):
		return map[bool]string{true: "inf", false: "-inf"}[f > 0]
	case math.IsNaN(f):
		return "nan"
	}
	s := strconv.FormatFloat(f, 'e', -1, 64)
	exponent, _ := strconv.Atoi(s[strings.IndexByte(s, 'e')+1:])
	if exponent < -4 || exponent >= 16 {
		return s
	}
	if s = strconv.FormatFloat(f, 'f', -1, 64); !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// quote is Python's repr of a string.
func quote(s string) string {
	mark := '\''
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		mark = '"'
	}
	var b strings.Builder
	b.WriteRune(mark)
	for _, c := range s {
		switch {
		case c == mark || c == '\\':
			b.WriteRune('\\')
			b.WriteRune(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(c):
			b.WriteRune(c)
		case c < 0x100:
			fmt.Fprintf(&b, `\x%02x`, c)
		case c < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			fmt.Fprintf(&b, `\U%08x`, c)
		}
	}
	b.WriteRune(mark)
	return b.String()
}

// whole returns a whole number, which True and False are too.
func whole(v value) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

// real returns any number.
func real(v value) (float64, bool) {
	if f, ok := v.(float64); ok {
		return f, true
	}
	i, ok := whole(v)
	return float64(i), ok
}

func (r *run) equal(a, b value, depth int) bool {
	r.deeper(depth)
	r.step()
	switch a := a.(type) {
	case nil:
		return b == nil
	case string:
		b, ok := b.(string)
		r.read(len(a))
		return ok && a == b
	case bigInt:
		return a == b
	case undefined:
		_, ok := b.(undefined)
		return ok
	case *list:
		b, ok := b.(*list)
		return ok && a.tuple == b.tuple && slices.EqualFunc(a.items, b.items, func(x, y value) bool { return r.equal(x, y, depth+1) })
	case *dict:
		b, ok := b.(*dict)
		if !ok || len(a.keys) != len(b.keys) {
			return false
		}
		for key, x := range a.vals {
			if y, ok := b.vals[key]; !ok || !r.equal(x, y, depth+1) {
				return false
			}
		}
		return true
	case *namespace, *loop:
		return a == b
	}
	x, ok := real(a)
	y, too := real(b)
	if i, isWhole := whole(a); isWhole {
		if j, isWhole := whole(b); isWhole {
			return i == j
		}
	}
	return ok && too && x == y
}

// compare orders numbers, strings and lists.
func (r *run) compare(a, b value, depth int) int {
	r.deeper(depth)
	r.step()
	if i, ok := whole(a); ok {
		if j, ok := whole(b); ok {
			return compareOrdered(i, j)
		}
	}
	if x, ok := real(a); ok {
		if y, ok := real(b); ok {
			return compareOrdered(x, y)
		}
	}
	switch a := a.(type) {
	case string:
		if b, ok := b.(string); ok {
			r.read(len(a))
			return strings.Compare(a, b)
		}
	case *list:
		if b, ok := b.(*list); ok {
			return slices.CompareFunc(a.items, b.items, func(x, y value) int { return r.compare(x, y, depth+1) })
		}
	}
	r.fail("a %s and a %s have no order", typeName(a), typeName(b))
	return 0
}

func compareOrdered[T int64 | float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// items returns what a loop over v visits.
func (r *run) items(v value) []value {
	switch v := v.(type) {
	case *list:
		return v.items
	case *dict:
		return v.keys
	case string:
		n := utf8.RuneCountInString(v)
		r.make(16 * n)
		items := make([]value, 0, n)
		for _, c := range v {
			items = append(items, string(c))
		}
		return items
	case undefined:
		return nil
	}
	r.fail("a %s cannot be iterated over", typeName(v))
	return nil
}
