package chat

import (
	"slices"
	"strings"
)

// An expr is a compiled expression.
type expr func(r *run) value

// A parser compiles expressions (this file) and statements (statements.go) to closures.
type parser struct {
	tokens []token
	at     int
	depth  int
	loops  int // around the place that is parsed
}

func (p *parser) next() token {
	t := p.tokens[p.at]
	if t.kind != tEnd {
		p.at++
	}
	return t
}

func (p *parser) peek() token { return p.tokens[p.at] }

func (p *parser) fail(format string, args ...any) { failAt(p.peek().line, format, args...) }

func (p *parser) is(k kind, texts ...string) bool {
	t := p.peek()
	return t.kind == k && (len(texts) == 0 || slices.Contains(texts, t.text))
}

func (p *parser) symbol(s string) bool { return p.skip(tSymbol, s) }
func (p *parser) word(s string) bool   { return p.skip(tName, s) }

func (p *parser) skip(k kind, text string) bool {
	if p.is(k, text) {
		p.at++
		return true
	}
	return false
}

func (p *parser) want(k kind, text string) {
	if !p.skip(k, text) {
		p.fail("unexpected %q, want %s", p.peek().text, text)
	}
}

func (p *parser) name() string {
	if !p.is(tName) {
		p.fail("unexpected %q, want a name", p.peek().text)
	}
	return p.next().text
}

// nest counts a level of what is parsed or will be evaluated; the caller restores depth when it leaves the level.
func (p *parser) nest() {
	if p.depth++; p.depth > maxNesting {
		p.fail("more than %d levels or operators in one another", maxNesting)
	}
}

// atLine makes an expression that fails with its line and counts its steps.
func (p *parser) atLine(line int, e expr) expr {
	return func(r *run) value {
		r.line = line
		r.step()
		return e(r)
	}
}

// expression is a conditional expression; its parts, by how tightly they bind, are the functions below.
func (p *parser) expression() expr {
	defer func(depth int) { p.depth = depth }(p.depth)
	p.nest()
	then := p.or()
	for p.word("if") {
		p.nest()
		test, value, otherwise := p.or(), then, expr(nil)
		if p.word("else") {
			otherwise = p.expression()
		}
		then = func(r *run) any {
			switch {
			case truth(test(r)):
				return value(r)
			case otherwise == nil:
				return undefined{"the other case of an inline if"}
			}
			return otherwise(r)
		}
	}
	return then
}

func (p *parser) or() expr {
	left := p.and()
	for p.word("or") {
		p.nest()
		a, b := left, p.and()
		left = func(r *run) value {
			if v := a(r); truth(v) {
				return v
			}
			return b(r)
		}
	}
	return left
}

func (p *parser) and() expr {
	left := p.not()
	for p.word("and") {
		p.nest()
		a, b := left, p.not()
		left = func(r *run) value {
			if v := a(r); !truth(v) {
				return v
			}
			return b(r)
		}
	}
	return left
}

func (p *parser) not() expr {
	if !p.word("not") {
		return p.comparison()
	}
	defer func(depth int) { p.depth = depth }(p.depth)
	p.nest()
	e := p.not()
	return func(r *run) value { return !truth(e(r)) }
}

// comparison is a < b == c, which means a < b and b == c.
func (p *parser) comparison() expr {
	first := p.sum()
	var ops []string
	var rest []expr
	line := p.peek().line
	for {
		switch {
		case p.is(tSymbol, "==", "!=", "<", "<=", ">", ">="), p.is(tName, "in"):
			ops = append(ops, p.next().text)
		case p.is(tName, "not") && p.tokens[p.at+1].kind == tName && p.tokens[p.at+1].text == "in":
			p.at += 2
			ops = append(ops, "not in")
		default:
			if ops == nil {
				return first
			}
			return p.atLine(line, func(r *run) value {
				a := first(r)
				for i, op := range ops {
					b := rest[i](r)
					r.line = line
					if !r.holds(op, a, b) {
						return false
					}
					a = b
				}
				return true
			})
		}
		rest = append(rest, p.sum())
	}
}

