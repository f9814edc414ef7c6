package main

import (
	"fmt"

	"minisgl/device_cpu/internal/layout"
)

// An isa is what the kernels of AVX-512 and AVX2 differ in.
type isa struct {
	suffix string // of the functions' names
	reg    string // register prefix
	lanes  int    // float32 values in a register
	rows   int    // rows of a tile: 2·rows sums, two weights, one activation and one mask fit the registers
	xor    string
	and    string
	or     string
	load   string
	vnni   bool // VPDPWSSD instead of VPMADDWD and VPADDD
}

var (
	avx512  = isa{"AVX512", "Z", 16, 14, "VPXORD", "VPANDD", "VPORD", "VMOVDQU32", false}
	avx2    = isa{"AVX2", "Y", 8, 6, "VPXOR", "VPAND", "VPOR", "VMOVDQU", false}
	vnni    = isa{"VNNI", "Z", 16, 0, "VPXORD", "VPANDD", "VPORD", "VMOVDQU32", true}
	avxVNNI = isa{"AVXVNNI", "Y", 8, 0, "VPXOR", "VPAND", "VPOR", "VMOVDQU", true}
)

func (s isa) r(i int) string { return fmt.Sprintf("%s%d", s.reg, i) }

// bytes of a register.
func (s isa) bytes() int { return 4 * s.lanes }

func writeAMD64(f *file, s isa) {
	writeConstants(f, s)
	for _, t := range []string{"BF16", "F16", "F32"} {
		writeTile(f, s, t)
	}
	writeSoftmax(f, s)
	writeSiLU(f, s)
	writeSumSquares(f, s)
	writeScale(f, s)
	writeAdd(f, s)
	writeMax(f, s)
	writeRotate(f, s)
}

// writeQuantised writes the kernels of quantised weights.
func writeQuantised(f *file, s isa) {
	for i := range layout.Formats {
		if s != avxVNNI { // which unpacks as AVX2 does
			writeUnpack(f, s, &layout.Formats[i])
		}
		writeFew(f, s, &layout.Formats[i])
	}
	writeDot(f, s)
}

// A part of a panel is what one pass over the inputs computes for all rows of a tile: each of its vectors of sums lies at a
// place in the panel's 32 outputs.
type part struct {
	outputs []int // first output of each vector
	offset  int   // bytes from the start of a weight row
	second  bool  // F32 only: reads the second half's pointer
}

// parts cuts a panel so that the sums of rows rows fit the registers.
func (s isa) parts(t string, rows int) []part {
	if s.lanes == 16 {
		return []part{{outputs: []int{0, 16}}}
	}
	if rows <= 2 {
		return []part{{outputs: []int{0, 8, 16, 24}}}
	}
	switch t {
	case "BF16":
		return []part{{outputs: []int{0, 16}}, {outputs: []int{8, 24}, offset: 32}}
	case "F16":
		return []part{{outputs: []int{0, 8}}, {outputs: []int{16, 24}, offset: 32}}
	}
	return []part{{outputs: []int{0, 8}}, {outputs: []int{16, 24}, second: true}}
}

// rowAddress is the operand of row r's activation: SI points into row 0, R12 into row 7; R9, R10 and R11 are 1, 3 and 5 rows.
func rowAddress(r int) string {
	base := "SI"
	if r >= 7 {
		base, r = "R12", r-7
	}
	return "(" + base + ")" + []string{"", "(R9*1)", "(R9*2)", "(R10*1)", "(R9*4)", "(R11*1)", "(R10*2)"}[r]
}

// writeTile writes the kernel that all products of matrices are made of; its twin is tileGeneric.
func writeTile(f *file, s isa, t string) {
	size, after := 112, 88
	if t == "F32" {
		size, after = 144, 120
	}
	f.text("tile"+t+s.suffix, size)
	f.op("MOVQ ldc+24(FP), R8")
	f.op("SHLQ $2, R8")
	f.op("MOVQ ldx+56(FP), R9")
	f.op("SHLQ $2, R9")
	f.op("LEAQ (R9)(R9*2), R10")
	f.op("LEAQ (R9)(R9*4), R11")
	if t == "F32" {
		f.op("MOVQ ldw+112(FP), AX")
		f.op("SHLQ $2, AX")
	}
	f.op("MOVQ rows+%d(FP), R13", after+8)
	for rows := s.rows; rows > 1; rows-- {
		f.op("CMPQ R13, $%d", rows)
		f.op("JEQ rows%d", rows)
	}
	for rows := 1; rows <= s.rows; rows++ {
		f.line("rows%d:", rows)
		for i, p := range s.parts(t, rows) {
			writePart(f, s, t, rows, p, fmt.Sprintf("%dpart%d", rows, i), after)
		}
		f.op("VZEROUPPER")
		f.op("RET")
	}
}

