package main

import (
	"fmt"
	"strconv"

	"minisgl/device_cpu/internal/layout"
)

// dotRows is how many rows a tile of quantised weights has.
func (s isa) dotRows() int {
	if s.lanes == 16 {
		return 8
	}
	return 6
}

// dotParts cuts a panel so that the sums of rows rows fit the registers.
func (s isa) dotParts(rows int) [][]int {
	if s.lanes == 16 {
		return [][]int{{0, 16}}
	}
	if rows <= 2 {
		return [][]int{{0, 8, 16, 24}}
	}
	return [][]int{{0, 8}, {16, 24}}
}

// writeDot writes the product of 16-bit activations and unpacked weights; the twin is dotGeneric. Sums of 32 inputs are whole
// numbers; with scales and offsets they go to c.
func writeDot(f *file, s isa) {
	f.text("dot"+s.suffix, 184)
	f.op("MOVQ ldx+80(FP), R9")
	f.op("LEAQ (R9)(R9*2), R10")
	f.op("LEAQ (R9)(R9*4), R11")
	f.op("MOVQ ldw+112(FP), R15")
	f.op("MOVQ groups+144(FP), R13")
	f.op("SHLQ $7, R13")
	f.op("SUBQ R13, R15")
	f.op("MOVQ rows+160(FP), R13")
	for rows := s.dotRows(); rows > 1; rows-- {
		f.op("CMPQ R13, $%d", rows)
		f.op("JEQ rows%d", rows)
	}
	for rows := 1; rows <= s.dotRows(); rows++ {
		f.line("rows%d:", rows)
		for i, outputs := range s.dotParts(rows) {
			writeDotPart(f, s, rows, outputs, fmt.Sprintf("%dpart%d", rows, i))
		}
		f.op("VZEROUPPER")
		f.op("RET")
	}
}

// dotAddress is rowAddress for the activations' scales: AX points into row 0, R14 into row 7.
func dotAddress(r int) string {
	base := "AX"
	if r >= 7 {
		base, r = "R14", r-7
	}
	return "(" + base + ")" + []string{"", "(R9*1)", "(R9*2)", "(R10*1)", "(R9*4)", "(R11*1)", "(R10*2)"}[r]
}

