package main

import (
	"fmt"

	"minisgl/device_cpu/internal/layout"
)

// neonLong multiplies by SMLAL, which every processor has: four products of 16 bits. A column is 16 outputs, whose bytes VLD4
// sorts by their place in a word, so that one input's 16 weights, widened, meet one lane of a row's activations.
//
// V0 to V3 are eight activations of each row, V4 to V11 bytes of weights, V16 and up the sums, four registers a row.
func neonLong() neonMultiplier {
	return neonMultiplier{suffix: "NEON", column: 16, start: longStart, begin: func(k *neonKernel, _ string) { k.rowScales(k.longScales()) },
		multiply: longMultiply}
}

func (k *neonKernel) longScales() int {
	if k.format == nil {
		return 10
	}
	return 14
}

// longWeights is the register that is on the weights; R22 is on a format's upper bits.
func (k *neonKernel) longWeights() int {
	if k.format == nil {
		return 26
	}
	return 21
}

func longStart(k *neonKernel, _ string) {
	k.op("MOVD $%d, R24", 4*layout.Panel)
	k.highMask, k.zero = 29, 30
	k.masks(28)
}

func longMultiply(k *neonKernel, label string) {
	k.op("MOVD R5, R19")
	for r := 1; r < k.rows; r++ {
		k.op("ADD R2, R%d, R%d", 18+r, 19+r)
	}
	k.op("MOVD R10, R%d", k.longWeights())
	if k.format != nil && k.format.High > 0 {
		k.op("ADD $%d, R10, R22", k.format.LowBytes())
	}
	k.prefetch(16)
	for half := range k.halves() {
		for i := range 4 * k.rows {
			neonClear(k.file, neonWord+i)
		}
		pairs := k.groups / k.halves() / 2
		if k.format == nil || k.format.High == 0 {
			k.op("MOVD $%d, R9", pairs)
			k.line("pair%s:", label)
			k.longPair(0)
			k.op("SUBS $1, R9, R9")
			k.op("BNE pair%s", label)
		} else {
			for pair := range pairs {
				k.longPair(half*pairs + pair)
			}
		}
		for q := range 4 {
			k.scales(half, q, 4, 5, 6)
			for r := range k.rows {
				sx, lane := k.rowScale(k.longScales(), r, half)
				k.finish(r, q, neonWord+4*r+q, 4, 5, sx, lane, 6, 7)
			}
		}
	}
}

// longPair multiplies by the next two groups, groups 2·pair and 2·pair+1 of a format with upper bits.
func (k *neonKernel) longPair(pair int) {
	for r := range k.rows {
		k.op("FMOVQ.P 16(R%d), F%d", 19+r, r)
	}
	load := func(from, to int) {
		k.op("VLD4.P (R%d)(R24), [V%d.B16, V%d.B16, V%d.B16, V%d.B16]", from, to, to+1, to+2, to+3)
	}
	if k.format == nil || k.format.Low == 8 {
		for group := range 2 {
			load(k.longWeights(), 4)
			k.longGroup(group, 4)
		}
		return
	}
	load(k.longWeights(), 4)
	if k.format.High > 0 && 2*pair*k.format.High%8 == 0 {
		load(22, 24)
	}
	for place := range 4 {
		k.op("VUSHR $4, V%d.B16, V%d.B16", 4+place, 8+place)
		k.op("VAND V28.B16, V%d.B16, V%d.B16", 4+place, 4+place)
		k.addHigh(2*pair, 4+place, 24+place, 12)
		k.addHigh(2*pair+1, 8+place, 24+place, 12)
	}
	k.longGroup(0, 4)
	k.longGroup(1, 8)
}

// longGroup multiplies by four registers of weights with a group's activations, the first or second four of a register.
func (k *neonKernel) longGroup(group, weights int) {
	wide := 12
	if k.format == nil {
		wide = 8
	}
	for place, input := range [4]int{0, 2, 1, 3} {
		k.op("VUXTL V%d.B8, V%d.H8", weights+place, wide)
		k.op("VUXTL2 V%d.B16, V%d.H8", weights+place, wide+1)
		for r := range k.rows {
			for q := range 4 {
				addProducts(k.file, q%2 == 1, neonWord+4*r+q, wide+q/2, r, 4*group+input)
			}
		}
	}
}

