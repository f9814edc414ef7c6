//go:build amd64 && !noasm

package cpu

var attentionAVX2 = attentionKernels{
	float32:  kvKernel{scoresF32AVX2, weighF32AVX2},
	bfloat16: kvKernel{scoresBF16AVX2, weighBF16AVX2},
	int8:     kvKernel{scoresI8AVX2, weighI8AVX2},
	blend:    blendAVX2,
}

var attentionAVX512 = attentionKernels{
	float32:  kvKernel{scoresF32AVX512, weighF32AVX512},
	bfloat16: kvKernel{scoresBF16AVX512, weighBF16AVX512},
	int8:     kvKernel{scoresI8AVX512, weighI8AVX512},
	blend:    blendAVX512,
}

//go:noescape
func scoresF32AVX2(c []float32, ldc int, x []float32, ldx int, blocks []*byte, n, dim, rows int)

//go:noescape
func weighF32AVX2(c []float32, ldc int, x []float32, ldx int, blocks []*byte, from, end, rows, add int)

//go:noescape
func scoresBF16AVX2(c []float32, ldc int, x []float32, ldx int, blocks []*byte, n, dim, rows int)

//go:noescape
func weighBF16AVX2(c []float32, ldc int, x []float32, ldx int, blocks []*byte, from, end, rows, add int)

//go:noescape
func scoresI8AVX2(c []float32, ldc int, x []float32, ldx int, blocks []*byte, n, dim, rows int)

//go:noescape
func weighI8AVX2(c []float32, ldc int, x []float32, ldx int, blocks []*byte, from, end, rows, add int)

//go:noescape
func blendAVX2(sum, x []float32, a, b float32)

//go:noescape
func weightsAVX2(dst []float64, logits []float32, max, temperature float64)

//go:noescape
func scoresF32AVX512(c []float32, ldc int, x []float32, ldx int, blocks []*byte, n, dim, rows int)

//go:noescape
func weighF32AVX512(c []float32, ldc int, x []float32, ldx int, blocks []*byte, from, end, rows, add int)

//go:noescape
func scoresBF16AVX512(c []float32, ldc int, x []float32, ldx int, blocks []*byte, n, dim, rows int)

//go:noescape
func weighBF16AVX512(c []float32, ldc int, x []float32, ldx int, blocks []*byte, from, end, rows, add int)

//go:noescape
func scoresI8AVX512(c []float32, ldc int, x []float32, ldx int, blocks []*byte, n, dim, rows int)

//go:noescape
func weighI8AVX512(c []float32, ldc int, x []float32, ldx int, blocks []*byte, from, end, rows, add int)

//go:noescape
func blendAVX512(sum, x []float32, a, b float32)

//go:noescape
func weightsAVX512(dst []float64, logits []float32, max, temperature float64)
