//go:build cuda

package kernels

import (
	"strings"

	"minisgl/device_cuda/driver"
	"minisgl/tensor"
)

// A packed weight stands in blocks of 8 outputs × 32 inputs, 256 Elements each, padded with zeros: block (n/8, k/32) is number
// (n/8)·⌈in/32⌉ + k/32. Within a block, packed_index of pack.cuh puts the values where the tensor cores want them.

// PackedBytes is the size of a packed weight.
func PackedBytes(out, in int, element tensor.DType) int64 {
	return int64((out+7)/8) * int64((in+31)/32) * 256 * int64(element.BlockBytes())
}

// Pack packs a whole row-major weight (out, in) of type F32, F16 or BF16 that lies in card memory. order, if not 0, has for each
// packed row the source row (int32). Values beyond ±65504 become that where Elements are F16, and then *overflow (int32) is set to 1.
func (s *Set) Pack(dst, src driver.Ptr, srcType tensor.DType, out, in int, order, overflow driver.Ptr) driver.Launch {
	return s.pack(srcType, packParams{Dst: dst, Src: src, Overflow: overflow, Order: order, Rows: int32(out), Packed: int32((out + 7) / 8 * 8), In: int32(in)})
}

// PackRows packs some rows of a weight: row i of src becomes packed row places[i] (int32, see Places), or row i if places is 0. The
// rows that pad a weight to a multiple of 8 are not written: fill dst with zeros first.
func (s *Set) PackRows(dst, src driver.Ptr, srcType tensor.DType, rows, in int, places, overflow driver.Ptr) driver.Launch {
	return s.pack(srcType, packParams{Dst: dst, Src: src, Overflow: overflow, Places: places, Rows: int32(rows), Packed: int32(rows), In: int32(in)})
}

// packParams is PackParams in pack.cu.
type packParams struct {
	Dst, Src, Overflow, Order, Places driver.Ptr
	Rows, Packed, In                  int32 // rows of src, rows to write (the rest are zeros), inputs
	Wide                              int32 // rows of src begin at multiples of 16 bytes
}

func (s *Set) pack(srcType tensor.DType, p packParams) driver.Launch {
	p.Wide = flag(p.Src%16 == 0 && int(p.In)*srcType.BlockBytes()%16 == 0)
	const threads = 256
	pieces := (int(p.In) + 31) / 32 * int(p.Packed)
	return s.launch("pack", "pack_"+strings.ToLower(srcType.String()), [3]int{(pieces + threads - 1) / threads, 1, 1}, threads, 0, driver.Bytes(&p))
}

// GateUpOrder is the order of a packed gate_up weight, whose source has `pairs` gate rows and then as many up rows: gate and up of
// one column beside each other, as the epilogue SiLU wants them. It has for each packed row the source row.
func GateUpOrder(pairs int) []int32 {
	order := make([]int32, 2*pairs)
	for i := range pairs {
		order[2*i], order[2*i+1] = int32(i), int32(pairs+i)
	}
	return order
}

// RotateOrder is the order of a packed q, k, v weight for the epilogue Rotate: in each head of q and k, dimensions i and
// i + headDim/2 beside each other; v as it is.
func RotateOrder(heads, kvHeads, headDim int) []int32 {
	order := make([]int32, (heads+2*kvHeads)*headDim)
	for n := range order {
		order[n] = int32(n)
		if head, d := n/headDim, n%headDim; head < heads+kvHeads {
			order[n] = int32(head*headDim + d/2 + d%2*(headDim/2))
		}
	}
	return order
}

// RotateFusable says whether the epilogue Rotate works for heads of so many dimensions.
func RotateFusable(headDim int) bool { return headDim%2 == 0 }

// Places turns an order around: for each source row the packed row, for PackRows.
func Places(order []int32) []int32 {
	places := make([]int32, len(order))
	for packed, source := range order {
		places[source] = int32(packed)
	}
	return places
}
