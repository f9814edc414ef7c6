package main

import (
	"fmt"
	"math"
)

// neonRows is how many rows a tile has: 4·6 sums, 4 weights, an activation and a mask fit 32 registers.
const neonRows = 6

// Instructions on four float32 values that Go's assembler does not know, as the Arm architecture manual encodes them (C7.2).
const (
	fadd   = 0x4E20D400
	fsub   = 0x4EA0D400
	fmul   = 0x6E20DC00
	fdiv   = 0x6E20FC00
	fmax   = 0x4E20F400 // NaN if either is
	fmin   = 0x4EA0F400
	faddp  = 0x6E20D400
	frintn = 0x4E218800
	fcvtns = 0x4E21A800
	fneg   = 0x6EA0F800
	fmaxv  = 0x6E30F800
	fcvtl  = 0x0E217800 // lower four f16 to float32
	fcvtl2 = 0x4E217800 // upper four
)

// three writes d = n operation m, or d += n operation m, on register numbers.
func three(f *file, operation uint32, d, n, m int) {
	f.op("WORD $0x%08X // %s V%d, V%d, V%d", operation|uint32(m<<16|n<<5|d), names[operation], d, n, m)
}

// two writes d = operation n.
func two(f *file, operation uint32, d, n int) {
	f.op("WORD $0x%08X // %s V%d, V%d", operation|uint32(n<<5|d), names[operation], d, n)
}

var names = map[uint32]string{fadd: "FADD", fsub: "FSUB", fmul: "FMUL", fdiv: "FDIV", fmax: "FMAX", fmin: "FMIN", faddp: "FADDP",
	frintn: "FRINTN", fcvtns: "FCVTNS", fneg: "FNEG", fmaxv: "FMAXV", fcvtl: "FCVTL", fcvtl2: "FCVTL2"}

func writeNEON(f *file) {
	f.line("")
	for i, c := range expConstants {
		f.line("DATA expNEON<>+%d(SB)/4, $0x%08x", 4*i, math.Float32bits(float32(c)))
	}
	f.line("GLOBL expNEON<>(SB), RODATA|NOPTR, $%d", 4*len(expConstants))
	for _, t := range []string{"BF16", "F16", "F32"} {
		neonTile(f, t)
	}
	neonSoftmax(f)
	neonSiLU(f)
	neonSumSquares(f)
	neonScale(f)
	neonAdd(f)
	neonLargest(f)
	neonRotate(f)
	neonSampling(f)
}

func neonParts(t string, rows int) []part {
	if rows <= 2 {
		return []part{{outputs: []int{0, 4, 8, 12, 16, 20, 24, 28}}}
	}
	if t == "BF16" {
		return []part{{outputs: []int{0, 4, 16, 20}}, {outputs: []int{8, 12, 24, 28}, offset: 32}}
	}
	return []part{{outputs: []int{0, 4, 8, 12}}, {outputs: []int{16, 20, 24, 28}, offset: 32, second: true}}
}

// neonTile: R0 is c, R1 its stride, R2 the stride of x, R3 and R4 the weights, R5 their stride, R6 the inputs left, R7 on the
// rows of x.
func neonTile(f *file, t string) {
	size, after := 112, 88
	if t == "F32" {
		size, after = 144, 120
	}
	f.text("tile"+t+"NEON", size)
	f.op("MOVD ldc+24(FP), R1")
	f.op("LSL $2, R1, R1")
	f.op("MOVD ldx+56(FP), R2")
	f.op("LSL $2, R2, R2")
	if t == "F32" {
		f.op("MOVD ldw+112(FP), R5")
		f.op("LSL $2, R5, R5")
	} else {
		f.op("MOVD $64, R5")
	}
	if t == "BF16" {
		f.op("MOVD $0xffff0000, R6")
		f.op("VDUP R6, V31.S4")
	}
	f.op("MOVD rows+%d(FP), R6", after+8)
	for rows := neonRows; rows > 1; rows-- {
		f.op("CMP $%d, R6", rows)
		f.op("BEQ rows%d", rows)
	}
	for rows := 1; rows <= neonRows; rows++ {
		if rows > 1 {
			f.line("rows%d:", rows)
		}
		for i, p := range neonParts(t, rows) {
			neonPart(f, t, rows, p, fmt.Sprintf("%dpart%d", rows, i), after)
		}
		f.op("RET")
	}
}

