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

// neonConstants puts the exponential's constants into V16 to V27.
func neonConstants(f *file) {
	f.op("MOVD $expNEON<>(SB), R6")
	for i := range expConstants {
		f.op("VLD1R.P 4(R6), [V%d.S4]", 16+i)
	}
}

// neonExp writes x = eˣ; n and p are scratch.
func neonExp(f *file, x, n, p int) {
	const constants = 16
	three(f, fmin, x, x, constants+expHigh)
	three(f, fmax, x, x, constants+expLow)
	three(f, fmul, n, x, constants+expLog2E)
	two(f, frintn, n, n)
	f.op("VFMLS V%d.S4, V%d.S4, V%d.S4", n, constants+expLn2High, x)
	f.op("VFMLS V%d.S4, V%d.S4, V%d.S4", n, constants+expLn2Low, x)
	// Horner's scheme by turns in p and in the temporary register 15, since an addition overwrites its summand.
	f.op("VMOV V%d.B16, V%d.B16", constants+expP0, p)
	for i := 1; i < 6; i++ {
		f.op("VMOV V%d.B16, V15.B16", constants+expP0+i)
		f.op("VFMLA V%d.S4, V%d.S4, V15.S4", x, p)
		f.op("VMOV V15.B16, V%d.B16", p)
	}
	three(f, fmul, p, p, x)
	f.op("VMOV V%d.B16, V15.B16", x)
	f.op("VFMLA V%d.S4, V%d.S4, V15.S4", x, p)
	three(f, fadd, p, 15, constants+expOne)
	two(f, fcvtns, n, n)
	f.op("VSHL $23, V%d.S4, V%d.S4", n, n)
	f.op("VADD V%d.S4, V%d.S4, V%d.S4", constants+expOne, n, n)
	three(f, fmul, x, p, n)
}

// neonLoop runs body on 16 values at a time: R1 are left.
func neonLoop(f *file, label string, body func()) {
	f.line("%s:", label)
	body()
	f.op("SUBS $16, R1, R1")
	f.op("BNE %s", label)
}

// neonSum adds up V0 to V3 into the lowest lane of V0.
func neonSum(f *file) {
	three(f, fadd, 0, 0, 1)
	three(f, fadd, 2, 2, 3)
	three(f, fadd, 0, 0, 2)
	three(f, faddp, 0, 0, 0)
	three(f, faddp, 0, 0, 0)
}

func neonClear(f *file, registers ...int) {
	for _, r := range registers {
		f.op("VEOR V%d.B16, V%d.B16, V%d.B16", r, r, r)
	}
}

func neonSoftmax(f *file) {
	f.text("softmaxNEON", 40)
	f.op("MOVD s_base+0(FP), R0")
	f.op("MOVD s_len+8(FP), R1")
	f.op("VLD1 (R0), [V0.S4, V1.S4, V2.S4, V3.S4]")
	neonLoop(f, "largest", func() {
		f.op("VLD1.P 64(R0), [V4.S4, V5.S4, V6.S4, V7.S4]")
		for i := range 4 {
			three(f, fmax, i, i, 4+i)
		}
	})
	three(f, fmax, 0, 0, 1)
	three(f, fmax, 2, 2, 3)
	three(f, fmax, 0, 0, 2)
	two(f, fmaxv, 0, 0)
	f.op("FMOVS F0, max+32(FP)")
	f.op("VDUP V0.S[0], V12.S4")
	f.op("FMOVS scale+24(FP), F13")
	f.op("VDUP V13.S[0], V13.S4")
	neonConstants(f)
	neonClear(f, 0, 1, 2, 3)
	f.op("MOVD s_base+0(FP), R0")
	f.op("MOVD s_len+8(FP), R1")
	neonLoop(f, "exponentials", func() {
		f.op("VLD1 (R0), [V4.S4, V5.S4, V6.S4, V7.S4]")
		for i := range 4 {
			three(f, fsub, 4+i, 4+i, 12)
			three(f, fmul, 4+i, 4+i, 13)
			neonExp(f, 4+i, 8, 9)
			three(f, fadd, i, i, 4+i)
		}
		f.op("VST1.P [V4.S4, V5.S4, V6.S4, V7.S4], 64(R0)")
	})
	neonSum(f)
	f.op("FMOVS F0, sum+36(FP)")
	f.op("RET")
}

func neonSiLU(f *file) {
	f.text("siluNEON", 72)
	f.op("MOVD out_base+0(FP), R0")
	f.op("MOVD out_len+8(FP), R1")
	f.op("MOVD gate_base+24(FP), R2")
	f.op("MOVD up_base+48(FP), R3")
	neonConstants(f)
	neonLoop(f, "values", func() {
		f.op("VLD1.P 64(R2), [V0.S4, V1.S4, V2.S4, V3.S4]")
		f.op("VLD1.P 64(R3), [V4.S4, V5.S4, V6.S4, V7.S4]")
		for i := range 4 {
			two(f, fneg, 8, i)
			neonExp(f, 8, 9, 10)
			three(f, fadd, 8, 8, 16+expOne)
			three(f, fdiv, i, i, 8)
			three(f, fmul, i, i, 4+i)
		}
		f.op("VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)")
	})
	f.op("RET")
}

