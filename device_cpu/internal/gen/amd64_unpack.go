package main

import (
	"math"

	"minisgl/device_cpu/internal/layout"
)

// An unpacker writes the code that takes blocks of a format apart: BX points at a sub-block, DX at the header of its block, CX
// counts blocks and R10 sub-blocks. Registers 8 to 15 are its own.
type unpacker struct {
	*file
	isa
	*layout.Format

	low, high, odd, x              string // words of weights, and what is made of them
	nibbles, bits, bytePairs, zero string // masks and the format's zero
}

func newUnpacker(f *file, s isa, format *layout.Format) *unpacker {
	u := &unpacker{file: f, isa: s, Format: format}
	for i, name := range []*string{&u.low, &u.high, &u.odd, &u.x, &u.nibbles, &u.bits, &u.bytePairs, &u.zero} {
		*name = s.r(8 + i)
	}
	s.broadcast(f, 0x0f0f0f0f, u.nibbles)
	s.broadcast(f, (1<<format.High-1)<<4*0x01010101, u.bits)
	s.broadcast(f, 0x00ff00ff, u.bytePairs)
	s.broadcast(f, math.Float32bits(float32(format.Zero)), u.zero)
	return u
}

func (u *unpacker) beginBlock() {
	if u.Super {
		u.op("MOVQ BX, DX")
		u.op("ADDQ $%d, BX", u.HeaderBytes())
		u.op("MOVQ $%d, R10", u.Inputs()/layout.Sub)
	}
}

func (u *unpacker) endBlock(label string) {
	if u.Super {
		u.op("DECQ R10")
		u.op("JNZ sub%s", label)
	}
	u.op("DECQ CX")
	u.op("JNZ block%s", label)
}

// prefetch asks for part p of 4 of a sub-block 4 KB ahead.
func (u *unpacker) prefetch(p int) {
	lines := u.SubBytes() / 64
	for line := lines * p / 4; line < lines*(p+1)/4; line++ {
		u.op("PREFETCHT0 %d(BX)", 4096+64*line)
	}
}

// words loads the weights of groups 2p and 2p+1 for the outputs of vector v.
func (u *unpacker) words(p, v int) {
	const row = 4 * layout.Panel // bytes of a group
	at := v * u.bytes()
	if u.Low == 8 {
		u.op("%s %d(BX), %s", u.load, 2*p*row+at, u.low)
		u.op("%s %d(BX), %s", u.load, (2*p+1)*row+at, u.high)
		return
	}
	u.op("%s %d(BX), %s", u.load, p*row+at, u.low)
	u.op("VPSRLD $4, %s, %s", u.low, u.high)
	u.op("%s %s, %s, %s", u.and, u.nibbles, u.low, u.low)
	u.op("%s %s, %s, %s", u.and, u.nibbles, u.high, u.high)
	if u.High == 0 {
		return
	}
	for i, nibbles := range []string{u.low, u.high} {
		group, perWord := 2*p+i, 8/u.High
		u.op("%s %d(BX), %s", u.load, u.LowBytes()+group/perWord*row+at, u.x)
		shift := 4 - group%perWord*u.High // to the left
		if shift > 0 {
			u.op("VPSLLD $%d, %s, %s", shift, u.x, u.x)
		} else if shift < 0 {
			u.op("VPSRLD $%d, %s, %s", -shift, u.x, u.x)
		}
		u.op("%s %s, %s, %s", u.and, u.bits, u.x, u.x)
		u.op("%s %s, %s, %s", u.or, u.x, nibbles, nibbles)
	}
}

// scales loads the scales and offsets of the outputs from j on, in the sub-block's only or second half, as float32.
func (u *unpacker) scales(half, j int) (scale, offset string) {
	scale, offset, header := u.low, u.high, u.x
	from := u.LowBytes() + u.HighBytes()
	if !u.Super {
		u.op("VCVTPH2PS %d(BX), %s", from+2*j, scale)
		if u.Offset {
			u.op("VCVTPH2PS %d(BX), %s", from+2*(layout.Panel+j), offset)
		}
	} else {
		extend := "VPMOVZXBD"
		if u.Zero > 0 {
			extend = "VPMOVSXBD"
		}
		u.op("%s %d(BX), %s", extend, from+half*layout.Panel+j, scale)
		u.op("VCVTDQ2PS %s, %s", scale, scale)
		u.op("VCVTPH2PS %d(DX), %s", 2*j, header)
		u.op("VMULPS %s, %s, %s", header, scale, scale)
		if u.Offset {
			u.op("VPMOVZXBD %d(BX), %s", from+layout.Panel+j, offset)
			u.op("VCVTDQ2PS %s, %s", offset, offset)
			u.op("VCVTPH2PS %d(DX), %s", 2*(layout.Panel+j), header)
			u.op("VMULPS %s, %s, %s", header, offset, offset)
		}
	}
	if !u.Offset {
		u.op("VMULPS %s, %s, %s", u.zero, scale, offset)
	}
	return scale, offset
}

