//go:build amd64 && !noasm

package cpu

import "github.com/klauspost/cpuid/v2"

// pairsAVX512 are the kernels with VDPBF16PS, nil on a processor without it.
func pairsAVX512() *pairKernels {
	if !cpuid.CPU.Supports(cpuid.AVX512BF16) {
		return nil
	}
	return &pairKernels{rows: 14, round: roundPairs, dot: dotPairs}
}

//go:noescape
func dotPairs(c []float32, ldc int, x []uint16, ldx int, w []uint16, pairs, rows, add int)

//go:noescape
func roundPairs(x []float32, q []uint16)
