package cpu

import (
	"math"
	"time"
)

// pairKernels multiply bfloat16 weights with activations rounded to bfloat16, which some processors do at twice the rate of
// float32 and others at half of it. Weights lie in pairs of inputs: for each pair 32 outputs, and for each of them its two
// weights.
type pairKernels struct {
	rows int // most rows of a tile

	// round makes activations, a multiple of 16, bfloat16.
	round func(x []float32, q []uint16)
	// dot is tileBF16 for pairs of inputs.
	dot func(c []float32, ldc int, x []uint16, ldx int, w []uint16, pairs, rows, add int)
}

// pairsGain is how much faster than float32 a path's pairs have to be for use.
const pairsGain = 1.2

// faster reports whether pairs are multiplied faster than float32, by the least of several measurements of 10 µs or so each,
// so that neither another program nor the system decides. The answer is yes or no by a factor of two on all processors known.
func (p *pairKernels) faster(k *kernels) bool {
	const inputs = 512
	rows := min(p.rows, k.tileRows)
	c := make([]float32, rows*panelWidth)
	w := make([]float32, inputs*panelWidth)
	plain := quickest(func() { k.tileF32(c, panelWidth, w, inputs, w, w[panelWidth/2:], panelWidth, inputs, rows, 0) })
	half := make([]uint16, inputs*panelWidth)
	pairs := quickest(func() { p.dot(c, panelWidth, half, inputs, half, inputs/2, rows, 0) })
	return float64(plain) > pairsGain*float64(pairs)
}

func quickest(f func()) time.Duration {
	least := time.Duration(math.MaxInt64)
	for range 50 {
		start := time.Now()
		f()
		least = min(least, time.Since(start))
	}
	return least
}
