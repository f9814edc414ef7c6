//go:build amd64 && !noasm

package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/klauspost/cpuid/v2"
)

// The assembly splits activations as plain Go does, whatever lies behind a row.
func TestSplit(t *testing.T) {
	if !cpuid.CPU.Supports(cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512BF16) {
		t.Skip("this processor has no AVX512_BF16")
	}
	r := rand.New(rand.NewPCG(7, 8))
	for _, cols := range []int{1, 15, 16, 17, 32, 33, 63, 896} {
		stride := cols + 40
		x := randomFloats(r, amxRows*stride)
		for i := range x {
			switch {
			case i%stride >= cols:
				x[i] = float32(math.NaN())
			case i%7 == 0:
				x[i] *= 1e30
			}
		}
		for halves := 1; halves <= 2; halves++ {
			for _, rows := range []int{1, 7, 16} {
				var tiles [2][]uint16
				for i, k := range []*amxKernels{&amxNative, &amxGeneric} {
					a := tiled{halves: halves, cols: cols, steps: amxSteps(cols), data: make([]uint16, amxSteps(cols)*halves*amxTile)}
					a.setRows(k, buffer{data: x, stride: stride}, 0, rows)
					tiles[i] = a.data
				}
				if !slices.Equal(tiles[0], tiles[1]) {
					t.Fatalf("%d inputs, %d rows, %d halves", cols, rows, halves)
				}
			}
		}
	}
}

// BenchmarkTiles measures the kernels on two threads, from the caches and from memory, beside a loop that only reads.
func BenchmarkTiles(b *testing.B) {
	i := slices.IndexFunc(variants, func(v variant) bool { return v.name == "amx" })
	if !variants[i].usable() {
		b.Skip("this processor or system has no AMX")
	}
	const inputs = 896
	steps := amxSteps(inputs)
	read := readRate(variants[i])
	memory, err := newArena(1 << 29)
	if err != nil {
		b.Fatal(err)
	}
	defer memory.free()
	weights := take[uint16](memory, 1<<28)
	for i := range weights {
		weights[i] = 0x3f80
	}
	for _, c := range []struct {
		rows, halves, panels int // 0 panels: all that fit, from memory
	}{{1, 1, 0}, {1, 2, 0}, {16, 1, 0}, {16, 2, 0}, {32, 1, 0}, {32, 2, 0}, {16, 1, 1}, {16, 2, 1}, {32, 1, 1}, {32, 2, 1}, {256, 1, 2}, {256, 2, 2}} {
		b.Run(fmt.Sprintf("%d rows/%d halves/%d panels", c.rows, c.halves, c.panels), func(b *testing.B) {
			perThread := len(weights) / benchThreads
			panels := c.panels
			if panels == 0 {
				panels = perThread / (steps * amxPanel) / 8 * 8
			}
			var products [benchThreads]tileProduct
			for thread := range products {
				x := tiled{halves: c.halves, cols: inputs, steps: steps, data: make([]uint16, c.rows*steps*c.halves*amxTile)}
				products[thread] = tileProduct{kernels: &amxNative, x: &x, stride: panelWidth*8 + 16, panels: min(panels, 8),
					c: make([]float32, c.rows*(panelWidth*8+16))}
			}
			repeats := max(1, 1<<27/(panels*steps*amxPanel*c.rows))
			for b.Loop() {
				var wait sync.WaitGroup
				for thread := range products {
					wait.Go(func() {
						m := products[thread]
						for range repeats {
							for panel := 0; panel < panels; panel += 8 {
								m.weights = weights[thread*perThread+panel*steps*amxPanel:]
								if c.rows > amxWide {
									m.many(c.rows)
								} else {
									m.few(c.rows)
								}
							}
						}
					})
				}
				wait.Wait()
			}
			numbers := float64(benchThreads*panels*steps*amxPanel*repeats) * float64(b.N)
			b.ReportMetric(2*numbers*float64(c.rows*c.halves)/b.Elapsed().Seconds()/1e12, "TFLOP/s")
			if c.panels == 0 {
				b.ReportMetric(2*numbers/b.Elapsed().Seconds()/1e9, "GB/s")
				b.ReportMetric(2*numbers/b.Elapsed().Seconds()/read*100, "%read")
			}
		})
	}
}
