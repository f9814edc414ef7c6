package tensor

import (
	"errors"
	"fmt"
	"math"
)

// A DType is the type of a tensor's elements. The quantised ones are GGUF's block formats: a block of 32 or 256
// consecutive elements of a row shares its scales (layouts as in ggml's ggml-common.h).
type DType uint8

const (
	Invalid DType = iota
	F32
	F16
	BF16
	F64
	I8
	U8
	I16
	I32
	I64
	Bool
	Q4_0
	Q4_1
	Q5_0
	Q5_1
	Q8_0
	Q4_K
	Q5_K
	Q6_K
)

var dtypes = [...]struct {
	name         string
	block, bytes int // elements and bytes of a block
}{
	Invalid: {"invalid", 1, 0},
	F32:     {"F32", 1, 4},
	F16:     {"F16", 1, 2},
	BF16:    {"BF16", 1, 2},
	F64:     {"F64", 1, 8},
	I8:      {"I8", 1, 1},
	U8:      {"U8", 1, 1},
	I16:     {"I16", 1, 2},
	I32:     {"I32", 1, 4},
	I64:     {"I64", 1, 8},
	Bool:    {"BOOL", 1, 1},
	Q4_0:    {"Q4_0", 32, 18},
	Q4_1:    {"Q4_1", 32, 20},
	Q5_0:    {"Q5_0", 32, 22},
	Q5_1:    {"Q5_1", 32, 24},
	Q8_0:    {"Q8_0", 32, 34},
	Q4_K:    {"Q4_K", 256, 144},
	Q5_K:    {"Q5_K", 256, 176},
	Q6_K:    {"Q6_K", 256, 210},
}

func (d DType) String() string {
	if int(d) < len(dtypes) {
		return dtypes[d].name
	}
	return fmt.Sprintf("DType(%d)", uint8(d))
}

// Block is the number of consecutive elements of a row that are stored together; 1 for plain types.
func (d DType) Block() int { return dtypes[d].block }

// BlockBytes is the number of bytes a block takes.
func (d DType) BlockBytes() int { return dtypes[d].bytes }

// Quantised reports whether elements share scales in blocks.
func (d DType) Quantised() bool { return dtypes[d].block > 1 }

// Float reports whether elements can be converted to float32 by ToFloat32.
func (d DType) Float() bool { return d == F32 || d == F16 || d == BF16 || d.Quantised() }

// RowBytes is the number of bytes of a row of cols elements, a whole number of blocks.
func (d DType) RowBytes(cols int) int { return cols / d.Block() * d.BlockBytes() }

var errOverflow = errors.New("size overflows")

// Size is the number of bytes of a tensor of this type and shape. It is safe on hostile shapes: a negative dimension, a
// row that is no whole number of blocks and an overflow are errors.
func (d DType) Size(shape []int) (int64, error) {
	if d == Invalid || int(d) >= len(dtypes) {
		return 0, fmt.Errorf("unknown element type %d", uint8(d))
	}
	n := int64(1)
	for _, dim := range shape {
		if dim < 0 {
			return 0, fmt.Errorf("shape %v has a negative dimension", shape)
		}
		if dim > 0 && n > math.MaxInt64/int64(dim) {
			return 0, fmt.Errorf("shape %v: %w", shape, errOverflow)
		}
		n *= int64(dim)
	}
	block := int64(d.Block())
	if len(shape) > 0 && int64(shape[len(shape)-1])%block != 0 || n%block != 0 {
		return 0, fmt.Errorf("shape %v: a row of %s is a multiple of %d elements", shape, d, block)
	}
	n /= block
	if n > math.MaxInt64/int64(d.BlockBytes()) {
		return 0, fmt.Errorf("shape %v: %w", shape, errOverflow)
	}
	return n * int64(d.BlockBytes()), nil
}
