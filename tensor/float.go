package tensor

import (
	"encoding/binary"
	"math"
)

// BF16ToFloat32 returns the value of a bfloat16: the upper half of a float32.
func BF16ToFloat32(b uint16) float32 { return math.Float32frombits(uint32(b) << 16) }

// Float32ToBF16 rounds to the nearest bfloat16, ties to even. NaN stays NaN (quiet), and what is too large becomes infinite.
func Float32ToBF16(f float32) uint16 {
	bits := math.Float32bits(f)
	if f != f {
		return uint16(bits>>16) | 0x40
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}

// F16ToFloat32 returns the value of an IEEE 754 binary16.
func F16ToFloat32(h uint16) float32 {
	const rebias = 0x1p112 // the two formats' exponent biases, 127 and 15, apart
	sign := uint32(h&0x8000) << 16
	magnitude := uint32(h&0x7fff) << 13
	if h&0x7c00 == 0x7c00 {
		return math.Float32frombits(sign | 0x7f800000 | magnitude)
	}
	return math.Float32frombits(sign | math.Float32bits(math.Float32frombits(magnitude)*rebias))
}

// Float32ToF16 rounds to the nearest binary16, ties to even. NaN stays NaN (quiet), and what is too large becomes infinite.
func Float32ToF16(f float32) uint16 {
	const (
		infinite    = 0x7f800000
		overflow    = 0x47800000 // 65536: whatever lies below it may still round to a finite value
		smallNormal = 0x38800000 // 2⁻¹⁴
		halfUnit    = 0x3f000000 // 0.5, whose last bit counts 2⁻²⁴, the unit of binary16's subnormals
	)
	bits := math.Float32bits(f)
	sign := uint16(bits >> 16 & 0x8000)
	bits &= 0x7fffffff
	switch {
	case bits > infinite:
		return sign | 0x7e00 | uint16(bits>>13&0x3ff)
	case bits >= overflow:
		return sign | 0x7c00
	case bits < smallNormal:
		rounded := math.Float32frombits(bits) + math.Float32frombits(halfUnit)
		return sign | uint16(math.Float32bits(rounded)-halfUnit)
	}
	bits += 0xfff + bits>>13&1
	return sign | uint16((bits-(127-15)<<23)>>13)
}

// ToFloat32 converts len(dst) elements, a whole number of blocks, from src to dst. Quantised elements are computed with
// float32 operations in the order of ggml's dequantize_row functions, so that the results are equal to the bit. Only types
// for which Float is true can be converted; for others dst becomes NaN.
func (d DType) ToFloat32(dst []float32, src []byte) {
	if len(dst) == 0 {
		return
	}
	src = src[:d.RowBytes(len(dst))]
	switch d {
	case F32:
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
		}
	case F16:
		for i := range dst {
			dst[i] = F16ToFloat32(binary.LittleEndian.Uint16(src[2*i:]))
		}
	case BF16:
		for i := range dst {
			dst[i] = BF16ToFloat32(binary.LittleEndian.Uint16(src[2*i:]))
		}
	default:
		dequantise := dequantisers[d]
		if dequantise == nil {
			for i := range dst {
				dst[i] = float32(math.NaN())
			}
			return
		}
		n, bytes := d.Block(), d.BlockBytes()
		for len(dst) >= n {
			dequantise(dst[:n:n], src[:bytes:bytes])
			dst, src = dst[n:], src[bytes:]
		}
	}
}
