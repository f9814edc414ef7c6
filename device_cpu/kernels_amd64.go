//go:build amd64 && !noasm

package cpu

import "github.com/klauspost/cpuid/v2"

var nativeVariants = []variant{
	{
		kernels:  avx2("avx2", &avx2Quantised),
		features: features(avx2Features...),
	},
	{
		kernels:  avx2("avxvnni", &avxVNNIQuantised),
		features: features(append(avx2Features, cpuid.AVXVNNI)...),
	},
	{
		kernels:  avx512("avx512", &avx2Quantised),
		features: features(avx512Features...),
	},
	{
		kernels:  avx512("avx512vnni", &vnniQuantised),
		features: features(append(avx512Features, cpuid.AVX512VNNI)...),
	},
	{
		kernels:  amx(),
		features: amxFeatures(),
	},
}

var avx2Features = []cpuid.FeatureID{cpuid.AVX2, cpuid.FMA3, cpuid.F16C}

func avx2(name string, quantised *quantisedKernels) *kernels {
	return &kernels{
		name: name, tileRows: 6,
		tileBF16: tileBF16AVX2, tileF16: tileF16AVX2, tileF32: tileF32AVX2, quantised: quantised,
		softmax: softmaxAVX2, silu: siluAVX2, sumSquares: sumSquaresAVX2, scale: scaleAVX2, add: addAVX2, largest: largestAVX2,
		attention: attentionAVX2, weights: weightsAVX2, rotate: rotateAVX2, spread: spreadGeneric, toBF16: toBF16Generic,
	}
}

var avx512Features = []cpuid.FeatureID{cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512VL, cpuid.AVX512DQ, cpuid.FMA3}

func avx512(name string, quantised *quantisedKernels) *kernels {
	return &kernels{
		name: name, tileRows: 14,
		tileBF16: tileBF16AVX512, tileF16: tileF16AVX512, tileF32: tileF32AVX512, quantised: quantised,
		softmax: softmaxAVX512, silu: siluAVX512, sumSquares: sumSquaresAVX512, scale: scaleAVX512, add: addAVX512,
		largest: largestAVX512, attention: attentionAVX512, weights: weightsAVX512, pairs: pairsAVX512(), rotate: rotateAVX512, spread: spreadAVX512,
		toBF16: toBF16AVX512,
	}
}

// amx is path avx512vnni, but for bfloat16 weights and many rows of quantised ones.
func amx() *kernels {
	k := avx512("amx", &amxQuantised)
	k.pairs, k.amx = nil, &amxNative
	return k
}

// amxFeatures has, beside the processor's, the system's permission, for which it asks where there is AMX.
func amxFeatures() []feature {
	list := features(append(avx512Features, cpuid.AVX512VNNI, cpuid.AVX512BF16, cpuid.AMXTILE, cpuid.AMXBF16)...)
	permitted := variant{features: list}.usable() && amxPermitted()
	return append(list, feature{"AMXPERMISSION", permitted})
}

//go:noescape
func tileBF16AVX512(c []float32, ldc int, x []float32, ldx int, w []uint16, k, rows, add int)

//go:noescape
func tileF16AVX512(c []float32, ldc int, x []float32, ldx int, w []uint16, k, rows, add int)

//go:noescape
func tileF32AVX512(c []float32, ldc int, x []float32, ldx int, w0, w1 []float32, ldw, k, rows, add int)

//go:noescape
func softmaxAVX512(s []float32, scale float32) (max, sum float32)

//go:noescape
func siluAVX512(out, gate, up []float32)

//go:noescape
func sumSquaresAVX512(x []float32) float32

//go:noescape
func scaleAVX512(out, x, w []float32, factor float32)

//go:noescape
func addAVX512(out, x []float32)

//go:noescape
func largestAVX512(x []float32) (max, check float32)

//go:noescape
func tileBF16AVX2(c []float32, ldc int, x []float32, ldx int, w []uint16, k, rows, add int)

//go:noescape
func tileF16AVX2(c []float32, ldc int, x []float32, ldx int, w []uint16, k, rows, add int)

//go:noescape
func tileF32AVX2(c []float32, ldc int, x []float32, ldx int, w0, w1 []float32, ldw, k, rows, add int)

//go:noescape
func softmaxAVX2(s []float32, scale float32) (max, sum float32)

//go:noescape
func siluAVX2(out, gate, up []float32)

//go:noescape
func sumSquaresAVX2(x []float32) float32

//go:noescape
func scaleAVX2(out, x, w []float32, factor float32)

//go:noescape
func addAVX2(out, x []float32)

//go:noescape
func largestAVX2(x []float32) (max, check float32)

//go:noescape
func rotateAVX512(x []float32, heads int, cos, sin []float32)

//go:noescape
func rotateAVX2(x []float32, heads int, cos, sin []float32)

// pause tells the processor that this is a loop that waits for another core.
//
//go:noescape
func pause()
