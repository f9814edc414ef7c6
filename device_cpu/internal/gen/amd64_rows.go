package main

import "math"

// The exponential function: eˣ = 2ⁿ·2ʳ with n the whole number nearest to t = x·log₂ e, |r| ≤ ½, a polynomial in r, and 2ⁿ by the
// exponent's bits. The polynomial is 1 at 0 and within 9.2e-8 of 2ʳ, relatively: the least that its degree allows (Lawson's
// iteration on 4,001 Chebyshev points).
var powerConstants = []float64{
	87.3, -87.3, -126, // what x and t are limited to
	math.Log2E,
	0.0013264727247250213, 0.009671512688153992, 0.05550733743573885, 0.24022242084635043, 0.6931469775987168, 1,
}

const (
	powerHigh = iota
	powerLow
	powerLeast
	powerLog2E
	powerP0
	powerOne = powerP0 + 5
)

func writeConstants(f *file, s isa) {
	f.line("")
	for i, c := range powerConstants {
		f.line("DATA exp%s<>+%d(SB)/4, $0x%08x", s.suffix, 4*i, math.Float32bits(float32(c)))
	}
	f.line("GLOBL exp%s<>(SB), RODATA|NOPTR, $%d", s.suffix, 4*len(powerConstants))
}

// loadConstants puts the constants into the registers from first on.
func loadConstants(f *file, s isa, first int) {
	for i := range powerConstants {
		f.op("VBROADCASTSS exp%s<>+%d(SB), %s", s.suffix, 4*i, s.r(first+i))
	}
}

// round writes n = t, rounded to a whole number.
func round(f *file, s isa, t, n string) {
	if s.lanes == 16 {
		f.op("VRNDSCALEPS $0, %s, %s", t, n)
	} else {
		f.op("VROUNDPS $0, %s, %s", t, n)
	}
}

// power writes x = 2ⁿ·2ˣ; p is scratch, n is lost. The constants lie in the registers from first on.
func power(f *file, s isa, x, n, p string, first int) {
	constant := func(i int) string { return s.r(first + i) }
	f.op("VMOVAPS %s, %s", constant(powerP0), p)
	for i := powerP0 + 1; i <= powerOne; i++ {
		f.op("VFMADD213PS %s, %s, %s", constant(i), x, p)
	}
	if s.lanes == 16 {
		f.op("VSCALEFPS %s, %s, %s", n, p, x)
		return
	}
	f.op("VCVTPS2DQ %s, %s", n, n)
	f.op("VPSLLD $23, %s, %s", n, n)
	f.op("VPADDD %s, %s, %s", constant(powerOne), n, n)
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
	const constants = 6
	loadConstants(f, s, constants)
	f.op("VBROADCASTSS scale+24(FP), %s", s.r(4))
	f.op("VMULPS %s, %s, %s", s.r(constants+powerLog2E), s.r(4), s.r(4))
	f.op("%s %s, %s, %s", s.xor, s.r(0), s.r(0), s.r(0))
	f.op("MOVQ s_base+0(FP), DI")
	f.op("MOVQ s_len+8(FP), CX")
	loop(f, s, "exponentials", []string{"DI"}, func() {
		f.op("VMOVUPS (DI), %s", s.r(1))
		f.op("VSUBPS %s, %s, %s", s.r(5), s.r(1), s.r(1))
		f.op("VMULPS %s, %s, %s", s.r(4), s.r(1), s.r(1))
		f.op("VMAXPS %s, %s, %s", s.r(1), s.r(constants+powerLeast), s.r(1)) // the first operand wins where one is NaN: x stays NaN
		round(f, s, s.r(1), s.r(2))
		f.op("VSUBPS %s, %s, %s", s.r(2), s.r(1), s.r(1))
		power(f, s, s.r(1), s.r(2), s.r(3), constants)
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
	const constants = 6
	loadConstants(f, s, constants)
	loop(f, s, "values", []string{"DI", "SI", "BX"}, func() {
		gate, t, n, p := s.r(0), s.r(1), s.r(2), s.r(3)
		f.op("VMOVUPS (SI), %s", gate)
		f.op("%s %s, %s, %s", s.xor, t, t, t)
		f.op("VSUBPS %s, %s, %s", gate, t, t)
		f.op("VMINPS %s, %s, %s", t, s.r(constants+powerHigh), t)
		f.op("VMAXPS %s, %s, %s", t, s.r(constants+powerLow), t)
		f.op("VMULPS %s, %s, %s", s.r(constants+powerLog2E), t, n)
		round(f, s, n, n)
		f.op("VFMSUB132PS %s, %s, %s", s.r(constants+powerLog2E), n, t) // t·log₂ e − n, rounded once
		power(f, s, t, n, p, constants)
		f.op("VADDPS %s, %s, %s", s.r(constants+powerOne), t, t)
		f.op("VDIVPS %s, %s, %s", t, gate, gate)
		f.op("VMULPS (BX), %s, %s", gate, gate)
		f.op("VMOVUPS %s, (DI)", gate)
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

// rotate: the twin is rotateGeneric, to the bit.
func writeRotate(f *file, s isa) {
	f.text("rotate"+s.suffix, 80)
	f.op("MOVQ x_base+0(FP), DI")
	f.op("MOVQ heads+24(FP), R8")
	f.op("MOVQ cos_len+40(FP), R9")
	f.line("head:")
	f.op("LEAQ (DI)(R9*4), SI")
	f.op("MOVQ cos_base+32(FP), BX")
	f.op("MOVQ sin_base+56(FP), DX")
	f.op("MOVQ R9, CX")
	loop(f, s, "values", []string{"DI", "SI", "BX", "DX"}, func() {
		f.op("VMOVUPS (DI), %s", s.r(0))
		f.op("VMOVUPS (SI), %s", s.r(1))
		f.op("VMOVUPS (BX), %s", s.r(2))
		f.op("VMOVUPS (DX), %s", s.r(3))
		f.op("VMULPS %s, %s, %s", s.r(2), s.r(0), s.r(4))
		f.op("VMULPS %s, %s, %s", s.r(3), s.r(1), s.r(5))
		f.op("VSUBPS %s, %s, %s", s.r(5), s.r(4), s.r(4))
		f.op("VMULPS %s, %s, %s", s.r(2), s.r(1), s.r(1))
		f.op("VMULPS %s, %s, %s", s.r(3), s.r(0), s.r(0))
		f.op("VADDPS %s, %s, %s", s.r(0), s.r(1), s.r(1))
		f.op("VMOVUPS %s, (DI)", s.r(4))
		f.op("VMOVUPS %s, (SI)", s.r(1))
	})
	f.op("MOVQ SI, DI")
	f.op("DECQ R8")
	f.op("JNZ head")
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
