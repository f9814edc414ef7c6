package cpu

import (
	"minisgl/device_cpu/internal/layout"
	"minisgl/tensor"
)

// amxGeneric are the twins of the assembly. They round as the processor does, except that it takes numbers below 2⁻¹²⁶ as 0.
// Nothing but tests calls them: what they do for a path without AMX, its own kernels do faster and more exactly.
var amxGeneric = amxKernels{
	split:  [2]amxSplit{splitGeneric(1), splitGeneric(2)},
	narrow: [2]amxNarrow{narrowGeneric(1), narrowGeneric(2)},
	wide:   [2]amxWider{wideGeneric(1), wideGeneric(2)},
}

func splitGeneric(halves int) amxSplit {
	return func(t []uint16, x []float32, ldx, steps, last, rows int) {
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
}

func narrowGeneric(halves int) amxNarrow {
	return func(c []float32, ldc, nextC int, x, w []uint16, nextW, steps, rows, panels, add, _ int) {
		for panel := range panels {
			for row := range rows {
				sums := c[row*ldc+panel*nextC:][:panelWidth]
				multiplyRow(sums, x[row*amxInputs:], w[panel*nextW:], steps, halves, add)
			}
		}
	}
}

func wideGeneric(halves int) amxWider {
	return func(c []float32, ldc int, x []uint16, ldx int, w []uint16, steps, rows, blocks, add, _, _ int) {
		for block := range blocks {
			for i := range rows {
				row := block*amxWide + i
				multiplyRow(c[row*ldc:][:panelWidth], x[row/amxRows*ldx+row%amxRows*amxInputs:], w, steps, halves, add)
			}
		}
	}
}

func multiplyRow(sums []float32, x, w []uint16, steps, halves, add int) {
	if add == 0 {
		clear(sums)
	}
	for step := range steps {
		for half := range halves {
			tileProductRow(sums, x[(step*halves+half)*amxTile:], w[step*amxPanel:])
		}
	}
}

// tileProductRow is TDPBF16PS for one row and two tiles of weights. It is as good as fused: a product of two bfloat16 numbers
// fits a float32.
func tileProductRow(sums []float32, x, w []uint16) {
	var activations [amxInputs]float32
	for k := range activations {
		activations[k] = tensor.BF16ToFloat32(x[k])
	}
	for j := range sums {
		var even, odd float32
		column := w[amxPlace(j, 0):][:amxTile-2*amxRows+2]
		for k := 0; k < amxInputs; k += 2 {
			even += float32(activations[k] * tensor.BF16ToFloat32(column[k*amxRows]))
			odd += float32(activations[k+1] * tensor.BF16ToFloat32(column[k*amxRows+1]))
		}
		sums[j] += even + odd
	}
}

// bytesGeneric are the twins of the products in tiles of bytes.
var bytesGeneric = byteTiles{
	round: roundTilesGeneric,
	dot:   [2]dotTiles{dotTilesGeneric(layout.Sub), dotTilesGeneric(layout.Sub / 2)},
	from:  func() int { return 2 },
}

func roundTilesGeneric(x []float32, tiles []byte, row int) {
	for ; len(x) > 0; x, tiles = x[layout.Sub:], tiles[layout.TileBlock:] {
		var q [layout.Sub]int16
		var scales [6]float32
		roundGeneric(x[:layout.Sub], q[:], scales[:])
		for i, v := range q {
			place := row*layout.TileNumbers + i&^3 + [4]int{0, 2, 1, 3}[i%4]
			tiles[place], tiles[place+layout.Sub] = byte(v), byte(v>>8)
		}
		for i, scale := range []float32{scales[0], scales[1], scales[3], scales[5]} {
			as[float32](tiles[layout.TileScales:])[i*layout.TileRows+row] = scale
		}
	}
}

func dotTilesGeneric(inputs int) dotTiles {
	return func(c []float32, ldc int, x []byte, ldx int, w []byte, ldw int, scales []float32, blocks, rows, add, _ int, _ []int32) {
		clearTile(c, ldc, rows, add)
		for b := range blocks {
			first := b * inputs % layout.Sub // of a block of activations
			sum := 0                         // which of the sums
			if inputs < layout.Sub {
				sum = 1 + first/inputs
			}
			scale, offset := scales[2*b*panelWidth:][:panelWidth], scales[(2*b+1)*panelWidth:][:panelWidth]
			for row := range rows {
				tiles := x[row/layout.TileRows*ldx+b*inputs/layout.Sub*layout.TileBlock:]
				row, ofRow := row%layout.TileRows, c[row*ldc:]
				lower := tiles[row*layout.TileNumbers+first:]
				upper := lower[layout.Sub:]
				factor := as[float32](tiles[layout.TileScales:])[row]
				total := as[float32](tiles[layout.TileSums:])[sum*layout.TileRows+row]
				for j := range panelWidth {
					var low, high int32
					for k := range inputs {
						u := int32(w[b*ldw+k/4*4*panelWidth+4*j+k%4])
						low += u * int32(lower[k])
						high += u * int32(int8(upper[k]))
					}
					ofRow[j] += float32(float32(high<<8+low) * float32(factor*scale[j]))
					ofRow[j] -= float32(total * offset[j])
				}
			}
		}
	}
}
