package main

import "fmt"

// Widening of signed bytes and their conversion, which Go's assembler does not know either.
const (
	sxtl8   = 0x0F08A400 // lower eight bytes to 16 bits
	sxtl8b  = 0x4F08A400 // upper eight
	sxtl16  = 0x0F10A400 // lower four 16-bit integers to 32
	sxtl16b = 0x4F10A400 // upper four
	scvtf   = 0x4E21D800
)

func init() {
	names[sxtl8], names[sxtl8b], names[sxtl16], names[sxtl16b], names[scvtf] = "SXTL", "SXTL2", "SXTL", "SXTL2", "SCVTF"
}

func writeNEONKV(f *file) {
	for _, t := range kvTypes {
		neonScores(f, t)
		neonWeigh(f, t)
	}
	neonBlend(f)
}

func neonTileStart(f *file) {
	f.op("MOVD ldc+24(FP), R1")
	f.op("LSL $2, R1, R1")
	f.op("MOVD ldx+56(FP), R2")
	f.op("LSL $2, R2, R2")
	f.op("MOVD blocks_base+64(FP), R13")
	f.op("MOVD $0xffff0000, R6")
	f.op("VDUP R6, V31.S4")
	f.op("MOVD rows+104(FP), R6")
	for rows := neonRows; rows > 1; rows-- {
		f.op("CMP $%d, R6", rows)
		f.op("BEQ rows%d", rows)
	}
}

func neonAddRows(f *file, rows, n int, sum func(r, v int) int, weight func(int) int, x int) {
	for r := range rows {
		f.op("VLD1R.P 4(R%d), [V%d.S4]", 7+r, x)
		for v := range n {
			f.op("VFMLA V%d.S4, V%d.S4, V%d.S4", weight(v), x, sum(r, v))
		}
	}
}

// neonWiden loads 4·n signed bytes at an offset from R3 and makes them float32 vectors; s is scratch.
func neonWiden(f *file, n, offset int, weight func(int) int, s int) {
	for v := 0; v < n; v += 4 {
		count := min(n-v, 4)
		f.op("FMOVQ %d(R3), F%d", offset+4*v, s)
		for half := range count / 2 {
			w := weight(v + 2*half)
			two(f, []uint32{sxtl8, sxtl8b}[half], w, s)
			two(f, sxtl16b, w+1, w)
			two(f, sxtl16, w, w)
			two(f, scvtf, w, w)
			two(f, scvtf, w+1, w+1)
		}
	}
}

// neonScores: R0 is on the scores, R3 in the block, R4 on its scales, R5 where to prefetch, R6 the inputs left, R7 on the
// queries' rows, R13 the list of blocks, R14 the blocks left.
func neonScores(f *file, t string) {
	f.text("scores"+t+"NEON", 112)
	neonTileStart(f)
	for rows := 1; rows <= neonRows; rows++ {
		if rows > 1 {
			f.line("rows%d:", rows)
		}
		neonScoreRows(f, t, rows)
		f.op("RET")
	}
}

