//go:build amd64

package cpu

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"
)

func expParallel(f func(thread int)) float64 {
	best := 1e9
	for range 4 {
		start := time.Now()
		var wait sync.WaitGroup
		for thread := range 2 {
			wait.Go(func() { f(thread) })
		}
		wait.Wait()
		best = min(best, time.Since(start).Seconds())
	}
	return best
}

type expMatrix struct {
	rows, cols int
	w          []uint16
}

type expPlan struct {
	rowBlock, blockSteps, unitPanels int
	next                             bool
	wide                             amxMultiply
	halves                           int
}

func (p *expPlan) multiply(m *expMatrix, x []uint16, panel, panels, first, end int, c []float32, stride int) {
	steps := amxSteps(m.cols)
	tile := steps * p.halves * amxTile
	full, rest := (end-first)/amxWide, (end-first)%amxWide
	block := p.blockSteps
	if end-first <= amxWide {
		block = steps
	}
	for k := 0; k < steps; k += block {
		n := min(block, steps-k)
		for q := range panels {
			at := ((panel+q)*steps + k) * amxPanel
			xs := x[first/amxRows*tile+k*p.halves*amxTile:]
			add := min(k, 1)
			cc := c[q*panelWidth:]
			ahead, lines := 1024*4, 32
			if full > 0 && end-first > amxWide {
				lines = 0
				if p.next {
					lines = roundUp(ceil(32, full), 4)
					to := at + steps*amxPanel
					if q == panels-1 {
						to = (panel*steps + k + n) * amxPanel
						if k+n >= steps {
							to = (panel + panels) * steps * amxPanel
						}
					}
					ahead = 2 * (to - at)
				}
			}
			if full > 0 {
				p.wide(cc, stride, xs, tile, m.w[at:], n, amxWide, full, add, ahead, lines)
			}
			if rest > 0 {
				f := p.wide
				if rest <= amxRows {
					f = amxNative.narrow[p.halves-1]
				}
				if full > 0 {
					lines = 0
				}
				f(cc[full*amxWide*stride:], stride, xs[2*full*tile:], tile, m.w[at:], n, rest, 1, add, ahead, lines)
			}
		}
	}
}

type expScratch struct {
	sums [2][]float32
	x    []uint16
}

func (p *expPlan) run(m *expMatrix, in []float32, ldin int, out []float32, ldout, rows int, s *expScratch, scratch bool) {
	steps := amxSteps(m.cols)
	tile := steps * p.halves * amxTile
	split := amxNative.split[p.halves-1]
	tiles := ceil(rows, amxRows)
	panelsAll := ceil(m.rows, panelWidth)
	unitPanels := p.unitPanels
	if rows > amxWide && m.cols > 2000 {
		unitPanels = ceil(panelsAll, 2)
	}
	var nextTile, nextUnit atomic.Int64
	blocks := ceil(rows, p.rowBlock)
	groups := ceil(panelsAll, unitPanels)
	var barrier sync.WaitGroup
	barrier.Add(2)
	var wait sync.WaitGroup
	for thread := range 2 {
		wait.Go(func() {
			for {
				t := int(nextTile.Add(1)) - 1
				if t >= tiles {
					break
				}
				n := min(amxRows, rows-t*amxRows)
				split(s.x[t*tile:], in[t*amxRows*ldin:], ldin, steps, amxLast(m.cols), n)
			}
			barrier.Done()
			barrier.Wait()
			for {
				u := int(nextUnit.Add(1)) - 1
				if u >= blocks*groups {
					break
				}
				first := u / groups * p.rowBlock
				end := min(first+p.rowBlock, rows)
				panel := u % groups * unitPanels
				panels := min(unitPanels, panelsAll-panel)
				if scratch {
					stride := panels*panelWidth + 16
					p.multiply(m, s.x, panel, panels, first, end, s.sums[thread], stride)
					for r := first; r < end; r++ {
						addAVX512(out[r*ldout+panel*panelWidth:][:panels*panelWidth], s.sums[thread][(r-first)*stride:])
					}
				} else {
					p.multiply(m, s.x, panel, panels, first, end, out[first*ldout+panel*panelWidth:], ldout)
				}
			}
		})
	}
	wait.Wait()
}

