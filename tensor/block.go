package tensor

import "encoding/binary"

// dequantisers convert one block. The layouts are those of ggml's ggml-common.h, the arithmetic that of ggml-quants.c;
// products are converted explicitly so that no architecture fuses them with the following addition.
var dequantisers = [...]func(dst []float32, block []byte){
	Q4_0: dequantiseQ4_0,
	Q4_1: dequantiseQ4_1,
	Q5_0: dequantiseQ5_0,
	Q5_1: dequantiseQ5_1,
	Q8_0: dequantiseQ8_0,
	Q4_K: dequantiseQ4_K,
	Q5_K: dequantiseQ5_K,
	Q6_K: dequantiseQ6_K,
}

func half(b []byte) float32 { return F16ToFloat32(binary.LittleEndian.Uint16(b)) }

// Q8_0 is {f16 scale; int8 q[32]}: scale·q.
func dequantiseQ8_0(dst []float32, block []byte) {
	scale := half(block)
	for i, q := range block[2:34] {
		dst[i] = scale * float32(int8(q))
	}
}

// Q4_0 is {f16 scale; q[16]}: scale·(q-8), with element i in the low half of byte i and element i+16 in its high half.
func dequantiseQ4_0(dst []float32, block []byte) {
	scale := half(block)
	for i, q := range block[2:18] {
		dst[i] = scale * float32(int(q&15)-8)
		dst[i+16] = scale * float32(int(q>>4)-8)
	}
}

// Q4_1 is {f16 scale, least; q[16]}: scale·q + least, elements as in Q4_0.
func dequantiseQ4_1(dst []float32, block []byte) {
	scale, least := half(block), half(block[2:])
	for i, q := range block[4:20] {
		dst[i] = float32(scale*float32(q&15)) + least
		dst[i+16] = float32(scale*float32(q>>4)) + least
	}
}

// Q5_0 is {f16 scale; u32 high; q[16]}: scale·(q-16), elements as in Q4_0 with bit i of high as the fifth bit of element i.
func dequantiseQ5_0(dst []float32, block []byte) {
	scale, high := half(block), binary.LittleEndian.Uint32(block[2:])
	for i, q := range block[6:22] {
		dst[i] = scale * float32(int(uint32(q&15)|high>>i&1<<4)-16)
		dst[i+16] = scale * float32(int(uint32(q>>4)|high>>(i+16)&1<<4)-16)
	}
}

// Q5_1 is {f16 scale, least; u32 high; q[16]}: scale·q + least, elements as in Q5_0.
func dequantiseQ5_1(dst []float32, block []byte) {
	scale, least, high := half(block), half(block[2:]), binary.LittleEndian.Uint32(block[4:])
	for i, q := range block[8:24] {
		dst[i] = float32(scale*float32(uint32(q&15)|high>>i&1<<4)) + least
		dst[i+16] = float32(scale*float32(uint32(q>>4)|high>>(i+16)&1<<4)) + least
	}
}

// SuperScale returns the 6-bit scale and offset of sub-block j of a Q4_K or Q5_K block, which are packed in 12 bytes:
// the first four pairs in the low six bits of bytes 0–7, the other four in bytes 8–11 and the high bits of bytes 0–7.
func SuperScale(packed []byte, j int) (scale, offset uint8) {
	if j < 4 {
		return packed[j] & 63, packed[j+4] & 63
	}
	return packed[j+4]&15 | packed[j-4]>>6<<4, packed[j+4]>>4 | packed[j]>>6<<4
}

// Q4_K is {f16 scale, offset; scales[12]; q[128]}, eight sub-blocks of 32: scale·s·q - offset·o. Sub-blocks 2j and 2j+1 are
// the low and the high halves of bytes 32j to 32j+31.
func dequantiseQ4_K(dst []float32, block []byte) {
	scale, offset := half(block), half(block[2:])
	packed, quants := block[4:16], block[16:144]
	for j := range 8 {
		first, second := SuperScale(packed, j)
		s, o := scale*float32(first), offset*float32(second)
		shift := j % 2 * 4
		for i, q := range quants[j/2*32:][:32] {
			dst[j*32+i] = float32(s*float32(q>>shift&15)) - o
		}
	}
}

// Q5_K is {f16 scale, offset; scales[12]; high[32]; q[128]}: as Q4_K, with bit j of high[i] as the fifth bit of element i of
// sub-block j.
func dequantiseQ5_K(dst []float32, block []byte) {
	scale, offset := half(block), half(block[2:])
	packed, high, quants := block[4:16], block[16:48], block[48:176]
	for j := range 8 {
		first, second := SuperScale(packed, j)
		s, o := scale*float32(first), offset*float32(second)
		shift := j % 2 * 4
		for i, q := range quants[j/2*32:][:32] {
			dst[j*32+i] = float32(s*float32(q>>shift&15|high[i]>>j&1<<4)) - o
		}
	}
}

// Q6_K is {low[128]; high[64]; int8 scales[16]; f16 scale}, sixteen sub-blocks of 16: scale·s·(q-32). Each half of the block
// holds 128 elements in four runs of 32: run r has its low four bits in the low (r < 2) or high halves of 32 of 64 bytes
// and its upper two in bits 2r and 2r+1 of 32 bytes.
func dequantiseQ6_K(dst []float32, block []byte) {
	low, high, scales, scale := block[:128], block[128:192], block[192:208], half(block[208:])
	for h := range 2 {
		for r := range 4 {
			lows, highs := low[64*h+r%2*32:][:32], high[32*h:][:32]
			for i := range 32 {
				q := lows[i]>>(r/2*4)&15 | highs[i]>>(2*r)&3<<4
				s := scale * float32(int8(scales[8*h+2*r+i/16]))
				dst[128*h+32*r+i] = s * float32(int(q)-32)
			}
		}
	}
}
