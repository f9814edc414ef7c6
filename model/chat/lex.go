package chat

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type kind uint8

const (
	tEnd      kind = iota
	tText          // outside of tags
	tOpen          // {{
	tClose         // }}
	tBlock         // {%
	tBlockEnd      // %}
	tName
	tString
	tNumber
	tSymbol
)

type token struct {
	kind kind
	text string
	num  value // of a tNumber
	line int
}

// A lexer cuts a template as Jinja's lexer.py does with trim_blocks and lstrip_blocks.
type lexer struct {
	src    string
	at     int
	line   int
	tokens []token
}

func lex(source string) []token {
	source = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(source)
	l := lexer{src: strings.TrimSuffix(source, "\n"), line: 1}
	lineStarts := true // the text begins at the start of a line, or behind a tag that took the newline
	for l.at < len(l.src) {
		text := l.src[l.at:]
		i := nextTag(text)
		if i < 0 {
			l.emit(tText, text)
			l.advance(len(text))
			break
		}
		tag := text[i : i+2]
		sign := byte(0)
		if i+2 < len(text) {
			sign = text[i+2]
		}
		before := text[:i]
		switch {
		case sign == '-':
			before = strings.TrimRightFunc(before, unicode.IsSpace)
		case sign != '+' && tag != "{{":
			newline := strings.LastIndexByte(before, '\n') + 1
			if (newline > 0 || lineStarts) && strings.TrimSpace(before[newline:]) == "" {
				before = before[:newline]
			}
		}
		l.emit(tText, before)
		l.advance(i + 2)
		if sign == '-' || sign == '+' {
			l.advance(1)
		}
		switch tag {
		case "{#":
			l.comment()
		case "{{":
			l.emit(tOpen, tag)
			l.inside("}}", tClose)
		default:
			if !l.raw() {
				l.emit(tBlock, tag)
				l.inside("%}", tBlockEnd)
			}
		}
		lineStarts = l.src[l.at-1] == '\n'
	}
	l.emit(tEnd, "the end of the template")
	return l.tokens
}

// nextTag returns where the next {{, {% or {# is; -1 if there is none.
func nextTag(s string) int {
	for i := 0; i+1 < len(s); i++ {
		if s[i] == '{' && (s[i+1] == '{' || s[i+1] == '%' || s[i+1] == '#') {
			return i
		}
	}
	return -1
}

func (l *lexer) emit(k kind, text string) {
	if k != tText || text != "" {
		l.tokens = append(l.tokens, token{kind: k, text: text, line: l.line})
	}
}

func (l *lexer) advance(n int) {
	l.line += strings.Count(l.src[l.at:l.at+n], "\n")
	l.at += n
}

// closed steps over the end of a tag if it is next, and over the white space that it takes along.
func (l *lexer) closed(end string) bool {
	rest := l.src[l.at:]
	switch {
	case strings.HasPrefix(rest, "-"+end):
		rest = rest[1+len(end):]
		l.advance(1 + len(end) + len(rest) - len(strings.TrimLeftFunc(rest, unicode.IsSpace)))
	case strings.HasPrefix(rest, "+"+end) && end != "}}":
		l.advance(1 + len(end))
	case strings.HasPrefix(rest, end+"\n") && end != "}}":
		l.advance(len(end) + 1)
	case strings.HasPrefix(rest, end):
		l.advance(len(end))
	default:
		return false
	}
	return true
}

func (l *lexer) comment() {
	for start := l.line; !l.closed("#}"); {
		if l.at >= len(l.src) {
			failAt(start, "a comment does not end")
		}
		l.advance(1)
	}
}

// raw steps over {% raw %} and its text, if that is what the tag is.
func (l *lexer) raw() bool {
	was := *l
	start := l.line
	word := func(name string) bool {
		l.advance(len(l.src[l.at:]) - len(strings.TrimLeftFunc(l.src[l.at:], unicode.IsSpace)))
		if !strings.HasPrefix(l.src[l.at:], name) {
			return false
		}
		l.advance(len(name))
		l.advance(len(l.src[l.at:]) - len(strings.TrimLeftFunc(l.src[l.at:], unicode.IsSpace)))
		if name == "raw" && strings.HasPrefix(l.src[l.at:], "%}") { // here the newline stays
			l.advance(2)
			return true
		}
		return l.closed("%}")
	}
	if !word("raw") {
		*l = was
		return false
	}
	for from := l.at; ; {
		i := strings.Index(l.src[l.at:], "{%")
		if i < 0 {
			failAt(start, "raw does not end")
		}
		text := l.src[from : l.at+i]
		l.advance(i + 2)
		back := *l
		sign := l.at < len(l.src) && (l.src[l.at] == '-' || l.src[l.at] == '+')
		minus := sign && l.src[l.at] == '-'
		if sign {
			l.advance(1)
		}
		if !word("endraw") {
			*l = back
			continue
		}
		if minus {
			text = strings.TrimRightFunc(text, unicode.IsSpace)
		} else if line := strings.LastIndexByte(text, '\n') + 1; !sign && strings.TrimSpace(text[line:]) == "" {
			text = text[:line]
		}
		l.emit(tText, text)
		return true
	}
}

