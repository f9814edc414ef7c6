//go:build !noasm

package cpu

import "minisgl/tensor"

var neonQuantised = quantisedKernels{
	rows: 4, fewRows: 2, round: roundNEON, dot: dotNEON,
	formats: map[tensor.DType]formatKernels{
		tensor.Q8_0: {unpackQ8_0NEON, fewQ8_0NEON},
		tensor.Q4_0: {unpackQ4_0NEON, fewQ4_0NEON},
		tensor.Q4_1: {unpackQ4_1NEON, fewQ4_1NEON},
		tensor.Q5_0: {unpackQ5_0NEON, fewQ5_0NEON},
		tensor.Q5_1: {unpackQ5_1NEON, fewQ5_1NEON},
		tensor.Q4_K: {unpackQ4_KNEON, fewQ4_KNEON},
		tensor.Q5_K: {unpackQ5_KNEON, fewQ5_KNEON},
		tensor.Q6_K: {unpackQ6_KNEON, fewQ6_KNEON},
	},
}

var dotProdQuantised = quantisedKernels{
	rows: 4, fewRows: 2, round: roundNEON, dot: dotDotProd,
	formats: dotProdFormats,
}

// i8mmQuantised differs in tiles of many rows: for one there is nothing to gain.
var i8mmQuantised = quantisedKernels{
	rows: 4, fewRows: 2, round: roundNEON, dot: dotI8MM,
	formats: dotProdFormats,
}

var dotProdFormats = map[tensor.DType]formatKernels{
	tensor.Q8_0: {unpackQ8_0NEON, fewQ8_0DotProd},
	tensor.Q4_0: {unpackQ4_0NEON, fewQ4_0DotProd},
	tensor.Q4_1: {unpackQ4_1NEON, fewQ4_1DotProd},
	tensor.Q5_0: {unpackQ5_0NEON, fewQ5_0DotProd},
	tensor.Q5_1: {unpackQ5_1NEON, fewQ5_1DotProd},
	tensor.Q4_K: {unpackQ4_KNEON, fewQ4_KDotProd},
	tensor.Q5_K: {unpackQ5_KNEON, fewQ5_KDotProd},
	tensor.Q6_K: {unpackQ6_KNEON, fewQ6_KDotProd},
}

//go:noescape
func unpackQ8_0NEON(w []byte, blocks int, u []byte, scales []float32)

//go:noescape
func unpackQ4_0NEON(w []byte, blocks int, u []byte, scales []float32)

//go:noescape
func unpackQ4_1NEON(w []byte, blocks int, u []byte, scales []float32)

//go:noescape
func unpackQ5_0NEON(w []byte, blocks int, u []byte, scales []float32)

//go:noescape
func unpackQ5_1NEON(w []byte, blocks int, u []byte, scales []float32)

//go:noescape
func unpackQ4_KNEON(w []byte, blocks int, u []byte, scales []float32)

//go:noescape
func unpackQ5_KNEON(w []byte, blocks int, u []byte, scales []float32)

//go:noescape
func unpackQ6_KNEON(w []byte, blocks int, u []byte, scales []float32)

//go:noescape
func fewQ8_0NEON(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func fewQ4_0NEON(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func fewQ4_1NEON(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func fewQ5_0NEON(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func fewQ5_1NEON(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func fewQ4_KNEON(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func fewQ5_KNEON(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func fewQ6_KNEON(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func fewQ8_0DotProd(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func fewQ4_0DotProd(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func fewQ4_1DotProd(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func fewQ5_0DotProd(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func fewQ5_1DotProd(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func fewQ4_KDotProd(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func fewQ5_KDotProd(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func fewQ6_KDotProd(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func dotNEON(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, ldw int, scales []float32,
	groups, blocks, rows, add, ahead int)

//go:noescape
func dotDotProd(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, ldw int, scales []float32,
	groups, blocks, rows, add, ahead int)

//go:noescape
func dotI8MM(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, ldw int, scales []float32,
	groups, blocks, rows, add, ahead int)

//go:noescape
func roundNEON(x []float32, q []int16, scales []float32)