func TestAMXExperiment(t *testing.T) {
	if os.Getenv("AMXEXP") == "" || !amxPermitted() {
		t.Skip("no")
	}
	v, _ := choose("avx512")
	fmt.Printf("read rate 2 threads plain %.1f GB/s\n", readRate(v)/1e9)
	// Kernel rates with operands in L1 and L2.
	a, err := newArena(1 << 30)
	if err != nil {
		t.Fatal(err)
	}
	all := take[uint16](a, 1<<28) // 512 MB
	for i := range all {
		all[i] = uint16(0x3c00 + i%7)
	}
	for _, k := range []struct {
		name   string
		f      amxMultiply
		halves int
		rows   int
	}{{"wide1", amxWide1, 1, 32}, {"wide2", amxWide2, 2, 32}, {"narrow1", amxNarrow1, 1, 16}, {"narrow2", amxNarrow2, 2, 16}, {"narrow2", amxNarrow2, 2, 1}} {
		for _, steps := range []int{4, 14, 28, 152} {
			for _, blocks := range []int{1, 8} {
				seconds := expParallel(func(thread int) {
					x := make([]uint16, 2*blocks*steps*k.halves*amxTile)
					c := make([]float32, (32*blocks+1)*48)
					w := make([]uint16, steps*amxPanel)
					for range 60000 / steps / blocks {
						k.f(c, 48, x, steps*k.halves*amxTile, w, steps, k.rows, blocks, 0, 0, 0)
					}
				})
				n := 60000 / steps / blocks
				fmt.Printf("%s rows %d steps %d blocks %d: %.0f GFLOP/s a core, x %d KB w %d KB\n", k.name, k.rows, steps, blocks,
					2*float64(k.rows*blocks*steps*32*32*k.halves*n)/seconds/1e9, k.rows*blocks*steps*k.halves*64/1024, steps*2)
			}
		}
	}
	// Decode: streams.
	for _, rows := range []int{1, 16, 32} {
		for _, k := range []struct {
			name   string
			f      amxMultiply
			halves int
		}{{"n2t0", amxNarrow2, 2}, {"n2t1", amxNarrow2t1, 2}, {"n1t0", amxNarrow1, 1}, {"w2t0", amxWide2, 2}, {"w2t1", amxWide2t1, 2}, {"w1t0", amxWide1, 1}} {
			if (rows > 16) != (k.name[0] == 'w') {
				continue
			}
			for _, steps := range []int{28, 152} {
				line := fmt.Sprintf("stream rows %d %s steps %d:", rows, k.name, steps)
				for _, ahead := range []int{-1, 512, 1024, 2048, 4096, 8192, 16384, 32768} {
					lines := 32
					if ahead < 0 {
						lines = 0
					}
					panels := len(all) / 2 / (steps * amxPanel)
					seconds := expParallel(func(thread int) {
						x := make([]uint16, 2*steps*k.halves*amxTile)
						c := make([]float32, 33*48)
						half := all[thread*len(all)/2:]
						for p := range panels {
							k.f(c, 48, x, steps*k.halves*amxTile, half[p*steps*amxPanel:], steps, rows, 1, 0, ahead, lines)
						}
					})
					line += fmt.Sprintf(" %d:%.1f", ahead, float64(panels*2*steps*2048)/seconds/1e9)
				}
				fmt.Println(line)
			}
		}
	}
	// Layers.
	type layer [4]expMatrix
	at := 0
	var layers []layer
	take2 := func(rows, cols int) expMatrix {
		n := ceil(rows, panelWidth) * amxSteps(cols) * amxPanel
		if at+n > len(all) {
			at = 0 // weights are shared by some layers, far enough apart
		}
		m := expMatrix{rows, cols, all[at : at+n]}
		at += n
		return m
	}
	for range 24 {
		layers = append(layers, layer{take2(1152, 896), take2(896, 896), take2(9728, 896), take2(896, 4864)})
	}
	in, out := make([]float32, 2048*(4864+16)), make([]float32, 2048*(9728+16))
	for i := range in {
		in[i] = 0.001
	}
	s := &expScratch{x: unsafe.Slice((*uint16)(unsafe.Pointer(&make([]float32, 1<<24)[0])), 1<<25)}
	s.x = s.x[(64-uintptr(unsafe.Pointer(&s.x[0]))%64)%64/2:]
	for i := range s.sums {
		s.sums[i] = make([]float32, 2048*(1024+32))
	}
	for _, rows := range []int{1, 4, 16, 32, 64, 128, 512, 2048} {
		for halves := 1; halves <= 2; halves++ {
			plans := []expPlan{{512, 28, 2, false, nil, halves}}
			if rows > 32 {
				plans = nil
				for _, rowBlock := range []int{128, 256, 512} {
					if rowBlock > rows {
						continue
					}
					for _, blockSteps := range []int{14, 19, 28} {
						plans = append(plans, expPlan{rowBlock, blockSteps, 2, false, nil, halves}, expPlan{rowBlock, blockSteps, 2, true, nil, halves}, expPlan{rowBlock, blockSteps, 4, true, nil, halves})
					}
				}
				if rows == 64 {
					plans = []expPlan{{64, 28, 2, true, nil, halves}, {64, 14, 2, true, nil, halves}, {64, 28, 2, false, nil, halves}}
				}
			}
			for _, p := range plans {
				p.wide = amxNative.wide[halves-1]
				if p.next {
					p.wide = [2]amxMultiply{amxWide1t1, amxWide2t1}[halves-1]
				}
				var times []float64
				var parts [4]float64
				repeats := 5
				if rows > 100 {
					repeats = 2
				}
				if rows > 1000 {
					repeats = 1
				}
				for range repeats {
					start := time.Now()
					for i := range layers {
						for first := 0; first < rows; first += 512 {
							n := min(512, rows-first)
							for j := range 4 {
								m := &layers[i][j]
								t0 := time.Now()
								p.run(m, in, roundUp(m.cols, 32)+16, out, roundUp(m.rows, 32)+16, n, s, j%2 == 1)
								parts[j] += time.Since(t0).Seconds()
							}
						}
					}
					times = append(times, time.Since(start).Seconds())
				}
				seconds := slices.Min(times)
				bytes := 2 * 24 * (1152*896 + 896*896 + 9728*896 + 896*4864)
				fmt.Printf("layers rows %d halves %d block %d steps %d panels %d next %v: %.0f rows/s, %.1f GB/s, %.2f TFLOP/s, parts %.0f%%\n", rows, halves, p.rowBlock, p.blockSteps,
					p.unitPanels, p.next, float64(rows)/seconds, float64(bytes)/seconds/1e9, float64(bytes*rows*halves)/seconds/1e12,
					[]float64{parts[0] / (parts[0] + parts[1] + parts[2] + parts[3]) * 100, parts[1] / (parts[0] + parts[1] + parts[2] + parts[3]) * 100, parts[2] / (parts[0] + parts[1] + parts[2] + parts[3]) * 100, parts[3] / (parts[0] + parts[1] + parts[2] + parts[3]) * 100})
			}
		}
	}
	fmt.Printf("read rate 2 threads plain %.1f GB/s\n", readRate(v)/1e9)
}