func writeDotPart(f *file, s isa, rows int, outputs []int, label string) {
	n := len(outputs)
	sum := func(r, v int) string { return s.r(r*n + v) }
	// Vectors of weights are taken one by one where registers are few.
	together := 1
	if s.lanes == 16 {
		together = n
	}
	even := func(v int) string { return s.r(rows*n + v%together*2) }
	odd := func(v int) string { return s.r(rows*n + v%together*2 + 1) }
	x := s.r(rows*n + 2*together)
	mask := s.r(rows*n + 2*together + 1)
	product := x
	if together > 1 {
		product = s.r(rows*n + 2*together + 2)
	}

	f.op("MOVQ x_base+32(FP), SI")
	f.op("LEAQ (SI)(R10*2), R12")
	f.op("ADDQ R9, R12")
	f.op("MOVQ sx_base+56(FP), AX")
	f.op("LEAQ (AX)(R10*2), R14")
	f.op("ADDQ R9, R14")
	f.op("MOVQ w_base+88(FP), BX")
	f.op("MOVQ scales_base+120(FP), DX")
	f.op("MOVQ blocks+152(FP), CX")
	s.broadcast(f, 0x00ff00ff, mask)
	f.op("MOVQ add+168(FP), R13")
	f.op("TESTQ R13, R13")
	f.op("JNZ block%s", label)
	f.op("MOVQ c_base+0(FP), DI")
	f.op("MOVQ ldc+24(FP), R8")
	f.op("%s %s, %s, %s", s.xor, x, x, x)
	for range rows {
		for _, output := range outputs {
			f.op("VMOVUPS %s, %d(DI)", x, 4*output)
		}
		f.op("LEAQ (DI)(R8*4), DI")
	}

	f.line("block%s:", label)
	for r := range rows {
		for v := range n {
			f.op("%s %s, %s, %s", s.xor, sum(r, v), sum(r, v), sum(r, v))
		}
	}
	f.op("MOVQ groups+144(FP), R13")
	f.op("MOVQ ahead+176(FP), R8")
	f.line("group%s:", label)
	f.op("PREFETCHT0 (BX)(R8*1)")
	f.op("PREFETCHT0 64(BX)(R8*1)")
	for first := 0; first < n; first += together {
		for v := first; v < first+together; v++ {
			f.op("%s %d(BX), %s", s.load, 4*outputs[v], even(v))
			f.op("VPSRLW $8, %s, %s", even(v), odd(v))
			f.op("%s %s, %s, %s", s.and, mask, even(v), even(v))
		}
		for r := range rows {
			for pair, weights := range []func(int) string{even, odd} {
				for v := first; v < first+together; v++ {
					if v == first {
						f.op("VPBROADCASTD %d%s, %s", 4*pair, rowAddress(r), x)
					}
					if s.vnni {
						s.addProducts(f, weights(v), x, sum(r, v))
						continue
					}
					f.op("VPMADDWD %s, %s, %s", weights(v), x, product)
					f.op("VPADDD %s, %s, %s", product, sum(r, v), sum(r, v))
				}
			}
		}
	}
	f.op("ADDQ $8, SI")
	if rows > 7 {
		f.op("ADDQ $8, R12")
	}
	f.op("ADDQ $%d, BX", 4*layout.Panel)
	f.op("DECQ R13")
	f.op("JNZ group%s", label)

	f.op("MOVQ c_base+0(FP), DI")
	f.op("MOVQ ldc+24(FP), R8")
	for first := 0; first < n; first += together {
		for v := first; v < first+together; v++ {
			f.op("VMOVUPS %d(DX), %s", 4*outputs[v], even(v))
			f.op("VMOVUPS %d(DX), %s", 4*(layout.Panel+outputs[v]), odd(v))
		}
		for r := range rows {
			for v := first; v < first+together; v++ {
				f.op("VCVTDQ2PS %s, %s", sum(r, v), sum(r, v))
				f.op("VBROADCASTSS %s, %s", dotAddress(r), x)
				f.op("VMULPS %s, %s, %s", even(v), x, x)
				f.op("VFMADD213PS %d(DI), %s, %s", 4*outputs[v], x, sum(r, v))
				f.op("VBROADCASTSS 4%s, %s", dotAddress(r), x)
				f.op("VFNMADD231PS %s, %s, %s", odd(v), x, sum(r, v))
				f.op("VMOVUPS %s, %d(DI)", sum(r, v), 4*outputs[v])
			}
			f.op("LEAQ (DI)(R8*4), DI")
		}
		if first+together < n {
			f.op("MOVQ c_base+0(FP), DI")
		}
	}
	f.op("ADDQ $8, AX")
	if rows > 7 {
		f.op("ADDQ $8, R14")
	}
	f.op("ADDQ $%d, DX", 8*layout.Panel)
	f.op("ADDQ R15, BX")
	f.op("DECQ CX")
	f.op("JNZ block%s", label)
}

// addProducts writes VPDPWSSD, which adds the products of pairs of 16-bit numbers to sums. Go's assembler has the form of
// AVX-512 only; that of AVX-VNNI is VEX.256.66.0F38.W0 52 (Intel's manual, volume 2).
func (s isa) addProducts(f *file, a, b, sum string) {
	if s.lanes == 16 {
		f.op("VPDPWSSD %s, %s, %s", a, b, sum)
		return
	}
	number := func(register string) byte {
		n, err := strconv.Atoi(register[1:])
		if err != nil {
			panic(err)
		}
		return byte(n)
	}
	m, v, d := number(a), number(b), number(sum)
	f.op("BYTE $0xc4; BYTE $0x%02x; BYTE $0x%02x; BYTE $0x52; BYTE $0x%02x // VPDPWSSD %s, %s, %s",
		^d>>3&1<<7|1<<6|^m>>3&1<<5|2, ^v&15<<3|1<<2|1, 3<<6|d&7<<3|m&7, a, b, sum)
}

// broadcast fills a register with a 32-bit number.
func (s isa) broadcast(f *file, number uint32, register string) {
	f.op("MOVL $0x%08x, R13", number)
	if s.lanes == 16 {
		f.op("VPBROADCASTD R13, %s", register)
		return
	}
	f.op("VMOVD R13, X%s", register[1:])
	f.op("VPBROADCASTD X%s, %s", register[1:], register)
}
