package main

import "fmt"

// kvTypes are the types of the KV cache; the layouts of their blocks are in kv.go.
var kvTypes = []string{"F32", "BF16", "I8"}

// lookahead is how many blocks ahead the kernels of attention prefetch: lookBlocks in attention.go.
const lookahead = 4

func writeKV(f *file, s isa) {
	for _, t := range kvTypes {
		writeScores(f, s, t)
		writeWeigh(f, s, t)
	}
	writeBlend(f, s)
	writeSampling(f, s)
}

// writeTileStart computes the strides and jumps to the code for the number of rows.
func writeTileStart(f *file, s isa) {
	f.op("MOVQ ldx+56(FP), R9")
	f.op("SHLQ $2, R9")
	f.op("LEAQ (R9)(R9*2), R10")
	f.op("LEAQ (R9)(R9*4), R11")
	f.op("MOVQ blocks_base+64(FP), AX")
	f.op("MOVQ rows+104(FP), R13")
	for rows := s.rows; rows > 1; rows-- {
		f.op("CMPQ R13, $%d", rows)
		f.op("JEQ rows%d", rows)
	}
}

// writeMask puts the upper halves' mask into a register, through R13.
func writeMask(f *file, s isa, register int) {
	f.op("MOVL $0xffff0000, R13")
	if s.lanes == 16 {
		f.op("VPBROADCASTD R13, %s", s.r(register))
		return
	}
	f.op("VMOVD R13, X%d", register)
	f.op("VPBROADCASTD X%d, %s", register, s.r(register))
}

// writeRows adds an activation of each row times the vectors of weights to the rows' sums: x[at] · w. AVX-512 has no register
// left for the activation where scale is held in two.
func writeRows(f *file, s isa, rows, n, at int, sum func(r, v int) string, weight func(int) string, x string) {
	for r := range rows {
		address := rowAddress(r)
		if at > 0 {
			address = fmt.Sprintf("%d%s", at, address)
		}
		if x == "" {
			for v := range n {
				f.op("VFMADD231PS.BCST %s, %s, %s", address, weight(v), sum(r, v))
			}
			continue
		}
		f.op("VBROADCASTSS %s, %s", address, x)
		for v := range n {
			f.op("VFMADD231PS %s, %s, %s", weight(v), x, sum(r, v))
		}
	}
}

// writeScores writes the product of queries and keys: its twin is scoresGeneric. AVX-512 takes two blocks of 16 positions at
// a time, AVX2 one. The registers: SI and R12 in the queries, R9 to R11 their strides, AX in the list of blocks, BX and DX in
// blocks, R13 and R14 where to prefetch, CX the inputs left.
func writeScores(f *file, s isa, t string) {
	f.text("scores"+t+s.suffix, 112)
	writeTileStart(f, s)
	for rows := 1; rows <= s.rows; rows++ {
		f.line("rows%d:", rows)
		writeScoreRows(f, s, t, rows)
		f.op("VZEROUPPER")
		f.op("RET")
	}
}

