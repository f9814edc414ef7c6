package main

import (
	"math"

	"minisgl/device/sample"
)

// Places in sample.ExpConstants.
const (
	exp64Least = iota
	exp64Log2E
	exp64Ln2High
	exp64Ln2Low
	exp64Terms
)

// exp64Bias stands behind the constants: what the exponent of 2⁰ is.
var exp64Bias = len(sample.ExpConstants())

func writeExp64Constants(f *file, suffix string) {
	f.line("")
	constants := sample.ExpConstants()
	for i, c := range constants {
		f.line("DATA exp64%s<>+%d(SB)/8, $0x%016x", suffix, 8*i, math.Float64bits(c))
	}
	f.line("DATA exp64%s<>+%d(SB)/8, $1023", suffix, 8*exp64Bias)
	f.line("GLOBL exp64%s<>(SB), RODATA|NOPTR, $%d", suffix, 8*(len(constants)+1))
}

// writeSampling writes the weights of sampling: the twin is sample.Weights, whose bits it gives. The number of logits is a
// multiple of 8.
func writeSampling(f *file, s isa) {
	writeExp64Constants(f, s.suffix)
	f.text("weights"+s.suffix, 64)
	lanes := s.lanes / 2
	x, n, p, constant, max, temperature, in := s.r(0), s.r(1), s.r(2), s.r(3), s.r(4), s.r(5), s.r(6)
	get := func(i int) string {
		f.op("VBROADCASTSD exp64%s<>+%d(SB), %s", s.suffix, 8*i, constant)
		return constant
	}
	f.op("MOVQ dst_base+0(FP), DI")
	f.op("MOVQ logits_base+24(FP), SI")
	f.op("MOVQ logits_len+32(FP), CX")
	f.op("VBROADCASTSD max+48(FP), %s", max)
	f.op("VBROADCASTSD temperature+56(FP), %s", temperature)
	f.line("values:")
	f.op("VCVTPS2PD (SI), %s", x)
	f.op("VSUBPD %s, %s, %s", max, x, x)
	f.op("VDIVPD %s, %s, %s", temperature, x, in)
	get(exp64Least)
	f.op("VMAXPD %s, %s, %s", constant, in, x)
	if s.lanes == 16 {
		f.op("VCMPPD $13, %s, %s, K1", constant, in) // in ≥ least
	} else {
		f.op("VCMPPD $13, %s, %s, %s", constant, in, in)
	}
	f.op("VMULPD %s, %s, %s", get(exp64Log2E), x, n)
	if s.lanes == 16 {
		f.op("VRNDSCALEPD $0, %s, %s", n, n)
	} else {
		f.op("VROUNDPD $0, %s, %s", n, n)
	}
	for _, part := range []int{exp64Ln2High, exp64Ln2Low} {
		f.op("VMULPD %s, %s, %s", get(part), n, p)
		f.op("VSUBPD %s, %s, %s", p, x, x)
	}
	f.op("VBROADCASTSD exp64%s<>+%d(SB), %s", s.suffix, 8*exp64Terms, p)
	for i := exp64Terms + 1; i < exp64Bias; i++ {
		f.op("VMULPD %s, %s, %s", x, p, p)
		f.op("VADDPD %s, %s, %s", get(i), p, p)
	}
	if s.lanes == 16 {
		f.op("VCVTPD2QQ %s, %s", n, n)
	} else {
		f.op("VCVTPD2DQY %s, X1", n)
		f.op("VPMOVSXDQ X1, %s", n)
	}
	f.op("VPADDQ %s, %s, %s", get(exp64Bias), n, n)
	f.op("VPSLLQ $52, %s, %s", n, n)
	f.op("VMULPD %s, %s, %s", n, p, p)
	if s.lanes == 16 {
		f.op("VMOVAPD.Z %s, K1, %s", p, p)
	} else {
		f.op("VANDPD %s, %s, %s", in, p, p)
	}
	f.op("VMOVUPD %s, (DI)", p)
	f.op("ADDQ $%d, DI", 8*lanes)
	f.op("ADDQ $%d, SI", 4*lanes)
	f.op("SUBQ $%d, CX", lanes)
	f.op("JNZ values")
	f.op("VZEROUPPER")
	f.op("RET")
}