// symbols, longest first.
var symbols = []string{"//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";"}

// inside reads a tag's tokens up to its end.
func (l *lexer) inside(end string, endKind kind) {
	start, open := l.line, 0
	for {
		l.advance(len(l.src[l.at:]) - len(strings.TrimLeftFunc(l.src[l.at:], unicode.IsSpace)))
		line := l.line
		if open == 0 && l.closed(end) {
			l.tokens = append(l.tokens, token{kind: endKind, text: end, line: line})
			return
		}
		if l.at >= len(l.src) {
			failAt(start, "a tag does not end, want %s", end)
		}
		rest := l.src[l.at:]
		first, _ := utf8.DecodeRuneInString(rest)
		switch {
		case first == '_' || unicode.IsLetter(first):
			n := strings.IndexFunc(rest, func(c rune) bool { return c != '_' && !unicode.IsLetter(c) && !unicode.IsDigit(c) })
			if n < 0 {
				n = len(rest)
			}
			l.emit(tName, rest[:n])
			l.advance(n)
		case '0' <= first && first <= '9':
			l.number(rest)
		case first == '\'' || first == '"':
			l.string(rest)
		default:
			open += l.symbol(rest)
		}
	}
}

// symbol reads an operator or bracket and returns by how much it opens brackets.
func (l *lexer) symbol(rest string) int {
	for _, s := range symbols {
		if strings.HasPrefix(rest, s) {
			l.emit(tSymbol, s)
			l.advance(len(s))
			switch s {
			case "(", "[", "{":
				return 1
			case ")", "]", "}":
				return -1
			}
			return 0
		}
	}
	failAt(l.line, "unexpected %.10q", rest)
	return 0
}

func (l *lexer) number(rest string) {
	n := strings.IndexFunc(rest, func(c rune) bool { return c != '_' && !unicode.IsLetter(c) && (c < '0' || c > '9') })
	if n < 0 {
		n = len(rest)
	}
	if n+1 < len(rest) && rest[n] == '.' && '0' <= rest[n+1] && rest[n+1] <= '9' {
		for n++; n < len(rest) && (rest[n] >= '0' && rest[n] <= '9' || strings.IndexByte("eE_", rest[n]) >= 0); n++ {
		}
	}
	if (rest[n-1] == 'e' || rest[n-1] == 'E') && !strings.HasPrefix(rest, "0x") && n < len(rest) && (rest[n] == '+' || rest[n] == '-') {
		for n++; n < len(rest) && rest[n] >= '0' && rest[n] <= '9'; n++ {
		}
	}
	t := token{kind: tNumber, text: rest[:n], line: l.line}
	if i, err := strconv.ParseInt(t.text, 0, 64); err == nil {
		t.num = i
	} else if f, err := strconv.ParseFloat(strings.ReplaceAll(t.text, "_", ""), 64); err == nil && strings.ContainsAny(t.text, ".eE") {
		t.num = f
	} else {
		failAt(l.line, "%q is not a number", t.text)
	}
	l.tokens = append(l.tokens, t)
	l.advance(n)
}

// string reads a literal with Python's escapes.
func (l *lexer) string(rest string) {
	var b strings.Builder
	for i := 1; i < len(rest); {
		c := rest[i]
		switch {
		case c == rest[0]:
			l.emit(tString, b.String())
			l.advance(i + 1)
			return
		case c != '\\' || i+1 == len(rest):
			b.WriteByte(c)
			i++
		default:
			i += 1 + l.escape(&b, rest[i+1:])
		}
	}
	failAt(l.line, "a string does not end")
}

var escapes = map[byte]string{'n': "\n", 't': "\t", 'r': "\r", 'a': "\a", 'b': "\b", 'f': "\f", 'v': "\v", '\\': `\`, '\'': "'", '"': `"`, '\n': ""}

// escape writes what stands behind a backslash and returns its length.
func (l *lexer) escape(b *strings.Builder, s string) int {
	if text, ok := escapes[s[0]]; ok {
		b.WriteString(text)
		return 1
	}
	if n := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[0]]; n > 0 {
		code, err := strconv.ParseUint(s[1:min(1+n, len(s))], 16, 32)
		if err != nil || len(s) < 1+n {
			failAt(l.line, `\%c needs %d hexadecimal digits`, s[0], n)
		}
		b.WriteRune(rune(code))
		return 1 + n
	}
	n := 0
	for n < 3 && n < len(s) && '0' <= s[n] && s[n] <= '7' {
		n++
	}
	if n > 0 {
		code, _ := strconv.ParseUint(s[:n], 8, 32)
		b.WriteRune(rune(code))
		return n
	}
	b.WriteByte('\\')
	return 0
}
