package sample

import "math"

// Terms of Exp: e^r as its Taylor series to r¹³, highest term first, and ln 2 in two parts of which the first has 21 zero bits
// at its end, so that its product with an exponent is exact (as in FreeBSD's e_exp.c).
var (
	expTerms = [14]float64{1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040,
		1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 1.0 / 2, 1, 1}
	ln2High = math.Float64frombits(0x3FE62E42FEE00000)
	ln2Low  = math.Float64frombits(0x3DEA39EF35793C76)
)

// expLeast is the least argument of Exp whose result is not 0.
const expLeast = -708

// Exp is e^x for x ≤ 0, within 2 units in the last place, and 0 below -708. It is part of the definition: each operation is
// rounded to float64 by itself (no fused multiplication and addition), in this order, so that devices get the same bits with
// whatever vectors they have:
//
//	n = x·log₂e rounded to the nearest integer, ties to even
//	r = (x − n·ln2High) − n·ln2Low
//	p = (((1/13!)·r + 1/12!)·r + …)·r + 1
//	eˣ = p·2ⁿ
func Exp(x float64) float64 {
	if !(x >= expLeast) {
		return 0
	}
	n := math.RoundToEven(x * math.Log2E)
	r := x - float64(n*ln2High)
	r -= float64(n * ln2Low)
	p := expTerms[0]
	for _, term := range expTerms[1:] {
		p = float64(p*r) + term
	}
	return p * math.Float64frombits(uint64(int64(n)+1023)<<52)
}

// ExpConstants are the numbers of Exp for devices that compute it in vectors: the least argument, log₂e, the two parts of ln 2,
// the terms.
func ExpConstants() []float64 {
	return append([]float64{expLeast, math.Log2E, ln2High, ln2Low}, expTerms[:]...)
}
