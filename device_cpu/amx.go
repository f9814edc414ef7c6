package cpu

import (
	"encoding/binary"
	"math"

	"minisgl/tensor"
)

// AMX multiplies tiles of 16 rows by 16 outputs, 32 inputs at a time, in bfloat16 with float32 sums. One product adds to each
// sum c those of the even and of the odd inputs (Intel's manual, volume 2, TDPBF16PS):
//
//	c += (x[0]·w[0] + x[2]·w[2] + …) + (x[1]·w[1] + x[3]·w[3] + …)
//
// in that order, fused, whatever other rows the tile has. So a row's sums have one order here too, and the same kernels serve
// every number of rows: with one row the weights' way from memory is what takes time.
//
// An activation becomes one bfloat16 number or two, its upper and its lower half, which together keep 16 bits of it. The second
// half multiplies the same tile of weights, at once behind the first.
const (
	amxRows   = 16                     // rows of a tile
	amxInputs = 32                     // inputs of a step
	amxTile   = amxRows * amxInputs    // numbers in a tile
	amxWide   = 2 * amxRows            // most rows that share a step's weights
	amxPanel  = amxInputs * panelWidth // weights of a panel in a step: two tiles
)

// amxKernels are the functions that a processor with AMX has.
type amxKernels struct {
	split        [2]amxSplit    // into one or two halves
	narrow, wide [2]amxMultiply // at most 16 rows; 17 to 32
}

// An amxSplit writes up to 16 rows of x, ldx values apart, as tiles: for each step of 32 inputs a tile for each half. Bit i of
// last says whether input i of the last step is there; others count as 0.
type amxSplit func(t []uint16, x []float32, ldx, steps, last, rows int)

// An amxMultiply multiplies blocks of rows, each with the tiles of 16 rows ldx numbers apart, by the panel w:
// c = x · w, on top of what c holds if add is not 0. All blocks have the same number of rows. With each step it asks for some
// lines of memory, a multiple of 4, from ahead bytes behind the start of w on.
type amxMultiply func(c []float32, ldc int, x []uint16, ldx int, w []uint16, steps, rows, blocks, add, ahead, lines int)

// amxSteps is the number of steps that a row of that many inputs takes.
func amxSteps(inputs int) int { return ceil(inputs, amxInputs) }

// amxLast is amxSplit's last for that many inputs.
func amxLast(inputs int) int { return 1<<((inputs-1)%amxInputs+1) - 1 }

// amxPack writes a panel of bfloat16 weights for AMX. A source is an output's row of inputs; those that are not there are
// zeros. A step's weights are two tiles, for 16 outputs each, with pairs of inputs as rows.
func amxPack(panel []uint16, sources [][]byte, inputs int) {
	clear(panel)
	for j, source := range sources {
		column := panel[j/amxRows*amxTile+2*(j%amxRows):]
		for k := 0; k < inputs; k++ {
			at := k/amxInputs*amxPanel + k%amxInputs/2*amxRows*2 + k%2
			column[at] = binary.LittleEndian.Uint16(source[2*k:])
		}
	}
}

// amxRow reads an output's weights back.
func amxRow(dst []float32, panel []uint16, j int) {
	column := panel[j/amxRows*amxTile+2*(j%amxRows):]
	for k := range dst {
		dst[k] = tensor.BF16ToFloat32(column[k/amxInputs*amxPanel+k%amxInputs/2*amxRows*2+k%2])
	}
}

// amxGeneric are the twins in plain Go. They round as the processor does, but for numbers below 2⁻¹²⁶, which it takes as 0.
var amxGeneric = amxKernels{
	split: [2]amxSplit{
		func(t []uint16, x []float32, ldx, steps, last, rows int) { splitGeneric(t, x, ldx, steps, last, rows, 1) },
		func(t []uint16, x []float32, ldx, steps, last, rows int) { splitGeneric(t, x, ldx, steps, last, rows, 2) },
	},
	narrow: [2]amxMultiply{amxMultiplyGeneric(1, 1), amxMultiplyGeneric(1, 2)},
	wide:   [2]amxMultiply{amxMultiplyGeneric(2, 1), amxMultiplyGeneric(2, 2)},
}

func splitGeneric(t []uint16, x []float32, ldx, steps, last, rows, halves int) {
	for row := range rows {
		for k := range steps * amxInputs {
			var v float32
			if k/amxInputs < steps-1 || last>>(k%amxInputs)&1 != 0 {
				v = x[row*ldx+k]
			}
			for half := range halves {
				b := tensor.Float32ToBF16(v)
				t[(k/amxInputs*halves+half)*amxTile+row*amxInputs+k%amxInputs] = b
				v -= tensor.BF16ToFloat32(b)
			}
		}
	}
}

func amxMultiplyGeneric(rowTiles, halves int) amxMultiply {
	return func(c []float32, ldc int, x []uint16, ldx int, w []uint16, steps, rows, blocks, add, _, _ int) {
		for block := range blocks {
			for row := range rows {
				tile := block*rowTiles + row/amxRows
				sums := c[(tile*amxRows+row%amxRows)*ldc:][:panelWidth]
				if add == 0 {
					clear(sums)
				}
				for step := range steps {
					for half := range halves {
						activations := x[tile*ldx+(step*halves+half)*amxTile+row%amxRows*amxInputs:][:amxInputs]
						amxProduct(sums, activations, w[step*amxPanel:])
					}
				}
			}
		}
	}
}

// amxProduct is TDPBF16PS for one row and two tiles of weights.
func amxProduct(sums []float32, x, w []uint16) {
	for j := range sums {
		column := w[j/amxRows*amxTile+2*(j%amxRows):]
		var even, odd float32
		for k := 0; k < amxInputs; k += 2 {
			even = fusedBF16(x[k], column[k*amxRows], even)
			odd = fusedBF16(x[k+1], column[k*amxRows+1], odd)
		}
		sums[j] += float32(even + odd)
	}
}

// fusedBF16 is x·w + sum with one rounding. The product is exact in float64; where the sum is not, the last bit of its float64
// says so, which keeps the second rounding from a wrong tie.
func fusedBF16(x, w uint16, sum float32) float32 {
	product := float64(tensor.BF16ToFloat32(x)) * float64(tensor.BF16ToFloat32(w))
	total := product + float64(sum)
	rest := product - (total - float64(sum)) + (float64(sum) - (total - (total - float64(sum))))
	if rest != 0 && math.Float64bits(total)&1 == 0 {
		total = math.Nextafter(total, math.Inf(int(math.Copysign(1, rest))))
	}
	return float32(total)
}
