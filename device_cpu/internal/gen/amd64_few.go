package main

import (
	"fmt"

	"minisgl/device_cpu/internal/layout"
)

// fewRows is how many rows are multiplied with weights that are unpacked in registers: so few that memory is the limit.
func (s isa) fewRows() int { return s.lanes / 8 }

// writeFew writes the product of a few rows and blocks of a format: unpack and dot in one, with the same results.
func writeFew(f *file, s isa, format *layout.Format) {
	f.text("few"+format.DType.String()+s.suffix, 136)
	f.op("MOVQ ldc+24(FP), R8")
	f.op("MOVQ ldx+80(FP), R9")
	f.op("MOVQ c_base+0(FP), DI")
	f.op("MOVQ x_base+32(FP), SI")
	f.op("MOVQ sx_base+56(FP), AX")
	f.op("MOVQ w_base+88(FP), BX")
	f.op("MOVQ blocks+112(FP), CX")
	u := newUnpacker(f, s, format)
	f.op("MOVQ rows+120(FP), R13")
	for rows := s.fewRows(); rows > 1; rows-- {
		f.op("CMPQ R13, $%d", rows)
		f.op("JEQ rows%d", rows)
	}
	for rows := 1; rows <= s.fewRows(); rows++ {
		f.line("rows%d:", rows)
		writeFewRows(f, u, rows)
	}
}

func writeFewRows(f *file, u *unpacker, rows int) {
	vectors := layout.Panel / u.lanes
	sum := func(r, v int) string { return u.r(r*vectors + v) }
	// VPDPWSSD takes 4 cycles to add, so that even and odd pairs have sums of their own.
	chains := 1
	if u.vnni {
		chains = 2
	}
	chain := func(r, v, pair int) string { return u.r(pair%chains*rows*vectors + r*vectors + v) }
	clearSums := func() {
		for i := range rows * vectors * chains {
			f.op("%s %s, %s, %s", u.xor, u.r(i), u.r(i), u.r(i))
		}
	}
	at := func(base string, r, offset int) string {
		return fmt.Sprintf("%d(%s)%s", offset, base, []string{"", "(R9*1)"}[r])
	}
	result := func(r, v int) string {
		return fmt.Sprintf("%d(DI)%s", 4*u.lanes*v, []string{"", "(R8*4)"}[r])
	}
	clearSums()
	f.op("MOVQ add+128(FP), R13")
	f.op("TESTQ R13, R13")
	f.op("JNZ block%d", rows)
	for r := range rows {
		for v := range vectors {
			f.op("VMOVUPS %s, %s", sum(0, 0), result(r, v))
		}
	}
	f.line("block%d:", rows)
	u.beginBlock()
	if u.Super {
		f.line("sub%d:", rows)
	}
	clearSums()
	for p := range layout.Groups / 2 {
		u.prefetch(p)
		for v := range vectors {
			u.words(p, v)
			for i, word := range []string{u.low, u.high} {
				f.op("VPSRLW $8, %s, %s", word, u.odd)
				f.op("%s %s, %s, %s", u.and, u.bytePairs, word, word)
				for pair, weights := range []string{word, u.odd} {
					for r := range rows {
						f.op("VPBROADCASTD %s, %s", at("SI", r, 8*(2*p+i)+4*pair), u.x)
						if u.vnni {
							u.addProducts(f, weights, u.x, chain(r, v, pair))
						} else {
							f.op("VPMADDWD %s, %s, %s", weights, u.x, u.x)
							f.op("VPADDD %s, %s, %s", u.x, sum(r, v), sum(r, v))
						}
					}
				}
			}
		}
		perScale := u.ScaleInputs() / 8
		if p%perScale != perScale-1 {
			continue
		}
		half := p / perScale
		for v := range vectors {
			scale, offset := u.scales(half, v*u.lanes)
			for r := range rows {
				if chains > 1 {
					f.op("VPADDD %s, %s, %s", chain(r, v, 1), sum(r, v), sum(r, v))
				}
				f.op("VCVTDQ2PS %s, %s", sum(r, v), sum(r, v))
				f.op("VBROADCASTSS %s, %s", at("AX", r, 8*half), u.x)
				f.op("VMULPS %s, %s, %s", scale, u.x, u.x)
				f.op("VFMADD213PS %s, %s, %s", result(r, v), u.x, sum(r, v))
				f.op("VBROADCASTSS %s, %s", at("AX", r, 8*half+4), u.x)
				f.op("VFNMADD231PS %s, %s, %s", offset, u.x, sum(r, v))
				f.op("VMOVUPS %s, %s", sum(r, v), result(r, v))
			}
		}
		if p != layout.Groups/2-1 {
			clearSums()
		}
	}
	f.op("ADDQ $%d, SI", 2*layout.Sub)
	f.op("ADDQ $%d, AX", 8*layout.Sub/u.ScaleInputs())
	f.op("ADDQ $%d, BX", u.SubBytes())
	u.endBlock(fmt.Sprint(rows))
	f.op("VZEROUPPER")
	f.op("RET")
}
