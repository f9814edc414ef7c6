package main

import (
	"fmt"
	"math"
)

// Instructions on integers that Go's assembler does not know, as the Arm architecture manual encodes them (C7.2), the last three of
// extensions: FEAT_DotProd has UDOT and SDOT, FEAT_I8MM the products of 2×8 and 8×2 bytes.
const (
	ucvtf  = 0x6E21D800
	umax   = 0x6EA06400
	umaxv  = 0x6EB0A800
	sqxtn  = 0x0E614800 // four integers to 16 bits, saturated
	sqxtnb = 0x4E614800 // into the upper four
	saddlp = 0x4E602800 // sums of two neighbours of 16 bits
	sadalp = 0x4E606800 // and what was there
	addp   = 0x4EA0BC00
	neg    = 0x6EA0B800
	smlal  = 0x0F402000 // four integers of 16 bits times one of 16 bits
	udotBy = 0x6F80E000 // each word's four bytes times one word's
	sdotBy = 0x4F80E000
	udot   = 0x6E809400 // each word's four bytes times those of the same word
	ummla  = 0x6E80A400
	usmmla = 0x4E80AC00
	fmulBy = 0x4F809000 // each float32 times one
	fmlsBy = 0x4F805000
)

func init() {
	for code, name := range map[uint32]string{ucvtf: "UCVTF", umax: "UMAX", umaxv: "UMAXV", sqxtn: "SQXTN", sqxtnb: "SQXTN2",
		saddlp: "SADDLP", sadalp: "SADALP", addp: "ADDP", neg: "NEG", udotBy: "UDOT", sdotBy: "SDOT", udot: "UDOT", ummla: "UMMLA",
		usmmla: "USMMLA", fmulBy: "FMUL", fmlsBy: "FMLS"} {
		names[code] = name
	}
}

// byElement writes d = n operation m[lane], with lanes of 32 bits.
func byElement(f *file, operation uint32, d, n, m, lane int) {
	code := operation | uint32(lane>>1<<11|lane&1<<21|m<<16|n<<5|d)
	f.op("WORD $0x%08X // %s V%d, V%d, V%d.S[%d]", code, names[operation], d, n, m, lane)
}

// addProducts writes d += n·m[lane] of the lower or upper four 16-bit numbers of n; m is one of the registers 0 to 15.
func addProducts(f *file, upper bool, d, n, m, lane int) {
	code, name := uint32(smlal), "SMLAL"
	if upper {
		code, name = code|1<<30, "SMLAL2"
	}
	code |= uint32(lane>>2<<11 | lane>>1&1<<21 | lane&1<<20 | m<<16 | n<<5 | d)
	f.op("WORD $0x%08X // %s V%d, V%d, V%d.H[%d]", code, name, d, n, m, lane)
}

var roundConstants = []uint32{0x7fffffff, math.Float32bits(1e-30), math.Float32bits(1.0 / 32767), math.Float32bits(32767)}

