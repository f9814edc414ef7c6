package chat

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

var dictMethods = map[string]method{
	"items": pairs,
	"keys":  func(r *run, x value, a args) value { r.bind(a); return r.newList(x.(*dict).keys) },
	"values": func(r *run, x value, a args) value {
		r.bind(a)
		d := x.(*dict)
		return &list{items: r.mapped(d.keys, func(key value) value { return d.vals[key] })}
	},
	"get": func(r *run, x value, a args) value {
		b := r.bind(a, "key", "default")
		if v, ok := x.(*dict).vals[r.key(b.get(0, nil))]; ok {
			return v
		}
		return b.get(1, nil)
	},
	"copy": func(r *run, x value, a args) value { return x },
}

// pairs are a dict's keys and values.
func pairs(r *run, x value, a args) value {
	r.bind(a)
	if _, unknown := x.(undefined); unknown {
		return new(list)
	}
	d, ok := x.(*dict)
	if !ok {
		r.fail("a %s has no items", typeName(x))
	}
	r.make(64 * len(d.keys))
	return &list{items: r.mapped(d.keys, func(key value) value { return &list{tuple: true, items: []value{key, d.vals[key]}} })}
}

var listMethods = map[string]method{
	"index": func(r *run, x value, a args) value {
		b := r.bind(a, "value")
		for i, item := range x.(*list).items {
			if r.equal(item, b.get(0, nil), 0) {
				return int64(i)
			}
		}
		r.fail("the value is not in the list")
		return nil
	},
	"count": func(r *run, x value, a args) value {
		b := r.bind(a, "value")
		n := int64(0)
		for _, item := range x.(*list).items {
			if r.equal(item, b.get(0, nil), 0) {
				n++
			}
		}
		return n
	},
}

// onString makes a method of a function over a string and its arguments.
func onString(f func(r *run, s string, b bound) value, names ...string) method {
	return func(r *run, x value, a args) value {
		s := x.(string)
		r.read(len(s))
		return f(r, s, r.bind(a, names...))
	}
}

func strip(r *run, s string, a args) value {
	b := r.bind(a, "chars")
	return trimmed(r, trimmed(r, s, b, strings.TrimLeft, strings.TrimLeftFunc), b, strings.TrimRight, strings.TrimRightFunc)
}

// trimmed takes the characters that b names, or white space, off an end of s.
func trimmed(r *run, s string, b bound, of func(s, cutset string) string, space func(string, func(rune) bool) string) string {
	r.read(len(s))
	if b.get(0, nil) == nil {
		return space(s, unicode.IsSpace)
	}
	chars := b.text(r, 0, "")
	r.read(len(s) * len(chars))
	return of(s, chars)
}

func replace(r *run, s string, a args) value {
	b := r.bind(a, "old", "new", "count")
	before, after, n := b.text(r, 0, ""), b.text(r, 1, ""), b.whole(r, 2, -1)
	found := int64(strings.Count(s, before))
	if n >= 0 {
		found = min(found, n)
	}
	r.read(len(s))
	if grown := found * int64(len(after)); grown > maxMemory {
		r.make(maxMemory + 1)
	} else {
		r.make(len(s) + int(grown))
	}
	return strings.Replace(s, before, after, int(found))
}

// affix makes startswith or endswith.
func affix(has func(s, affix string) bool) method {
	return onString(func(r *run, s string, b bound) value {
		if l, ok := b.get(0, nil).(*list); ok && l.tuple {
			for _, item := range l.items {
				if text, ok := item.(string); ok && has(s, text) {
					return true
				}
			}
			return false
		}
		return has(s, b.text(r, 0, ""))
	}, "prefix")
}

// find makes find or rfind, counting characters.
func find(index func(s, sub string) int) method {
	return onString(func(r *run, s string, b bound) value {
		i := index(s, b.text(r, 0, ""))
		if i > 0 {
			i = utf8.RuneCountInString(s[:i])
		}
		return int64(i)
	}, "sub")
}

// all makes a test of a string's characters, which is false for none.
func all(is func(rune) bool) method {
	return onString(func(r *run, s string, b bound) value {
		return s != "" && strings.IndexFunc(s, func(c rune) bool { return !is(c) }) < 0
	})
}

