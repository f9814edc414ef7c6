//go:build !noasm

package cpu

import "github.com/klauspost/cpuid/v2"

// Every arm64 processor has NEON (Advanced SIMD), so path neon asks for nothing. The others differ from it in quantised weights,
// and in their speed only.
var nativeVariants = []variant{
	{kernels: neon("neon", &neonQuantised)},
	{kernels: neon("neondotprod", &dotProdQuantised), features: features(cpuid.ASIMDDP)},
	{kernels: neon("neoni8mm", &i8mmQuantised), features: features(cpuid.ASIMDDP, cpuid.I8MM)},
}

func neon(name string, quantised *quantisedKernels) *kernels {
	return &kernels{
		name: name, tileRows: 6,
		tileBF16: tileBF16NEON, tileF16: tileF16NEON, tileF32: tileF32NEON, quantised: quantised,
		softmax: softmaxNEON, silu: siluNEON, sumSquares: sumSquaresNEON, scale: scaleNEON, add: addNEON, largest: largestNEON,
		attention: attentionNEON, weights: weightsNEON, rotate: rotateHeadsNEON, spread: spreadGeneric,
		toBF16: toBF16Generic,
	}
}

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

//go:noescape
func rotateNEON(low, high, cos, sin []float32)

func rotateHeadsNEON(x []float32, heads int, cos, sin []float32) {
	half := len(cos)
	for head := range heads {
		rotateNEON(x[2*head*half:][:half], x[(2*head+1)*half:], cos, sin)
	}
}

//go:noescape
func weightsNEON(dst []float64, logits []float32, max, temperature float64)

// pause tells the processor that this is a loop that waits for another core.
//
//go:noescape
func pause()
