//go:build cuda

package cuda

import (
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"minisgl/device"
	"minisgl/device/devicetest"
	"minisgl/device_cuda/driver"
	"minisgl/tensor"
)

// The benchmarks run the shape of Qwen2.5-0.5B with random weights. They need a card: an emulated one would take hours.

// qwen05B is made once: it has half a billion weights.
var qwen05B = sync.OnceValue(func() *device.Program {
	return devicetest.TinyProgram(devicetest.Config{Hidden: 896, Intermediate: 4864, Layers: 24, Heads: 14, KVHeads: 2, HeadDim: 64,
		Vocab: 151936, MaxPositions: 32768, DType: tensor.BF16, Bias: true, Tied: true})
})

const (
	benchPage = 16
	benchRows = 16384
)

func benchRunner(b *testing.B) *runner {
	b.Helper()
	if n, err := driver.Count(driver.Options{}); err != nil || n == 0 {
		b.Skip("there is no card")
	}
	d, _, err := device.Open("cuda:0", 0)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { d.Close() })
	r, err := d.Load(qwen05B(), device.LoadOptions{PageSize: benchPage, MaxPages: 1 << 16, MaxSlots: 256, MaxRows: benchRows, GraphMaxBatch: 256})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { r.Close() })
	return r.(*runner)
}

// A generation is a batch of sequences of equal length, each with pages of its own.
type generation struct {
	batch, position int
	pages           [][]int32
}

func newGeneration(batch, position, steps int) *generation {
	g := &generation{batch: batch, position: position}
	n := int32((position+steps)/benchPage + 1)
	for s := range int32(batch) {
		var pages []int32
		for i := range n {
			pages = append(pages, s*n+i)
		}
		g.pages = append(g.pages, pages)
	}
	return g
}

// next returns the decode step of all sequences.
func (g *generation) next() *device.Step {
	s := &device.Step{}
	for i := range int32(g.batch) {
		s.Tokens = append(s.Tokens, device.Sampled(i))
		s.Sequences = append(s.Sequences, device.Sequence{Slot: i, First: i, Rows: 1, Position: int32(g.position), Pages: g.pages[i]})
		s.Outputs = append(s.Outputs, device.Output{Row: i, Slot: i, Target: device.Sample, Position: int32(g.position) + 1, Params: device.Greedy()})
	}
	g.position++
	return s
}

// prompt returns the step that computes the whole prompts.
func (g *generation) prompt() *device.Step {
	s := &device.Step{}
	for i := range int32(g.batch) {
		first := int32(len(s.Tokens))
		for k := range g.position {
			s.Tokens = append(s.Tokens, int32(k*7919+int(i)*104729)%100000)
		}
		s.Sequences = append(s.Sequences, device.Sequence{Slot: i, First: first, Rows: int32(g.position), Pages: g.pages[i]})
		s.Outputs = append(s.Outputs, device.Output{Row: int32(len(s.Tokens)) - 1, Slot: i, Target: device.Sample, Position: int32(g.position), Params: device.Greedy()})
	}
	return s
}

// overlapped runs n steps, each submitted while the one before runs, and returns the time of a step.
func overlapped(b *testing.B, r *runner, n int, step func() *device.Step) time.Duration {
	b.Helper()
	each, _ := overlappedHost(b, r, n, step)
	return each
}

// overlappedHost also returns the part of a step's time in which the host packs and submits the next one.
func overlappedHost(b *testing.B, r *runner, n int, step func() *device.Step) (each, host time.Duration) {
	b.Helper()
	wait := func(s *device.Step) {
		if err := r.Wait(s); err != nil {
			b.Fatal(err)
		}
	}
	first := step()
	r.Submit(first)
	began := time.Now()
	for range n {
		second := step()
		submitting := time.Now()
		r.Submit(second)
		host += time.Since(submitting)
		wait(first)
		first = second
	}
	wait(first)
	return time.Since(began) / time.Duration(n+1), host / time.Duration(n)
}

