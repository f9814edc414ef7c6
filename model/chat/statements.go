package chat

import "slices"

// A signal says how a statement ended.
type signal uint8

const (
	through signal = iota
	breaks
	continues
)

type statement func(r *run) signal

type block []statement

func (b block) exec(r *run) signal {
	for _, s := range b {
		r.step()
		if how := s(r); how != through {
			return how
		}
	}
	return through
}

func (p *parser) template() block {
	b, end := p.block("")
	if end != "" {
		p.fail("unexpected %q", end)
	}
	return b
}

// block reads statements up to a tag with one of the names, which it has read when it returns, or to the end of the template.
func (p *parser) block(inside string, ends ...string) (b block, end string) {
	defer func(depth int) { p.depth = depth }(p.depth)
	p.nest()
	start := p.peek().line
	for {
		switch t := p.next(); t.kind {
		case tEnd:
			if len(ends) > 0 {
				failAt(start, "%s does not end, want %s", inside, ends[len(ends)-1])
			}
			return b, ""
		case tText:
			b = append(b, func(r *run) signal { r.write(t.text); return through })
		case tOpen:
			e := p.tuple()
			b = append(b, func(r *run) signal {
				v := e(r)
				r.write(r.str(v))
				return through
			})
			p.want(tClose, "}}")
		default:
			line, name := p.peek().line, p.name()
			if slices.Contains(ends, name) {
				return b, name
			}
			s := p.statement(line, name)
			p.want(tBlockEnd, "%}")
			b = append(b, func(r *run) signal { r.line = line; return s(r) })
		}
	}
}

// body reads the end of a tag and the block behind it.
func (p *parser) body(inside string, ends ...string) (b block, end string) {
	p.want(tBlockEnd, "%}")
	return p.block(inside, ends...)
}

func (p *parser) statement(line int, name string) statement {
	defer func(depth int) { p.depth = depth }(p.depth)
	switch name {
	case "if":
		return p.ifElse()
	case "for":
		return p.forIn(line)
	case "set":
		return p.set(line)
	case "macro":
		return p.macro()
	case "filter":
		f := p.filter(func(r *run) value { return r.get(captured) })
		b, _ := p.body(name, "endfilter")
		return func(r *run) signal {
			r.inScope(&scope{parent: r.scope}, func() {
				r.scope.set(captured, r.capture(func() { b.exec(r) }))
				r.write(r.str(f(r)))
			})
			return through
		}
	case "generation": // marks what a model is trained on
		b, _ := p.body(name, "endgeneration")
		return func(r *run) (how signal) {
			r.inScope(&scope{parent: r.scope}, func() { how = b.exec(r) })
			return how
		}
	case "break", "continue":
		if p.loops == 0 {
			failAt(line, "%s outside of a loop", name)
		}
		how := map[string]signal{"break": breaks, "continue": continues}[name]
		return func(*run) signal { return how }
	}
	failAt(line, "%q is not supported: if, for, set, macro, filter, raw, generation, break and continue are", name)
	return nil
}

// captured is a name that no template can spell.
const captured = "captured text"

func (r *run) inScope(s *scope, f func()) {
	outer := r.scope
	r.scope = s
	f()
	r.scope = outer
}

func (p *parser) ifElse() statement {
	var tests []expr
	var bodies []block
	for {
		tests = append(tests, p.tuple())
		b, end := p.body("if", "elif", "else", "endif")
		bodies = append(bodies, b)
		if end == "else" {
			b, _ = p.body("if", "endif")
			bodies = append(bodies, b)
		}
		if end != "elif" {
			break
		}
	}
	return func(r *run) signal {
		for i, test := range tests {
			if truth(test(r)) {
				return bodies[i].exec(r)
			}
		}
		if len(bodies) > len(tests) {
			return bodies[len(tests)].exec(r)
		}
		return through
	}
}

// tuple is an expression, or several with commas between them.
func (p *parser) tuple() expr {
	first := p.expression()
	if !p.is(tSymbol, ",") {
		return first
	}
	items := []expr{first}
	for p.symbol(",") {
		if p.is(tBlockEnd) || p.is(tClose) {
			break
		}
		items = append(items, p.expression())
	}
	return func(r *run) value { return r.list(items, true) }
}

// targets reads the names that a loop or set assigns to.
func (p *parser) targets() (names []string) {
	closing := p.symbol("(")
	names = append(names, p.name())
	for p.symbol(",") && p.is(tName) {
		names = append(names, p.name())
	}
	if closing {
		p.want(tSymbol, ")")
	}
	return names
}

