package main

import (
	"math"

	"minisgl/device_cpu/internal/layout"
)

const (
	neonDotRows = 4  // of a tile of quantised weights
	neonFewRows = 2  // that are multiplied with weights which are unpacked in registers
	neonWord    = 16 // the first of the registers that hold words of weights
)

// A neonKernel writes a product of 16-bit activations and quantised weights: of a format, or unpacked ones if format is nil. The
// sums of a sub-block are whole numbers; with scales and offsets they go to c. So all kinds of neonMultiplier give the same.
//
// R0 is on the rows of c, R1 apart, R2 the distance of rows of x and sx, which R5 and R6 are on, R3 on the sub-block, R4 on its
// block's header or on the unpacked scales, R7 the blocks left, R25 a block's sub-blocks left. For a column of outputs, R10 is
// on its weights, R12 and R26 on its scales, R16 where to prefetch, R8 the columns left, and columnRows on its results.
type neonKernel struct {
	*file
	format *layout.Format
	rows   int
	groups int // of 4 inputs, in a block

	highMask, zero int // registers for the mask of upper bits and for the format's zero
}

// A neonMultiplier is one way to add up products.
type neonMultiplier struct {
	suffix string
	column int // outputs
	// start fills the constants, begin gets a block's activations ready, and multiply adds up the products of a column, and adds
	// them to the results.
	start, begin, multiply func(k *neonKernel, label string)
}

var columnRows = [neonDotRows]int{11, 13, 14, 15}

// writeNEONProducts writes a multiplier's functions: a tile for unpacked weights and, if few is set, one for each format.
func writeNEONProducts(f *file, m neonMultiplier, few bool) {
	if m.column == 4 {
		writeHalves(f, m.suffix)
	}
	if few {
		for i := range layout.Formats {
			neonFew(f, m, &layout.Formats[i])
		}
	}
	neonDot(f, m)
}

func writeNEONUnpack(f *file) {
	neonRound(f)
	for i := range layout.Formats {
		neonUnpack(f, neonKernel{file: f, format: &layout.Formats[i], groups: layout.Groups, highMask: 9, zero: 10})
	}
}

// neonFew writes the product of a few rows and blocks of a format: unpack and dot in one, with the same results.
func neonFew(f *file, m neonMultiplier, format *layout.Format) {
	f.text("few"+format.DType.String()+m.suffix, 136)
	f.op("MOVD blocks+112(FP), R7")
	f.op("MOVD rows+120(FP), R9")
	f.op("MOVD add+128(FP), R8")
	neonProductStart(f)
	f.op("CMP $2, R9")
	f.op("BEQ rows2of%d", layout.Groups)
	for rows := 1; rows <= neonFewRows; rows++ {
		k := neonKernel{file: f, format: format, rows: rows, groups: layout.Groups}
		k.body(m)
	}
}

// neonDot writes the product of rows and unpacked weights; the twin is dotGeneric.
func neonDot(f *file, m neonMultiplier) {
	f.text("dot"+m.suffix, 184)
	f.op("MOVD ldw+112(FP), R23")
	f.op("MOVD scales_base+120(FP), R4")
	f.op("MOVD groups+144(FP), R24")
	f.op("MOVD blocks+152(FP), R7")
	f.op("MOVD rows+160(FP), R9")
	f.op("MOVD add+168(FP), R8")
	f.op("MOVD ahead+176(FP), R17")
	neonProductStart(f)
	for _, groups := range []int{layout.Groups / 2, layout.Groups} {
		if groups == layout.Groups/2 {
			f.op("CMP $%d, R24", groups)
			f.op("BNE groups%d", layout.Groups)
		} else {
			f.line("groups%d:", groups)
		}
		for rows := 2; rows <= neonDotRows; rows++ {
			f.op("CMP $%d, R9", rows)
			f.op("BEQ %s", rowLabel("rows", rows, groups))
		}
		for rows := 1; rows <= neonDotRows; rows++ {
			k := neonKernel{file: f, rows: rows, groups: groups}
			k.body(m)
		}
	}
}

func neonProductStart(f *file) {
	f.op("MOVD c_base+0(FP), R0")
	f.op("MOVD ldc+24(FP), R1")
	f.op("LSL $2, R1, R1")
	f.op("MOVD x_base+32(FP), R5")
	f.op("MOVD sx_base+56(FP), R6")
	f.op("MOVD ldx+80(FP), R2")
	f.op("MOVD w_base+88(FP), R3")
}

