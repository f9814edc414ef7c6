//go:build !noasm

package cpu

var attentionNEON = attentionKernels{
	float32:  kvKernel{scoresF32NEON, weighF32NEON},
	bfloat16: kvKernel{scoresBF16NEON, weighBF16NEON},
	int8:     kvKernel{scoresI8NEON, weighI8NEON},
	blend:    blendNEON,
}

//go:noescape
func scoresF32NEON(c []float32, ldc int, x []float32, ldx int, blocks []*byte, n, dim, rows int)

//go:noescape
func weighF32NEON(c []float32, ldc int, x []float32, ldx int, blocks []*byte, from, end, rows, add int)

//go:noescape
func scoresBF16NEON(c []float32, ldc int, x []float32, ldx int, blocks []*byte, n, dim, rows int)

//go:noescape
func weighBF16NEON(c []float32, ldc int, x []float32, ldx int, blocks []*byte, from, end, rows, add int)

//go:noescape
func scoresI8NEON(c []float32, ldc int, x []float32, ldx int, blocks []*byte, n, dim, rows int)

//go:noescape
func weighI8NEON(c []float32, ldc int, x []float32, ldx int, blocks []*byte, from, end, rows, add int)

//go:noescape
func blendNEON(sum, x []float32, a, b float32)
