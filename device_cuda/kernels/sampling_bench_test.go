//go:build cuda

package kernels

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"minisgl/device"
	"minisgl/device_cuda/driver"
)

// BenchmarkSampling times row_maximum and sample on a vocabulary of Qwen2.5's size. Logits are normally distributed; with a
// deviation of 2.5 the nuclei are larger than what is listed.
func BenchmarkSampling(b *testing.B) {
	const vocab, stride = 151_936, 151_936
	for _, c := range []struct {
		name      string
		deviation float64
		params    *device.Sampling
	}{
		{"greedy", 4, device.Greedy()},
		{"logprobs", 4, sampling(func(p *device.Sampling) { p.Logprobs = 5 })},
		{"plain", 4, sampling(func(p *device.Sampling) { p.Temperature = 0.7 })},
		{"top k 20, top p 0.8", 4, sampling(func(p *device.Sampling) { p.Temperature, p.TopK, p.TopP = 0.7, 20, 0.8 })},
		{"top p 0.9", 4, sampling(func(p *device.Sampling) { p.Temperature, p.TopP = 0.7, 0.9 })},
		{"top p 0.9 of flat logits", 2.5, sampling(func(p *device.Sampling) { p.Temperature, p.TopP = 1, 0.9 })},
		{"min p 0.1", 4, sampling(func(p *device.Sampling) { p.Temperature, p.MinP = 0.7, 0.1 })},
		{"penalties, top k 20, top p 0.8", 4, sampling(func(p *device.Sampling) {
			p.Temperature, p.TopK, p.TopP, p.RepetitionPenalty = 0.7, 20, 0.8, 1.1
		})},
	} {
		for _, rows := range []int{1, 16, 256} {
			b.Run(fmt.Sprintf("%s/%d", c.name, rows), func(b *testing.B) {
				s := newSampler(b, vocab, stride, rows, rows)
				random := rand.New(rand.NewPCG(1, 2))
				row := make([]float32, vocab)
				for i := range row {
					row[i] = float32(random.NormFloat64() * c.deviation)
				}
				var outputs []device.Output
				for i := range rows {
					putAt(s.onCard, s.logits.Offset(int64(i*stride*4)), row)
					outputs = append(outputs, device.Output{Slot: int32(i), Target: device.Sample, Position: int32(i), Params: c.params})
				}
				s.upload(outputs, nil)
				launches := []driver.Launch{s.RowMaximum(s.chunk(0)), s.Sample(s.chunk(0))}
				var sums [2]time.Duration
				rounds := 0
				for b.Loop() {
					times, err := s.card.Timed(launches, 20)
					if err != nil {
						b.Fatal(err)
					}
					for i, d := range times {
						sums[i] += d
					}
					rounds++
				}
				for i, name := range []string{"row_maximum-µs", "sample-µs"} {
					b.ReportMetric(float64(sums[i].Nanoseconds())/float64(rounds)/1000, name)
				}
			})
		}
	}
}