// neonRound writes the function that makes activations 16-bit numbers; the twin is roundGeneric. The largest is found among
// bits, where a NaN is larger than any number.
func neonRound(f *file) {
	f.line("")
	for i, number := range roundConstants {
		f.line("DATA roundNEON<>+%d(SB)/4, $0x%08x", 4*i, number)
	}
	f.line("GLOBL roundNEON<>(SB), RODATA|NOPTR, $%d", 4*len(roundConstants))
	f.text("roundNEON", 72)
	f.op("MOVD x_base+0(FP), R0")
	f.op("MOVD q_base+24(FP), R1")
	f.op("MOVD q_len+32(FP), R2")
	f.op("MOVD scales_base+48(FP), R3")
	f.op("ADD R2>>2, R3, R4") // behind the scales of whole sub-blocks: 8 bytes for 32 inputs
	f.op("MOVD $roundNEON<>(SB), R6")
	const signless, least, share, most = 28, 29, 30, 31
	for _, constant := range []int{signless, least, share, most} {
		f.op("VLD1R.P 4(R6), [V%d.S4]", constant)
	}
	f.line("block:")
	f.op("VLD1.P 64(R0), [V0.S4, V1.S4, V2.S4, V3.S4]")
	f.op("VLD1.P 64(R0), [V4.S4, V5.S4, V6.S4, V7.S4]")
	for i := range 8 {
		f.op("VAND V%d.B16, V%d.B16, V%d.B16", signless, i, 8+i)
	}
	for n := 4; n > 0; n /= 2 {
		for i := range n {
			three(f, umax, 8+i, 8+i, 8+n+i)
		}
	}
	two(f, umaxv, 8, 8)
	f.op("VDUP V8.S[0], V8.S4")
	three(f, fmul, 9, 8, share) // the scale
	three(f, fmax, 8, 8, least)
	three(f, fdiv, 8, most, 8)
	for i := range 8 {
		three(f, fmul, i, i, 8)
		two(f, fcvtns, i, i)
	}
	for i := range 4 {
		two(f, sqxtn, 10+i, 2*i)
		two(f, sqxtnb, 10+i, 2*i+1)
	}
	f.op("VST1.P [V10.H8, V11.H8, V12.H8, V13.H8], 64(R1)")
	for half := range 2 {
		two(f, saddlp, half, 10+2*half)
		two(f, sadalp, half, 11+2*half)
	}
	three(f, addp, 0, 0, 1)
	three(f, addp, 0, 0, 0) // first half, second half, again
	three(f, addp, 1, 0, 0)
	for i := range 2 {
		two(f, scvtf, i, i)
		three(f, fmul, i, i, 9)
		f.op("VZIP1 V%d.S4, V9.S4, V%d.S4", i, i)
	}
	f.op("FMOVD.P F1, 8(R3)")  // scale, sum
	f.op("FMOVQ.P F0, 16(R4)") // scale, first half, scale, second half
	f.op("SUBS $32, R2, R2")
	f.op("BNE block")
	f.op("RET")
}

// words loads V16 to V23 with the numbers of an output column's groups, four outputs wide, from R10: the unpacked bytes, or those
// of a format, for which its masks are in V8 and V9; V11 to V13 are scratch.
func (k *neonKernel) words() {
	const row = 4 * 32 // bytes of a group
	if k.format == nil || k.format.Low == 8 {
		for g := range k.groups {
			k.op("FMOVQ %d(R10), F%d", row*g, neonWord+g)
		}
		return
	}
	for i := range k.format.High {
		k.op("FMOVQ %d(R10), F%d", k.format.LowBytes()+row*i, 11+i)
	}
	for g := 0; g < k.groups; g += 2 {
		k.op("FMOVQ %d(R10), F%d", row*g/2, neonWord+g)
		k.op("VUSHR $4, V%d.B16, V%d.B16", neonWord+g, neonWord+g+1)
		k.op("VAND V8.B16, V%d.B16, V%d.B16", neonWord+g, neonWord+g)
		for i := range 2 {
			k.addHigh(g+i, neonWord+g+i, 11+(g+i)*k.format.High/8, 13)
		}
	}
}

// addHigh puts the upper bits of a group's numbers, which are among those of register from, into a register.
func (k *neonKernel) addHigh(group, to, from, scratch int) {
	if k.format.High == 0 {
		return
	}
	switch shift := 4 - group*k.format.High%8; { // to the left
	case shift > 0:
		k.op("VSHL $%d, V%d.B16, V%d.B16", shift, from, scratch)
		from = scratch
	case shift < 0:
		k.op("VUSHR $%d, V%d.B16, V%d.B16", -shift, from, scratch)
		from = scratch
	}
	k.op("VBIT V%d.B16, V%d.B16, V%d.B16", k.highMask, from, to)
}

