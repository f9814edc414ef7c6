package main

import "math"

// The exponential function as in Cephes' expf (Moshier): x = n·ln 2 + r, a polynomial in r, and 2ⁿ by the exponent's bits.
var expConstants = []float64{
	88, -87.3, // what x is limited to
	math.Log2E, 0.693359375, -2.12194440e-4,
	1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1,
	1,
}

const (
	expHigh = iota
	expLow
	expLog2E
	expLn2High
	expLn2Low
	expP0
	expOne = expP0 + 6
)

func writeConstants(f *file, s isa) {
	f.line("")
	for i, c := range expConstants {
		f.line("DATA exp%s<>+%d(SB)/4, $0x%08x", s.suffix, 4*i, math.Float32bits(float32(c)))
	}
	f.line("GLOBL exp%s<>(SB), RODATA|NOPTR, $%d", s.suffix, 4*len(expConstants))
}

// loadConstants puts the constants into the registers from first on.
func loadConstants(f *file, s isa, first int) {
	for i := range expConstants {
		if s.lanes == 8 && i >= 8 {
			break // the rest is read from memory
		}
		f.op("VBROADCASTSS exp%s<>+%d(SB), %s", s.suffix, 4*i, s.r(first+i))
	}
}

// exp writes x = eˣ; n and p are scratch. The constants lie in the registers from first on; AVX2 has room for 8 of them and
// reads the others into p's place, t.
func exp(f *file, s isa, x, n, p, t string, first int) {
	constant := func(i int) string {
		if s.lanes == 8 && i >= 8 {
			f.op("VBROADCASTSS exp%s<>+%d(SB), %s", s.suffix, 4*i, t)
			return t
		}
		return s.r(first + i)
	}
	// The second operand wins where one is NaN: x stays NaN.
	f.op("VMINPS %s, %s, %s", x, constant(expHigh), x)
	f.op("VMAXPS %s, %s, %s", x, constant(expLow), x)
	f.op("VMULPS %s, %s, %s", x, constant(expLog2E), n)
	if s.lanes == 16 {
		f.op("VRNDSCALEPS $0, %s, %s", n, n)
	} else {
		f.op("VROUNDPS $0, %s, %s", n, n)
	}
	f.op("VFNMADD231PS %s, %s, %s", n, constant(expLn2High), x)
	f.op("VFNMADD231PS %s, %s, %s", n, constant(expLn2Low), x)
	f.op("VMOVAPS %s, %s", constant(expP0), p)
	for i := 1; i < 6; i++ {
		f.op("VFMADD213PS %s, %s, %s", constant(expP0+i), x, p)
	}
	f.op("VMULPS %s, %s, %s", x, p, p)
	f.op("VFMADD213PS %s, %s, %s", x, x, p)
	f.op("VADDPS %s, %s, %s", constant(expOne), p, p)
	if s.lanes == 16 {
		f.op("VSCALEFPS %s, %s, %s", n, p, x)
		return
	}
	f.op("VCVTPS2DQ %s, %s", n, n)
	f.op("VPSLLD $23, %s, %s", n, n)
	f.op("VPADDD %s, %s, %s", constant(expOne), n, n)
	f.op("VMULPS %s, %s, %s", n, p, x)
}

// loop runs body for each register's worth of the CX values that are left, a multiple of 16.
func loop(f *file, s isa, label string, pointers []string, body func()) {
	f.line("%s:", label)
	body()
	for _, p := range pointers {
		f.op("ADDQ $%d, %s", s.bytes(), p)
	}
	f.op("SUBQ $%d, CX", s.lanes)
	f.op("JNZ %s", label)
}

// fold reduces register 0 to its lowest lane with an operation; register 1 is scratch.
func fold(f *file, s isa, operation string) {
	if s.lanes == 16 {
		f.op("VEXTRACTF64X4 $1, Z0, Y1")
		f.op("%s Y1, Y0, Y0", operation)
	}
	f.op("VEXTRACTF128 $1, Y0, X1")
	f.op("%s X1, X0, X0", operation)
	f.op("VPERMILPS $0x0e, X0, X1")
	f.op("%s X1, X0, X0", operation)
	f.op("VPERMILPS $0x01, X0, X1")
	f.op("%s X1, X0, X0", operation)
}

// softmax: the twin is softmaxGeneric.
func writeSoftmax(f *file, s isa) {
	f.text("softmax"+s.suffix, 40)
	f.op("MOVQ s_base+0(FP), DI")
	f.op("MOVQ s_len+8(FP), CX")
	f.op("VMOVUPS (DI), %s", s.r(0))
	loop(f, s, "largest", []string{"DI"}, func() {
		f.op("VMOVUPS (DI), %s", s.r(1))
		f.op("VMAXPS %s, %s, %s", s.r(0), s.r(1), s.r(0))
	})
	fold(f, s, "VMAXPS")
	f.op("VMOVSS X0, max+32(FP)")
	f.op("VBROADCASTSS X0, %s", s.r(5))
	f.op("VBROADCASTSS scale+24(FP), %s", s.r(6))
	loadConstants(f, s, 8)
	f.op("%s %s, %s, %s", s.xor, s.r(0), s.r(0), s.r(0))
	f.op("MOVQ s_base+0(FP), DI")
	f.op("MOVQ s_len+8(FP), CX")
	loop(f, s, "exponentials", []string{"DI"}, func() {
		f.op("VMOVUPS (DI), %s", s.r(1))
		f.op("VSUBPS %s, %s, %s", s.r(5), s.r(1), s.r(1))
		f.op("VMULPS %s, %s, %s", s.r(6), s.r(1), s.r(1))
		exp(f, s, s.r(1), s.r(2), s.r(3), s.r(4), 8)
		f.op("VMOVUPS %s, (DI)", s.r(1))
		f.op("VADDPS %s, %s, %s", s.r(1), s.r(0), s.r(0))
	})
	fold(f, s, "VADDPS")
	f.op("VMOVSS X0, sum+36(FP)")
	f.op("VZEROUPPER")
	f.op("RET")
}

