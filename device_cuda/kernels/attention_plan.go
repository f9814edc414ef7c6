//go:build cuda

package kernels

import (
	"cmp"
	"slices"

	"minisgl/device"
)

// tileRows is how many rows, flattened over the query heads of a group, a block of attention.cu works on at once.
const tileRows = 64

// fewRows is the most of them with which a block is bound by the card's memory: then two blocks keep a multiprocessor busy.
const fewRows = 16

// An attentionPlan cuts attention into items. No plan changes a bit of the result: splits and the order in which they are merged
// are fixed, and only who computes them differs.
type attentionPlan struct {
	group int // query heads of a KV head
	aim   int // items that keep the card busy
	few   int // items of at most fewRows that do; no more than aim
}

func (p attentionPlan) items(items []AttentionItem, sequences []device.Sequence, firstTables []int32) []AttentionItem {
	first := len(items)
	tokens := int32(max(1, tileRows/p.group))
	splits := 0
	for i := range sequences {
		q := &sequences[i]
		for row := int32(0); row < q.Rows; row += tokens {
			rows := min(tokens, q.Rows-row)
			item := AttentionItem{
				Row: q.First + row, Rows: rows, Position: q.Position + row, Stored: q.Position, Table: firstTables[i],
				Splits: (q.Position + row + rows + SplitPositions - 1) / SplitPositions, Partial: -1, Parts: 1,
			}
			splits += int(item.Splits)
			items = append(items, item)
		}
	}
	items = p.share(items, first, splits)
	slices.SortStableFunc(items[first:], func(a, b AttentionItem) int { return cmp.Compare(b.Splits, a.Splits) })
	return items
}

// share cuts items that have more than their share of a step's splits into nearly equal parts, as long as there are units for their
// partial results.
func (p attentionPlan) share(items []AttentionItem, first, splits int) []AttentionItem {
	units, shareOfMany, shareOfFew := int32(0), int32(ceilDiv(splits, p.aim)), int32(ceilDiv(splits, p.few))
	for i := range items[first:] {
		whole := items[first+i]
		most := shareOfMany
		if int(whole.Rows)*p.group <= fewRows {
			most = shareOfFew
		}
		parts := (whole.Splits + most - 1) / most
		if parts <= 1 || units+whole.Rows*whole.Splits > attentionUnits {
			continue
		}
		for part := range parts {
			item := whole
			item.Split = whole.Splits * part / parts
			item.Splits = whole.Splits*(part+1)/parts - item.Split
			item.Partial, item.Parts = units, parts
			if part == 0 {
				items[first+i] = item
			} else {
				items = append(items, item)
			}
		}
		units += whole.Rows * whole.Splits
	}
	return items
}
