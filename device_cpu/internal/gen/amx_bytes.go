package main

import (
	"fmt"

	"minisgl/device_cpu/internal/layout"
)

// The product of quantised weights and 16-bit activations in tiles of bytes; the twin is dotTilesGeneric. The lower bytes of
// activations and the upper have sums of their own, whole numbers that pass through memory on their way to vectors. There they
// become one number, which is multiplied by scales as dotVNNI does. A vector's 16 outputs of 16 rows stay in registers from
// block to block.
//
// Tiles 0 and 1, and 2 and 3, are sums of lower and upper bytes, by turns, so that tiles multiply a block while vectors are at
// the one before; 4 and 5 are activations, 6 and 7 weights. What both keep in registers:
//
//	SI, BX     the block whose turn in tiles is next: activations, weights; AX how far behind BX memory is asked for
//	R14, DX    the block whose turn in vectors is next: activations, scales
//	CX         blocks left for tiles
//	R8         room for two blocks' sums
//	R10, R12   64 and 128, the distance of rows
//	R13        rows left
//	R15        distance of blocks of weights
const (
	sumBytes   = 2 * tileBytes // a block's sums in memory
	vectorRows = 4             // that vectors compute or leave out together
)

// A phase is one of two blocks that follow each other.
type phase struct {
	lower, upper, sums int // places in a block of activations
	next               int // distance of the next block's
}

// phases of formats with a scale for 32 inputs, and for 16, two to a block of activations.
var phases = map[int][2]phase{
	layout.Sub: {
		{0, layout.Sub, layout.TileSums, layout.TileBlock},
		{0, layout.Sub, layout.TileSums, layout.TileBlock},
	},
	layout.Sub / 2: {
		{0, layout.Sub, layout.TileSums + 64, 0},
		{layout.Sub / 2, layout.Sub + layout.Sub/2, layout.TileSums + 128, layout.TileBlock},
	},
}

func writeDotTiles(f *file) {
	for _, inputs := range []int{layout.Sub, layout.Sub / 2} {
		name := fmt.Sprintf("dotTiles%d", inputs)
		writeByteShapes(f, name, inputs)
		writeDotTilesOf(f, name, phases[inputs])
	}
	writeRoundTiles(f)
}

// writeByteShapes writes what LDTILECFG needs for 1 to 16 rows.
func writeByteShapes(f *file, name string, inputs int) {
	f.line("")
	for rows := 1; rows <= tileRows; rows++ {
		sums, activations, weights := tileShape{rows, 64}, tileShape{rows, inputs}, tileShape{inputs / 4, 64}
		writeShape(f, name+"Shapes", rows-1, []tileShape{sums, sums, sums, sums, activations, activations, weights, weights})
	}
	f.line("GLOBL %sShapes<>(SB), RODATA|NOPTR, $%d", name, tileRows*shapeBytes)
}

