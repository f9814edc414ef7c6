package tensor

import (
	"encoding/binary"
	"math"
)

// Quantise returns values, a multiple of 32, as blocks of Q8_0 or Q4_0, as ggml's reference code rounds them
// (ggml-quants.c, quantize_row_q8_0_ref and quantize_row_q4_0_ref). Other types panic.
func Quantise(d DType, values []float32) []byte {
	blocks := make([]byte, d.RowBytes(len(values)))
	for i := 0; i < len(values)/32; i++ {
		block, values := blocks[i*d.BlockBytes():][:d.BlockBytes()], values[32*i:][:32]
		switch d {
		case Q8_0:
			quantiseQ8_0(block, values)
		case Q4_0:
			quantiseQ4_0(block, values)
		default:
			panic("tensor: no code to quantise to " + d.String())
		}
	}
	return blocks
}

// quantiseQ8_0: the scale is the largest magnitude over 127.
func quantiseQ8_0(block []byte, values []float32) {
	var largest float32
	for _, v := range values {
		largest = max(largest, max(v, -v))
	}
	scale := largest / 127
	binary.LittleEndian.PutUint16(block, Float32ToF16(scale))
	factor := inverse(scale)
	for i, v := range values {
		block[2+i] = byte(int8(roundAway(v * factor)))
	}
}

// quantiseQ4_0: the scale is the value of largest magnitude over -8, so that this value is met.
func quantiseQ4_0(block []byte, values []float32) {
	var largest float32
	for _, v := range values {
		if max(v, -v) > max(largest, -largest) {
			largest = v
		}
	}
	scale := largest / -8
	binary.LittleEndian.PutUint16(block, Float32ToF16(scale))
	factor := inverse(scale)
	nibble := func(v float32) byte { return min(15, byte(int32(float32(v*factor)+8.5))) } // never fused, so the same everywhere
	for i := range 16 {
		block[2+i] = nibble(values[i]) | nibble(values[i+16])<<4
	}
}

// roundAway rounds to the nearest whole number, halves away from zero: in float64 the sum is exact.
func roundAway(x float32) int32 { return int32(float64(x) + math.Copysign(0.5, float64(x))) }

func inverse(scale float32) float32 {
	if scale == 0 {
		return 0
	}
	return 1 / scale
}
