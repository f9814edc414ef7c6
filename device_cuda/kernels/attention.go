//go:build cuda

package kernels

import (
	"fmt"
	"math"

	"minisgl/device"
	"minisgl/device_cuda/driver"
	"minisgl/tensor"
)

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
	Stored   int32 // positions below were stored by earlier steps, so they may be read before this step's rows are done
	Table    int32 // where the sequence's page table begins in Tables
	Split    int32 // first split
	Splits   int32 // splits
	Partial  int32 // first of the units that hold the rows' splits, unit Partial + split·Rows + row; -1: the item has all splits and writes the result
	Parts    int32 // items that share the rows; the last to finish merges
}

// An Attention is the launch for one layer. Query head h reads KV head h/(Heads/KVHeads).
type Attention struct {
	Step         StepLayout
	QKV          driver.Ptr // float32, rows of QKVStride, rotated; query heads first
	QKVStride    int
	Keys, Values driver.Ptr
	Out          driver.Ptr // Elements, rows of OutStride; values behind Heads·HeadDim become zero
	OutStride    int
	Scale        float32
	Scratch      driver.Ptr // AttentionScratch bytes, zeroed once; plans of one stream share it
}

// attentionUnits is how many splits of rows can have partial results in a step. A context that finds no more room is not cut up.
const attentionUnits = 4096

const maxHeadDim = 256

// PlanAttention appends the items of a step: longest first, about as many as keep the card's multiprocessors busy where the step
// has enough to do, and at most AttentionItems(rows). firstTables[i] is where the page table of sequences[i] begins in Tables.
func (s *Set) PlanAttention(items []AttentionItem, sequences []device.Sequence, firstTables []int32) []AttentionItem {
	few := ceilDiv(s.info.Multiprocessors*min(2, s.attentionResident()), s.KVHeads)
	return attentionPlan{group: s.Heads / s.KVHeads, aim: s.attentionAim(), few: few}.items(items, sequences, firstTables)
}

// AttentionItems is the largest number of items of a step of so many rows.
func (s *Set) AttentionItems(maxRows int) int { return maxRows + s.attentionAim() }

// AttentionScratch is the bytes of Attention.Scratch.
func (s *Set) AttentionScratch() int64 {
	return s.queueBytes() + attentionUnits*4*int64(s.KVHeads+s.Heads*(2+s.HeadDim))
}

func (s *Set) queueBytes() int64 { return int64(ceilDiv(2*4*s.KVHeads, 16) * 16) }

// attentionAim is how many items of each KV head keep the card busy.
func (s *Set) attentionAim() int {
	return ceilDiv(s.info.Multiprocessors*s.attentionResident(), s.KVHeads)
}

// attentionResident is how many blocks fit a multiprocessor, RESIDENT in attention.cu.
func (s *Set) attentionResident() int {
	const reserved = 1024 // bytes of each block that are the system's
	most := 3
	if s.HeadDim > 64 {
		most = 2
	}
	return max(1, min(most, (s.info.SharedPerBlock+reserved)/(s.attentionShared()+reserved)))
}

// checkAttention says whether the kernel can run: its tiles must fit a block's shared memory.
func (s *Set) checkAttention() error {
	if s.HeadDim < 2 || s.HeadDim%2 != 0 || s.HeadDim > maxHeadDim {
		return fmt.Errorf("attention: heads of %d dimensions, want an even number up to %d", s.HeadDim, maxHeadDim)
	}
	if need := s.attentionShared(); need > s.info.SharedPerBlock {
		return fmt.Errorf("attention: heads of %d dimensions need %d bytes of shared memory, a block of %s has %d", s.HeadDim, need, s.info.Name, s.info.SharedPerBlock)
	}
	return nil
}

// attentionShared is the shared memory of a block, as attention.cu and attention_tiles.cuh divide it.
func (s *Set) attentionShared() int {
	const warps, rows = attentionThreads / 32, 16
	sums := warps*rows*8 + 16
	if s.Element == tensor.F32 {
		return sums
	}
	dims := ceilDiv(s.HeadDim, 16) * 16
	tile := TilePositions * (dims + 8) * 2
	few := 2 * warps * tile
	if dims > 64 {
		few = 2 * 2 * tile
	}
	return max(few, 4*tile+attentionThreads*dims/8*16) + sums
}

type attentionParams struct {
	Step, Items, Tables, QKV, Keys, Values, Out, Queue, Counters, Sums, Partials driver.Ptr
	QKVStride, OutStride                                                         int32
	Scale                                                                        float32
	_                                                                            int32
}

const attentionThreads = 128

// Attention describes the launch.
func (s *Set) Attention(a Attention, maxRows int) driver.Launch {
	counters := a.Scratch.Offset(s.queueBytes())
	sums := counters.Offset(int64(attentionUnits * s.KVHeads * 4))
	params := attentionParams{
		Step: a.Step.Header, Items: a.Step.Items, Tables: a.Step.Tables,
		QKV: a.QKV, Keys: a.Keys, Values: a.Values, Out: a.Out,
		Queue: a.Scratch, Counters: counters, Sums: sums, Partials: sums.Offset(int64(attentionUnits * s.Heads * 8)),
		QKVStride: int32(a.QKVStride), OutStride: int32(a.OutStride),
		Scale: float32(float64(a.Scale) * math.Log2E), // the kernel's exponentials are powers of 2
	}
	blocks := min(s.AttentionItems(maxRows), s.attentionAim())
	return s.launch("attention", "attention", [3]int{blocks, s.KVHeads, 1}, attentionThreads, s.attentionShared(), driver.Bytes(&params))
}
