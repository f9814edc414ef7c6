//go:build amd64 && !noasm

package cpu

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
