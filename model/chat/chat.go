// Package chat renders conversations with a checkpoint's chat template, as Hugging Face transformers does: Jinja with trim_blocks,
// lstrip_blocks and loop controls in a sandbox. model makes the template, the server renders requests with it.
//
// A template is a stranger's program, so it is interpreted here with no file, no clock but strftime_now and nothing else outside
// the conversation in reach, and with bounds on steps, memory, nesting and recursion. What is not supported (include, import, extends,
// call, recursive loops) is refused by name when the template is parsed.
package chat

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// A Message is one turn. Extra fields that a template may read (name, tool_calls) are kept in Extra; a "content" there takes the
// place of Content, for content that is null or a list of parts.
type Message struct {
	Role    string
	Content string
	Extra   map[string]any
}

// A Template is a parsed chat template, safe for concurrent use.
type Template struct {
	body     block
	bos, eos string
}

// Options of a rendering. Values in them are what encoding/json or DecodeOrdered makes.
type Options struct {
	AddGenerationPrompt bool
	Tools               []any          // JSON schemas as decoded from JSON with key order kept; see DecodeOrdered
	Kwargs              map[string]any // further variables (enable_thinking)
	Now                 time.Time      // what strftime_now shows; the zero Time is the current one
}

// Bounds of a template and of one rendering. Real templates take some 300 steps a message.
const (
	maxSource    = 1 << 20  // bytes of a template
	maxNesting   = 400      // of expressions, blocks and values
	maxRecursion = 100      // of macros
	maxSteps     = 20 << 20 // operations; 64 bytes that are copied or searched count as one
	maxMemory    = 64 << 20 // bytes of all strings and lists made, beside 32 times the conversation
	maxRange     = 100_000  // as in Jinja's own sandbox
)

// New parses a template. The special tokens are what bos_token and eos_token stand for in it; an empty one is undefined there.
func New(source, bos, eos string) (t *Template, err error) {
	if len(source) > maxSource {
		return nil, fmt.Errorf("chat template: %d bytes, want at most %d", len(source), maxSource)
	}
	defer recoverTo(&err)
	tokens := lex(source)
	p := parser{tokens: tokens}
	return &Template{body: p.template(), bos: bos, eos: eos}, nil
}

// Render returns the text of a conversation. A template's own raise_exception is a *RaisedError; a template that runs too long
// or writes too much is an error too. Errors name the template's line.
func (t *Template) Render(messages []Message, o Options) (text string, err error) {
	defer recoverTo(&err)
	r := &run{out: new(strings.Builder), steps: maxSteps, memory: maxMemory, now: o.Now}
	if r.now.IsZero() {
		r.now = time.Now()
	}
	chat := new(list)
	for _, m := range messages {
		fields := newDict()
		fields.set("role", m.Role)
		fields.set("content", m.Content)
		for _, name := range slices.Sorted(maps.Keys(m.Extra)) {
			fields.set(name, r.from(m.Extra[name], 0))
		}
		r.memory += 32 * (len(m.Role) + len(m.Content))
		chat.items = append(chat.items, fields)
	}
	root := &scope{}
	for name, f := range globals {
		root.set(name, f)
	}
	for name, token := range map[string]string{"bos_token": t.bos, "eos_token": t.eos} {
		if token != "" {
			root.set(name, token)
		}
	}
	root.set("messages", chat)
	root.set("documents", nil)
	root.set("tools", nil)
	if len(o.Tools) > 0 {
		root.set("tools", r.from(o.Tools, 0))
	}
	root.set("add_generation_prompt", o.AddGenerationPrompt)
	for name, x := range o.Kwargs {
		root.set(name, r.from(x, 0))
	}
	r.scope = &scope{parent: root}
	t.body.exec(r)
	return r.out.String(), nil
}

// RaisedError is what a template refused a conversation with.
type RaisedError struct{ Message string }

func (e *RaisedError) Error() string { return "chat template: " + e.Message }

// A fault is an error on its way up to New or Render, which is a panic until there, as in text/template.
type fault struct{ err error }

func recoverTo(err *error) {
	switch x := recover().(type) {
	case nil:
	case fault:
		*err = x.err
	default:
		*err = fmt.Errorf("chat template: %v", x)
	}
}

func failAt(line int, format string, args ...any) {
	panic(fault{fmt.Errorf("chat template: line %d: %s", line, fmt.Sprintf(format, args...))})
}
