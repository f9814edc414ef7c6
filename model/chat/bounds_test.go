package chat

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

var hello = []Message{{Role: "user", Content: strings.Repeat("Hello! ", 1000)}}

// A template is a stranger's program: none of these may take long or much memory.
func TestHostileTemplates(t *testing.T) {
	deep := func(open, inside, close string) string {
		return strings.Repeat(open, 100_000) + inside + strings.Repeat(close, 100_000)
	}
	ranges := func(n int, body string) string {
		return strings.Repeat("{% for i in range(100000) %}", n) + body + strings.Repeat("{% endfor %}", n)
	}
	var variables strings.Builder
	for i := range 15_000 {
		variables.WriteString("{% set v" + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676)) + " = 1 %}")
	}
	for _, c := range []struct{ name, template, want string }{
		{"runs for ever", ranges(1, "{% set x = i %}{% for j in range(9999) %}{% endfor %}"), "than"},
		{"writes for ever", ranges(3, "{{ messages[0].content }}"), "MB of text"},
		{"writes nothing, builds", ranges(3, "{% set x = messages[0].content * 100 %}"), "MB of text"},
		{"a huge range", "\n\n{{ range(10**9)|length }}", "line 3: a range has more than 100000 items"},
		{"a range that wraps around", "{{ range(9223372036854775800, 9223372036854775807, 5)|list }}{{ range(10**18, -(10**18), -1) }}", "more than 100000 items"},
		{"a string times a number", "{{ 'abc' * 10**15 }}", "MB of text"},
		{"a list times a number", "{{ [1,2] * 10**15 }}", "MB of text"},
		{"doubling a string", "{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}", "MB of text"},
		{"doubling a string by replace", "{% set ns = namespace(s='aa') %}{% for i in range(99) %}{% set ns.s = ns.s|replace('a', 'aa') %}{% endfor %}", "MB of text"},
		{"doubling a string by join", "{% set ns = namespace(s='aa') %}{% for i in range(99) %}{% set ns.s = ns.s.join(['x', ns.s, 'y']) %}{% endfor %}", "MB of text"},
		{"doubling a list", "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}", "MB of text"},
		{"a power", "{{ 7 ** 10 ** 10 }}", "too large"},
		{"one to a power", "{{ 1 ** 10 ** 18 }}{{ (-1) ** (10 ** 9) }}", "steps"},
		{"a wide indent", "{{ 'a\nb\n'|indent(10**12) }}", "MB of text"},
		{"a wide JSON indent", "{{ [[[1]]]|tojson(indent=10**12) }}", "MB of text"},
		{"a macro that calls itself", "{% macro m() %}\n{{ m() }}{% endmacro %}{{ m() }}", "line 2: macros call one another more than 100 deep"},
		{"two macros that call each other", "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}", "more than 100 deep"},
		{"a macro that calls itself twice", "{% macro m(n) %}{% if n %}{{ m(n-1) }}{{ m(n-1) }}{% endif %}{% endmacro %}{{ m(90) }}", "steps"},
		{"a macro that multiplies", "{% macro m(n) %}{% if n %}{{ m(n-1) }}{{ m(n-1) }}{% else %}" + strings.Repeat("x", 1000) + "{% endif %}{% endmacro %}{{ m(90) }}", "MB of text"},
		{"a list in a list, again and again", "{% set ns = namespace(s=[]) %}{% for i in range(9999) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s }}", "nested more than 400"},
		{"the same as JSON", "{% set ns = namespace(s=[]) %}{% for i in range(9999) %}{% set ns.s = {'a': ns.s} %}{% endfor %}{{ ns.s|tojson }}", "nested more than 400"},
		{"the same compared", "{% set ns = namespace(s=[], t=[]) %}{% for i in range(9999) %}{% set ns.s = [ns.s] %}{% set ns.t = [ns.t] %}{% endfor %}{{ ns.s == ns.t }}", "nested more than 400"},
		{"a tree of shared lists", "{% set ns = namespace(s=[]) %}{% for i in range(99) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}", "steps"},
		{"long strings compared", ranges(2, "{{ '' if messages[0].content * 20 == messages[0].content * 20 }}"), "MB of text"},
		{"one long string searched", "{% set s = messages[0].content * 500 %}" + ranges(2, "{% if 'zz' in s or s.find('zz') > 0 or s.strip('zyx') == 'b' or s == s ~ '' %}{% endif %}"), "than"},
		{"many variables", variables.String() + ranges(2, "{% if vaaa %}{% endif %}"), "steps"},
		{"deep parentheses", "{{ " + deep("(", "1", ")") + " }}", "more than 400"},
		{"deep lists", "{{ " + deep("[", "", "]") + " }}", "more than 400"},
		{"deep subscripts", "{{ a" + deep("[a", "", "]") + " }}", "more than 400"},
		{"deep blocks", strings.Repeat("{%if a%}", 20_000), "more than 400"},
		{"many nots", "{{ " + strings.Repeat("not ", 100_000) + "1 }}", "more than 400"},
		{"many minuses", "{{ " + strings.Repeat("-", 100_000) + "1 }}", "more than 400"},
		{"a long sum", "{{ 1" + strings.Repeat("+1", 100_000) + " }}", "more than 400"},
		{"a long chain of filters", "{{ 1" + strings.Repeat("|d", 100_000) + " }}", "more than 400"},
		{"a long chain of attributes", "{{ a" + strings.Repeat(".a", 100_000) + " }}", "more than 400"},
		{"many strings in a row", "{{ " + strings.Repeat("'a' ", 200_000) + "}", "a tag does not end"},
		{"too long", strings.Repeat(" ", 2<<20), "2097152 bytes"},
		{"include", "\n{% include '/etc/passwd' %}", `line 2: "include" is not supported`},
		{"import", "{% import 'x' as y %}", `"import" is not supported`},
		{"extends", "{% extends 'x' %}", `"extends" is not supported`},
		{"from", "{% from 'x' import y %}", `"from" is not supported`},
		{"recursive", "{% for x in [] recursive %}{% endfor %}", "recursive loops are not supported"},
		{"out of the sandbox", "{{ ''.__class__.__mro__ }}", "has no attribute '__class__', which is undefined"},
		{"a file", "{{ open('/etc/passwd') }}", "'open' is undefined"},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		tmpl, err := New(c.template, "", "")
		if err == nil {
			_, err = tmpl.Render(hello, Options{})
		}
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %.300v, want %q", c.name, err, c.want)
		}
		if took := time.Since(start); took > 2*time.Minute {
			t.Errorf("%s: took %v", c.name, took)
		}
		t.Logf("%-40s %8v %5d MB", c.name, time.Since(start).Round(time.Millisecond), (after.TotalAlloc-before.TotalAlloc)>>20)
	}
}

