package logging

import (
	"log/slog"
	"regexp"
	"strings"
	"testing"
)

func TestLine(t *testing.T) {
	var out strings.Builder
	log := New(&out, "minisgl", slog.LevelInfo)
	log.Debug("not shown")
	log.WithGroup("server").With("port", 1919).Warn("slow client", "id", "a b")
	want := regexp.MustCompile(`^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] \[WARNING\] minisgl\.server - slow client port=1919 id=a b\n$`)
	if !want.MatchString(out.String()) {
		t.Errorf("got %q", out.String())
	}
}

func TestParseLevel(t *testing.T) {
	for text, want := range map[string]slog.Level{"": slog.LevelInfo, "debug": slog.LevelDebug, "WARNING": slog.LevelWarn, "Error": slog.LevelError} {
		if got, err := ParseLevel(text); err != nil || got != want {
			t.Errorf("ParseLevel(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	if _, err := ParseLevel("loud"); err == nil || !strings.Contains(err.Error(), "LOG_LEVEL") {
		t.Errorf("ParseLevel(loud) = %v, want an error that names LOG_LEVEL", err)
	}
}
