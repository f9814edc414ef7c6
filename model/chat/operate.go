package chat

import (
	"math"
	"math/bits"
	"strings"
	"unicode/utf8"
)

// operate computes a binary operator as Python does.
func (r *run) operate(op string, a, b value) value {
	for _, v := range [2]value{a, b} {
		if u, ok := v.(undefined); ok && op != "~" {
			r.fail("%s is undefined", u.what)
		}
	}
	if op == "~" {
		return r.join(r.str(a), r.str(b))
	}
	if i, ok := whole(a); ok {
		if j, ok := whole(b); ok {
			return r.wholes(op, i, j)
		}
	}
	if x, ok := real(a); ok {
		if y, ok := real(b); ok {
			return r.reals(op, x, y)
		}
	}
	switch op {
	case "+":
		switch a := a.(type) {
		case string:
			if b, ok := b.(string); ok {
				return r.join(a, b)
			}
		case *list:
			if b, ok := b.(*list); ok && a.tuple == b.tuple {
				r.make(16 * (len(a.items) + len(b.items)))
				return &list{items: append(append([]value{}, a.items...), b.items...), tuple: a.tuple}
			}
		}
	case "*":
		if _, ok := whole(a); ok {
			a, b = b, a
		}
		if n, ok := whole(b); ok {
			return r.repeat(a, n)
		}
	case "%":
		if s, ok := a.(string); ok {
			return r.format(s, b)
		}
	}
	r.fail("cannot compute a %s %s a %s", typeName(a), op, typeName(b))
	return nil
}

func (r *run) join(a, b string) string {
	r.make(len(a) + len(b))
	return a + b
}

func (r *run) repeat(v value, n int64) value {
	n = max(n, 0)
	size := func(one int) {
		if one > 0 && n > int64(maxMemory/one) {
			r.make(math.MaxInt32)
		}
		r.make(one * int(n))
	}
	switch v := v.(type) {
	case string:
		if v == "" {
			return v
		}
		size(len(v))
		return strings.Repeat(v, int(n))
	case *list:
		if len(v.items) == 0 {
			return v
		}
		size(16 * len(v.items))
		out := &list{tuple: v.tuple}
		for range n {
			out.items = append(out.items, v.items...)
		}
		return out
	}
	r.fail("cannot repeat a %s", typeName(v))
	return nil
}

func (r *run) wholes(op string, a, b int64) value {
	overflow := func() { r.fail("%d %s %d is too large", a, op, b) }
	switch op {
	case "+":
		if sum := a + b; (sum > a) == (b > 0) {
			return sum
		}
		overflow()
	case "-":
		if difference := a - b; (difference < a) == (b > 0) {
			return difference
		}
		overflow()
	case "*":
		return r.product(a, b, overflow)
	case "**":
		if b < 0 {
			return r.reals(op, float64(a), float64(b))
		}
		power := int64(1)
		for ; b > 0; b-- {
			r.step()
			if power = r.product(power, a, overflow); a == 0 || a == 1 {
				break
			}
		}
		return power
	}
	if b == 0 {
		r.fail("division by zero")
	}
	switch op {
	case "/":
		return float64(a) / float64(b)
	case "//":
		if b == -1 && a == math.MinInt64 {
			overflow()
		}
		quotient := a / b
		if a%b != 0 && (a < 0) != (b < 0) {
			quotient--
		}
		return quotient
	}
	rest := a % b
	if rest != 0 && (rest < 0) != (b < 0) {
		rest += b
	}
	return rest
}

func (r *run) product(a, b int64, overflow func()) int64 {
	high, _ := bits.Mul64(magnitude(a), magnitude(b))
	product := a * b
	if high != 0 || product != 0 && (product < 0) != ((a < 0) != (b < 0)) {
		overflow()
	}
	return product
}

func magnitude(a int64) uint64 {
	if a < 0 {
		return -uint64(a)
	}
	return uint64(a)
}

func (r *run) reals(op string, a, b float64) value {
	switch op {
	case "+":
		return a + b
	case "-":
		return a - b
	case "*":
		return a * b
	case "**":
		return math.Pow(a, b)
	}
	if b == 0 {
		r.fail("division by zero")
	}
	switch op {
	case "/":
		return a / b
	case "//":
		return math.Floor(a / b)
	}
	rest := math.Mod(a, b)
	if rest != 0 && (rest < 0) != (b < 0) {
		rest += b
	}
	return rest
}

// format is Python's "%s and %d" % (a, b) with the verbs s, r, d, i and %.
func (r *run) format(s string, v value) value {
	values := []value{v}
	if l, ok := v.(*list); ok && l.tuple {
		values = l.items
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "%")
		b.WriteString(before)
		if !found {
			break
		}
		if after == "" || strings.IndexByte("srdi%", after[0]) < 0 {
			r.fail("a format has a verb that is not supported: %%s, %%r, %%d, %%i and %%%% are")
		}
		s = after[1:]
		if after[0] == '%' {
			b.WriteByte('%')
			continue
		}
		if len(values) == 0 {
			r.fail("a format has more verbs than there are values")
		}
		if after[0] == 'r' {
			r.repr(&b, values[0], 0)
		} else {
			b.WriteString(r.str(values[0]))
		}
		values = values[1:]
		r.make(b.Len())
	}
	if len(values) > 0 {
		r.fail("a format has fewer verbs than there are values")
	}
	return b.String()
}