func neonScoreRows(f *file, t string, rows int) {
	const n = 4
	sum := func(r, v int) int { return r*n + v }
	weight := func(v int) int { return rows*n + v }
	x := rows*n + n
	f.op("MOVD n+88(FP), R14")
	f.line("block%d:", rows)
	f.op("MOVD x_base+32(FP), R7")
	for r := 1; r < rows; r++ {
		f.op("ADD R2, R%d, R%d", 6+r, 7+r)
	}
	f.op("MOVD (R13), R3")
	f.op("MOVD %d(R13), R5", 8*lookahead)
	for r := range rows {
		for v := range n {
			neonClear(f, sum(r, v))
		}
	}
	f.op("MOVD dim+96(FP), R6")
	switch t {
	case "F32":
		f.line("input%d:", rows)
		f.op("PRFM (R5), PLDL1KEEP")
		for v := range n {
			f.op("FMOVQ %d(R3), F%d", 16*v, weight(v))
		}
		neonAddRows(f, rows, n, sum, weight, x)
		f.op("ADD $64, R3, R3")
		f.op("ADD $64, R5, R5")
		f.op("SUBS $1, R6, R6")
		f.op("BNE input%d", rows)
	case "BF16":
		f.line("input%d:", rows)
		f.op("PRFM (R5), PLDL1KEEP")
		for v := range n {
			f.op("FMOVQ %d(R3), F%d", 16*v, weight(v))
			f.op("VSHL $16, V%d.S4, V%d.S4", weight(v), weight(v))
		}
		neonAddRows(f, rows, n, sum, weight, x)
		for v := range n {
			f.op("FMOVQ %d(R3), F%d", 16*v, weight(v))
			f.op("VAND V31.B16, V%d.B16, V%d.B16", weight(v), weight(v))
		}
		neonAddRows(f, rows, n, sum, weight, x)
		f.op("ADD $64, R3, R3")
		f.op("ADD $64, R5, R5")
		f.op("SUBS $2, R6, R6")
		f.op("BNE input%d", rows)
	case "I8":
		f.line("group%d:", rows)
		f.op("MOVD $32, R15")
		f.op("CMP R15, R6")
		f.op("CSEL LT, R6, R15, R15")
		f.op("SUB R15, R6, R6")
		f.op("MOVD R3, R4")
		f.op("ADD $64, R3, R3")
		f.op("ADD $64, R5, R5")
		f.line("input%d:", rows)
		f.op("PRFM (R5), PLDL1KEEP")
		neonWiden(f, n, 0, weight, x)
		for v := range n {
			f.op("FMOVQ %d(R4), F%d", 16*v, x)
			three(f, fmul, weight(v), weight(v), x)
		}
		neonAddRows(f, rows, n, sum, weight, x)
		f.op("ADD $16, R3, R3")
		f.op("ADD $16, R5, R5")
		f.op("SUBS $1, R15, R15")
		f.op("BNE input%d", rows)
		f.op("CBNZ R6, group%d", rows)
	}
	f.op("MOVD c_base+0(FP), R0")
	f.op("ADD $64, R0, R15")
	f.op("MOVD R15, c_base+0(FP)")
	for r := range rows {
		for v := range n {
			f.op("FMOVQ F%d, %d(R0)", sum(r, v), 16*v)
		}
		f.op("ADD R1, R0, R0")
	}
	f.op("ADD $8, R13, R13")
	f.op("SUBS $1, R14, R14")
	f.op("BNE block%d", rows)
}

// neonWeigh: R3 is in the block, R4 on its scales, R5 where to prefetch, R6 the block's positions left, R7 on the rows of the
// probabilities, R13 the list of blocks, R14 the position, R15 the last one's end.
func neonWeigh(f *file, t string) {
	f.text("weigh"+t+"NEON", 120)
	neonTileStart(f)
	for rows := 1; rows <= neonRows; rows++ {
		if rows > 1 {
			f.line("rows%d:", rows)
		}
		parts := []part{{outputs: []int{0, 4, 8, 12}}, {outputs: []int{16, 20, 24, 28}}}
		if t == "BF16" {
			parts = neonParts(t, 3)
		}
		for i, p := range parts {
			neonWeighPart(f, t, rows, p, fmt.Sprintf("%dpart%d", rows, i))
		}
		f.op("RET")
	}
}