func neonPart(f *file, t string, rows int, p part, label string, after int) {
	n := len(p.outputs)
	sum := func(r, v int) int { return r*n + v }
	weight := func(v int) int { return rows*n + v }
	x := rows*n + n

	f.op("MOVD x_base+32(FP), R7")
	for r := 1; r < rows; r++ {
		f.op("ADD R2, R%d, R%d", 6+r, 7+r)
	}
	if t == "F32" {
		f.op("MOVD w0_base+64(FP), R3")
		f.op("MOVD w1_base+88(FP), R4")
	} else {
		f.op("MOVD w_base+64(FP), R3")
	}
	f.op("MOVD add+%d(FP), R6", after+16)
	f.op("CBNZ R6, add%s", label)
	for r := range rows {
		for v := range n {
			f.op("VEOR V%d.B16, V%d.B16, V%d.B16", sum(r, v), sum(r, v), sum(r, v))
		}
	}
	f.op("B start%s", label)
	f.line("add%s:", label)
	f.op("MOVD c_base+0(FP), R0")
	for r := range rows {
		for v := range n {
			f.op("FMOVQ %d(R0), F%d", 4*p.outputs[v], sum(r, v))
		}
		f.op("ADD R1, R0, R0")
	}
	f.line("start%s:", label)
	f.op("MOVD k+%d(FP), R6", after)

	f.line("loop%s:", label)
	neonWeights(f, t, p, weight)
	for r := range rows {
		f.op("VLD1R.P 4(R%d), [V%d.S4]", 7+r, x+r%2)
		for v := range n {
			f.op("VFMLA V%d.S4, V%d.S4, V%d.S4", weight(v), x+r%2, sum(r, v))
		}
	}
	f.op("ADD R5, R3, R3")
	if t == "F32" {
		f.op("ADD R5, R4, R4")
	}
	f.op("SUBS $1, R6, R6")
	f.op("BNE loop%s", label)

	f.op("MOVD c_base+0(FP), R0")
	for r := range rows {
		for v := range n {
			f.op("FMOVQ F%d, %d(R0)", sum(r, v), 4*p.outputs[v])
		}
		f.op("ADD R1, R0, R0")
	}
}

// neonWeights loads one input's weights of a part and makes them float32.
func neonWeights(f *file, t string, p part, weight func(int) int) {
	half := len(p.outputs) / 2
	if t != "F32" {
		f.op("PRFM 1024(R3), PLDL1KEEP")
	}
	switch t {
	case "BF16":
		for i := range half {
			f.op("FMOVQ %d(R3), F%d", p.offset+16*i, weight(half+i))
			f.op("VSHL $16, V%d.S4, V%d.S4", weight(half+i), weight(i))
			f.op("VAND V31.B16, V%d.B16, V%d.B16", weight(half+i), weight(half+i))
		}
	case "F16":
		for i := range half {
			f.op("FMOVQ %d(R3), F%d", p.offset+16*i, weight(half+i))
		}
		for i := range half {
			two(f, fcvtl, weight(2*i), weight(half+i))
			two(f, fcvtl2, weight(2*i+1), weight(half+i))
		}
	case "F32":
		for v, output := range p.outputs {
			base := 3
			if output >= 16 {
				base, output = 4, output-16
			}
			f.op("FMOVQ %d(R%d), F%d", 4*output, base, weight(v))
		}
	}
}