// silu: the twin is siluGeneric.
func writeSiLU(f *file, s isa) {
	f.text("silu"+s.suffix, 72)
	f.op("MOVQ out_base+0(FP), DI")
	f.op("MOVQ out_len+8(FP), CX")
	f.op("MOVQ gate_base+24(FP), SI")
	f.op("MOVQ up_base+48(FP), BX")
	loadConstants(f, s, 8)
	f.op("VBROADCASTSS exp%s<>+%d(SB), %s", s.suffix, 4*expOne, s.r(6))
	loop(f, s, "values", []string{"DI", "SI", "BX"}, func() {
		f.op("VMOVUPS (SI), %s", s.r(0))
		f.op("%s %s, %s, %s", s.xor, s.r(1), s.r(1), s.r(1))
		f.op("VSUBPS %s, %s, %s", s.r(0), s.r(1), s.r(1))
		exp(f, s, s.r(1), s.r(2), s.r(3), s.r(4), 8)
		f.op("VADDPS %s, %s, %s", s.r(6), s.r(1), s.r(1))
		f.op("VDIVPS %s, %s, %s", s.r(1), s.r(0), s.r(0))
		f.op("VMULPS (BX), %s, %s", s.r(0), s.r(0))
		f.op("VMOVUPS %s, (DI)", s.r(0))
	})
	f.op("VZEROUPPER")
	f.op("RET")
}

// sumSquares: the twin is sumSquaresGeneric.
func writeSumSquares(f *file, s isa) {
	f.text("sumSquares"+s.suffix, 28)
	f.op("MOVQ x_base+0(FP), SI")
	f.op("MOVQ x_len+8(FP), CX")
	f.op("%s %s, %s, %s", s.xor, s.r(0), s.r(0), s.r(0))
	loop(f, s, "values", []string{"SI"}, func() {
		f.op("VMOVUPS (SI), %s", s.r(1))
		f.op("VFMADD231PS %s, %s, %s", s.r(1), s.r(1), s.r(0))
	})
	fold(f, s, "VADDPS")
	f.op("VMOVSS X0, ret+24(FP)")
	f.op("VZEROUPPER")
	f.op("RET")
}

// scale: the twin is scaleGeneric.
func writeScale(f *file, s isa) {
	f.text("scale"+s.suffix, 76)
	f.op("MOVQ out_base+0(FP), DI")
	f.op("MOVQ out_len+8(FP), CX")
	f.op("MOVQ x_base+24(FP), SI")
	f.op("MOVQ w_base+48(FP), BX")
	f.op("VBROADCASTSS factor+72(FP), %s", s.r(1))
	loop(f, s, "values", []string{"DI", "SI", "BX"}, func() {
		f.op("VMULPS (SI), %s, %s", s.r(1), s.r(0))
		f.op("VMULPS (BX), %s, %s", s.r(0), s.r(0))
		f.op("VMOVUPS %s, (DI)", s.r(0))
	})
	f.op("VZEROUPPER")
	f.op("RET")
}

// add: the twin is addGeneric.
func writeAdd(f *file, s isa) {
	f.text("add"+s.suffix, 48)
	f.op("MOVQ out_base+0(FP), DI")
	f.op("MOVQ out_len+8(FP), CX")
	f.op("MOVQ x_base+24(FP), SI")
	loop(f, s, "values", []string{"DI", "SI"}, func() {
		f.op("VMOVUPS (SI), %s", s.r(0))
		f.op("VADDPS (DI), %s, %s", s.r(0), s.r(0))
		f.op("VMOVUPS %s, (DI)", s.r(0))
	})
	f.op("VZEROUPPER")
	f.op("RET")
}

// largest: the twin is largestGeneric. A NaN shows as a sum that is NaN: 0·x is added up beside the maximum.
func writeMax(f *file, s isa) {
	f.text("largest"+s.suffix, 32)
	f.op("MOVQ x_base+0(FP), SI")
	f.op("MOVQ x_len+8(FP), CX")
	f.op("VMOVUPS (SI), %s", s.r(0))
	zero, sum := s.r(3), s.r(2)
	f.op("%s %s, %s, %s", s.xor, zero, zero, zero)
	f.op("%s %s, %s, %s", s.xor, sum, sum, sum)
	loop(f, s, "values", []string{"SI"}, func() {
		f.op("VMOVUPS (SI), %s", s.r(1))
		f.op("VMAXPS %s, %s, %s", s.r(0), s.r(1), s.r(0))
		f.op("VFMADD231PS %s, %s, %s", zero, s.r(1), sum)
	})
	fold(f, s, "VMAXPS")
	f.op("VMOVSS X0, max+24(FP)")
	f.op("VMOVAPS %s, %s", sum, s.r(0))
	fold(f, s, "VADDPS")
	f.op("VMOVSS X0, check+28(FP)")
	f.op("VZEROUPPER")
	f.op("RET")
}