var stringMethods = map[string]method{
	"strip": func(r *run, x value, a args) value { return strip(r, x.(string), a) },
	"lstrip": onString(func(r *run, s string, b bound) value {
		return trimmed(r, s, b, strings.TrimLeft, strings.TrimLeftFunc)
	}, "chars"),
	"rstrip": onString(func(r *run, s string, b bound) value {
		return trimmed(r, s, b, strings.TrimRight, strings.TrimRightFunc)
	}, "chars"),
	"split": onString(func(r *run, s string, b bound) value {
		return split(r, s, b, strings.Index)
	}, "sep", "maxsplit"),
	"rsplit": onString(func(r *run, s string, b bound) value {
		return split(r, s, b, strings.LastIndex)
	}, "sep", "maxsplit"),
	"splitlines": onString(func(r *run, s string, b bound) value {
		r.make(16*strings.Count(s, "\n") + 2*len(s))
		s = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s)
		if s == "" {
			return new(list)
		}
		return r.strings(strings.Split(strings.TrimSuffix(s, "\n"), "\n"))
	}),
	"partition": onString(func(r *run, s string, b bound) value {
		r.make(48)
		before, after, found := strings.Cut(s, b.text(r, 0, ""))
		if !found {
			return &list{tuple: true, items: []value{s, "", ""}}
		}
		return &list{tuple: true, items: []value{before, b[0], after}}
	}, "sep"),
	"startswith":   affix(strings.HasPrefix),
	"endswith":     affix(strings.HasSuffix),
	"removeprefix": onString(func(r *run, s string, b bound) value { return strings.TrimPrefix(s, b.text(r, 0, "")) }, "prefix"),
	"removesuffix": onString(func(r *run, s string, b bound) value { return strings.TrimSuffix(s, b.text(r, 0, "")) }, "suffix"),
	"find":         find(strings.Index),
	"rfind":        find(strings.LastIndex),
	"count": onString(func(r *run, s string, b bound) value {
		return int64(strings.Count(s, b.text(r, 0, "")))
	}, "sub"),
	"replace": func(r *run, x value, a args) value { return replace(r, x.(string), a) },
	"join": onString(func(r *run, s string, b bound) value {
		items := r.items(b.get(0, nil))
		for _, item := range items {
			if _, ok := item.(string); !ok {
				r.fail("cannot join a %s", typeName(item))
			}
		}
		return r.joined(s, items)
	}, "iterable"),
	"upper":      text(strings.ToUpper),
	"lower":      text(strings.ToLower),
	"capitalize": text(capitalize),
	"title": text(func(s string) string { // unlike the filter, after every character that is no letter
		inWord := false
		return strings.Map(func(c rune) rune {
			first := !inWord
			inWord = unicode.IsLetter(c)
			if first {
				return unicode.ToTitle(c)
			}
			return unicode.ToLower(c)
		}, s)
	}),
	"isdigit":   all(unicode.IsDigit),
	"isnumeric": all(unicode.IsNumber),
	"isalpha":   all(unicode.IsLetter),
	"isalnum":   all(func(c rune) bool { return unicode.IsLetter(c) || unicode.IsNumber(c) }),
	"isspace":   all(unicode.IsSpace),
	"isupper":   onString(func(r *run, s string, b bound) value { return s == strings.ToUpper(s) && s != strings.ToLower(s) }),
	"islower":   onString(func(r *run, s string, b bound) value { return s == strings.ToLower(s) && s != strings.ToUpper(s) }),
}

func (r *run) strings(parts []string) *list {
	r.make(32 * len(parts))
	out := &list{items: make([]value, len(parts))}
	for i, part := range parts {
		out.items[i] = part
	}
	return out
}

// split cuts at what index finds, from its side, or at white space.
func split(r *run, s string, b bound, index func(s, sep string) int) value {
	n := b.whole(r, 1, -1)
	if b.get(0, nil) == nil {
		if n >= 0 {
			r.fail("split at white space with maxsplit is not supported")
		}
		words := 0
		for range strings.FieldsSeq(s) {
			words++
		}
		r.make(16 * words)
		return r.strings(strings.Fields(s))
	}
	sep := b.text(r, 0, "")
	if sep == "" {
		r.fail("the separator is empty")
	}
	r.make(16 * strings.Count(s, sep))
	if n < 0 {
		return r.strings(strings.Split(s, sep))
	}
	fromRight := index("  ", " ") == 1
	if !fromRight {
		return r.strings(strings.SplitN(s, sep, int(min(n, 1<<30))+1))
	}
	var parts []string
	for ; n > 0; n-- {
		i := strings.LastIndex(s, sep)
		if i < 0 {
			break
		}
		parts = append([]string{s[i+len(sep):]}, parts...)
		r.read(16 * len(parts))
		s = s[:i]
	}
	return r.strings(append([]string{s}, parts...))
}

// directives of strftime that Go's layouts have; %-d and %-m are the C library's without zeros.
var directives = map[string]string{
	"d": "02", "-d": "2", "b": "Jan", "B": "January", "m": "01", "-m": "1", "Y": "2006", "y": "06", "H": "15", "I": "03", "-I": "3", "M": "04",
	"S": "05", "p": "PM", "a": "Mon", "A": "Monday", "Z": "MST", "z": "-0700", "j": "002", "F": "2006-01-02", "T": "15:04:05", "e": "_2",
}

func (r *run) strftime(format string) string {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		n := 1
		if format[i] == '-' && i+1 < len(format) {
			n = 2
		}
		verb := format[i : i+n]
		i += n - 1
		layout, ok := directives[verb]
		switch {
		case verb == "%":
			b.WriteByte('%')
		case verb == "-H":
			fmt.Fprint(&b, r.now.Hour())
		case verb == "-M":
			fmt.Fprint(&b, r.now.Minute())
		case ok:
			b.WriteString(r.now.Format(layout))
		default:
			r.fail("strftime_now: %%%s is not supported", verb)
		}
		r.make(b.Len())
	}
	return b.String()
}
