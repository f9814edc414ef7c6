package cpu

import (
	"math"

	"minisgl/device/sample"
	"minisgl/tensor"
)

// generic is the path in plain Go. It is also the readable twin of the assembly, which differs from it in rounding only: it
// fuses multiplication and addition. The conversions to float32 keep the compiler from fusing them here, so that results are
// the same on every architecture.
var generic = kernels{
	name:       "generic",
	tileRows:   4,
	tileBF16:   tileBF16Generic,
	tileF16:    tileF16Generic,
	tileF32:    tileF32Generic,
	quantised:  &genericQuantised,
	softmax:    softmaxGeneric,
	silu:       siluGeneric,
	sumSquares: sumSquaresGeneric,
	scale:      scaleGeneric,
	add:        addGeneric,
	largest:    largestGeneric,
	rotate:     rotateGeneric,
	toBF16:     toBF16Generic,
	attention:  genericAttention,
	spread:     spreadGeneric,
	weights:    sample.Weights,
}

func tileBF16Generic(c []float32, ldc int, x []float32, ldx int, w []uint16, k, rows, add int) {
	var weights [panelWidth]float32
	clearTile(c, ldc, rows, add)
	for i := range k {
		for j, b := range w[i*panelWidth : (i+1)*panelWidth] {
			weights[j/2+j%2*panelWidth/2] = tensor.BF16ToFloat32(b)
		}
		addOuter(c, ldc, x[i:], ldx, &weights, rows)
	}
}

func tileF16Generic(c []float32, ldc int, x []float32, ldx int, w []uint16, k, rows, add int) {
	var weights [panelWidth]float32
	clearTile(c, ldc, rows, add)
	for i := range k {
		for j, h := range w[i*panelWidth : (i+1)*panelWidth] {
			weights[j] = tensor.F16ToFloat32(h)
		}
		addOuter(c, ldc, x[i:], ldx, &weights, rows)
	}
}

func tileF32Generic(c []float32, ldc int, x []float32, ldx int, w0, w1 []float32, ldw, k, rows, add int) {
	var weights [panelWidth]float32
	clearTile(c, ldc, rows, add)
	for i := range k {
		copy(weights[:panelWidth/2], w0[i*ldw:])
		copy(weights[panelWidth/2:], w1[i*ldw:])
		addOuter(c, ldc, x[i:], ldx, &weights, rows)
	}
}

func clearTile(c []float32, ldc, rows, add int) {
	if add == 0 {
		for r := range rows {
			clear(c[r*ldc : r*ldc+panelWidth])
		}
	}
}

// addOuter adds to each row of c one input's activation times the weights.
func addOuter(c []float32, ldc int, x []float32, ldx int, weights *[panelWidth]float32, rows int) {
	for r := range rows {
		a := x[r*ldx]
		sums := (*[panelWidth]float32)(c[r*ldc:])
		for j := range sums {
			sums[j] += float32(a * weights[j])
		}
	}
}

func softmaxGeneric(s []float32, scale float32) (largest, sum float32) {
	largest = s[0]
	for _, v := range s {
		largest = max(largest, v)
	}
	var sums [16]float32
	for i, v := range s {
		e := float32(math.Exp(float64(float32(v-largest) * scale)))
		s[i] = e
		sums[i%16] += e
	}
	return largest, foldSum(&sums)
}

// foldSum adds up lanes: the upper half onto the lower, until one is left.
func foldSum(sums *[16]float32) float32 {
	for n := 8; n > 0; n /= 2 {
		for i := range n {
			sums[i] += sums[i+n]
		}
	}
	return sums[0]
}

func siluGeneric(out, gate, up []float32) {
	for i := range out {
		g := gate[i]
		out[i] = g / float32(1+math.Exp(-float64(g))) * up[i]
	}
}

func sumSquaresGeneric(x []float32) float32 {
	var sums [16]float32
	for i, v := range x {
		sums[i%16] += float32(v * v)
	}
	return foldSum(&sums)
}

func scaleGeneric(out, x, w []float32, factor float32) {
	for i := range out {
		out[i] = float32(factor*x[i]) * w[i]
	}
}

func addGeneric(out, x []float32) {
	for i := range out {
		out[i] += x[i]
	}
}

func largestGeneric(x []float32) (largest, check float32) {
	largest = x[0]
	for _, v := range x {
		if v > largest {
			largest = v
		}
		check += v - v
	}
	return largest, check
}

func rotateGeneric(x []float32, heads int, cos, sin []float32) {
	half := len(cos)
	for head := range heads {
		low, high := x[2*head*half:][:half], x[(2*head+1)*half:][:half]
		for i, c := range cos {
			a, b, s := low[i], high[i], sin[i]
			low[i] = float32(a*c) - float32(b*s)
			high[i] = float32(b*c) + float32(a*s)
		}
	}
}

func toBF16Generic(dst []uint16, x []float32) (broken int) {
	for i, v := range x {
		const exponent = 0x7f80
		dst[i] = tensor.Float32ToBF16(v)
		if dst[i]&exponent == exponent {
			broken = 1
		}
	}
	return broken
}