func writePart(f *file, s isa, t string, rows int, p part, label string, after int) {
	n := len(p.outputs)
	sum := func(r, v int) string { return s.r(r*n + v) }
	weight := func(v int) string { return s.r(rows*n + v) }
	x := s.r(rows*n + n)
	mask := s.r(rows*n + n + 1)

	f.op("MOVQ c_base+0(FP), DI")
	f.op("MOVQ x_base+32(FP), SI")
	f.op("LEAQ (SI)(R10*2), R12")
	f.op("ADDQ R9, R12")
	if t == "F32" {
		f.op("MOVQ w0_base+64(FP), BX")
		f.op("MOVQ w1_base+88(FP), DX")
	} else {
		f.op("MOVQ w_base+64(FP), BX")
	}
	f.op("MOVQ k+%d(FP), CX", after)
	if t == "BF16" {
		f.op("MOVL $0xffff0000, R13")
		if s.lanes == 16 {
			f.op("VPBROADCASTD R13, %s", mask)
		} else {
			f.op("VMOVD R13, X%d", rows*n+n+1)
			f.op("VPBROADCASTD X%d, %s", rows*n+n+1, mask)
		}
	}
	f.op("MOVQ add+%d(FP), R13", after+16)
	f.op("TESTQ R13, R13")
	f.op("JNZ add%s", label)
	for r := range rows {
		for v := range n {
			f.op("%s %s, %s, %s", s.xor, sum(r, v), sum(r, v), sum(r, v))
		}
	}
	f.op("JMP loop%s", label)
	f.line("add%s:", label)
	for r := range rows {
		for v := range n {
			f.op("VMOVUPS %d(DI), %s", 4*p.outputs[v], sum(r, v))
		}
		f.op("ADDQ R8, DI")
	}
	f.op("MOVQ c_base+0(FP), DI")

	f.line("loop%s:", label)
	writeWeights(f, s, t, p, weight, mask)
	for r := range rows {
		f.op("VBROADCASTSS %s, %s", rowAddress(r), x)
		for v := range n {
			f.op("VFMADD231PS %s, %s, %s", weight(v), x, sum(r, v))
		}
	}
	f.op("ADDQ $4, SI")
	if rows > 7 {
		f.op("ADDQ $4, R12")
	}
	if t == "F32" {
		f.op("ADDQ AX, BX")
		f.op("ADDQ AX, DX")
	} else {
		f.op("ADDQ $64, BX")
	}
	f.op("DECQ CX")
	f.op("JNZ loop%s", label)

	for r := range rows {
		for v := range n {
			f.op("VMOVUPS %s, %d(DI)", sum(r, v), 4*p.outputs[v])
		}
		f.op("ADDQ R8, DI")
	}
}

// writeWeights loads one input's weights of a part and makes them float32.
func writeWeights(f *file, s isa, t string, p part, weight func(int) string, mask string) {
	switch t {
	case "BF16": // outputs i and i+16 lie side by side: the lower and the upper half of a 32-bit word
		half := len(p.outputs) / 2
		f.op("PREFETCHT0 4096(BX)")
		for i := range half {
			f.op("VMOVDQU%s %d(BX), %s", map[int]string{16: "32", 8: ""}[s.lanes], p.offset+i*s.bytes(), weight(half+i))
			f.op("VPSLLD $16, %s, %s", weight(half+i), weight(i))
			f.op("%s %s, %s, %s", s.and, mask, weight(half+i), weight(half+i))
		}
	case "F16":
		f.op("PREFETCHT0 4096(BX)")
		for v := range p.outputs {
			f.op("VCVTPH2PS %d(BX), %s", p.offset+v*s.bytes()/2, weight(v))
		}
	case "F32":
		for v := range p.outputs {
			base, first := "BX", 0
			if p.second || p.outputs[v] >= 16 {
				base, first = "DX", 16
			}
			f.op("VMOVUPS %d(%s), %s", 4*(p.outputs[v]-first), base, weight(v))
		}
	}
}
