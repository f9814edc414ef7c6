package chat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// DecodeOrdered decodes JSON for Options and Message.Extra so that a template sees the keys of objects in their order and numbers as
// they are written, as Python's json does.
func DecodeOrdered(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	v, err := decode(d, 0)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = fmt.Errorf("something follows the value")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("JSON at byte %d: %w", d.InputOffset(), err)
	}
	return v, nil
}

func decode(d *json.Decoder, depth int) (any, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("nested more than %d deep", maxNesting)
	}
	t, err := d.Token()
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	switch t {
	case json.Delim('['):
		items := []any{}
		for d.More() {
			item, err := decode(d, depth+1)
			if err != nil {
				return nil, err
			}
			items = append(items, item)
		}
		_, err = d.Token()
		return items, err
	case json.Delim('{'):
		fields := newDict()
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			v, err := decode(d, depth+1)
			if err != nil {
				return nil, err
			}
			fields.set(key, v)
		}
		_, err = d.Token()
		return fields, err
	}
	return t, nil
}

// MarshalJSON writes what DecodeOrdered has read.
func (d *dict) MarshalJSON() ([]byte, error) {
	b := []byte("{")
	for i, key := range d.keys {
		if i > 0 {
			b = append(b, ',')
		}
		for _, part := range [2]any{key, d.vals[key]} {
			text, err := json.Marshal(part)
			if err != nil {
				return nil, err
			}
			b = append(append(b, text...), ':')
		}
		b = b[:len(b)-1]
	}
	return append(b, '}'), nil
}

// A jsonWriter is one call of tojson, which is Python's json.dumps.
type jsonWriter struct {
	r           *run
	b           strings.Builder
	ascii, sort bool
	indent      string
	pretty      bool
	item, colon string // separators
}

func tojson(r *run, x value, a args) value {
	b := r.bind(a, "ensure_ascii", "indent", "separators", "sort_keys")
	w := jsonWriter{r: r, ascii: truth(b.get(0, false)), sort: truth(b.get(3, false)), item: ", ", colon: ": "}
	switch indent := b.get(1, nil).(type) {
	case nil:
	case string:
		w.pretty, w.indent, w.item = true, indent, ","
	default:
		w.pretty, w.indent, w.item = true, r.repeat(" ", b.whole(r, 1, 0)).(string), ","
	}
	if separators, ok := b.get(2, nil).(*list); ok && len(separators.items) == 2 {
		w.item, w.colon = r.str(separators.items[0]), r.str(separators.items[1])
	}
	w.value(x, 0)
	return w.b.String()
}

func (w *jsonWriter) value(x value, depth int) {
	w.r.deeper(depth)
	before := w.b.Len()
	switch x := x.(type) {
	case nil:
		w.b.WriteString("null")
	case bool:
		w.b.WriteString(strconv.FormatBool(x))
	case int64, bigInt:
		fmt.Fprint(&w.b, x)
	case float64:
		switch {
		case math.IsNaN(x):
			w.b.WriteString("NaN")
		case math.IsInf(x, 0):
			w.b.WriteString(map[bool]string{true: "Infinity", false: "-Infinity"}[x > 0])
		default:
			w.b.WriteString(floatRepr(x))
		}
	case string:
		w.string(x)
	case *list:
		w.container("[]", len(x.items), depth, func(i int) { w.value(x.items[i], depth+1) })
		return
	case *dict:
		keys := x.keys
		if w.sort {
			keys = w.r.newList(keys).items
			slices.SortFunc(keys, func(a, b value) int { return w.r.compare(a, b, 0) })
		}
		w.container("{}", len(keys), depth, func(i int) {
			switch key := keys[i].(type) {
			case string:
				w.string(key)
			default: // json.dumps makes strings of them
				var inner jsonWriter
				inner.r = w.r
				inner.value(key, depth+1)
				w.string(inner.b.String())
			}
			w.b.WriteString(w.colon)
			w.value(x.vals[keys[i]], depth+1)
		})
		return
	default:
		w.r.fail("a %s cannot be written as JSON", typeName(x))
	}
	w.r.make(w.b.Len() - before)
}

func (w *jsonWriter) container(edges string, n, depth int, item func(i int)) {
	newline := func(depth int) {
		if w.pretty && n > 0 {
			w.r.make(1 + depth*len(w.indent))
			w.b.WriteString("\n" + strings.Repeat(w.indent, depth))
		}
	}
	w.b.WriteByte(edges[0])
	for i := range n {
		if i > 0 {
			w.b.WriteString(w.item)
		}
		w.r.make(len(w.item) + len(w.colon))
		newline(depth + 1)
		item(i)
	}
	newline(depth)
	w.b.WriteByte(edges[1])
}

func (w *jsonWriter) string(s string) {
	w.b.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			w.b.WriteByte('\\')
			w.b.WriteRune(c)
		case c == '\n':
			w.b.WriteString(`\n`)
		case c == '\r':
			w.b.WriteString(`\r`)
		case c == '\t':
			w.b.WriteString(`\t`)
		case c == '\f':
			w.b.WriteString(`\f`)
		case c == '\b':
			w.b.WriteString(`\b`)
		case c < ' ' || w.ascii && c > '~' && c < 0x10000:
			fmt.Fprintf(&w.b, `\u%04x`, c)
		case w.ascii && c > '~':
			high, low := utf16.EncodeRune(c)
			fmt.Fprintf(&w.b, `\u%04x\u%04x`, high, low)
		default:
			w.b.WriteRune(c)
		}
	}
	w.b.WriteByte('"')
}