func neonSumSquares(f *file) {
	f.text("sumSquaresNEON", 28)
	f.op("MOVD x_base+0(FP), R0")
	f.op("MOVD x_len+8(FP), R1")
	neonClear(f, 0, 1, 2, 3)
	neonLoop(f, "values", func() {
		f.op("VLD1.P 64(R0), [V4.S4, V5.S4, V6.S4, V7.S4]")
		for i := range 4 {
			f.op("VFMLA V%d.S4, V%d.S4, V%d.S4", 4+i, 4+i, i)
		}
	})
	neonSum(f)
	f.op("FMOVS F0, ret+24(FP)")
	f.op("RET")
}

func neonScale(f *file) {
	f.text("scaleNEON", 76)
	f.op("MOVD out_base+0(FP), R0")
	f.op("MOVD out_len+8(FP), R1")
	f.op("MOVD x_base+24(FP), R2")
	f.op("MOVD w_base+48(FP), R3")
	f.op("FMOVS factor+72(FP), F8")
	f.op("VDUP V8.S[0], V8.S4")
	neonLoop(f, "values", func() {
		f.op("VLD1.P 64(R2), [V0.S4, V1.S4, V2.S4, V3.S4]")
		f.op("VLD1.P 64(R3), [V4.S4, V5.S4, V6.S4, V7.S4]")
		for i := range 4 {
			three(f, fmul, i, i, 8)
			three(f, fmul, i, i, 4+i)
		}
		f.op("VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)")
	})
	f.op("RET")
}

func neonAdd(f *file) {
	f.text("addNEON", 48)
	f.op("MOVD out_base+0(FP), R0")
	f.op("MOVD out_len+8(FP), R1")
	f.op("MOVD x_base+24(FP), R2")
	neonLoop(f, "values", func() {
		f.op("VLD1 (R0), [V0.S4, V1.S4, V2.S4, V3.S4]")
		f.op("VLD1.P 64(R2), [V4.S4, V5.S4, V6.S4, V7.S4]")
		for i := range 4 {
			three(f, fadd, i, i, 4+i)
		}
		f.op("VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)")
	})
	f.op("RET")
}

// neonRotate writes the twin of rotateGeneric: each product is rounded.
func neonRotate(f *file) {
	f.text("rotateNEON", 96)
	f.op("MOVD low_base+0(FP), R0")
	f.op("MOVD low_len+8(FP), R1")
	f.op("MOVD high_base+24(FP), R2")
	f.op("MOVD cos_base+48(FP), R3")
	f.op("MOVD sin_base+72(FP), R4")
	neonLoop(f, "values", func() {
		for i, pointer := range []string{"(R0)", "(R2)", "(R3)", "(R4)"} {
			load := "VLD1"
			if i >= 2 {
				load, pointer = "VLD1.P", "64"+pointer
			}
			f.op("%s %s, [V%d.S4, V%d.S4, V%d.S4, V%d.S4]", load, pointer, 4*i, 4*i+1, 4*i+2, 4*i+3)
		}
		for i := range 4 {
			low, high, cos, sin := i, 4+i, 8+i, 12+i
			three(f, fmul, 16, low, sin)
			three(f, fmul, low, low, cos)
			three(f, fmul, 17, high, sin)
			three(f, fmul, high, high, cos)
			three(f, fsub, low, low, 17)
			three(f, fadd, high, high, 16)
		}
		f.op("VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)")
		f.op("VST1.P [V4.S4, V5.S4, V6.S4, V7.S4], 64(R2)")
	})
	f.op("RET")
}

func neonLargest(f *file) {
	f.text("largestNEON", 32)
	f.op("MOVD x_base+0(FP), R0")
	f.op("MOVD x_len+8(FP), R1")
	f.op("VLD1 (R0), [V8.S4, V9.S4, V10.S4, V11.S4]")
	neonClear(f, 0, 1, 2, 3, 12)
	neonLoop(f, "values", func() {
		f.op("VLD1.P 64(R0), [V4.S4, V5.S4, V6.S4, V7.S4]")
		for i := range 4 {
			three(f, fmax, 8+i, 8+i, 4+i)
			f.op("VFMLA V12.S4, V%d.S4, V%d.S4", 4+i, i)
		}
	})
	three(f, fmax, 8, 8, 9)
	three(f, fmax, 10, 10, 11)
	three(f, fmax, 8, 8, 10)
	two(f, fmaxv, 8, 8)
	f.op("FMOVS F8, max+24(FP)")
	neonSum(f)
	f.op("FMOVS F0, check+28(FP)")
	f.op("RET")
}