func neonWeighPart(f *file, t string, rows int, p part, label string) {
	n := len(p.outputs)
	sum := func(r, v int) int { return r*n + v }
	weight := func(v int) int { return rows*n + v }
	x := rows*n + n
	stride := map[string]int{"F32": 128, "BF16": 64, "I8": 32}[t]

	f.op("MOVD from+88(FP), R14")
	f.op("MOVD end+96(FP), R15")
	f.op("MOVD x_base+32(FP), R7")
	f.op("ADD R14<<2, R7, R7")
	for r := 1; r < rows; r++ {
		f.op("ADD R2, R%d, R%d", 6+r, 7+r)
	}
	f.op("MOVD add+112(FP), R6")
	f.op("CBNZ R6, add%s", label)
	for r := range rows {
		for v := range n {
			neonClear(f, sum(r, v))
		}
	}
	f.op("B block%s", label)
	f.line("add%s:", label)
	f.op("MOVD c_base+0(FP), R0")
	for r := range rows {
		for v := range n {
			f.op("FMOVQ %d(R0), F%d", 4*p.outputs[v], sum(r, v))
		}
		f.op("ADD R1, R0, R0")
	}

	f.line("block%s:", label)
	f.op("LSR $4, R14, R0")
	f.op("ADD R0<<3, R13, R0")
	f.op("MOVD (R0), R3")
	f.op("MOVD %d(R0), R5", 8*lookahead)
	f.op("AND $15, R14, R0")
	f.op("MOVD $16, R6")
	f.op("SUB R0, R6, R6")
	if t == "I8" {
		f.op("ADD R0<<2, R3, R4")
		f.op("ADD $64, R3, R3")
	}
	f.op("ADD R0<<%d, R3, R3", map[int]int{128: 7, 64: 6, 32: 5}[stride])
	f.op("SUB R14, R15, R0")
	f.op("CMP R0, R6")
	f.op("CSEL GT, R0, R6, R6")
	f.op("ADD R6, R14, R14")
	f.line("position%s:", label)
	f.op("PRFM (R5), PLDL1KEEP")
	switch t {
	case "F32":
		for v, output := range p.outputs {
			f.op("FMOVQ %d(R3), F%d", 4*output, weight(v))
		}
	case "BF16":
		half := n / 2
		for i := range half {
			f.op("FMOVQ %d(R3), F%d", p.offset+16*i, weight(half+i))
			f.op("VSHL $16, V%d.S4, V%d.S4", weight(half+i), weight(i))
			f.op("VAND V31.B16, V%d.B16, V%d.B16", weight(half+i), weight(half+i))
		}
	case "I8":
		neonWiden(f, n, p.outputs[0], weight, x)
		f.op("VLD1R.P 4(R4), [V%d.S4]", x)
		for v := range n {
			three(f, fmul, weight(v), weight(v), x)
		}
	}
	neonAddRows(f, rows, n, sum, weight, x)
	f.op("ADD $%d, R3, R3", stride)
	f.op("ADD $%d, R5, R5", stride)
	f.op("SUBS $1, R6, R6")
	f.op("BNE position%s", label)
	f.op("CMP R15, R14")
	f.op("BLT block%s", label)

	f.op("MOVD c_base+0(FP), R0")
	for r := range rows {
		for v := range n {
			f.op("FMOVQ F%d, %d(R0)", sum(r, v), 4*p.outputs[v])
		}
		f.op("ADD R1, R0, R0")
	}
}

func neonBlend(f *file) {
	f.text("blendNEON", 56)
	f.op("MOVD sum_base+0(FP), R0")
	f.op("MOVD sum_len+8(FP), R1")
	f.op("MOVD x_base+24(FP), R2")
	f.op("FMOVS a+48(FP), F8")
	f.op("VDUP V8.S[0], V8.S4")
	f.op("FMOVS b+52(FP), F9")
	f.op("VDUP V9.S[0], V9.S4")
	neonLoop(f, "values", func() {
		f.op("VLD1 (R0), [V0.S4, V1.S4, V2.S4, V3.S4]")
		f.op("VLD1.P 64(R2), [V4.S4, V5.S4, V6.S4, V7.S4]")
		for i := range 4 {
			three(f, fmul, i, i, 8)
			f.op("VFMLA V%d.S4, V9.S4, V%d.S4", 4+i, i)
		}
		f.op("VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)")
	})
	f.op("RET")
}
