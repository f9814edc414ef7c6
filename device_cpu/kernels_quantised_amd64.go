//go:build amd64 && !noasm

package cpu

import "minisgl/tensor"

var avx2Quantised = quantisedKernels{
	rows: 6, fewRows: 1, round: roundAVX2, dot: dotAVX2,
	formats: map[tensor.DType]formatKernels{
		tensor.Q8_0: {unpackQ8_0AVX2, fewQ8_0AVX2},
		tensor.Q4_0: {unpackQ4_0AVX2, fewQ4_0AVX2},
		tensor.Q4_1: {unpackQ4_1AVX2, fewQ4_1AVX2},
		tensor.Q5_0: {unpackQ5_0AVX2, fewQ5_0AVX2},
		tensor.Q5_1: {unpackQ5_1AVX2, fewQ5_1AVX2},
		tensor.Q4_K: {unpackQ4_KAVX2, fewQ4_KAVX2},
		tensor.Q5_K: {unpackQ5_KAVX2, fewQ5_KAVX2},
		tensor.Q6_K: {unpackQ6_KAVX2, fewQ6_KAVX2},
	},
}

var vnniQuantised = quantisedKernels{
	rows: 8, fewRows: 2, round: roundAVX2, dot: dotVNNI,
	formats: map[tensor.DType]formatKernels{
		tensor.Q8_0: {unpackQ8_0VNNI, fewQ8_0VNNI},
		tensor.Q4_0: {unpackQ4_0VNNI, fewQ4_0VNNI},
		tensor.Q4_1: {unpackQ4_1VNNI, fewQ4_1VNNI},
		tensor.Q5_0: {unpackQ5_0VNNI, fewQ5_0VNNI},
		tensor.Q5_1: {unpackQ5_1VNNI, fewQ5_1VNNI},
		tensor.Q4_K: {unpackQ4_KVNNI, fewQ4_KVNNI},
		tensor.Q5_K: {unpackQ5_KVNNI, fewQ5_KVNNI},
		tensor.Q6_K: {unpackQ6_KVNNI, fewQ6_KVNNI},
	},
}

//go:noescape
func unpackQ8_0AVX2(w []byte, blocks int, u []byte, scales []float32)

//go:noescape
func unpackQ4_0AVX2(w []byte, blocks int, u []byte, scales []float32)

//go:noescape
func unpackQ4_1AVX2(w []byte, blocks int, u []byte, scales []float32)

//go:noescape
func unpackQ5_0AVX2(w []byte, blocks int, u []byte, scales []float32)

//go:noescape
func unpackQ5_1AVX2(w []byte, blocks int, u []byte, scales []float32)

//go:noescape
func unpackQ4_KAVX2(w []byte, blocks int, u []byte, scales []float32)

//go:noescape
func unpackQ5_KAVX2(w []byte, blocks int, u []byte, scales []float32)

//go:noescape
func unpackQ6_KAVX2(w []byte, blocks int, u []byte, scales []float32)

//go:noescape
func fewQ8_0AVX2(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func fewQ4_0AVX2(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func fewQ4_1AVX2(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func fewQ5_0AVX2(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func fewQ5_1AVX2(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func fewQ4_KAVX2(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func fewQ5_KAVX2(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func fewQ6_KAVX2(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func dotAVX2(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, ldw int, scales []float32,
	groups, blocks, rows, add, ahead int)

//go:noescape
func unpackQ8_0VNNI(w []byte, blocks int, u []byte, scales []float32)

//go:noescape
func unpackQ4_0VNNI(w []byte, blocks int, u []byte, scales []float32)

//go:noescape
func unpackQ4_1VNNI(w []byte, blocks int, u []byte, scales []float32)

//go:noescape
func unpackQ5_0VNNI(w []byte, blocks int, u []byte, scales []float32)

//go:noescape
func unpackQ5_1VNNI(w []byte, blocks int, u []byte, scales []float32)

//go:noescape
func unpackQ4_KVNNI(w []byte, blocks int, u []byte, scales []float32)

//go:noescape
func unpackQ5_KVNNI(w []byte, blocks int, u []byte, scales []float32)

//go:noescape
func unpackQ6_KVNNI(w []byte, blocks int, u []byte, scales []float32)

//go:noescape
func fewQ8_0VNNI(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func fewQ4_0VNNI(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func fewQ4_1VNNI(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func fewQ5_0VNNI(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func fewQ5_1VNNI(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func fewQ4_KVNNI(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func fewQ5_KVNNI(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func fewQ6_KVNNI(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)

//go:noescape
func dotVNNI(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, ldw int, scales []float32,
	groups, blocks, rows, add, ahead int)

//go:noescape
func roundAVX2(x []float32, q []int16, scales []float32)