// writeHalves writes a table of the places of the upper and of the lower bytes of 16 activations, in the order of a word.
func writeHalves(f *file, suffix string) {
	f.line("")
	for i, word := range []uint32{0x07030501, 0x06020400} {
		for j := range uint32(4) {
			f.line("DATA halves%s<>+%d(SB)/4, $0x%08x", suffix, 16*i+4*int(j), word+j*0x08080808)
		}
	}
	f.line("GLOBL halves%s<>(SB), RODATA|NOPTR, $32", suffix)
}

// neonDotProduct multiplies by UDOT: four words of four inputs with one word of a row. An activation is 256·upper + lower, its two
// bytes; the upper one is signed, and there is no product of signed and unsigned bytes in FEAT_DotProd. Weights below 128 are
// signed as well as unsigned, so that SDOT serves. For the others the upper byte becomes unsigned by adding 128, and 128 times the
// weights' sum is taken away. A column is four outputs.
//
// V0 to V15 are a block's activations, four registers a row: upper bytes, then lower. V16 to V23 are words of weights, V24 to V27
// the sums, V28 and V29 the activations' scales, V30 is 128 times the weights' sum and V31 128.
func neonDotProduct() neonMultiplier {
	return neonMultiplier{suffix: "DotProd", column: 4, begin: dotBegin, multiply: dotMultiply,
		start: func(k *neonKernel, _ string) {
			k.op("MOVD $halvesDotProd<>(SB), R20")
			k.highMask, k.zero = 9, 10
			k.masks(8)
			if k.eightBits() {
				k.op("VMOVI $128, V31.B16")
			}
		}}
}

// eightBits says whether weights may be 128 or more.
func (k *neonKernel) eightBits() bool { return k.format == nil || k.format.Low == 8 }

// halvesOf loads activations 16·part and following from R9 and takes their bytes apart; V16 to V19 are scratch.
func (k *neonKernel) halvesOf(part, upper, lower int) {
	k.op("FLDPQ %d(R9), (F18, F19)", 32*part)
	k.op("VTBL V16.B16, [V18.B16, V19.B16], V%d.B16", upper)
	k.op("VTBL V17.B16, [V18.B16, V19.B16], V%d.B16", lower)
}

func dotBegin(k *neonKernel, _ string) {
	k.rowScales(28)
	k.op("FLDPQ (R20), (F16, F17)")
	k.op("MOVD R5, R9")
	for r := range k.rows {
		for part := range k.groups / 4 {
			k.halvesOf(part, 4*r+part, 4*r+2+part)
			if k.eightBits() {
				k.op("VEOR V31.B16, V%d.B16, V%d.B16", 4*r+part, 4*r+part)
			}
		}
		if r < k.rows-1 {
			k.op("ADD R2, R9, R9")
		}
	}
}

// wordScratch are registers that are free once a column's sums are there: for its scale, offset and two more.
func (k *neonKernel) wordScratch() (scale, offset, scratch, result int) {
	if k.format == nil {
		return 16, 17, 18, 19
	}
	return 14, 15, 13, 12
}

func dotMultiply(k *neonKernel, _ string) {
	scale, offset, scratch, result := k.wordScratch()
	// Few rows have two sums each, which are added at the end, since a sum waits for the one before.
	chains := 1
	if k.rows <= 2 {
		chains = 2
	}
	sum := func(r int) int { return 24 + chains*r }
	k.prefetch(4)
	k.words()
	share := k.groups / k.halves()
	for half := range k.halves() {
		first := half * share
		upper := uint32(sdotBy)
		if k.eightBits() {
			upper = udotBy
			neonClear(k.file, 30)
			for g := range share {
				three(k.file, udot, 30, neonWord+first+g, 31)
			}
		}
		for r := range k.rows {
			if k.eightBits() {
				two(k.file, neg, sum(r), 30)
			} else {
				neonClear(k.file, sum(r))
			}
			if chains == 2 {
				neonClear(k.file, sum(r)+1)
			}
		}
		products := func(operation uint32, part, chain, g int) {
			for r := range k.rows {
				byElement(k.file, operation, sum(r)+chain, neonWord+g, 4*r+part+g/4, g%4)
			}
		}
		for g := first; g < first+share; g++ {
			products(upper, 0, 0, g)
			if chains == 2 {
				products(udotBy, 2, 1, g)
			}
		}
		for r := range k.rows {
			k.op("VSHL $8, V%d.S4, V%d.S4", sum(r), sum(r))
			if chains == 2 {
				k.op("VADD V%d.S4, V%d.S4, V%d.S4", sum(r)+1, sum(r), sum(r))
			}
		}
		if chains == 1 {
			for g := first; g < first+share; g++ {
				products(udotBy, 2, 0, g)
			}
		}
		k.scales(half, 0, scale, offset, scratch)
		for r := range k.rows {
			sx, lane := k.rowScale(28, r, half)
			k.finish(r, 0, sum(r), scale, offset, sx, lane, scratch, result)
		}
	}
}