// writeUnpack writes the function that turns blocks of a format into what dot reads; the twin is unpackGeneric.
func writeUnpack(f *file, s isa, format *layout.Format) {
	f.text("unpack"+format.DType.String()+s.suffix, 80)
	f.op("MOVQ w_base+0(FP), BX")
	f.op("MOVQ blocks+24(FP), CX")
	f.op("MOVQ u_base+32(FP), DI")
	f.op("MOVQ scales_base+56(FP), SI")
	u := newUnpacker(f, s, format)
	f.line("block:")
	u.beginBlock()
	if u.Super {
		f.line("sub:")
	}
	if u.Low == 4 {
		for p := range layout.Groups / 2 {
			u.prefetch(p)
			for v := range layout.Panel / u.lanes {
				u.words(p, v)
				at := 2*p*4*layout.Panel + v*u.bytes()
				f.op("%s %s, %d(DI)", u.load, u.low, at)
				f.op("%s %s, %d(DI)", u.load, u.high, at+4*layout.Panel)
			}
		}
		f.op("ADDQ $%d, DI", layout.Unpacked)
	}
	halves := layout.Sub / u.ScaleInputs()
	for half := range halves {
		for j := 0; j < layout.Panel; j += u.lanes {
			scale, offset := u.scales(half, j)
			f.op("VMOVUPS %s, %d(SI)", scale, half*8*layout.Panel+4*j)
			f.op("VMOVUPS %s, %d(SI)", offset, half*8*layout.Panel+4*(layout.Panel+j))
		}
	}
	f.op("ADDQ $%d, SI", halves*8*layout.Panel)
	f.op("ADDQ $%d, BX", u.SubBytes())
	u.endBlock("")
	f.op("VZEROUPPER")
	f.op("RET")
}

// writeRound writes the function that makes activations 16-bit numbers; the twin is roundGeneric.
func writeRound(f *file) {
	f.text("roundAVX2", 72)
	f.op("MOVQ x_base+0(FP), SI")
	f.op("MOVQ q_base+24(FP), DI")
	f.op("MOVQ q_len+32(FP), CX")
	f.op("MOVQ scales_base+48(FP), DX")
	f.op("MOVQ CX, BX")
	f.op("SHRQ $2, BX") // bytes of the scales of whole sub-blocks: 8 for 32 inputs
	f.op("ADDQ DX, BX")
	roundBlocks(f, func() {
		f.op("VMOVDQU Y0, (DI)")
		f.op("VMOVDQU Y2, 32(DI)")
	}, func() {
		f.op("VUNPCKLPS X1, X6, X1") // scale, sum
		f.op("VMOVQ X1, (DX)")
		f.op("VUNPCKLPS X0, X7, X0") // scale, first half, scale, second half
		f.op("VMOVUPS X0, (BX)")
		f.op("ADDQ $64, DI")
		f.op("ADDQ $8, DX")
		f.op("ADDQ $16, BX")
	})
}

// roundBlocks rounds CX values behind SI, 32 at a time. The largest is found among bits, where a NaN is larger than any
// number. store writes the numbers, in Y0 and Y2, and finish the scale, X6, and its product with the sums of all, X1, and of
// the first and the second half, the first two of X0; Y8 to Y13 are theirs.
func roundBlocks(f *file, store, finish func()) {
	f.op("VPBROADCASTD round<>+0(SB), Y15")
	f.op("VPBROADCASTD round<>+16(SB), Y14")
	f.line("block:")
	for i := range 4 {
		f.op("VMOVUPS %d(SI), Y%d", 32*i, i)
		f.op("VPAND Y15, Y%d, Y%d", i, 4+i)
	}
	f.op("VPMAXSD Y4, Y5, Y4")
	f.op("VPMAXSD Y6, Y7, Y6")
	f.op("VPMAXSD Y4, Y6, Y4")
	f.op("VEXTRACTI128 $1, Y4, X5")
	f.op("VPMAXSD X4, X5, X4")
	f.op("VPSHUFD $0x4e, X4, X5")
	f.op("VPMAXSD X4, X5, X4")
	f.op("VPSHUFD $0xb1, X4, X5")
	f.op("VPMAXSD X4, X5, X4")
	f.op("VMULSS round<>+8(SB), X4, X6") // the scale
	f.op("VMAXSS round<>+4(SB), X4, X4")
	f.op("VMOVSS round<>+12(SB), X5")
	f.op("VDIVSS X4, X5, X5")
	f.op("VBROADCASTSS X5, Y5")
	for i := range 4 {
		f.op("VMULPS Y5, Y%d, Y%d", i, i)
		f.op("VCVTPS2DQ Y%d, Y%d", i, i)
	}
	for i := range 2 {
		f.op("VPACKSSDW Y%d, Y%d, Y%d", 2*i+1, 2*i, 2*i)
		f.op("VPERMQ $0xd8, Y%d, Y%d", 2*i, 2*i)
	}
	store()
	for i := range 2 {
		f.op("VPMADDWD Y14, Y%d, Y%d", 2*i, 2*i)
	}
	f.op("VPHADDD Y2, Y0, Y0") // four sums of the first half, four of the second, in each lane two and two
	f.op("VPHADDD Y0, Y0, Y0")
	f.op("VEXTRACTI128 $1, Y0, X1")
	f.op("VPADDD X0, X1, X0") // first half, second half, again
	f.op("VPHADDD X0, X0, X1")
	f.op("VCVTDQ2PS X0, X0")
	f.op("VCVTDQ2PS X1, X1")
	f.op("VBROADCASTSS X6, X7")
	f.op("VMULPS X7, X0, X0")
	f.op("VMULPS X7, X1, X1")
	finish()
	f.op("ADDQ $128, SI")
	f.op("SUBQ $32, CX")
	f.op("JNZ block")
	f.op("VZEROUPPER")
	f.op("RET")
}

// writeRoundConstants writes what roundBlocks reads.
func writeRoundConstants(f *file) {
	f.line("")
	for i, number := range []uint32{0x7fffffff, math.Float32bits(1e-30), math.Float32bits(1.0 / 32767), math.Float32bits(32767), 0x00010001} {
		f.line("DATA round<>+%d(SB)/4, $0x%08x", 4*i, number)
	}
	f.line("GLOBL round<>(SB), RODATA|NOPTR, $20")
}
