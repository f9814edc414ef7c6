// Package logging writes slog records as lines of the form "[time] [LEVEL] name - message", which people who watch the
// server and tools that follow its log both read.
package logging

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// New returns a logger that writes to w what is at least as severe as level.
func New(w io.Writer, name string, level slog.Level) *slog.Logger {
	return slog.New(&handler{w: w, mu: new(sync.Mutex), name: name, level: level})
}

// ParseLevel reads LOG_LEVEL: DEBUG, INFO, WARNING (or WARN), ERROR, CRITICAL, in any case; "" is INFO.
func ParseLevel(s string) (slog.Level, error) {
	switch strings.ToUpper(s) {
	case "DEBUG":
		return slog.LevelDebug, nil
	case "", "INFO":
		return slog.LevelInfo, nil
	case "WARNING", "WARN":
		return slog.LevelWarn, nil
	case "ERROR":
		return slog.LevelError, nil
	case "CRITICAL":
		return slog.LevelError + 4, nil
	}
	return 0, fmt.Errorf("LOG_LEVEL=%q: expected DEBUG, INFO, WARNING, ERROR or CRITICAL", s)
}

type handler struct {
	mu    *sync.Mutex
	w     io.Writer
	name  string
	level slog.Level
	attrs []byte
}

func (h *handler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

func (h *handler) Handle(_ context.Context, r slog.Record) error {
	var line bytes.Buffer
	fmt.Fprintf(&line, "[%s] [%s] %s - %s", r.Time.Format("2006-01-02 15:04:05"), levelName(r.Level), h.name, r.Message)
	line.Write(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		writeAttr(&line, a)
		return true
	})
	line.WriteByte('\n')
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := h.w.Write(line.Bytes())
	return err
}

func writeAttr(b *bytes.Buffer, a slog.Attr) { fmt.Fprintf(b, " %s=%v", a.Key, a.Value.Resolve()) }

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	b := bytes.NewBuffer(bytes.Clone(h.attrs))
	for _, a := range attrs {
		writeAttr(b, a)
	}
	with.attrs = b.Bytes()
	return &with
}

// WithGroup appends to the logger's name, as Python's loggers are named: "minisgl" becomes "minisgl.server".
func (h *handler) WithGroup(name string) slog.Handler {
	with := *h
	with.name = h.name + "." + name
	return &with
}

func levelName(l slog.Level) string {
	switch {
	case l < slog.LevelInfo:
		return "DEBUG"
	case l < slog.LevelWarn:
		return "INFO"
	case l < slog.LevelError:
		return "WARNING"
	case l < slog.LevelError+4:
		return "ERROR"
	}
	return "CRITICAL"
}