func (r *run) holds(op string, a, b value) bool {
	switch op {
	case "==":
		return r.equal(a, b, 0)
	case "!=":
		return !r.equal(a, b, 0)
	case "in":
		return r.contains(b, a)
	case "not in":
		return !r.contains(b, a)
	}
	for _, v := range [2]value{a, b} {
		if u, ok := v.(undefined); ok {
			r.fail("%s is undefined", u.what)
		}
	}
	order := r.compare(a, b, 0)
	switch op {
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	}
	return order >= 0
}

func (r *run) contains(whole, part value) bool {
	switch whole := whole.(type) {
	case string:
		text, ok := part.(string)
		if !ok {
			r.fail("a %s cannot be in a string", typeName(part))
		}
		r.read(len(whole))
		return strings.Contains(whole, text)
	case *dict:
		_, ok := whole.vals[r.key(part)]
		return ok
	}
	for _, item := range r.items(whole) {
		if r.equal(item, part, 0) {
			return true
		}
	}
	return false
}

// key returns v if it can be a key of a dict.
func (r *run) key(v value) value {
	switch v := v.(type) {
	case string:
		r.read(len(v))
		return v
	case nil, int64, float64:
		return v
	case bool:
		i, _ := whole(v)
		return i
	}
	r.fail("a %s cannot be a key", typeName(v))
	return nil
}

// attr is x.name: what Python calls an attribute, else an item.
func (r *run) attr(x value, name string) value {
	switch x := x.(type) {
	case undefined:
		r.fail("%s is undefined", x.what)
	case *loop:
		return x.attr(r, name)
	case *namespace:
		if v, ok := x.vals[name]; ok {
			return v
		}
	case *dict:
		if m, ok := dictMethods[name]; ok {
			return m.of(x)
		}
		if v, ok := x.vals[name]; ok {
			return v
		}
	case *list:
		if m, ok := listMethods[name]; ok {
			return m.of(x)
		}
	case string:
		if m, ok := stringMethods[name]; ok {
			return m.of(x)
		}
	}
	return undefined{"'" + typeName(x) + " object' has no attribute '" + name + "', which"}
}

// item is x[i]: what Python calls an item, else an attribute.
func (r *run) item(x, i value) value {
	if d, ok := x.(*dict); ok {
		if v, ok := d.vals[r.key(i)]; ok {
			return v
		}
	}
	if name, ok := i.(string); ok {
		return r.attr(x, name)
	}
	at, ok := whole(i)
	if u, unknown := x.(undefined); unknown {
		r.fail("%s is undefined", u.what)
	}
	switch x := x.(type) {
	case *list:
		if at < 0 {
			at += int64(len(x.items))
		}
		if ok && 0 <= at && at < int64(len(x.items)) {
			return x.items[at]
		}
	case string:
		r.read(len(x))
		runes := utf8.RuneCountInString(x)
		if at < 0 {
			at += int64(runes)
		}
		if ok && 0 <= at && at < int64(runes) {
			r.make(8 * runes)
			return string([]rune(x)[at])
		}
	}
	return undefined{"'" + typeName(x) + " object' has no such element, which"}
}

// slice is x[from:to:step].
func (r *run) slice(x value, at [3]value) value {
	var items []value
	var runes []rune
	n := 0
	switch x := x.(type) {
	case *list:
		items, n = x.items, len(x.items)
	case string:
		r.make(5 * len(x))
		runes = []rune(x)
		n = len(runes)
	case undefined:
		r.fail("%s is undefined", x.what)
	default:
		r.fail("a %s cannot be sliced", typeName(x))
	}
	step := int64(1)
	if at[2] != nil {
		step = r.index(at[2])
	}
	if step == 0 {
		r.fail("a slice's step is zero")
	}
	low, high := int64(0), int64(n)
	if step < 0 {
		low, high = -1, int64(n)-1
	}
	bound := func(v value, otherwise int64) int64 {
		if v == nil {
			return otherwise
		}
		i := r.index(v)
		if i < 0 {
			i += int64(n)
		}
		return min(max(i, low), high)
	}
	from, to := bound(at[0], low), bound(at[1], high)
	if step < 0 {
		from, to = bound(at[0], high), bound(at[1], low)
	}
	step = min(max(step, -int64(n)-1), int64(n)+1)
	var chosen []value
	var text []rune
	for i := from; step > 0 && i < to || step < 0 && i > to; i += step {
		r.make(16)
		if runes != nil {
			text = append(text, runes[i])
		} else {
			chosen = append(chosen, items[i])
		}
	}
	if l, ok := x.(*list); ok {
		return &list{items: chosen, tuple: l.tuple}
	}
	return string(text)
}

func (r *run) index(v value) int64 {
	i, ok := whole(v)
	if !ok {
		r.fail("a slice's bound is a %s, want a whole number", typeName(v))
	}
	return i
}