// chain parses operators that bind equally, from the left.
func (p *parser) chain(operand func() expr, ops ...string) expr {
	left := operand()
	for p.is(tSymbol, ops...) {
		p.nest()
		op := p.next()
		a, b := left, operand()
		left = func(r *run) value {
			x, y := a(r), b(r)
			r.line = op.line
			r.step()
			return r.operate(op.text, x, y)
		}
	}
	return left
}

func (p *parser) sum() expr     { return p.chain(p.concat, "+", "-") }
func (p *parser) concat() expr  { return p.chain(p.product, "~") }
func (p *parser) product() expr { return p.chain(p.power, "*", "/", "//", "%") }
func (p *parser) power() expr {
	return p.chain(func() expr { return p.unary(true) }, "**")
}

func (p *parser) unary(filters bool) expr {
	defer func(depth int) { p.depth = depth }(p.depth)
	p.nest()
	var e expr
	if p.is(tSymbol, "-", "+") {
		op := p.next()
		operand := p.unary(false)
		e = p.atLine(op.line, func(r *run) value {
			if v := operand(r); op.text == "-" {
				return r.operate("-", int64(0), v)
			} else {
				return r.operate("+", int64(0), v)
			}
		})
	} else {
		e = p.primary()
	}
	e = p.postfix(e)
	for filters {
		switch {
		case p.symbol("|"):
			e = p.filter(e)
		case p.word("is"):
			e = p.test(e)
		case p.is(tSymbol, "("):
			e = p.call(e)
		default:
			return e
		}
	}
	return e
}

func (p *parser) primary() expr {
	t := p.next()
	constant := func(v value) expr { return func(*run) value { return v } }
	switch t.kind {
	case tName:
		switch t.text {
		case "true", "True":
			return constant(true)
		case "false", "False":
			return constant(false)
		case "none", "None":
			return constant(nil)
		}
		return p.atLine(t.line, func(r *run) value { return r.get(t.text) })
	case tString:
		var s strings.Builder
		s.WriteString(t.text)
		for p.is(tString) {
			s.WriteString(p.next().text)
		}
		return constant(s.String())
	case tNumber:
		return constant(t.num)
	case tSymbol:
		switch t.text {
		case "(":
			return p.parentheses()
		case "[":
			items, _ := p.list("]")
			return p.atLine(t.line, func(r *run) value { return r.list(items, false) })
		case "{":
			return p.dict(t.line)
		}
	}
	failAt(t.line, "unexpected %q, want an expression", t.text)
	return nil
}

// list reads expressions with commas between them up to the end; comma reports whether there was one.
func (p *parser) list(end string) (items []expr, comma bool) {
	for !p.symbol(end) {
		if len(items) > 0 {
			p.want(tSymbol, ",")
			comma = true
			if p.symbol(end) {
				break
			}
		}
		items = append(items, p.expression())
	}
	return items, comma
}

func (r *run) list(items []expr, tuple bool) value {
	r.make(16 * len(items))
	l := &list{tuple: tuple, items: make([]value, len(items))}
	for i, item := range items {
		l.items[i] = item(r)
	}
	return l
}

func (p *parser) parentheses() expr {
	items, comma := p.list(")")
	if len(items) == 1 && !comma {
		return items[0]
	}
	return func(r *run) value { return r.list(items, true) }
}

func (p *parser) dict(line int) expr {
	var keys, values []expr
	for !p.symbol("}") {
		if len(keys) > 0 {
			p.want(tSymbol, ",")
			if p.symbol("}") {
				break
			}
		}
		keys = append(keys, p.expression())
		p.want(tSymbol, ":")
		values = append(values, p.expression())
	}
	return p.atLine(line, func(r *run) value {
		r.make(64 * len(keys))
		d := newDict()
		for i := range keys {
			d.set(r.key(keys[i](r)), values[i](r))
		}
		return d
	})
}

