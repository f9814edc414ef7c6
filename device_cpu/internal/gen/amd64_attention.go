package main

// writeAttention writes what a cache of bfloat16 needs beside products: keys and values made bfloat16 and, for attention in bfloat16,
// laid out as panels of weights.
func writeAttention(f *file) {
	writeSpreadKeys(f)
	writeSpreadValues(f)
	writeToBF16(f)
}

// writeSpreadStart loads the arguments that both functions have: BX and DX point into two blocks (the same one if there is no
// second), R13 and R14 into those to prefetch, DI and R8 into the panel's lower and upper outputs; a pair of inputs is R10 bytes
// behind the one before. Inputs come by groups of 16 pairs.
func writeSpreadStart(f *file, both int) {
	f.op("MOVQ dst_base+0(FP), DI")
	f.op("MOVQ blocks_base+24(FP), AX")
	f.op("MOVQ pairStride+%d(FP), R10", both-16)
	f.op("SHLQ $1, R10")
	f.op("MOVQ halfStride+%d(FP), R11", both-8)
	f.op("LEAQ (DI)(R11*2), R8")
	f.op("MOVQ (AX), BX")
	f.op("MOVQ 8(AX), DX")
	f.op("MOVQ %d(AX), R13", 8*lookahead)
	f.op("MOVQ %d(AX), R14", 8*lookahead+8)
	f.op("CMPQ both+%d(FP), $0", both)
	f.op("CMOVQEQ BX, DX")
}

// writeSpreadKeys: the twin is spreadKeysGeneric.
func writeSpreadKeys(f *file) {
	const groupBytes = 16 * 128
	f.text("spreadKeysAVX512", 80)
	writeSpreadStart(f, 72)
	f.op("MOVQ pairs+48(FP), R9")
	f.line("group:")
	f.op("MOVQ $16, CX")
	f.op("CMPQ R9, CX")
	f.op("CMOVQLT R9, CX")
	f.op("SUBQ CX, R9")
	f.op("MOVQ DI, SI")
	f.op("MOVQ R8, R12")
	f.line("pair:")
	f.op("PREFETCHT0 (R13)")
	f.op("PREFETCHT0 (R14)")
	f.op("VMOVDQU32 (BX), Z0")
	f.op("VMOVDQU32 (DX), Z1")
	f.op("VMOVDQU32 Z0, (SI)")
	f.op("VMOVDQU32 Z1, (R12)")
	for _, register := range []string{"BX", "DX", "R13", "R14"} {
		f.op("ADDQ $64, %s", register)
	}
	f.op("ADDQ R10, SI")
	f.op("ADDQ R10, R12")
	f.op("DECQ CX")
	f.op("JNZ pair")
	f.op("ADDQ $%d, DI", groupBytes)
	f.op("ADDQ $%d, R8", groupBytes)
	f.op("TESTQ R9, R9")
	f.op("JNZ group")
	f.op("VZEROUPPER")
	f.op("RET")
}

// writeSpreadValues: the twin is spreadValuesGeneric. A position's elements j and j+16 lie side by side; what goes into the panel are
// an element of two positions side by side.
func writeSpreadValues(f *file) {
	f.text("spreadValuesAVX512", 72)
	writeSpreadStart(f, 64)
	f.op("MOVL $0xaaaaaaaa, CX")
	f.op("KMOVD CX, K1")
	for _, block := range []struct{ from, ahead string }{{"BX", "R13"}, {"DX", "R14"}} {
		for pair := range 8 {
			f.op("PREFETCHT0 %d(%s)", 128*pair, block.ahead)
			f.op("PREFETCHT0 %d(%s)", 128*pair+64, block.ahead)
			f.op("VMOVDQU32 %d(%s), Z0", 128*pair, block.from)
			f.op("VMOVDQU32 %d(%s), Z1", 128*pair+64, block.from)
			f.op("VPSLLD $16, Z1, Z2")
			f.op("VPSRLD $16, Z0, Z3")
			f.op("VPBLENDMW Z2, Z0, K1, Z2")
			f.op("VPBLENDMW Z1, Z3, K1, Z3")
			f.op("VMOVDQU32 Z2, (DI)")
			f.op("VMOVDQU32 Z3, (R8)")
			f.op("ADDQ R10, DI")
			f.op("ADDQ R10, R8")
		}
	}
	f.op("VZEROUPPER")
	f.op("RET")
}

// writeToBF16: the twin is toBF16Generic.
func writeToBF16(f *file) {
	f.text("toBF16AVX512", 56)
	f.op("MOVQ dst_base+0(FP), DI")
	f.op("MOVQ x_base+24(FP), SI")
	f.op("MOVQ x_len+32(FP), CX")
	for i, c := range []int{0x7fff, 1, 0x40, 0x7f80} {
		f.op("MOVL $%#x, AX", c)
		f.op("VPBROADCASTD AX, Z%d", 4+i)
	}
	const below, one, quiet, exponent = "Z4", "Z5", "Z6", "Z7"
	f.op("KXORW K3, K3, K3")
	f.line("values:")
	f.op("VMOVUPS (SI), Z0")
	f.op("VCMPPS $3, Z0, Z0, K1") // NaN
	f.op("VPSRLD $16, Z0, Z1")
	f.op("VPANDD %s, Z1, Z2", one)
	f.op("VPADDD %s, Z2, Z2", below)
	f.op("VPADDD Z0, Z2, Z2")
	f.op("VPSRLD $16, Z2, Z2")
	f.op("VPORD %s, Z1, K1, Z2", quiet)
	f.op("VPMOVDW Z2, (DI)")
	f.op("VPANDD %s, Z2, Z2", exponent)
	f.op("VPCMPEQD %s, Z2, K2", exponent)
	f.op("KORW K2, K3, K3")
	f.op("ADDQ $64, SI")
	f.op("ADDQ $32, DI")
	f.op("SUBQ $16, CX")
	f.op("JNZ values")
	f.op("KMOVW K3, AX")
	f.op("MOVQ AX, broken+48(FP)")
	f.op("VZEROUPPER")
	f.op("RET")
}
