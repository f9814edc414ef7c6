package main

import (
	"fmt"
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
// multiple of 32. Each operation waits for the one before, so four vectors go side by side.
func writeSampling(f *file, s isa) {
	const vectors = 4
	writeExp64Constants(f, s.suffix)
	f.text("weights"+s.suffix, 64)
	lanes := s.lanes / 2
	constant, max, temperature, scratch := s.r(3*vectors), s.r(3*vectors+1), s.r(3*vectors+2), s.r(3*vectors+3)
	get := func(i int) { f.op("VBROADCASTSD exp64%s<>+%d(SB), %s", s.suffix, 8*i, constant) }
	each := func(write func(v int, x, n, p string)) {
		for v := range vectors {
			write(v, s.r(v), s.r(vectors+v), s.r(2*vectors+v))
		}
	}
	place := func(v int) string { return fmt.Sprintf("%d(DI)", 8*lanes*v) }
	f.op("MOVQ dst_base+0(FP), DI")
	f.op("MOVQ logits_base+24(FP), SI")
	f.op("MOVQ logits_len+32(FP), CX")
	f.op("VBROADCASTSD max+48(FP), %s", max)
	f.op("VBROADCASTSD temperature+56(FP), %s", temperature)
	f.line("values:")
	get(exp64Least)
	each(func(v int, x, n, p string) {
		f.op("VCVTPS2PD %d(SI), %s", 4*lanes*v, x)
		f.op("VSUBPD %s, %s, %s", max, x, x)
		f.op("VDIVPD %s, %s, %s", temperature, x, x)
		if s.lanes == 16 {
			f.op("VCMPPD $13, %s, %s, K%d", constant, x, 1+v) // x ≥ least
		} else {
			f.op("VCMPPD $13, %s, %s, %s", constant, x, scratch)
			f.op("VMOVUPD %s, %s", scratch, place(v))
		}
		f.op("VMAXPD %s, %s, %s", constant, x, x)
	})
	get(exp64Log2E)
	each(func(v int, x, n, p string) {
		f.op("VMULPD %s, %s, %s", constant, x, n)
		if s.lanes == 16 {
			f.op("VRNDSCALEPD $0, %s, %s", n, n)
		} else {
			f.op("VROUNDPD $0, %s, %s", n, n)
		}
	})
	for _, part := range []int{exp64Ln2High, exp64Ln2Low} {
		get(part)
		each(func(v int, x, n, p string) {
			f.op("VMULPD %s, %s, %s", constant, n, p)
			f.op("VSUBPD %s, %s, %s", p, x, x)
		})
	}
	get(exp64Terms)
	each(func(v int, x, n, p string) { f.op("VMOVAPD %s, %s", constant, p) })
	for i := exp64Terms + 1; i < exp64Bias; i++ {
		get(i)
		each(func(v int, x, n, p string) {
			f.op("VMULPD %s, %s, %s", x, p, p)
			f.op("VADDPD %s, %s, %s", constant, p, p)
		})
	}
	get(exp64Bias)
	each(func(v int, x, n, p string) {
		if s.lanes == 16 {
			f.op("VCVTPD2QQ %s, %s", n, n)
		} else {
			f.op("VCVTPD2DQY %s, X%d", n, vectors+v)
			f.op("VPMOVSXDQ X%d, %s", vectors+v, n)
		}
		f.op("VPADDQ %s, %s, %s", constant, n, n)
		f.op("VPSLLQ $52, %s, %s", n, n)
		f.op("VMULPD %s, %s, %s", n, p, p)
		if s.lanes == 16 {
			f.op("VMOVAPD.Z %s, K%d, %s", p, 1+v, p)
		} else {
			f.op("VANDPD %s, %s, %s", place(v), p, p)
		}
		f.op("VMOVUPD %s, %s", p, place(v))
	})
	f.op("ADDQ $%d, DI", 8*lanes*vectors)
	f.op("ADDQ $%d, SI", 4*lanes*vectors)
	f.op("SUBQ $%d, CX", lanes*vectors)
	f.op("JNZ values")
	f.op("VZEROUPPER")
	f.op("RET")
}