func writeScoreRows(f *file, s isa, t string, rows int) {
	const n = 2 // vectors of 16 positions each in AVX-512, of half a block in AVX2
	two := s.lanes == 16
	sum := func(r, v int) string { return s.r(r*n + v) }
	weight := func(v int) string { return s.r(rows*n + v) }
	x, extra := s.r(rows*n+n), rows*n+n+1
	bases, ahead := []string{"BX"}, []string{"R13"}
	if two {
		bases, ahead = []string{"BX", "DX"}, []string{"R13", "R14"}
	}
	operand := func(v, at, bytes int) string { // of vector v, whose elements take bytes
		if two {
			return fmt.Sprintf("%d(%s)", at, bases[v])
		}
		return fmt.Sprintf("%d(BX)", at+v*bytes)
	}
	advance := func(bytes int) {
		for i := range bases {
			f.op("ADDQ $%d, %s", bytes, bases[i])
			f.op("ADDQ $%d, %s", bytes, ahead[i])
		}
	}
	prefetch := func() {
		for _, register := range ahead {
			f.op("PREFETCHT0 (%s)", register)
		}
	}
	next := func(bytes int) {
		f.op("ADDQ $%d, SI", bytes)
		if rows > 7 {
			f.op("ADDQ $%d, R12", bytes)
		}
	}

	if t == "BF16" {
		writeMask(f, s, extra)
	}
	f.line("block%d:", rows)
	f.op("MOVQ x_base+32(FP), SI")
	if rows > 7 {
		f.op("LEAQ (SI)(R10*2), R12")
		f.op("ADDQ R9, R12")
	}
	f.op("MOVQ (AX), BX")
	f.op("MOVQ %d(AX), R13", 8*lookahead)
	if two {
		f.op("MOVQ 8(AX), DX")
		f.op("MOVQ %d(AX), R14", 8*lookahead+8)
		f.op("CMPQ n+88(FP), $1")
		f.op("CMOVQEQ BX, DX") // the last of an odd number stands for two
	}
	for r := range rows {
		for v := range n {
			f.op("%s %s, %s, %s", s.xor, sum(r, v), sum(r, v), sum(r, v))
		}
	}
	f.op("MOVQ dim+96(FP), CX")
	switch t {
	case "F32":
		f.line("input%d:", rows)
		prefetch()
		for v := range n {
			f.op("VMOVUPS %s, %s", operand(v, 0, s.bytes()), weight(v))
		}
		writeRows(f, s, rows, n, 0, sum, weight, x)
		next(4)
		advance(64)
		f.op("DECQ CX")
		f.op("JNZ input%d", rows)
	case "BF16": // two inputs lie side by side
		f.line("input%d:", rows)
		prefetch()
		for v := range n {
			f.op("VMOVDQU%s %s, %s", map[bool]string{true: "32"}[two], operand(v, 0, s.bytes()), weight(v))
			f.op("VPSLLD $16, %s, %s", weight(v), weight(v))
		}
		writeRows(f, s, rows, n, 0, sum, weight, x)
		for v := range n {
			f.op("%s %s, %s, %s", s.and, operand(v, 0, s.bytes()), s.r(extra), weight(v))
		}
		writeRows(f, s, rows, n, 4, sum, weight, x)
		next(8)
		advance(64)
		f.op("SUBQ $2, CX")
		f.op("JNZ input%d", rows)
	case "I8": // groups of 32 inputs: the positions' scales, then the inputs
		f.line("group%d:", rows)
		f.op("MOVQ $32, DI")
		f.op("CMPQ CX, DI")
		f.op("CMOVQLT CX, DI")
		f.op("SUBQ DI, CX")
		prefetch()
		if two {
			x = ""
			extra--
			for v := range n {
				f.op("VMOVUPS %s, %s", operand(v, 0, 0), s.r(extra+v))
			}
		} else {
			f.op("MOVQ BX, DX")
		}
		advance(64)
		f.line("input%d:", rows)
		prefetch()
		for v := range n {
			f.op("VPMOVSXBD %s, %s", operand(v, 0, 8), weight(v))
			f.op("VCVTDQ2PS %s, %s", weight(v), weight(v))
			if two {
				f.op("VMULPS %s, %s, %s", s.r(extra+v), weight(v), weight(v))
			} else {
				f.op("VMULPS %d(DX), %s, %s", 32*v, weight(v), weight(v))
			}
		}
		writeRows(f, s, rows, n, 0, sum, weight, x)
		next(4)
		advance(16)
		f.op("DECQ DI")
		f.op("JNZ input%d", rows)
		f.op("TESTQ CX, CX")
		f.op("JNZ group%d", rows)
	}
	f.op("MOVQ c_base+0(FP), DI")
	f.op("MOVQ ldc+24(FP), R8")
	f.op("SHLQ $2, R8")
	for r := range rows {
		for v := range n {
			f.op("VMOVUPS %s, %d(DI)", sum(r, v), v*s.bytes())
		}
		f.op("ADDQ R8, DI")
	}
	f.op("ADDQ $%d, c_base+0(FP)", n*s.bytes())
	f.op("ADDQ $%d, AX", 8*len(bases))
	f.op("SUBQ $%d, n+88(FP)", len(bases))
	f.op("JGT block%d", rows)
}

// writeWeigh writes the product of probabilities and one panel of values: its twin is weighGeneric. The registers: SI and R12
// in the probabilities, R9 to R11 their strides, AX the list of blocks, BX in a block, R14 where to prefetch, CX the position,
// DX the positions left of the block, R8 the block's scales.
func writeWeigh(f *file, s isa, t string) {
	f.text("weigh"+t+s.suffix, 120)
	writeTileStart(f, s)
	for rows := 1; rows <= s.rows; rows++ {
		f.line("rows%d:", rows)
		parts := s.parts(t, rows)
		if t == "I8" {
			parts = s.parts("F16", rows)
		}
		for i, p := range parts {
			writeWeighPart(f, s, t, rows, p, fmt.Sprintf("%dpart%d", rows, i))
		}
		f.op("VZEROUPPER")
		f.op("RET")
	}
}