// neonMatrix multiplies by USMMLA and UMMLA: two outputs' eight inputs with two rows' upper bytes, then lower ones. A column is
// four outputs. A row without a second one stands for both.
//
// V0 to V15 are a block's activations, eight registers for two rows: upper bytes, then lower. V16 to V23 are words of weights and
// V30 is spare, V24 to V27 are the sums, two registers for two rows, V28 and V29 the activations' scales.
func neonMatrix() neonMultiplier {
	return neonMultiplier{suffix: "I8MM", column: 4, begin: matrixBegin, multiply: matrixMultiply,
		start: func(k *neonKernel, _ string) { k.op("MOVD $halvesI8MM<>(SB), R20") }}
}

func matrixBegin(k *neonKernel, _ string) {
	k.rowScales(28)
	k.op("FLDPQ (R20), (F16, F17)")
	k.op("MOVD R5, R9")
	for first := 0; first < k.rows; first += 2 {
		second := min(first+1, k.rows-1)
		for part := range k.groups / 4 {
			k.halvesOf(part, 20+2*part, 21+2*part)
		}
		other := 20
		if second > first {
			other = 24
			k.op("ADD R2, R9, R9")
			for part := range k.groups / 4 {
				k.halvesOf(part, 24+2*part, 25+2*part)
			}
		}
		for part := range k.groups / 4 {
			for lower := range 2 {
				to, from := 4*first+4*lower+2*part, 2*part+lower
				k.op("VZIP1 V%d.D2, V%d.D2, V%d.D2", other+from, 20+from, to)
				k.op("VZIP2 V%d.D2, V%d.D2, V%d.D2", other+from, 20+from, to+1)
			}
		}
		if second < k.rows-1 {
			k.op("ADD R2, R9, R9")
		}
	}
}

func matrixMultiply(k *neonKernel, _ string) {
	k.prefetch(4)
	k.words()
	var weights [][2]int // of 8 inputs each: outputs 0 and 1, outputs 2 and 3
	for g, spare := 0, 30; g < k.groups; g += 2 {
		a, b := neonWord+g, neonWord+g+1
		k.op("VZIP1 V%d.S4, V%d.S4, V%d.S4", b, a, spare)
		k.op("VZIP2 V%d.S4, V%d.S4, V%d.S4", b, a, b)
		weights = append(weights, [2]int{spare, b})
		spare = a
	}
	sum := func(row int) int { return 24 + row }
	for first := 0; first < k.rows; first += 2 {
		neonClear(k.file, sum(first), sum(first)+1)
	}
	for lower, operation := range []uint32{usmmla, ummla} {
		for i, w := range weights {
			for first := 0; first < k.rows; first += 2 {
				for two := range 2 {
					three(k.file, operation, sum(first)+two, w[two], 4*first+4*lower+i)
				}
			}
		}
		for first := 0; lower == 0 && first < k.rows; first += 2 {
			for two := range 2 {
				k.op("VSHL $8, V%d.S4, V%d.S4", sum(first)+two, sum(first)+two)
			}
		}
	}
	scale, offset, scratch, result := k.wordScratch()
	k.scales(0, 0, scale, offset, scratch)
	for r := range k.rows {
		const row = 20
		which := []string{"VUZP1", "VUZP2"}[r%2]
		k.op(fmt.Sprintf("%s V%d.S4, V%d.S4, V%d.S4", which, sum(r&^1)+1, sum(r&^1), row))
		sx, lane := k.rowScale(28, r, 0)
		k.finish(r, 0, row, scale, offset, sx, lane, scratch, result)
	}
}
