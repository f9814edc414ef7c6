package server

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// docs/serving.md names every path and every parameter that is refused or ignored. TestMetrics does the same for metrics.
func TestDocsAreComplete(t *testing.T) {
	text, err := os.ReadFile("../docs/serving.md")
	if err != nil {
		t.Fatal(err)
	}
	names := slices.Concat(slices.Sorted(maps.Keys(New(Options{}).routes)), slices.Sorted(maps.Keys(unsupported)), meaningless)
	for _, name := range names {
		if !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("docs/serving.md does not speak of %s", name)
		}
	}
}
