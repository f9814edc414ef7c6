//go:build amd64 && !noasm

package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/klauspost/cpuid/v2"

	"minisgl/tensor"
)

// An amxCase is a matrix of one panel and rows of activations.
type amxCase struct {
	inputs, rows int
	weights      []float32 // (panelWidth, inputs)
	panel        []uint16
	x            []float32 // (rows, inputs)
}

func newAMXCase(r *rand.Rand, inputs, rows int) *amxCase {
	c := &amxCase{inputs: inputs, rows: rows, x: randomFloats(r, rows*inputs)}
	var sources [][]byte
	for range panelWidth {
		var row []byte
		for _, v := range randomFloats(r, inputs) {
			b := tensor.Float32ToBF16(v)
			row = append(row, byte(b), byte(b>>8))
			c.weights = append(c.weights, tensor.BF16ToFloat32(b))
		}
		sources = append(sources, row)
	}
	c.panel = make([]uint16, amxSteps(inputs)*amxPanel)
	amxPack(c.panel, sources, inputs)
	return c
}

// split returns the activations from row first on as tiles, and how far apart tiles of rows are.
func (c *amxCase) split(k *amxKernels, first, rows, halves int) (tiles []uint16, ldx int) {
	steps := amxSteps(c.inputs)
	ldx = steps * halves * amxTile
	tiles = make([]uint16, ceil(rows, amxRows)*ldx)
	for row := 0; row < rows; row += amxRows {
		k.split[halves-1](tiles[row/amxRows*ldx:], c.x[(first+row)*c.inputs:], c.inputs, steps, amxLast(c.inputs), min(amxRows, rows-row))
	}
	return tiles, ldx
}

// multiply computes rows first to first+rows in blocks of up to 32 rows and of some steps.
func (c *amxCase) multiply(k *amxKernels, first, rows, halves, blockSteps int) []float32 {
	out := make([]float32, rows*panelWidth)
	x, ldx := c.split(k, first, rows, halves)
	steps := amxSteps(c.inputs)
	for step := 0; step < steps; step += blockSteps {
		n := min(blockSteps, steps-step)
		for row := 0; row < rows; {
			count, blocks := min(amxWide, rows-row), 1
			function := k.wide[halves-1]
			if count == amxWide {
				blocks = (rows - row) / amxWide
			} else if count <= amxRows {
				function = k.narrow[halves-1]
			}
			function(out[row*panelWidth:], panelWidth, x[row/amxRows*ldx+step*halves*amxTile:], ldx, c.panel[step*amxPanel:], n, count, blocks, step, 1024, 32)
			row += count * blocks
		}
	}
	return out
}

// amxPaths are the kernels that this processor can run.
func amxPaths() map[string]*amxKernels {
	paths := map[string]*amxKernels{"generic": &amxGeneric}
	if amxUsable() {
		paths["amx"] = &amxNative
	}
	return paths
}

func amxUsable() bool {
	return cpuid.CPU.Supports(cpuid.AMXTILE, cpuid.AMXBF16, cpuid.AVX512BF16) && amxPermitted()
}

func TestAMXPack(t *testing.T) {
	c := newAMXCase(rand.New(rand.NewPCG(1, 2)), 70, 1)
	got := make([]float32, c.inputs)
	for j := range panelWidth {
		amxRow(got, c.panel, j)
		if !slices.Equal(got, c.weights[j*c.inputs:][:c.inputs]) {
			t.Fatalf("output %d reads back as %v", j, got)
		}
	}
}

// Two halves are as good as 16 bits of an activation, one as 8.
func TestAMXMultiply(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for name, k := range amxPaths() {
		for _, rows := range []int{1, 2, 15, 16, 17, 31, 32, 33, 64, 90} {
			for _, inputs := range []int{1, 31, 32, 33, 47, 300} {
				for halves, tolerance := range []float64{3e-2, 1e-4} {
					t.Run(fmt.Sprintf("%s/%dx%d/%d", name, rows, inputs, halves+1), func(t *testing.T) {
						c := newAMXCase(r, inputs, rows)
						got := c.multiply(k, 0, rows, halves+1, 3)
						for row := range rows {
							for j := range panelWidth {
								want, size := 0.0, 0.0
								for i := range inputs {
									product := float64(c.x[row*inputs+i]) * float64(c.weights[j*inputs+i])
									want += product
									size += product * product
								}
								if difference := math.Abs(float64(got[row*panelWidth+j]) - want); difference > tolerance*math.Sqrt(size) {
									t.Fatalf("row %d, output %d is %v, want %v", row, j, got[row*panelWidth+j], want)
								}
							}
						}
					})
				}
			}
		}
	}
}

// A row's sums are the same to the bit alone and among others, and with the inputs in one piece or several; on the processor
// and in plain Go.
func TestAMXDoesNotDependOnRowsOrBlocks(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	const inputs, rows = 300, 75
	c := newAMXCase(r, inputs, rows)
	for halves := 1; halves <= 2; halves++ {
		var want []float32
		for row := range rows {
			want = append(want, c.multiply(&amxGeneric, row, 1, halves, 100)...)
		}
		for name, k := range amxPaths() {
			for n := 1; n <= rows; n++ {
				for _, blockSteps := range []int{1, 4, 100} {
					if got := c.multiply(k, 0, n, halves, blockSteps); !slices.Equal(got, want[:n*panelWidth]) {
						t.Fatalf("%s: %d rows in blocks of %d steps, %d halves differ from one row in plain Go", name, n, blockSteps, halves)
					}
				}
			}
		}
	}
}

// The assembly splits as plain Go does, whatever lies behind a row.
func TestAMXSplit(t *testing.T) {
	if !cpuid.CPU.Supports(cpuid.AVX512F, cpuid.AVX512BF16) {
		t.Skip("no AVX512_BF16")
	}
	r := rand.New(rand.NewPCG(7, 8))
	for _, inputs := range []int{1, 15, 16, 17, 32, 33, 63, 896} {
		c := &amxCase{inputs: inputs + 40, rows: 16, x: randomFloats(r, 16*(inputs+40))}
		for i := range c.x {
			if i%c.inputs >= inputs {
				c.x[i] = float32(math.NaN())
			}
		}
		for halves := 1; halves <= 2; halves++ {
			for _, rows := range []int{1, 7, 16} {
				steps := amxSteps(inputs)
				got, want := make([]uint16, steps*halves*amxTile), make([]uint16, steps*halves*amxTile)
				amxNative.split[halves-1](got, c.x, c.inputs, steps, amxLast(inputs), rows)
				amxGeneric.split[halves-1](want, c.x, c.inputs, steps, amxLast(inputs), rows)
				if !slices.Equal(got, want) {
					t.Fatalf("%d inputs, %d rows, %d halves", inputs, rows, halves)
				}
			}
		}
	}
}
