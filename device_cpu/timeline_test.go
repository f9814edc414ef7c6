package cpu

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"minisgl/device"
)

var timelineFile = flag.String("timeline", "", "write the timeline of a decode step of Qwen2.5-0.5B's shape to this SVG file")

// A stretch is what a worker did without a pause on one task.
type stretch struct {
	name     string
	worker   int
	from, to time.Duration
}

// TestTimeline draws who computes and who waits in a decode step: go test -run Timeline -timeline FILE ./device_cpu.
func TestTimeline(t *testing.T) {
	if *timelineFile == "" {
		t.Skip("no -timeline")
	}
	const position, pageSize = 4095, 16
	p := benchProgram(benchLayers)
	d := openVariant(t, "", benchThreads)
	loaded, err := d.Load(p, device.LoadOptions{PageSize: pageSize, Pages: 4096 / pageSize, MaxSlots: 1, MaxRows: 16})
	if err != nil {
		t.Fatal(err)
	}
	defer loaded.Close()
	fillCache(loaded)
	r := loaded.(*runner)
	names := taskNames(r)
	var mutex sync.Mutex
	var stretches []stretch
	start := time.Now()
	r.pool.observe = func(task *task, worker int, from, to time.Time) {
		mutex.Lock()
		defer mutex.Unlock()
		stretches = append(stretches, stretch{names[task], worker, from.Sub(start), to.Sub(start)})
	}
	s := benchStep(1, 1, position, pageSize, device.Greedy())
	best := time.Hour
	var shown []stretch
	for range 20 {
		stretches = stretches[:0]
		start = time.Now()
		runStep(t, r, s)
		if took := time.Since(start); took < best {
			best, shown = took, slices.Clone(stretches)
		}
	}
	slices.SortFunc(shown, func(a, b stretch) int { return int(a.from - b.from) })
	busy := map[string][benchThreads]time.Duration{}
	for _, s := range shown {
		sum := busy[s.name]
		sum[s.worker] += s.to - s.from
		busy[s.name] = sum
	}
	var worked [benchThreads]time.Duration
	for name, sum := range busy {
		t.Logf("%-10s %v", name, sum)
		for worker := range sum {
			worked[worker] += sum[worker]
		}
	}
	t.Logf("step %v, of which the workers computed %v", best, worked)
	if err := os.WriteFile(*timelineFile, drawTimeline(shown, best), 0o644); err != nil {
		t.Fatal(err)
	}
}

// drawTimeline draws two layers from the middle of a step, and the head's end.
func drawTimeline(stretches []stretch, total time.Duration) []byte {
	colours := map[string]string{"linear": "#4477aa", "attention": "#ee6677", "gates": "#4477aa", "head": "#228833", "norm": "#ccbb44", "silu": "#66ccee",
		"rotary": "#aa3377", "sampling": "#000000", "embed": "#bbbbbb"}
	const width, height, top = 1100, 40, 30
	from := total * 2 / 5
	span := total / 12
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", width,
		top+benchThreads*(height+10)+30)
	fmt.Fprintf(&out, `<text x="4" y="16">%.2f ms from the middle of a decode step of %.1f ms; white: waiting</text>`+"\n", span.Seconds()*1e3,
		total.Seconds()*1e3)
	for _, s := range stretches {
		if s.to < from || s.from > from+span {
			continue
		}
		x := max(float64(s.from-from)/float64(span), 0) * width
		w := min(float64(s.to-from)/float64(span)*width, width) - x
		fmt.Fprintf(&out, `<rect x="%.2f" y="%d" width="%.2f" height="%d" fill="%s"><title>%s %v</title></rect>`+"\n", x,
			top+s.worker*(height+10), w, height, colours[s.name], s.name, s.to-s.from)
	}
	var legend []string
	for i, name := range []string{"linear", "attention", "norm", "rotary", "silu"} {
		legend = append(legend, fmt.Sprintf(`<rect x="%d" y="%d" width="12" height="12" fill="%s"/><text x="%d" y="%d">%s</text>`, 10+i*120,
			top+benchThreads*(height+10)+8, colours[name], 26+i*120, top+benchThreads*(height+10)+18, name))
	}
	fmt.Fprintln(&out, strings.Join(legend, "\n"))
	fmt.Fprintln(&out, "</svg>")
	return out.Bytes()
}