func writeDotTilesOf(f *file, name string, phases [2]phase) {
	f.text(name, 176)
	f.op("MOVQ c_base+0(FP), DI")
	f.op("MOVQ ldc+24(FP), R9")
	f.op("SHLQ $2, R9")
	f.op("MOVQ ldw+88(FP), R15")
	f.op("MOVQ rows+128(FP), R13")
	f.op("MOVQ sums_base+152(FP), R8")
	f.op("MOVQ $64, R10")
	f.op("MOVQ $128, R12")
	f.line("shape:")
	f.op("MOVQ R13, CX")
	f.op("CMPQ CX, $%d", tileRows)
	f.op("JLE load")
	f.op("MOVQ $%d, CX", tileRows)
	f.line("load:")
	f.op("LEAQ %sShapes<>-%d(SB), AX", name, shapeBytes)
	f.op("SHLQ $6, CX")
	f.op("ADDQ CX, AX")
	f.gnu(func(a *assembly) { a.op("ldtilecfg [rax]") })
	f.line("rows:")
	f.op("XORL R11, R11")
	f.line("half:") // of the outputs
	f.op("MOVQ add+136(FP), CX")
	f.gnu(func(a *assembly) { loadSums(a) })
	f.op("MOVQ x_base+32(FP), SI")
	f.op("MOVQ SI, R14")
	f.op("MOVQ w_base+64(FP), BX")
	f.op("ADDQ R11, BX")
	f.op("MOVQ scales_base+96(FP), DX")
	f.op("ADDQ R11, DX")
	f.op("MOVQ blocks+120(FP), CX")
	f.op("MOVQ ahead+144(FP), AX")
	f.gnu(func(a *assembly) { multiplyBlocks(a, phases) })
	f.gnu(func(a *assembly) { storeSums(a) })
	f.op("ADDQ $64, R11")
	f.op("CMPQ R11, $128")
	f.op("JNE half")
	f.op("MOVQ $0, ahead+144(FP)")
	f.op("MOVQ ldx+56(FP), AX")
	f.op("ADDQ AX, x_base+32(FP)")
	f.op("MOVQ R9, AX")
	f.op("SHLQ $4, AX")
	f.op("ADDQ AX, DI")
	f.op("SUBQ $%d, R13", tileRows)
	f.op("CMPQ R13, $%d", tileRows)
	f.op("JGE rows")
	f.op("TESTQ R13, R13")
	f.op("JG shape")
	f.gnu(func(a *assembly) { a.op("tilerelease") })
	f.op("VZEROUPPER")
	f.op("RET")
}

// eachRow walks over the rows of c, in RAX, that are there.
func eachRow(a *assembly, do func(register int)) {
	a.op("lea rax, [rdi + r11]")
	for row := range tileRows {
		do(tileRows + row)
		if row < tileRows-1 {
			a.op("cmp r13, %d", row+1)
			a.op("je end")
			a.op("add rax, r9")
		}
	}
	a.op("end:")
}

func loadSums(a *assembly) {
	for row := range tileRows {
		a.op("vpxord zmm%d, zmm%[1]d, zmm%[1]d", tileRows+row)
	}
	a.op("test rcx, rcx")
	a.op("jz end")
	eachRow(a, func(register int) { a.op("vmovups zmm%d, [rax]", register) })
}

func storeSums(a *assembly) {
	eachRow(a, func(register int) { a.op("vmovups [rax], zmm%d", register) })
}

func multiplyBlocks(a *assembly, phases [2]phase) {
	tiles(a, phases, 0)
	a.op("blocks:")
	for i := range 2 {
		a.op("dec rcx")
		a.op("jz last%d", i)
		tiles(a, phases, 1-i)
		vectors(a, phases, i, "")
	}
	a.op("jmp blocks")
	for i := range 2 {
		a.op("last%d:", i)
		vectors(a, phases, i, "last")
		if i == 0 {
			a.op("jmp end")
		}
	}
	a.op("end:")
}

// tiles multiplies a block and stores its sums.
func tiles(a *assembly, phases [2]phase, i int) {
	p, lower, upper, weights := phases[i], 2*i, 2*i+1, 6+i
	groups := layout.Groups
	if phases[0].next == 0 {
		groups /= 2
	}
	label := fmt.Sprintf("ahead%d_%d", i, a.Len())
	a.op("test rax, rax")
	a.op("jz %s", label)
	for g := range groups {
		a.op("prefetcht0 [rbx + rax + %d]", 4*layout.Panel*g)
	}
	a.op("%s:", label)
	a.op("tilezero tmm%d", lower)
	a.op("tilezero tmm%d", upper)
	a.op("tileloadd tmm%d, [rbx + r12*1]", weights)
	a.op("tileloadd tmm4, [rsi + r10*1 + %d]", p.lower)
	a.op("tileloadd tmm5, [rsi + r10*1 + %d]", p.upper)
	a.op("tdpbuud tmm%d, tmm4, tmm%d", lower, weights)
	a.op("tdpbsud tmm%d, tmm5, tmm%d", upper, weights)
	a.op("tilestored [r8 + r10*1 + %d], tmm%d", i*sumBytes, lower)
	a.op("tilestored [r8 + r10*1 + %d], tmm%d", i*sumBytes+tileBytes, upper)
	a.op("add rbx, r15")
	if p.next > 0 {
		a.op("add rsi, %d", p.next)
	}
}

