// Package layout says how GGUF's quantised weights lie in memory once package cpu has packed them. The packer, the plain Go
// kernels and the generator of the assembly all read this one table.
//
// A weight is scale·u − offset with an unsigned u, and scale and offset are shared by the 32 (or 16) inputs of an output's
// sub-block. A panel of 32 outputs is a row of blocks, as many inputs each as a block of the GGUF type has:
//
//	header    super-blocks only: 32 f16 scales, then 32 f16 offsets if there are any
//	for each 32 inputs:
//	  low     the lower 4 or all 8 bits of u
//	  high    its upper bits, if there are more
//	  scales  32 scales, then 32 offsets if there are any: f16, or in super-blocks bytes that multiply the header's;
//	          Fine types have 32 scales for the first 16 inputs and 32 for the second
//
// Bits come in words of 32: word g·32+j holds inputs 4g to 4g+3 of output j, a byte each, in the order 0, 2, 1, 3, so that the
// even and the odd bytes are pairs of neighbours as 16-bit numbers. In a low plane of 4 bits, word p·32+j holds words 2p (lower
// halves of the bytes) and 2p+1 (upper). In a high plane of 1 bit, bit g of word j's bytes belongs to word g; in one of 2 bits,
// bits 2(g%4) and above of word g/4·32+j.
package layout

import "minisgl/tensor"

const (
	Panel    = 32          // outputs
	Sub      = 32          // inputs that lie together
	Groups   = 8           // of 4 inputs, in a sub-block
	Unpacked = Panel * Sub // bytes of a sub-block with 8 bits a weight
)

// A Format is the layout of one GGUF type.
type Format struct {
	DType  tensor.DType
	Low    int  // bits in the low plane: 4 or 8
	High   int  // bits in the high plane: 0, 1 or 2
	Zero   int  // the u that means 0; 0 where offsets are stored
	Offset bool // offsets are stored
	Super  bool // scales are bytes times the header's f16
	Fine   bool // a scale for each 16 inputs
}

// Formats are the types that are kept as they are.
var Formats = []Format{
	{DType: tensor.Q8_0, Low: 8, Zero: 128},
	{DType: tensor.Q4_0, Low: 4, Zero: 8},
	{DType: tensor.Q4_1, Low: 4, Offset: true},
	{DType: tensor.Q5_0, Low: 4, High: 1, Zero: 16},
	{DType: tensor.Q5_1, Low: 4, High: 1, Offset: true},
	{DType: tensor.Q4_K, Low: 4, Offset: true, Super: true},
	{DType: tensor.Q5_K, Low: 4, High: 1, Offset: true, Super: true},
	{DType: tensor.Q6_K, Low: 4, High: 2, Zero: 32, Super: true, Fine: true},
}

// Of returns the layout of a type, nil if it has none.
func Of(t tensor.DType) *Format {
	for i := range Formats {
		if Formats[i].DType == t {
			return &Formats[i]
		}
	}
	return nil
}

// Inputs is how many inputs a block has.
func (f *Format) Inputs() int { return f.DType.Block() }

// LowBytes is the size of a sub-block's low plane.
func (f *Format) LowBytes() int { return Unpacked * f.Low / 8 }

// HighBytes is the size of a sub-block's high plane.
func (f *Format) HighBytes() int { return Unpacked * f.High / 8 }

// ScaleBytes is the size of a sub-block's scales and offsets.
func (f *Format) ScaleBytes() int {
	n := 2 * Panel
	if f.Super {
		n = Panel
	}
	if f.Offset || f.Fine {
		n *= 2
	}
	return n
}

// SubBytes is the size of a sub-block.
func (f *Format) SubBytes() int { return f.LowBytes() + f.HighBytes() + f.ScaleBytes() }

// HeaderBytes is the size of what stands before a block's sub-blocks.
func (f *Format) HeaderBytes() int {
	switch {
	case !f.Super:
		return 0
	case f.Offset:
		return 4 * Panel
	}
	return 2 * Panel
}

// Bytes is the size of a block of 32 outputs.
func (f *Format) Bytes() int { return f.HeaderBytes() + f.Inputs()/Sub*f.SubBytes() }

// ScaleInputs is how many inputs share a scale.
func (f *Format) ScaleInputs() int {
	if f.Fine {
		return Sub / 2
	}
	return Sub
}