func TestRaisedExceptionIsTheTemplates(t *testing.T) {
	tmpl, err := New("{{ raise_exception('roles must alternate') }}", "", "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = tmpl.Render(nil, Options{})
	var raised *RaisedError
	if !errors.As(err, &raised) || raised.Message != "roles must alternate" {
		t.Errorf("error %v, want roles must alternate", err)
	}
}

func TestErrorsNameTheLine(t *testing.T) {
	for template, want := range map[string]string{
		"a\n{{ 1\n + 'x' }}":                                        "line 3: cannot compute a int + a str",
		"a\r\nb\r{{ nope.x }}":                                      "line 3: 'nope' is undefined",
		"{# a\nb #}\n{% if x %}":                                    "line 3: if does not end, want endif",
		"{%- if true -%}\n\n\n{{ messages.x.y }}{%endif%}":          "line 4: 'list object' has no attribute 'x', which is undefined",
		"x\n{{ '\n' }}{{ 1 |\nnope }}":                              `line 4: there is no filter "nope"`,
		"{% for m in messages %}\n{{ m.role.foo() }}\n{% endfor %}": "line 2: 'str object' has no attribute 'foo', which is undefined",
		"\n{{ 'abc":             "line 2: a string does not end",
		"\n\n{% set a.b = 1 %}": "line 3: cannot set a.b: a is not a namespace",
	} {
		tmpl, err := New(template, "", "")
		if err == nil {
			_, err = tmpl.Render(hello, Options{})
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", template, err, want)
		}
	}
}

func TestRendersConcurrently(t *testing.T) {
	goldens := readGoldens(t, "goldens.json.gz")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for _, g := range goldens {
				if text, err := g.render(t); g.Error == "" && (err != nil || text != g.Text) {
					t.Errorf("%s: %v", g.Name, err)
				}
			}
		})
	}
	wg.Wait()
	tmpl, err := New("{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{{ ns.n }}{{ m.content }}{% endfor %}", "", "")
	if err != nil {
		t.Fatal(err)
	}
	for range 8 {
		wg.Go(func() {
			if text, err := tmpl.Render([]Message{{Content: "a"}, {Content: "b"}}, Options{}); text != "1a2b" || err != nil {
				t.Errorf("%q, %v", text, err)
			}
		})
	}
	wg.Wait()
}