// vectors adds a block's sums, scaled, to c.
func vectors(a *assembly, phases [2]phase, i int, label string) {
	p := phases[i]
	a.op("vmovups zmm0, [rdx]")
	a.op("vmovups zmm1, [rdx + %d]", 4*layout.Panel)
	for row := range tileRows {
		if row > 0 && row%vectorRows == 0 {
			a.op("cmp r13, %d", row)
			a.op("jle rows%s%d", label, i)
		}
		sum, factor, c := 2+row%4*2, 3+row%4*2, tileRows+row
		at := i*sumBytes + 64*row
		a.op("vpslld zmm%d, [r8 + %d], 8", sum, at+tileBytes)
		a.op("vpaddd zmm%d, zmm%[1]d, [r8 + %d]", sum, at)
		a.op("vcvtdq2ps zmm%d, zmm%[1]d", sum)
		a.op("vmulps zmm%d, zmm0, [r14 + %d]{1to16}", factor, layout.TileScales+4*row)
		a.op("vfmadd231ps zmm%d, zmm%d, zmm%d", c, factor, sum)
		a.op("vfnmadd231ps zmm%d, zmm1, [r14 + %d]{1to16}", c, p.sums+4*row)
	}
	a.op("rows%s%d:", label, i)
	a.op("add rdx, %d", 8*layout.Panel)
	if p.next > 0 {
		a.op("add r14, %d", p.next)
	}
}

// writeRoundTiles writes roundAVX2 for blocks of tiles; the twin is roundTilesGeneric.
func writeRoundTiles(f *file) {
	f.line("")
	for i, number := range []uint64{0x0705060403010200, 0x0f0d0e0c0b090a08} {
		f.line("DATA roundOrder<>+%d(SB)/8, $0x%016x", 8*i, number)
	}
	f.line("GLOBL roundOrder<>(SB), RODATA|NOPTR, $16")
	f.text("roundTiles", 56)
	f.op("MOVQ x_base+0(FP), SI")
	f.op("MOVQ x_len+8(FP), CX")
	f.op("MOVQ tiles_base+24(FP), DI")
	f.op("MOVQ row+48(FP), R8")
	f.op("LEAQ %d(DI)(R8*4), DX", layout.TileScales)
	f.op("SHLQ $6, R8")
	f.op("ADDQ R8, DI")
	f.op("MOVL $0x00ff00ff, AX")
	f.op("VMOVD AX, X13")
	f.op("VPBROADCASTD X13, Y13")
	f.op("VBROADCASTI128 roundOrder<>(SB), Y12")
	roundBlocks(f, func() {
		for i, op := range []string{"VPACKUSWB", "VPACKSSWB"} {
			for half := range 2 {
				if i == 0 {
					f.op("VPAND Y13, Y%d, Y%d", 2*half, 8+half)
				} else {
					f.op("VPSRAW $8, Y%d, Y%d", 2*half, 8+half)
				}
			}
			f.op("%s Y9, Y8, Y8", op)
			f.op("VPERMQ $0xd8, Y8, Y8")
			f.op("VPSHUFB Y12, Y8, Y8")
			f.op("VMOVDQU Y8, %d(DI)", layout.Sub*i)
		}
	}, func() {
		f.op("VMOVSS X6, (DX)")
		f.op("VMOVSS X1, %d(DX)", layout.TileSums-layout.TileScales)
		f.op("VMOVSS X0, %d(DX)", layout.TileSums-layout.TileScales+64)
		f.op("VEXTRACTPS $1, X0, %d(DX)", layout.TileSums-layout.TileScales+128)
		f.op("ADDQ $%d, DI", layout.TileBlock)
		f.op("ADDQ $%d, DX", layout.TileBlock)
	})
}
