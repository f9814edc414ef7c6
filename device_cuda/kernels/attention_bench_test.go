//go:build cuda

package kernels

import (
	"testing"
	"time"

	"minisgl/device"
	"minisgl/device_cuda/driver"
	"minisgl/tensor"
)

// measuredLayers is how many layers BenchmarkAttention measures, after as many that it does not.
const measuredLayers = 12

// BenchmarkAttention times the launches of layers of Qwen2.5-0.5B, each with keys and values of its own, one after the other: the L2
// cache holds what the layers before have left there. GB/s counts the keys and values of each sequence once, TFLOP/s the products of
// the pairs of positions that see each other.
func BenchmarkAttention(b *testing.B) {
	if _, err := openCard(); err != nil {
		b.Skip(err)
	}
	shape := testShapes[0].shape
	shape.Element = tensor.BF16
	for _, c := range []struct {
		name                         string
		sequences, rows, lastContext int
	}{
		{"decode 1 at 128", 1, 1, 128},
		{"decode 1 at 4096", 1, 1, 4096},
		{"decode 16 at 192", 16, 1, 192},
		{"decode 64 at 1024", 64, 1, 1024},
		{"decode 128 at 1000", 128, 1, 1000},
		{"decode 256 at 192", 256, 1, 192},
		{"decode 256 at 1000", 256, 1, 1000},
		{"prefill 1 of 128", 1, 128, 128},
		{"prefill 1 of 512", 1, 512, 512},
		{"prefill 1 of 2048", 1, 2048, 2048},
		{"prefill 8 of 2048", 8, 2048, 2048},
	} {
		b.Run(c.name, func(b *testing.B) {
			on := onCard{b, compiled(b, shape, "attention")}
			rows, first := c.sequences*c.rows, c.lastContext-c.rows
			pages := ceilDiv(c.lastContext, shape.PageSize)
			var sequences []device.Sequence
			var firstTables, tables []int32
			for i := range c.sequences {
				sequences = append(sequences, device.Sequence{First: int32(i * c.rows), Rows: int32(c.rows), Position: int32(first)})
				firstTables = append(firstTables, int32(len(tables)))
				for page := range pages {
					tables = append(tables, int32(page*c.sequences+i)) // scattered
				}
			}
			items := on.PlanAttention(nil, sequences, firstTables)
			width := shape.Heads * shape.HeadDim
			stride := width + 2*shape.KVHeads*shape.HeadDim
			cache := len(tables) * shape.PageSize * shape.KVHeads * shape.HeadDim
			step := StepLayout{Header: put(on, []StepHeader{{Rows: int32(rows), Items: int32(len(items))}}), Items: put(on, items), Tables: put(on, tables)}
			qkv, out, scratch := put(on, randomRows(rows*stride)), on.alloc(rows*width*2), put(on, make([]byte, on.AttentionScratch()))
			filled := func() driver.Ptr {
				p := on.alloc(cache * 2)
				if err := on.card.Fill(p, 0x3c, int64(cache*2)); err != nil {
					b.Fatal(err)
				}
				return p
			}
			var launches []driver.Launch
			for range 2 * measuredLayers {
				launches = append(launches, on.Attention(Attention{
					Step: step, QKV: qkv, QKVStride: stride, Keys: filled(), Values: filled(), Out: out, OutStride: width, Scale: 0.125, Scratch: scratch,
				}, rows))
			}
			var total time.Duration
			for b.Loop() {
				times, err := on.card.Timed(launches, 20)
				if err != nil {
					b.Fatal(err)
				}
				for _, t := range times[measuredLayers:] { // those before drive out what Timed itself has written
					total += t / measuredLayers
				}
			}
			seconds := total.Seconds() / float64(b.N)
			pairs := 0.0
			for row := range c.rows {
				pairs += float64(first + row + 1)
			}
			b.ReportMetric(seconds*1e6, "µs/layer")
			b.ReportMetric(4*float64(c.sequences)*pairs*float64(width)/seconds/1e12, "TFLOP/s")
			b.ReportMetric(float64(c.sequences*c.lastContext*shape.KVHeads*shape.HeadDim*4)/seconds/1e9, "GB/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}
