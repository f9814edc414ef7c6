package cpu

import (
	"encoding/binary"

	"minisgl/device_cpu/internal/layout"
	"minisgl/tensor"
)

// blockReaders take GGUF's blocks apart (package tensor has their layouts). quants writes the unsigned numbers of a sub-block's
// 32 inputs, four to a word, and the places are those of the f16 scale and offset in a block, of the scales that are bytes and
// of the sign that turns a stored minimum into an offset.
var blockReaders = map[tensor.DType]struct {
	quants        func(words *[layout.Groups]uint32, block []byte, sub int)
	scale, offset int
	flip          uint16 // the offset's sign bit if the type adds it
}{
	tensor.Q8_0: {quants: quantsQ8_0},
	tensor.Q4_0: {quants: func(w *[layout.Groups]uint32, b []byte, _ int) { nibbleHalves(w, b[2:]) }},
	tensor.Q4_1: {quants: func(w *[layout.Groups]uint32, b []byte, _ int) { nibbleHalves(w, b[4:]) }, offset: 2, flip: 1 << 15},
	tensor.Q5_0: {quants: func(w *[layout.Groups]uint32, b []byte, _ int) { fiveBits(w, b[6:], b[2:]) }},
	tensor.Q5_1: {quants: func(w *[layout.Groups]uint32, b []byte, _ int) { fiveBits(w, b[8:], b[4:]) }, offset: 2, flip: 1 << 15},
	tensor.Q4_K: {quants: quantsQ4_K, offset: 2},
	tensor.Q5_K: {quants: quantsQ5_K, offset: 2},
	tensor.Q6_K: {quants: quantsQ6_K, scale: 208},
}

const eachByte = 0x01010101

func quantsQ8_0(words *[layout.Groups]uint32, block []byte, _ int) {
	for g := range words {
		words[g] = binary.LittleEndian.Uint32(block[2+4*g:]) ^ 0x80*eachByte
	}
}

// nibbleHalves: the first 16 inputs are the lower halves of 16 bytes, the others the upper.
func nibbleHalves(words *[layout.Groups]uint32, quants []byte) {
	for g := range layout.Groups / 2 {
		w := binary.LittleEndian.Uint32(quants[4*g:])
		words[g], words[g+layout.Groups/2] = w&(15*eachByte), w>>4&(15*eachByte)
	}
}

func fiveBits(words *[layout.Groups]uint32, quants, high []byte) {
	nibbleHalves(words, quants)
	bits := binary.LittleEndian.Uint32(high)
	for g := range words {
		// The multiplication puts bits 0 to 3 into four bytes.
		words[g] |= bits >> (4 * g) & 15 * 0x00204081 & eachByte << 4
	}
}

func quantsQ4_K(words *[layout.Groups]uint32, block []byte, sub int) {
	for g := range words {
		words[g] = binary.LittleEndian.Uint32(block[16+sub/2*32+4*g:]) >> (sub % 2 * 4) & (15 * eachByte)
	}
}

func quantsQ5_K(words *[layout.Groups]uint32, block []byte, sub int) {
	for g := range words {
		words[g] = binary.LittleEndian.Uint32(block[48+sub/2*32+4*g:])>>(sub%2*4)&(15*eachByte) |
			binary.LittleEndian.Uint32(block[16+4*g:])>>sub&eachByte<<4
	}
}

func quantsQ6_K(words *[layout.Groups]uint32, block []byte, sub int) {
	half, run := sub/4, sub%4
	for g := range words {
		words[g] = binary.LittleEndian.Uint32(block[64*half+run%2*32+4*g:])>>(run/2*4)&(15*eachByte) |
			binary.LittleEndian.Uint32(block[128+32*half+4*g:])>>(2*run)&(3*eachByte)<<4
	}
}

// packQuantised reorders a panel of quantised weights; rows that are not there stay zero.
func (p *packed) packQuantised(sources [][]byte, panel int) {
	f := p.format
	reader := blockReaders[p.dtype]
	for j, source := range sources {
		to := p.panel(panel)
		for ; len(source) > 0; source = source[p.dtype.BlockBytes():] {
			block := source[:p.dtype.BlockBytes()]
			scale := binary.LittleEndian.Uint16(block[reader.scale:])
			offset := binary.LittleEndian.Uint16(block[reader.offset:]) ^ reader.flip
			if f.Super {
				putHalves(f, to, j, scale, offset)
				to = to[f.HeaderBytes():]
			}
			for sub := range f.Inputs() / layout.Sub {
				var words [layout.Groups]uint32
				reader.quants(&words, block, sub)
				scales := to[f.LowBytes()+f.HighBytes():]
				packWords(f, to, j, &words)
				switch {
				case !f.Super:
					putHalves(f, scales, j, scale, offset)
				case f.Fine:
					scales[j], scales[layout.Panel+j] = block[192+2*sub], block[192+2*sub+1]
				default:
					scales[j], scales[layout.Panel+j] = tensor.SuperScale(block[4:16], sub)
				}
				to = to[f.SubBytes():]
			}
		}
	}
}

func putHalves(f *layout.Format, to []byte, j int, scale, offset uint16) {
	binary.LittleEndian.PutUint16(to[2*j:], scale)
	if f.Offset {
		binary.LittleEndian.PutUint16(to[2*(layout.Panel+j):], offset)
	}
}

// packWords writes a sub-block's numbers of output j.
func packWords(f *layout.Format, to []byte, j int, words *[layout.Groups]uint32) {
	for g, w := range words {
		words[g] = w&0xff0000ff | w>>8&0xff00 | w<<8&0xff0000
	}
	if f.Low == 8 {
		for g, w := range words {
			binary.LittleEndian.PutUint32(to[4*(g*layout.Panel+j):], w)
		}
		return
	}
	var high [2]uint32
	for g := 0; g < layout.Groups; g += 2 {
		even, odd := words[g], words[g+1]
		binary.LittleEndian.PutUint32(to[4*(g/2*layout.Panel+j):], even&(15*eachByte)|odd&(15*eachByte)<<4)
		if f.High > 0 {
			perWord := 8 / f.High
			mask := uint32(1<<f.High-1) * eachByte
			high[g/perWord] |= (even>>4&mask | odd>>4&mask<<f.High) << (g % perWord * f.High)
		}
	}
	for i := range f.High {
		binary.LittleEndian.PutUint32(to[f.LowBytes()+4*(i*layout.Panel+j):], high[i])
	}
}