func writeWeighPart(f *file, s isa, t string, rows int, p part, label string) {
	n := len(p.outputs)
	sum := func(r, v int) string { return s.r(r*n + v) }
	weight := func(v int) string { return s.r(rows*n + v) }
	x, mask := s.r(rows*n+n), rows*n+n+1
	stride := map[string]int{"F32": 128, "BF16": 64, "I8": 32}[t]

	f.op("MOVQ from+88(FP), CX")
	f.op("MOVQ x_base+32(FP), SI")
	f.op("LEAQ (SI)(CX*4), SI")
	if rows > 7 {
		f.op("LEAQ (SI)(R10*2), R12")
		f.op("ADDQ R9, R12")
	}
	if t == "BF16" {
		writeMask(f, s, mask)
	}
	f.op("CMPQ add+112(FP), $0")
	f.op("JNE add%s", label)
	for r := range rows {
		for v := range n {
			f.op("%s %s, %s, %s", s.xor, sum(r, v), sum(r, v), sum(r, v))
		}
	}
	f.op("JMP block%s", label)
	f.line("add%s:", label)
	eachSum := func(format string, swap bool) {
		f.op("MOVQ c_base+0(FP), DI")
		f.op("MOVQ ldc+24(FP), R8")
		f.op("SHLQ $2, R8")
		for r := range rows {
			for v := range n {
				memory := fmt.Sprintf("%d(DI)", 4*p.outputs[v])
				if swap {
					f.op(format, sum(r, v), memory)
				} else {
					f.op(format, memory, sum(r, v))
				}
			}
			f.op("ADDQ R8, DI")
		}
	}
	eachSum("VMOVUPS %s, %s", false)

	f.line("block%s:", label)
	f.op("MOVQ CX, R13")
	f.op("SHRQ $4, R13")
	f.op("MOVQ (AX)(R13*8), BX")
	f.op("MOVQ %d(AX)(R13*8), R14", 8*lookahead)
	f.op("MOVQ CX, R13")
	f.op("ANDQ $15, R13")
	f.op("MOVQ $16, DX")
	f.op("SUBQ R13, DX") // positions from here to the block's end
	if t == "I8" {
		f.op("LEAQ (BX)(R13*4), R8")
		f.op("ADDQ $64, BX")
	}
	f.op("IMULQ $%d, R13", stride)
	f.op("ADDQ R13, BX")
	f.op("MOVQ end+96(FP), R13")
	f.op("SUBQ CX, R13")
	f.op("CMPQ DX, R13")
	f.op("CMOVQGT R13, DX")
	f.op("ADDQ DX, CX")
	f.line("position%s:", label)
	f.op("PREFETCHT0 (R14)")
	switch t {
	case "F32":
		f.op("PREFETCHT0 64(R14)")
		for v, output := range p.outputs {
			f.op("VMOVUPS %d(BX), %s", 4*output, weight(v))
		}
	case "BF16":
		half := n / 2
		for i := range half {
			f.op("VMOVDQU%s %d(BX), %s", map[int]string{16: "32"}[s.lanes], p.offset+i*s.bytes(), weight(half+i))
			f.op("VPSLLD $16, %s, %s", weight(half+i), weight(i))
			f.op("%s %s, %s, %s", s.and, s.r(mask), weight(half+i), weight(half+i))
		}
	case "I8":
		f.op("VBROADCASTSS (R8), %s", x)
		for v, output := range p.outputs {
			f.op("VPMOVSXBD %d(BX), %s", output, weight(v))
			f.op("VCVTDQ2PS %s, %s", weight(v), weight(v))
			f.op("VMULPS %s, %s, %s", x, weight(v), weight(v))
		}
		f.op("ADDQ $4, R8")
	}
	writeRows(f, s, rows, n, 0, sum, weight, x)
	f.op("ADDQ $4, SI")
	if rows > 7 {
		f.op("ADDQ $4, R12")
	}
	f.op("ADDQ $%d, BX", stride)
	f.op("ADDQ $%d, R14", stride)
	f.op("DECQ DX")
	f.op("JNZ position%s", label)
	f.op("CMPQ CX, end+96(FP)")
	f.op("JLT block%s", label)
	eachSum("VMOVUPS %s, %s", true)
}

// blend: the twin is blendGeneric.
func writeBlend(f *file, s isa) {
	f.text("blend"+s.suffix, 56)
	f.op("MOVQ sum_base+0(FP), DI")
	f.op("MOVQ sum_len+8(FP), CX")
	f.op("MOVQ x_base+24(FP), SI")
	f.op("VBROADCASTSS a+48(FP), %s", s.r(1))
	f.op("VBROADCASTSS b+52(FP), %s", s.r(2))
	loop(f, s, "values", []string{"DI", "SI"}, func() {
		f.op("VMULPS (DI), %s, %s", s.r(1), s.r(0))
		f.op("VFMADD231PS (SI), %s, %s", s.r(2), s.r(0))
		f.op("VMOVUPS %s, (DI)", s.r(0))
	})
	f.op("VZEROUPPER")
	f.op("RET")
}