func BenchmarkDecode(b *testing.B) {
	r := benchRunner(b)
	for _, c := range []struct{ batch, context int }{{1, 128}, {1, 1024}, {1, 4096}, {4, 128}, {16, 128}, {64, 128}, {128, 128}, {256, 128}, {128, 1000}} {
		b.Run(fmt.Sprintf("%d×%d", c.batch, c.context), func(b *testing.B) {
			const steps = 128
			var times, hosts []time.Duration
			for range 5 {
				g := newGeneration(c.batch, c.context, steps+2)
				each, host := overlappedHost(b, r, steps, g.next)
				times, hosts = append(times, each), append(hosts, host)
			}
			step := median(times)
			b.ReportMetric(float64(median(hosts).Microseconds()), "µs-submit")
			b.ReportMetric(float64(step.Microseconds()), "µs/step")
			b.ReportMetric(float64(c.batch)/step.Seconds(), "tok/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func BenchmarkPrefill(b *testing.B) {
	r := benchRunner(b)
	for _, c := range []struct{ batch, tokens int }{{1, 128}, {1, 512}, {1, 1024}, {1, 2048}, {8, 2048}} {
		b.Run(fmt.Sprintf("%d×%d", c.batch, c.tokens), func(b *testing.B) {
			g := newGeneration(c.batch, c.tokens, 1)
			var alone []time.Duration
			for range 7 {
				s := g.prompt()
				began := time.Now()
				r.Submit(s)
				if err := r.Wait(s); err != nil {
					b.Fatal(err)
				}
				alone = append(alone, time.Since(began))
			}
			step := overlapped(b, r, 8, g.prompt)
			b.ReportMetric(float64(median(alone).Microseconds()), "µs-alone")
			b.ReportMetric(float64(step.Microseconds()), "µs/step")
			b.ReportMetric(float64(c.batch*c.tokens)/step.Seconds(), "tok/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkTimeline prints what host and card do in a few decode steps of 64 rows.
func BenchmarkTimeline(b *testing.B) {
	r := benchRunner(b)
	g := newGeneration(64, 128, 20)
	began := time.Now()
	at := func() int64 { return time.Since(began).Microseconds() }
	var first *device.Step
	var lines strings.Builder
	for n := range 10 {
		step := g.next()
		from := at()
		r.Submit(step)
		submitted := at()
		if first != nil {
			if err := r.Wait(first); err != nil {
				b.Fatal(err)
			}
			fmt.Fprintf(&lines, "step %d submitted %6d to %6d µs; results of step %d at %6d µs\n", n, from, submitted, n-1, at())
		}
		first = step
	}
	if err := r.Wait(first); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(0, "ns/op")
	b.Log("\n" + lines.String())
}

// BenchmarkKernels times each kernel of a step by itself, with events: its time is longer than in a graph, where kernels overlap.
func BenchmarkKernels(b *testing.B) {
	r := benchRunner(b)
	for _, c := range []struct{ rows, outputs, context int }{{1, 1, 128}, {1, 1, 4096}, {16, 16, 128}, {64, 64, 128}, {256, 256, 128}, {512, 1, 0}, {2048, 1, 0}, {16384, 8, 0}} {
		b.Run(fmt.Sprintf("%d rows, %d outputs", c.rows, c.outputs), func(b *testing.B) {
			g := newGeneration(c.rows, c.context, 2)
			s := g.next()
			if c.rows != c.outputs {
				g = newGeneration(c.outputs, c.rows/c.outputs, 1)
				s = g.prompt()
			}
			r.Submit(s) // leaves the step's description on the card
			if err := r.Wait(s); err != nil {
				b.Fatal(err)
			}
			launches, err := r.launches(r.bucketOf(c.rows, c.outputs))
			if err != nil {
				b.Fatal(err)
			}
			times, err := r.card.Timed(launches, 5)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(0, "ns/op")
			b.Log("\n" + kernelTable(launches, times))
		})
	}
}

func kernelTable(launches []driver.Launch, times []time.Duration) string {
	type line struct {
		count int
		total time.Duration
	}
	lines := map[string]*line{}
	var total time.Duration
	for i, l := range launches {
		name := fmt.Sprintf("%s %v×%d", l.Function.Name, l.Grid, l.Block)
		if lines[name] == nil {
			lines[name] = &line{}
		}
		lines[name].count++
		lines[name].total += times[i]
		total += times[i]
	}
	var names []string
	for name := range lines {
		names = append(names, name)
	}
	sort.Slice(names, func(i, j int) bool { return lines[names[i]].total > lines[names[j]].total })
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, name := range names {
		l := lines[name]
		fmt.Fprintf(w, "%s\t%d ×\t%.2f µs\t%.0f µs\t\n", name, l.count, float64(l.total.Nanoseconds())/1e3/float64(l.count), float64(l.total.Microseconds()))
	}
	fmt.Fprintf(w, "together\t%d\t\t%.0f µs\t\n", len(launches), float64(total.Microseconds()))
	w.Flush()
	return out.String()
}

func median(times []time.Duration) time.Duration {
	sort.Slice(times, func(i, j int) bool { return times[i] < times[j] })
	return times[len(times)/2]
}

// BenchmarkLoad is the time from opening the card to a runner that is ready.
func BenchmarkLoad(b *testing.B) {
	if n, err := driver.Count(driver.Options{}); err != nil || n == 0 {
		b.Skip("there is no card")
	}
	p := qwen05B()
	for _, cache := range []string{"cold", "warm"} {
		b.Run(cache, func(b *testing.B) {
			if cache == "cold" {
				b.Setenv("XDG_CACHE_HOME", b.TempDir())
			}
			for range 3 {
				began := time.Now()
				d, _, err := device.Open("cuda:0", 0)
				if err != nil {
					b.Fatal(err)
				}
				opened := time.Now()
				r, err := d.Load(p, device.LoadOptions{PageSize: benchPage, MaxSlots: 256, MaxRows: 8192, GraphMaxBatch: 256})
				if err != nil {
					b.Fatal(err)
				}
				fmt.Fprintf(os.Stderr, "%s: open %v, load %v\n", cache, opened.Sub(began).Round(time.Millisecond), time.Since(opened).Round(time.Millisecond))
				r.Close()
				d.Close()
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}