// body writes the product of k.rows rows. R8 says whether it goes on top of what the results are.
func (k *neonKernel) body(m neonMultiplier) {
	label := rowLabel("", k.rows, k.groups)
	k.line("rows%s:", label)
	k.op("CBNZ R8, start%s", label)
	neonClear(k.file, 0)
	k.op("MOVD R0, R11")
	for range k.rows {
		for i := range layout.Panel / 4 {
			k.op("FMOVQ F0, %d(R11)", 16*i)
		}
		k.op("ADD R1, R11, R11")
	}
	k.line("start%s:", label)
	m.start(k, label)
	k.line("block%s:", label)
	k.beginBlock(label)
	m.begin(k, label)
	k.beginColumns(k.rows)
	k.op("MOVD $%d, R8", layout.Panel/m.column)
	k.line("column%s:", label)
	m.multiply(k, label)
	for r := range k.rows {
		k.op("ADD $%d, R%d, R%d", 4*m.column, columnRows[r], columnRows[r])
	}
	k.nextColumn(m.column)
	k.op("SUBS $1, R8, R8")
	k.op("BNE column%s", label)
	k.op("ADD $%d, R5, R5", 8*k.groups)
	k.op("ADD $%d, R6, R6", 8*k.halves())
	k.endBlock(label)
}

// halves is how many scales a block's inputs have.
func (k *neonKernel) halves() int {
	if k.format != nil && k.format.Fine {
		return 2
	}
	return 1
}

func (k *neonKernel) beginBlock(label string) {
	if k.format != nil && k.format.Super {
		k.op("MOVD R3, R4")
		k.op("ADD $%d, R3, R3", k.format.HeaderBytes())
		k.op("MOVD $%d, R25", k.format.Inputs()/layout.Sub)
		k.line("sub%s:", label)
	}
}

func (k *neonKernel) endBlock(label string) {
	if k.format == nil {
		k.op("ADD $%d, R4, R4", 8*layout.Panel)
		k.op("ADD R23, R3, R3")
	} else {
		k.op("ADD $%d, R3, R3", k.format.SubBytes())
		if k.format.Super {
			k.op("SUBS $1, R25, R25")
			k.op("BNE sub%s", label)
		}
	}
	k.op("SUBS $1, R7, R7")
	k.op("BNE block%s", label)
	k.op("RET")
}

// beginColumns sets the pointers of the first column of outputs.
func (k *neonKernel) beginColumns(rows int) {
	for r := range rows {
		if r == 0 {
			k.op("MOVD R0, R%d", columnRows[r])
		} else {
			k.op("ADD R1, R%d, R%d", columnRows[r-1], columnRows[r])
		}
	}
	k.op("MOVD R3, R10")
	if k.format == nil {
		k.op("MOVD R4, R12")
		k.op("ADD R17, R3, R16")
		return
	}
	k.op("ADD $%d, R3, R12", k.format.LowBytes()+k.format.HighBytes())
	k.op("ADD $4096, R3, R16")
	if k.format.Super {
		k.op("MOVD R4, R26")
	}
}

// nextColumn moves the pointers on by some outputs.
func (k *neonKernel) nextColumn(outputs int) {
	k.op("ADD $%d, R10, R10", 4*outputs)
	switch {
	case k.format == nil:
		k.op("ADD $%d, R12, R12", 4*outputs)
	case k.format.Super:
		k.op("ADD $%d, R12, R12", outputs)
		k.op("ADD $%d, R26, R26", 2*outputs)
	default:
		k.op("ADD $%d, R12, R12", 2*outputs)
	}
}

// prefetch asks for a share of a sub-block ahead, that of some outputs.
func (k *neonKernel) prefetch(outputs int) {
	bytes := 4 * k.groups * outputs
	if k.format != nil {
		bytes = k.format.SubBytes() * outputs / layout.Panel
	}
	for at := 0; at < bytes; at += 64 {
		k.op("PRFM %d(R16), PLDL1KEEP", at)
	}
	k.op("ADD $%d, R16, R16", bytes)
}

// finish adds to row r's results of the column's q-th four outputs: the sums, whole numbers, times both scales, less the offsets
// times the activations' sum. sx holds the activations' scale in a lane and their sum in the next.
func (k *neonKernel) finish(r, q, sum, scale, offset, sx, lane, scratch, result int) {
	k.op("FMOVQ %d(R%d), F%d", 16*q, columnRows[r], result)
	byElement(k.file, fmulBy, scratch, scale, sx, lane)
	two(k.file, scvtf, sum, sum)
	k.op("VFMLA V%d.S4, V%d.S4, V%d.S4", scratch, sum, result)
	byElement(k.file, fmlsBy, result, offset, sx, lane+1)
	k.op("FMOVQ F%d, %d(R%d)", result, 16*q, columnRows[r])
}

// rowScales loads the activations' scales of a block into registers from first on and returns where those of a row and half are.
func (k *neonKernel) rowScales(first int) {
	k.op("MOVD R6, R9")
	for r := range k.rows {
		register, lane := k.rowScale(first, r, 0)
		switch {
		case k.halves() == 2:
			k.op("FMOVQ (R9), F%d", register)
		case lane == 0:
			k.op("FMOVD (R9), F%d", register)
		default:
			k.op("VLD1 (R9), V%d.D[1]", register)
		}
		if r < k.rows-1 {
			k.op("ADD R2, R9, R9")
		}
	}
}

// rowScale says where rowScales put those of a row and half.
func (k *neonKernel) rowScale(first, r, half int) (register, lane int) {
	if k.halves() == 2 {
		return first + r, 2 * half
	}
	return first + r/2, r % 2 * 2
}

func float32Bits(n int) uint32 { return math.Float32bits(float32(n)) }
