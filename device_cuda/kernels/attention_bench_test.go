//go:build cuda

package kernels

import (
	"testing"
	"time"

	"minisgl/device"
	"minisgl/device_cuda/driver"
	"minisgl/tensor"
)

// BenchmarkAttention times the launch of one layer of Qwen2.5-0.5B. GB/s counts the keys and values of each sequence once,
// TFLOP/s the products of the pairs of positions that see each other.
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
		{"decode 256 at 192", 256, 1, 192},
		{"prefill 1 of 128", 1, 128, 128},
		{"prefill 1 of 512", 1, 512, 512},
		{"prefill 1 of 2048", 1, 2048, 2048},
		{"prefill 8 of 2048", 8, 2048, 2048},
	} {
		b.Run(c.name, func(b *testing.B) {
			on := onCard{b, compiled(b, shape, "attention")}
			rows, first := c.sequences*c.rows, c.lastContext-c.rows
			pages := ceil(c.lastContext, shape.PageSize)
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
			launch := on.Attention(Attention{
				Step: StepLayout{Header: put(on, []StepHeader{{Rows: int32(rows), Items: int32(len(items))}}), Items: put(on, items), Tables: put(on, tables)},
				QKV:  put(on, randomRows(rows*stride)), QKVStride: stride,
				Keys: put(on, elementBytes(randomRows(cache), shape.Element)), Values: put(on, elementBytes(randomRows(cache), shape.Element)),
				Out: on.alloc(rows * width * 2), OutStride: width, Scale: 0.125, Scratch: put(on, make([]byte, on.AttentionScratch())),
			}, rows)
			var total time.Duration
			for b.Loop() {
				times, err := on.card.Timed([]driver.Launch{launch}, 20)
				if err != nil {
					b.Fatal(err)
				}
				total += times[0]
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
