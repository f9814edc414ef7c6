// Package chat renders conversations with a checkpoint's chat template (Jinja).
package chat

// A Message is one turn. Extra fields that a template may read (name, tool_calls) are kept in Extra.
type Message struct {
	Role    string
	Content string
	Extra   map[string]any
}

// A Template is a parsed chat template, safe for concurrent use.
type Template struct{ _ struct{} }

// Options of a rendering.
type Options struct {
	AddGenerationPrompt bool
	Tools               []any          // JSON schemas as decoded from JSON with key order kept; see DecodeOrdered
	Kwargs              map[string]any // further variables (enable_thinking)
}

// New parses a template. The special tokens are what bos_token and eos_token stand for in it.
func New(source, bos, eos string) (*Template, error) { panic("TODO") }

// Render returns the text of a conversation. A template's own raise_exception is a *RaisedError; a template that runs too long
// or writes too much is an error too.
func (t *Template) Render(messages []Message, o Options) (string, error) { panic("TODO") }

// RaisedError is what a template refused a conversation with.
type RaisedError struct{ Message string }

func (e *RaisedError) Error() string { return "chat template: " + e.Message }
