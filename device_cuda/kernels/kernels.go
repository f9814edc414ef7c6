//go:build cuda

// Package kernels holds the CUDA kernels (*.cu, embedded as source) and, beside each file, the Go functions that describe its
// launches. The runner in package cuda puts launches into plans; nothing here talks to a card but Compile.
//
// # Numbers
//
// The residual stream is float32. Inputs of matrix products, weights and the KV cache are Elements (bf16, f16, or float32 for
// the variant +float32); every sum is float32. The order of every sum depends on the operation's shape alone, never on the number
// of rows, so that each kernel of a family gives the same bits:
//
//   - A matrix product cuts its inputs into at most 8 splits of ⌈blocks/8⌉ blocks of 32 inputs. Within a split, mma.m16n8k16 adds
//     into one accumulator, block after block, two products a block: the first of inputs 8q, 8q+1 and 8q+2, 8q+3 for q = 0..3, the
//     second of 8q+4 … 8q+7. Splits are added in order; then bias, then residual.
//   - Attention works on tiles of 64 absolute positions, each with its own maximum, and merges tiles in order into splits of 256
//     positions and splits in order into the result.
//   - A norm's sum of squares is summed by one warp: lane l adds values l, l+32, …; then the butterfly of warp_sum.
package kernels

import (
	"minisgl/device_cuda/driver"
	"minisgl/tensor"
)

// Shape is what kernels are compiled for.
type Shape struct {
	Element                 tensor.DType // F32, F16 or BF16
	Heads, KVHeads, HeadDim int
	PageSize                int
	Vocab                   int
}

// A Set is the kernels of one model, compiled for one card.
type Set struct {
	Shape
	card    *driver.Card
	info    driver.Info
	modules map[string]*driver.Module
}

// A StepHeader is the head of what the host uploads for each step; struct Step in common.cuh.
type StepHeader struct {
	Rows, Outputs, Items, Copies, Resets int32
	_                                    [3]int32
}

// StepLayout says where the parts of an upload lie, in card memory. All are int32 arrays unless said otherwise.
type StepLayout struct {
	Header    driver.Ptr // StepHeader
	Tokens    driver.Ptr // (rows) a token id, or -1-slot for the token sampled last in a slot
	Positions driver.Ptr // (rows)
	Cells     driver.Ptr // (rows) page·PageSize + offset: where the row's key and value go
	Selected  driver.Ptr // (outputs) row of each output
	Items     driver.Ptr // ([]AttentionItem)
	Tables    driver.Ptr // page tables, end to end; AttentionItem.Table indexes it
	Outputs   driver.Ptr // ([]OutputParams), see sampling.go
	Lists     driver.Ptr // bias, suppressed and history tokens, see sampling.go
	Copies    driver.Ptr // ([]device.PageCopy) three int32 each
	Resets    driver.Ptr // ([]ResetParams), see sampling.go
}
