package main

import (
	"fmt"
	"strings"
)

// evex writes an instruction on 512-bit registers that Go's assembler does not know: EVEX.512.F3.0F38.W0 (Intel's manual, volume
// 2, section 2.7). d, n and m are the numbers of the destination and the operands; n is 0 where there is one operand.
func evex(f *file, name string, opcode byte, d, n, m int) {
	bit := func(x, i int) byte { return byte(^x >> i & 1) }
	code := []byte{0x62,
		bit(d, 3)<<7 | bit(m, 4)<<6 | bit(m, 3)<<5 | bit(d, 4)<<4 | 2,
		byte(^n&15)<<3 | 1<<2 | 2,
		2<<5 | bit(n, 4)<<3,
		opcode,
		3<<6 | byte(d&7)<<3 | byte(m&7)}
	var bytes []string
	for _, b := range code {
		bytes = append(bytes, fmt.Sprintf("BYTE $0x%02x", b))
	}
	f.op("%s // %s Z%d, Z%d, Z%d", strings.Join(bytes, "; "), name, m, n, d)
}

// writePairs writes the products of bfloat16 with VDPBF16PS, which adds those of two neighbouring inputs at once.
func writePairs(f *file) {
	const rows = 14
	f.text("dotPairs", 112)
	f.op("MOVQ ldc+24(FP), R8")
	f.op("SHLQ $2, R8")
	f.op("MOVQ ldx+56(FP), R9")
	f.op("SHLQ $1, R9")
	f.op("LEAQ (R9)(R9*2), R10")
	f.op("LEAQ (R9)(R9*4), R11")
	f.op("MOVQ c_base+0(FP), DI")
	f.op("MOVQ x_base+32(FP), SI")
	f.op("LEAQ (SI)(R10*2), R12")
	f.op("ADDQ R9, R12")
	f.op("MOVQ w_base+64(FP), BX")
	f.op("MOVQ pairs+88(FP), CX")
	f.op("MOVQ rows+96(FP), R13")
	f.op("MOVQ add+104(FP), AX")
	for n := rows; n > 1; n-- {
		f.op("CMPQ R13, $%d", n)
		f.op("JEQ rows%d", n)
	}
	for n := 1; n <= rows; n++ {
		f.line("rows%d:", n)
		writePairRows(f, n)
	}
}

func writePairRows(f *file, rows int) {
	const x, lower, upper = 28, 29, 30
	for i := range 2 * rows {
		f.op("VPXORD Z%d, Z%d, Z%d", i, i, i)
	}
	f.op("TESTQ AX, AX")
	f.op("JZ loop%d", rows)
	for r := range rows {
		f.op("VMOVUPS (DI), Z%d", 2*r)
		f.op("VMOVUPS 64(DI), Z%d", 2*r+1)
		f.op("ADDQ R8, DI")
	}
	f.op("MOVQ c_base+0(FP), DI")
	f.line("loop%d:", rows)
	f.op("PREFETCHT0 4096(BX)")
	f.op("PREFETCHT0 4160(BX)")
	f.op("VMOVUPS (BX), Z%d", lower)
	f.op("VMOVUPS 64(BX), Z%d", upper)
	for r := range rows {
		f.op("VBROADCASTSS %s, Z%d", rowAddress(r), x)
		evex(f, "VDPBF16PS", 0x52, 2*r, x, lower)
		evex(f, "VDPBF16PS", 0x52, 2*r+1, x, upper)
	}
	f.op("ADDQ $4, SI")
	if rows > 7 {
		f.op("ADDQ $4, R12")
	}
	f.op("ADDQ $128, BX")
	f.op("DECQ CX")
	f.op("JNZ loop%d", rows)
	for r := range rows {
		f.op("VMOVUPS Z%d, (DI)", 2*r)
		f.op("VMOVUPS Z%d, 64(DI)", 2*r+1)
		f.op("ADDQ R8, DI")
	}
	f.op("VZEROUPPER")
	f.op("RET")
}

// writeRoundPairs writes the function that makes activations bfloat16.
func writeRoundPairs(f *file) {
	f.text("roundPairs", 48)
	f.op("MOVQ x_base+0(FP), SI")
	f.op("MOVQ x_len+8(FP), CX")
	f.op("MOVQ q_base+24(FP), DI")
	f.line("values:")
	f.op("VMOVUPS (SI), Z0")
	evex(f, "VCVTNEPS2BF16", 0x72, 1, 0, 0)
	f.op("VMOVDQU Y1, (DI)")
	f.op("ADDQ $64, SI")
	f.op("ADDQ $32, DI")
	f.op("SUBQ $16, CX")
	f.op("JNZ values")
	f.op("VZEROUPPER")
	f.op("RET")
}
