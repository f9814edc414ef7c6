//go:build !noasm

package cpu

import "minisgl/device/sample"

// Every arm64 processor has NEON (Advanced SIMD), so nothing is asked for.
var nativeVariants = []variant{{kernels: &kernels{
	name: "neon", tileRows: 6,
	tileBF16: tileBF16NEON, tileF16: tileF16NEON, tileF32: tileF32NEON,
	softmax: softmaxNEON, silu: siluNEON, sumSquares: sumSquaresNEON, scale: scaleNEON, add: addNEON, largest: largestNEON,
	attention: attentionNEON, weights: sample.Weights, rotate: rotateGeneric, spread: spreadGeneric,
}}}

//go:noescape
func tileBF16NEON(c []float32, ldc int, x []float32, ldx int, w []uint16, k, rows, add int)

//go:noescape
func tileF16NEON(c []float32, ldc int, x []float32, ldx int, w []uint16, k, rows, add int)

//go:noescape
func tileF32NEON(c []float32, ldc int, x []float32, ldx int, w0, w1 []float32, ldw, k, rows, add int)

//go:noescape
func softmaxNEON(s []float32, scale float32) (max, sum float32)

//go:noescape
func siluNEON(out, gate, up []float32)

//go:noescape
func sumSquaresNEON(x []float32) float32

//go:noescape
func scaleNEON(out, x, w []float32, factor float32)

//go:noescape
func addNEON(out, x []float32)

//go:noescape
func largestNEON(x []float32) (max, check float32)

// pause tells the processor that this is a loop that waits for another core.
//
//go:noescape
func pause()