func (r *run) assign(names []string, v value) {
	if len(names) == 1 {
		r.scope.set(names[0], v)
		return
	}
	items := r.items(v)
	if len(items) != len(names) {
		r.fail("%d values for %d names", len(items), len(names))
	}
	for i, name := range names {
		r.scope.set(name, items[i])
	}
}

func (p *parser) forIn(line int) statement {
	names := p.targets()
	p.want(tName, "in")
	iterable := p.or() // without if, which filters the items
	if p.is(tSymbol, ",") {
		items := []expr{iterable}
		for p.symbol(",") {
			items = append(items, p.or())
		}
		iterable = func(r *run) value { return r.list(items, true) }
	}
	var filter expr
	if p.word("if") {
		filter = p.expression()
	}
	if p.word("recursive") {
		failAt(line, "recursive loops are not supported")
	}
	p.loops++
	body, end := p.body("for", "else", "endfor")
	p.loops--
	var otherwise block
	if end == "else" {
		otherwise, _ = p.body("for", "endfor")
	}
	return func(r *run) signal {
		items := r.items(iterable(r))
		outer := r.scope
		if filter != nil {
			var kept []value
			for _, item := range items {
				r.scope = &scope{parent: outer}
				r.assign(names, item)
				if truth(filter(r)) {
					r.make(16)
					kept = append(kept, item)
				}
			}
			items = kept
		}
		l := &loop{items: items}
		for i, item := range items {
			l.at = i
			r.line = line
			r.scope = &scope{parent: outer, vars: []variable{{"loop", l}}}
			r.assign(names, item)
			if body.exec(r) == breaks {
				break
			}
		}
		r.scope = outer
		if len(items) == 0 {
			return otherwise.exec(r)
		}
		return through
	}
}

func (p *parser) set(line int) statement {
	if p.is(tName) && p.tokens[p.at+1].kind == tSymbol && p.tokens[p.at+1].text == "." {
		return p.setAttribute(line)
	}
	names := p.targets()
	if p.symbol("=") {
		e := p.tuple()
		return func(r *run) signal {
			v := e(r)
			r.line = line
			r.assign(names, v)
			return through
		}
	}
	text := func(r *run) value { return r.get(captured) }
	filtered := expr(text)
	for p.symbol("|") {
		filtered = p.filter(filtered)
	}
	body, _ := p.body("set", "endset")
	return func(r *run) signal {
		var v value
		r.inScope(&scope{parent: r.scope}, func() {
			r.scope.set(captured, r.capture(func() { body.exec(r) }))
			v = filtered(r)
		})
		r.assign(names, v)
		return through
	}
}

func (p *parser) setAttribute(line int) statement {
	object := p.name()
	p.want(tSymbol, ".")
	name := p.name()
	p.want(tSymbol, "=")
	e := p.tuple()
	return func(r *run) signal {
		v := e(r)
		r.line = line
		of, ok := r.get(object).(*namespace)
		if !ok {
			r.fail("cannot set %s.%s: %s is not a namespace", object, name, object)
		}
		r.make(64)
		of.set(name, v)
		return through
	}
}

func (p *parser) macro() statement {
	macro := p.name()
	p.want(tSymbol, "(")
	var names []string
	var defaults []expr
	for !p.symbol(")") {
		if len(names) > 0 {
			p.want(tSymbol, ",")
		}
		names = append(names, p.name())
		var e expr
		if p.symbol("=") {
			e = p.expression()
		}
		defaults = append(defaults, e)
	}
	loops := p.loops
	p.loops = 0
	body, _ := p.body("macro", "endmacro")
	p.loops = loops
	return func(r *run) signal {
		home := r.scope
		home.set(macro, function(func(r *run, a args) value {
			if r.recursion++; r.recursion > maxRecursion {
				r.fail("macros call one another more than %d deep", maxRecursion)
			}
			given := r.bind(a, names...)
			var text string
			r.inScope(&scope{parent: home}, func() {
				for i, name := range names {
					switch {
					case given.has(i):
						r.scope.set(name, given[i])
					case defaults[i] != nil:
						r.scope.set(name, defaults[i](r))
					default:
						r.scope.set(name, undefined{"the argument '" + name + "'"})
					}
				}
				text = r.capture(func() { body.exec(r) })
			})
			r.recursion--
			return text
		}))
		return through
	}
}
