//go:build plot

package bench

import (
	"cmp"
	"image/color"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	_ "gonum.org/v1/plot/vg/vgimg" // PNG
	_ "gonum.org/v1/plot/vg/vgsvg" // SVG
)

// A panel of a picture: one quantity against load, at the median and at the 99th percentile.
type panel struct {
	title  string
	median func(*Point) float64
	p99    func(*Point) float64 // nil: none
}

var panels = []panel{
	{"Time to first token (ms)", func(p *Point) float64 { return p.Summary.TTFT.P50 }, func(p *Point) float64 { return p.Summary.TTFT.P99 }},
	{"Time between tokens (ms)", func(p *Point) float64 { return p.ITL.P50 }, func(p *Point) float64 { return p.ITL.P99 }},
	{"Output tokens per second", func(p *Point) float64 { return p.Summary.ThroughputTokenPerS }, nil},
}

// pictures says whether this build can draw.
const pictures = true

// Plot draws latency and throughput against load into a PNG or SVG file: the request rate if any point has one, else the
// concurrency.
func Plot(path, title string, points []Point) error {
	if err := CheckPlot(path); err != nil {
		return err
	}
	label, load := loadAxis(points)
	points = slices.Clone(points)
	slices.SortStableFunc(points, func(a, b Point) int { return cmp.Compare(load(&a), load(&b)) })
	width, height := 24*vg.Centimeter, 8*vg.Centimeter
	canvas, err := draw.NewFormattedCanvas(width, height, pictureFormat(path))
	if err != nil {
		return err
	}
	row := make([]*plot.Plot, len(panels))
	for i, panel := range panels {
		if row[i], err = panel.plot(points, label, load); err != nil {
			return err
		}
	}
	row[0].Title.Text = title + "\n" + row[0].Title.Text
	for i := 1; i < len(row); i++ {
		row[i].Title.Text = "\n" + row[i].Title.Text
	}
	tiles := draw.Tiles{Rows: 1, Cols: len(row), PadX: vg.Centimeter / 2, PadTop: vg.Centimeter / 4, PadBottom: vg.Centimeter / 4,
		PadLeft: vg.Centimeter / 4, PadRight: vg.Centimeter / 4}
	for i, tile := range plot.Align([][]*plot.Plot{row}, tiles, draw.New(canvas))[0] {
		row[i].Draw(tile)
	}
	return writePicture(path, canvas)
}

func loadAxis(points []Point) (string, func(*Point) float64) {
	if slices.ContainsFunc(points, func(p Point) bool { return p.RequestRate > 0 }) {
		return "Requests per second", func(p *Point) float64 { return p.RequestRate }
	}
	return "Requests at a time", func(p *Point) float64 {
		if p.Concurrency > 0 {
			return float64(p.Concurrency)
		}
		return float64(p.Summary.NumRequests)
	}
}

func (n panel) plot(points []Point, label string, load func(*Point) float64) (*plot.Plot, error) {
	p := plot.New()
	for _, f := range []*font.Font{&p.Title.TextStyle.Font, &p.Legend.TextStyle.Font, &p.X.Label.TextStyle.Font, &p.Y.Label.TextStyle.Font,
		&p.X.Tick.Label.Font, &p.Y.Tick.Label.Font} {
		f.Variant = "Sans"
	}
	p.Title.Text, p.X.Label.Text = n.title, label
	p.Add(plotter.NewGrid())
	add := func(name string, value func(*Point) float64, c color.Color) error {
		xys := make(plotter.XYs, len(points))
		for i := range points {
			xys[i] = plotter.XY{X: load(&points[i]), Y: value(&points[i])}
		}
		line, dots, err := plotter.NewLinePoints(xys)
		if err != nil {
			return err
		}
		line.Color, dots.Color, dots.Shape = c, c, draw.CircleGlyph{}
		p.Add(line, dots)
		if n.p99 != nil {
			p.Legend.Add(name, line, dots)
		}
		return nil
	}
	if err := add("median", n.median, color.RGBA{R: 0x1f, G: 0x77, B: 0xb4, A: 0xff}); err != nil {
		return nil, err
	}
	if n.p99 != nil {
		if err := add("p99", n.p99, color.RGBA{R: 0xd6, G: 0x27, B: 0x28, A: 0xff}); err != nil {
			return nil, err
		}
	}
	p.X.Tick.Marker = ticksAt(points, load)
	p.Legend.Top, p.Legend.Left = true, true
	p.Y.Min = 0
	p.Y.Max *= 1.25 // room for the legend
	return p, nil
}

// ticksAt marks the loads that were measured, but for those that would stand on top of each other.
func ticksAt(points []Point, load func(*Point) float64) plot.Ticker {
	var ticks plot.ConstantTicks
	room := load(&points[len(points)-1]) / 16
	for i := range points {
		x := load(&points[i])
		tick := plot.Tick{Value: x}
		if i == 0 || x-load(&points[i-1]) > room {
			tick.Label = strconv.FormatFloat(x, 'g', 4, 64)
		}
		ticks = append(ticks, tick)
	}
	return ticks
}

func writePicture(path string, picture io.WriterTo) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := picture.WriteTo(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