// postfix reads attributes, subscripts, slices and calls.
func (p *parser) postfix(e expr) expr {
	for {
		line := p.peek().line
		switch {
		case p.symbol("."):
			p.nest()
			of := e
			if p.is(tNumber) {
				index := p.next().num
				e = p.atLine(line, func(r *run) value { return r.item(of(r), index) })
				continue
			}
			name := p.name()
			e = p.atLine(line, func(r *run) value {
				x := of(r)
				r.line = line
				return r.attr(x, name)
			})
		case p.symbol("["):
			p.nest()
			e = p.subscript(line, e)
		case p.is(tSymbol, "("):
			e = p.call(e)
		default:
			return e
		}
	}
}

func (p *parser) subscript(line int, of expr) expr {
	var bounds [3]expr
	colons := 0
	for !p.symbol("]") {
		if p.symbol(":") {
			if colons++; colons > 2 {
				p.fail("a slice has at most two colons")
			}
			continue
		}
		if bounds[colons] != nil {
			p.fail("unexpected %q, want ]", p.peek().text)
		}
		bounds[colons] = p.expression()
	}
	if colons == 0 && bounds[0] == nil {
		p.fail("a subscript is empty")
	}
	return p.atLine(line, func(r *run) value {
		x := of(r)
		if colons == 0 {
			index := bounds[0](r)
			r.line = line
			return r.item(x, index)
		}
		var at [3]value
		for i, bound := range bounds {
			if bound != nil {
				at[i] = bound(r)
			}
		}
		r.line = line
		return r.slice(x, at)
	})
}

// An arguments list is compiled to a function that evaluates it.
func (p *parser) arguments() func(r *run) args {
	p.want(tSymbol, "(")
	var pos, values []expr
	var names []string
	for first := true; !p.symbol(")"); first = false {
		if !first {
			p.want(tSymbol, ",")
			if p.symbol(")") {
				break
			}
		}
		if p.is(tName) && p.tokens[p.at+1].kind == tSymbol && p.tokens[p.at+1].text == "=" {
			names = append(names, p.name())
			p.at++
			values = append(values, p.expression())
		} else if len(names) > 0 {
			p.fail("an argument without a name comes after one with")
		} else {
			pos = append(pos, p.expression())
		}
	}
	return func(r *run) (a args) {
		r.make(16 * (len(pos) + len(names)))
		for _, e := range pos {
			a.pos = append(a.pos, e(r))
		}
		for i, e := range values {
			a.named = append(a.named, variable{names[i], e(r)})
		}
		return a
	}
}

func (p *parser) call(callee expr) expr {
	p.nest()
	line := p.peek().line
	arguments := p.arguments()
	return p.atLine(line, func(r *run) value {
		f := callee(r)
		a := arguments(r)
		r.line = line
		switch f := f.(type) {
		case function:
			return f(r, a)
		case undefined:
			r.fail("%s is undefined", f.what)
		}
		r.fail("a %s is not a function", typeName(f))
		return nil
	})
}

// filter reads a filter's name and arguments.
func (p *parser) filter(e expr) expr {
	p.nest()
	line, name := p.peek().line, p.name()
	f, ok := filters[name]
	if !ok {
		failAt(line, "there is no filter %q", name)
	}
	arguments := func(*run) args { return args{} }
	if p.is(tSymbol, "(") {
		arguments = p.arguments()
	}
	return p.atLine(line, func(r *run) value {
		x, a := e(r), arguments(r)
		r.line = line
		return f(r, x, a)
	})
}

func (p *parser) test(e expr) expr {
	p.nest()
	not := p.word("not")
	line, name := p.peek().line, p.name()
	f, ok := tests[name]
	if !ok {
		failAt(line, "there is no test %q", name)
	}
	arguments := func(*run) args { return args{} }
	if p.is(tSymbol, "(") {
		arguments = p.arguments()
	} else if p.is(tString) || p.is(tNumber) || p.is(tSymbol, "[", "{") || p.is(tName) && !p.is(tName, "else", "or", "and", "is", "if", "not", "in") {
		argument := p.postfix(p.primary())
		arguments = func(r *run) args { return args{pos: []value{argument(r)}} }
	}
	return p.atLine(line, func(r *run) value {
		x, a := e(r), arguments(r)
		r.line = line
		return f(r, x, a) != not
	})
}