func TestValuesFromGo(t *testing.T) {
	tmpl, err := New("{{ i }} {{ f }} {{ l }} {{ m }} {{ n is none }} {{ messages[0].content[0].text }} {{ messages[0].name }}", "", "")
	if err != nil {
		t.Fatal(err)
	}
	messages := []Message{{Role: "user", Extra: map[string]any{"name": "Ann", "content": []any{map[string]any{"text": "part"}}}}}
	kwargs := map[string]any{"i": 3, "f": float32(0.5), "l": []string{"a"}, "m": map[string]any{"b": 1.0, "a": uint8(2)}, "n": nil}
	got, err := tmpl.Render(messages, Options{Kwargs: kwargs})
	if want := "3 0.5 ['a'] {'a': 2, 'b': 1.0} True part Ann"; got != want || err != nil {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if _, err := tmpl.Render(messages, Options{Kwargs: map[string]any{"c": make(chan int)}}); err == nil {
		t.Error("a channel is passed to a template")
	}
}

func TestDecodeOrdered(t *testing.T) {
	v, err := DecodeOrdered([]byte(`{"z": 1.0, "a": [true, null, 12345678901234567890], "m": {"y": "é", "x": -1e5}}`))
	if err != nil {
		t.Fatal(err)
	}
	tmpl, err := New("{{ v | tojson }}", "", "")
	if err != nil {
		t.Fatal(err)
	}
	got, err := tmpl.Render(nil, Options{Kwargs: map[string]any{"v": v}})
	if want := `{"z": 1.0, "a": [true, null, 12345678901234567890], "m": {"y": "é", "x": -100000.0}}`; got != want || err != nil {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
	for _, bad := range []string{``, `{`, `{"a" 1}`, `[1,]`, `1 2`, `{"a":1}}`, `nul`, strings.Repeat("[", 100_000)} {
		if _, err := DecodeOrdered([]byte(bad)); err == nil {
			t.Errorf("%.20q is accepted", bad)
		}
	}
}

func FuzzRender(f *testing.F) {
	for _, g := range readGoldens(f, "goldens.json.gz") {
		if g.File == "" {
			f.Add(g.Template)
		}
	}
	f.Add("{%- macro m(a, b=1) %}{{ a ~ b }}{% endmacro %}{{ m(1)|tojson }}{% raw %}{{{% endraw %}")
	call := map[string]any{"function": map[string]any{"name": "f", "arguments": map[string]any{"x": 1}}}
	messages := []Message{{Role: "system", Content: "S"}, {Role: "user", Content: "U"}, {Role: "assistant", Extra: map[string]any{"tool_calls": []any{call}}}}
	f.Fuzz(func(t *testing.T, source string) {
		tmpl, err := New(source, "<s>", "</s>")
		if err == nil {
			_, err = tmpl.Render(messages, Options{Tools: []any{call}, AddGenerationPrompt: true})
		}
		if err != nil && strings.Contains(err.Error(), "runtime error") {
			t.Errorf("%q: %v", source, err)
		}
	})
}

func FuzzDecodeOrdered(f *testing.F) {
	f.Add([]byte(`{"a": [1, {"b": null}], "c": 1e5}`))
	f.Fuzz(func(t *testing.T, data []byte) { _, _ = DecodeOrdered(data) })
}
