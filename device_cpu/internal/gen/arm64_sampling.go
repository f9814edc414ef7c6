package main

// Instructions on two float64 values.
const (
	fsub64   = 0x4EE0D400
	fdiv64   = 0x6E60FC00
	fmax64   = 0x4E60F400
	fmul64   = 0x6E60DC00
	fadd64   = 0x4E60D400
	fcmge64  = 0x6E60E400
	frintn64 = 0x4E618800
	fcvtns64 = 0x4E61A800
	fcvtl64  = 0x0E617800 // lower two float32 to float64
	fcvtl64b = 0x4E617800 // upper two
)

// neonSampling writes the weights of sampling: the twin is sample.Weights, whose bits it gives. The number of logits is a
// multiple of 8.
func neonSampling(f *file) {
	writeExp64Constants(f, "NEON")
	f.text("weightsNEON", 64)
	f.op("MOVD dst_base+0(FP), R0")
	f.op("MOVD logits_base+24(FP), R2")
	f.op("MOVD logits_len+32(FP), R1")
	const max, temperature, constant, bias, term = 24, 25, 26, 30, 31
	f.op("FMOVD max+48(FP), F%d", max)
	f.op("VDUP V%d.D[0], V%d.D2", max, max)
	f.op("FMOVD temperature+56(FP), F%d", temperature)
	f.op("VDUP V%d.D[0], V%d.D2", temperature, temperature)
	f.op("MOVD $exp64NEON<>(SB), R3")
	for i := range exp64Terms {
		f.op("VLD1R.P 8(R3), [V%d.D2]", constant+i)
	}
	f.op("MOVD $1023, R4")
	f.op("VDUP R4, V%d.D2", bias)

	// Four vectors at a time, of which x, in, n and p are these registers.
	each := func(operation uint32, d, n, m int) {
		for i := range 4 {
			step := func(register int) int { // constants stay
				if register >= max {
					return register
				}
				return register + i
			}
			three(f, operation, step(d), step(n), step(m))
		}
	}
	const x, in, n, p, scratch = 0, 4, 8, 12, 16
	f.line("values:")
	f.op("VLD1.P 32(R2), [V16.S4, V17.S4]")
	for i := range 4 {
		two(f, []uint32{fcvtl64, fcvtl64b}[i%2], x+i, scratch+i/2)
	}
	each(fsub64, x, x, max)
	each(fdiv64, x, x, temperature)
	each(fcmge64, in, x, constant+exp64Least)
	each(fmax64, x, x, constant+exp64Least)
	each(fmul64, n, x, constant+exp64Log2E)
	for i := range 4 {
		two(f, frintn64, n+i, n+i)
	}
	for _, part := range []int{exp64Ln2High, exp64Ln2Low} {
		each(fmul64, scratch, n, constant+part)
		each(fsub64, x, x, scratch)
	}
	f.op("MOVD R3, R4")
	f.op("VLD1R.P 8(R4), [V%d.D2]", term)
	for i := range 4 {
		f.op("VMOV V%d.B16, V%d.B16", term, p+i)
	}
	for i := exp64Terms + 1; i < exp64Bias; i++ {
		f.op("VLD1R.P 8(R4), [V%d.D2]", term)
		each(fmul64, p, p, x)
		each(fadd64, p, p, term)
	}
	for i := range 4 {
		two(f, fcvtns64, n+i, n+i)
		f.op("VADD V%d.D2, V%d.D2, V%d.D2", bias, n+i, n+i)
		f.op("VSHL $52, V%d.D2, V%d.D2", n+i, n+i)
	}
	each(fmul64, p, p, n)
	for i := range 4 {
		f.op("VAND V%d.B16, V%d.B16, V%d.B16", in+i, p+i, p+i)
	}
	f.op("VST1.P [V%d.D2, V%d.D2, V%d.D2, V%d.D2], 64(R0)", p, p+1, p+2, p+3)
	f.op("SUBS $8, R1, R1")
	f.op("BNE values")
	f.op("RET")
}

func init() {
	for code, name := range map[uint32]string{fsub64: "FSUB", fdiv64: "FDIV", fmax64: "FMAX", fmul64: "FMUL", fadd64: "FADD",
		fcmge64: "FCMGE", frintn64: "FRINTN", fcvtns64: "FCVTNS", fcvtl64: "FCVTL", fcvtl64b: "FCVTL2"} {
		names[code] = name
	}
}