// scales loads the scales and offsets of four outputs, the column's q-th, as float32: R12 is on the sub-block's scales, R26 on
// the header's, or R12 on those that are unpacked.
func (k *neonKernel) scales(half, q, scale, offset, scratch int) {
	f := k.format
	if f == nil {
		k.op("FMOVQ %d(R12), F%d", 16*q, scale)
		k.op("FMOVQ %d(R12), F%d", 4*32+16*q, offset)
		return
	}
	if f.Super {
		k.superScale(half*32+4*q, 8*q, scale, scratch)
		if f.Offset {
			k.superScale(32+4*q, 2*32+8*q, offset, scratch)
		}
	} else {
		k.op("FMOVD %d(R12), F%d", 8*q, scale)
		two(k.file, fcvtl, scale, scale)
		if f.Offset {
			k.op("FMOVD %d(R12), F%d", 2*32+8*q, offset)
			two(k.file, fcvtl, offset, offset)
		}
	}
	if !f.Offset {
		three(k.file, fmul, offset, scale, k.zero)
	}
}

// superScale loads four bytes and multiplies them by the header's f16.
func (k *neonKernel) superScale(at, header, to, scratch int) {
	k.op("FMOVS %d(R12), F%d", at, to)
	convert := uint32(ucvtf)
	if k.format.Zero > 0 {
		convert = scvtf
		two(k.file, sxtl8, to, to)
		two(k.file, sxtl16, to, to)
	} else {
		k.op("VUXTL V%d.B8, V%d.H8", to, to)
		k.op("VUXTL V%d.H4, V%d.S4", to, to)
	}
	two(k.file, convert, to, to)
	k.op("FMOVD %d(R26), F%d", header, scratch)
	two(k.file, fcvtl, scratch, scratch)
	three(k.file, fmul, to, to, scratch)
}

// masks fills the registers that take a format apart.
func (k *neonKernel) masks(nibbles int) {
	if k.format == nil {
		return
	}
	if k.format.Low == 4 {
		k.op("VMOVI $15, V%d.B16", nibbles)
	}
	if k.format.High > 0 {
		k.op("VMOVI $%d, V%d.B16", (1<<k.format.High-1)<<4, k.highMask)
	}
	if k.format.Zero > 0 {
		k.op("MOVD $0x%08x, R9", float32Bits(k.format.Zero))
		k.op("VDUP R9, V%d.S4", k.zero)
	}
}

// neonUnpack writes the function that turns blocks of a format into what dot reads; the twin is unpackGeneric.
func neonUnpack(f *file, k neonKernel) {
	format := k.format
	f.text("unpack"+format.DType.String()+"NEON", 80)
	f.op("MOVD w_base+0(FP), R3")
	f.op("MOVD blocks+24(FP), R7")
	f.op("MOVD u_base+32(FP), R0")
	f.op("MOVD scales_base+56(FP), R1")
	k.masks(8)
	f.line("block:")
	k.beginBlock("")
	k.beginColumns(0)
	f.op("MOVD $8, R8")
	f.line("column:")
	if format.Low == 4 {
		k.prefetch(4)
		k.words()
		for g := range k.groups {
			f.op("FMOVQ F%d, %d(R0)", neonWord+g, 4*32*g)
		}
		f.op("ADD $16, R0, R0")
	}
	for half := range k.halves() {
		k.scales(half, 0, 14, 15, 13)
		f.op("FMOVQ F14, %d(R1)", 8*32*half)
		f.op("FMOVQ F15, %d(R1)", 8*32*half+4*32)
	}
	f.op("ADD $16, R1, R1")
	k.nextColumn(4)
	f.op("SUBS $1, R8, R8")
	f.op("BNE column")
	if format.Low == 4 {
		f.op("ADD $%d, R0, R0", 7*4*32)
	}
	f.op("ADD $%d, R1, R1", 8*32*k.halves()-4*32)
	k.endBlock("")
}

func rowLabel(name string, rows, groups int) string {
	return fmt.Sprintf("%s%dof%d", name, rows, groups)
}
