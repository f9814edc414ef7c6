//go:build amd64 && !noasm

package cpu

var spreadAVX512 = spreadKernels{keys: spreadKeysAVX512, values: spreadValuesAVX512}

//go:noescape
func spreadKeysAVX512(dst []uint16, blocks []*byte, pairs, pairStride, halfStride, both int)

//go:noescape
func spreadValuesAVX512(dst []uint16, blocks []*byte, pairStride, halfStride, both int)

//go:noescape
func toBF16AVX512(dst []uint16, x []float32) (broken int)
