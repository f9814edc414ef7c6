//go:build amd64 && !noasm

package cpu

import "github.com/klauspost/cpuid/v2"

var amxNative = amxKernels{
	split:  [2]amxSplit{amxSplit1, amxSplit2},
	narrow: [2]amxNarrow{amxNarrow1, amxNarrow2},
	wide:   [2]amxWider{amxWide1, amxWide2},
}

//go:noescape
func amxSplit1(t []uint16, x []float32, ldx, steps, last, rows int)

//go:noescape
func amxSplit2(t []uint16, x []float32, ldx, steps, last, rows int)

//go:noescape
func amxNarrow1(c []float32, ldc, nextC int, x, w []uint16, nextW, steps, rows, panels, add, ahead int)

//go:noescape
func amxNarrow2(c []float32, ldc, nextC int, x, w []uint16, nextW, steps, rows, panels, add, ahead int)

//go:noescape
func amxWide1(c []float32, ldc int, x []uint16, ldx int, w []uint16, steps, rows, blocks, add, ahead, lines int)

//go:noescape
func amxWide2(c []float32, ldc int, x []uint16, ldx int, w []uint16, steps, rows, blocks, add, ahead, lines int)

// amxQuantised are the kernels of path avx512vnni and, on a processor whose tiles multiply bytes, those for many rows.
var amxQuantised = func() quantisedKernels {
	if !cpuid.CPU.Supports(cpuid.AMXINT8) {
		return vnniQuantised
	}
	return vnniQuantised.with(amxBytes)
}()

var amxBytes = byteTiles{round: roundTiles, dot: [2]dotTiles{dotTiles32, dotTiles16}}

//go:noescape
func roundTiles(x []float32, tiles []byte, row int)

//go:noescape
func dotTiles32(c []float32, ldc int, x []byte, ldx int, w []byte, ldw int, scales []float32, blocks, rows, add, ahead int, sums []int32)

//go:noescape
func dotTiles16(c []float32, ldc int, x []byte, ldx int, w []byte, ldw int, scales []float32, blocks, rows, add, ahead int, sums []int32)
