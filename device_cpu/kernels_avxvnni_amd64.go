//go:build amd64 && !noasm

package cpu

import "minisgl/tensor"

// avxVNNIQuantised is for processors that have VPDPWSSD without AVX-512: many laptops.
var avxVNNIQuantised = quantisedKernels{
	rows: 6, fewRows: 1, round: roundAVX2, dot: dotAVXVNNI,
	formats: map[tensor.DType]formatKernels{
		tensor.Q8_0: {unpackQ8_0AVX2, fewQ8_0AVXVNNI},
		tensor.Q4_0: {unpackQ4_0AVX2, fewQ4_0AVXVNNI},
		tensor.Q4_1: {unpackQ4_1AVX2, fewQ4_1AVXVNNI},
		tensor.Q5_0: {unpackQ5_0AVX2, fewQ5_0AVXVNNI},
		tensor.Q5_1: {unpackQ5_1AVX2, fewQ5_1AVXVNNI},
		tensor.Q4_K: {unpackQ4_KAVX2, fewQ4_KAVXVNNI},
		tensor.Q5_K: {unpackQ5_KAVX2, fewQ5_KAVXVNNI},
		tensor.Q6_K: {unpackQ6_KAVX2, fewQ6_KAVXVNNI},
	},
}

//go:noescape
func fewQ8_0AVXVNNI(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func fewQ4_0AVXVNNI(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func fewQ4_1AVXVNNI(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func fewQ5_0AVXVNNI(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func fewQ5_1AVXVNNI(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func fewQ4_KAVXVNNI(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func fewQ5_KAVXVNNI(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func fewQ6_KAVXVNNI(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func dotAVXVNNI(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, ldw int, scales []float32,
	groups, blocks, rows, add, ahead int)
