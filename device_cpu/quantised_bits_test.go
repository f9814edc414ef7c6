package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"minisgl/device_cpu/internal/layout"
)

// Products are, to the bit, what plain Go computes when it rounds a multiplication and addition once, as assembly does: for every
// number of rows, with the largest sums that there can be.
func TestQuantisedBits(t *testing.T) {
	r := rand.New(rand.NewPCG(26, 1))
	const rows, outputs, cols = 10, 40, 768
	x := randomFloats(r, rows*cols)
	for k := range cols {
		x[k], x[cols+k], x[2*cols+k] = 1, -1, float32(1-k%2*2)
	}
	fused := generic
	fused.quantised = &quantisedKernels{rows: 4, round: roundGeneric, dot: dotFused, formats: genericFormats()}
	for _, f := range layout.Formats {
		w := randomQuantised(t, r, f.DType, outputs, cols)
		for i, number := range []byte{0x7f, 0xff} { // all bits set, of Q8_0 and of the others
			for block := range slices.Chunk(w.Row(30+i), f.DType.BlockBytes()) {
				for at := 4; at < min(len(block), 192); at++ {
					block[at] = number
				}
			}
		}
		want := multiplied(t, &fused, pack(t, &fused, w), x, rows)
		for _, v := range quantisedVariants() {
			if v.name == generic.name {
				continue
			}
			t.Run(fmt.Sprintf("%s/%s", f.DType, v.name), func(t *testing.T) {
				m := pack(t, v.kernels, w)
				for n := 1; n <= rows; n++ {
					got := multiplied(t, v.kernels, m, x, n)
					for i := range got {
						if got[i] != want[i] {
							t.Fatalf("%d rows: output %d of row %d is %v, want %v", n, i%64, i/64, got[i], want[i])
						}
					}
				}
			})
		}
	}
}

// dotFused is dotGeneric, but for its rounding.
func dotFused(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, ldw int, scales []float32,
	groups, blocks, rows, add, _ int) {
	clearTile(c, ldc, rows, add)
	for b := range blocks {
		for r := range rows {
			q := x[r*ldx/2+b*4*groups:]
			sum, total := sx[r*ldx/4+2*b], sx[r*ldx/4+2*b+1]
			for j := range panelWidth {
				var n int32
				for g := range groups {
					u, q := w[b*ldw+4*(g*panelWidth+j):], q[4*g:]
					n += int32(u[0])*int32(q[0]) + int32(u[2])*int32(q[1]) + int32(u[1])*int32(q[2]) + int32(u[3])*int32(q[3])
				}
				s := &c[r*ldc+j]
				*s = fma(float32(n), float32(sum*scales[2*b*panelWidth+j]), *s)
				*s = fma(-total, scales[(2*b+1)*panelWidth+j], *s)
			}
		}
	}
}

// fma is a·b + c, rounded once. In float64 the product is exact; a sum that is not is made odd, so that the second rounding
// knows on which side of a tie it is (S. Boldo and G. Melquiond, Emulation of FMA and correctly rounded sums, 2008).
func fma(a, b, c float32) float32 {
	p, q := float64(a)*float64(b), float64(c)
	sum := p + q
	t := sum - p
	lost := (p - (sum - t)) + (q - t)
	if bits := math.Float64bits(sum); lost != 0 && bits&1 == 0 {
		if lost > 0 == (sum > 0) {
			bits++
		} else {
			bits--
		}
		sum = math.Float64frombits(bits)
	}
	return float32(sum)
}
