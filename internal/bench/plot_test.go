//go:build plot

package bench

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPlot(t *testing.T) {
	points := []Point{{Load: Load{Concurrency: 8}}, {Load: Load{Concurrency: 1}}, {Load: Load{Concurrency: 64}}}
	for i := range points {
		points[i].Summary = newSummary(8, 512, 1e9*8/2)
		points[i].Summary.TTFT = Distribution{P50: 10 * float64(i+1), P99: 30}
		points[i].ITL = Distribution{P50: 5, P99: 7 * float64(i+1)}
	}
	dir := filepath.Join(t.TempDir(), "pictures")
	draw := func(name string, points []Point) []byte {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := Plot(path, "a model", points); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	picture, err := png.Decode(bytes.NewReader(draw("load.png", points)))
	if err != nil {
		t.Fatal(err)
	}
	if size := picture.Bounds().Size(); size.X < 800 || size.Y < 250 {
		t.Errorf("the picture has %v pixels", size)
	}
	if points[0].Concurrency != 8 {
		t.Error("the points were put in another order")
	}
	svg := string(draw("load.SVG", points))
	for _, text := range []string{"<svg", "a model", "Time to first token (ms)", "Time between tokens (ms)", "Output tokens per second", "Requests at a time", "median", "p99"} {
		if !strings.Contains(svg, text) {
			t.Errorf("the SVG has no %q", text)
		}
	}
	if svg := string(draw("rate.svg", []Point{{Load: Load{RequestRate: 2}}})); !strings.Contains(svg, "Requests per second") {
		t.Error("the axis of a request rate has another name")
	}
	for _, name := range []string{"load.pdf", "load", ""} {
		if err := CheckPlot(name); err == nil || !strings.Contains(err.Error(), ".png or .svg") {
			t.Errorf("%q: %v", name, err)
		}
	}
}
