//go:build cuda

package kernels

import "minisgl/device_cuda/driver"

// KV cache of a layer: Keys and Values are (pages, KVHeads, PageSize, HeadDim) of Elements each.

// TilePositions and SplitPositions are the fixed pieces of the context in which attention is computed.
const (
	TilePositions  = 64
	SplitPositions = 256
)

// An AttentionItem is a block's work for each KV head: some rows of one sequence against some splits of its context. The host
// writes the list (PlanAttention), so that blocks are busy whatever the lengths.
type AttentionItem struct {
	Row      int32 // first row of the step
	Rows     int32 // rows, at consecutive positions
	Position int32 // of the first row
	Table    int32 // where the sequence's page table begins in Tables
	Split    int32 // first split
	Splits   int32 // splits
	Partial  int32 // where partial results go (units of one item's rows); -1: the item has all splits and writes the result
	Parts    int32 // items that share the rows; the last to finish merges
}

// An Attention is the launch for one layer. Query head h reads KV head h/(Heads/KVHeads).
type Attention struct {
	Step         StepLayout
	QKV          driver.Ptr // float32, rows of QKVStride, rotated; query heads first
	QKVStride    int
	Keys, Values driver.Ptr
	Out          driver.Ptr // Elements, rows of OutStride
	OutStride    int
	Scale        float32
	Scratch      driver.Ptr // partial results and counters, AttentionScratch bytes, zeroed once
}
