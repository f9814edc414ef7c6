//go:build cuda

package kernels

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"minisgl/device"
)

func TestPlanAttention(t *testing.T) {
	whole := func(row, rows, position, stored, table, splits int32) AttentionItem {
		return AttentionItem{Row: row, Rows: rows, Position: position, Stored: stored, Table: table, Splits: splits, Partial: -1, Parts: 1}
	}
	for _, c := range []struct {
		name      string
		plan      attentionPlan
		sequences []device.Sequence
		want      []AttentionItem
	}{
		{
			"decode, enough of it", attentionPlan{group: 7, aim: 2, few: 2},
			[]device.Sequence{{First: 0, Rows: 1, Position: 255}, {First: 1, Rows: 1, Position: 256}},
			[]AttentionItem{whole(1, 1, 256, 256, 10, 2), whole(0, 1, 255, 255, 0, 1)},
		},
		{
			"decode, one long context on an idle card", attentionPlan{group: 7, aim: 100, few: 100},
			[]device.Sequence{{Rows: 1, Position: 600}},
			[]AttentionItem{
				{Rows: 1, Position: 600, Stored: 600, Split: 0, Splits: 1, Partial: 0, Parts: 3},
				{Rows: 1, Position: 600, Stored: 600, Split: 1, Splits: 1, Partial: 0, Parts: 3},
				{Rows: 1, Position: 600, Stored: 600, Split: 2, Splits: 1, Partial: 0, Parts: 3},
			},
		},
		{
			"a chunk of a prompt, nine rows at a time", attentionPlan{group: 7, aim: 2, few: 2},
			[]device.Sequence{{First: 0, Rows: 20, Position: 240}},
			[]AttentionItem{whole(9, 9, 249, 240, 0, 2), whole(18, 2, 258, 240, 0, 2), whole(0, 9, 240, 240, 0, 1)},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.plan.items(nil, c.sequences, []int32{0, 10}); !slices.Equal(got, c.want) {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

// TestPlansCoverEverySplitOnce draws steps and checks what the kernel relies on.
func TestPlansCoverEverySplitOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		plan := attentionPlan{group: rapid.IntRange(1, 80).Draw(t, "group"), aim: rapid.IntRange(1, 500).Draw(t, "aim")}
		plan.few = rapid.IntRange(1, plan.aim).Draw(t, "few")
		var sequences []device.Sequence
		var tables []int32
		rows := int32(0)
		for range rapid.IntRange(0, 40).Draw(t, "sequences") {
			q := device.Sequence{First: rows, Rows: rapid.Int32Range(1, 200).Draw(t, "rows"), Position: rapid.Int32Range(0, 40000).Draw(t, "position")}
			if rapid.Bool().Draw(t, "decode") {
				q.Rows = 1
			}
			sequences = append(sequences, q)
			tables = append(tables, rapid.Int32().Draw(t, "table"))
			rows += q.Rows
		}
		items := plan.items(nil, sequences, tables)
		if len(items) > int(rows)+plan.aim {
			t.Fatalf("%d items for %d rows, aim %d", len(items), rows, plan.aim)
		}
		type rowSplit struct{ row, split int32 }
		seen := make(map[rowSplit]bool)
		units := make(map[int32]rowSplit)
		parts := make(map[int32]int32) // by first unit
		for _, item := range items {
			q := sequences[slices.IndexFunc(sequences, func(q device.Sequence) bool { return item.Row < q.First+q.Rows })]
			if item.Row+item.Rows > q.First+q.Rows || item.Position != q.Position+item.Row-q.First || item.Stored != q.Position {
				t.Fatalf("%+v is not of %+v", item, q)
			}
			if item.Partial < 0 && item.Split != 0 || item.Partial < 0 != (item.Parts == 1) || item.Splits < 1 {
				t.Fatalf("%+v", item)
			}
			if item.Partial >= 0 {
				parts[item.Partial]++
				if item.Split == 0 {
					parts[item.Partial] -= item.Parts
				}
			}
			for row := item.Row; row < item.Row+item.Rows; row++ {
				for split := item.Split; split < item.Split+item.Splits; split++ {
					this := rowSplit{row, split}
					if seen[this] {
						t.Fatalf("row %d, split %d twice", row, split)
					}
					seen[this] = true
					if item.Partial < 0 {
						continue
					}
					unit := item.Partial + split*item.Rows + row - item.Row
					if other, taken := units[unit]; taken || unit >= attentionUnits {
						t.Fatalf("unit %d of %v and %v", unit, this, other)
					}
					units[unit] = this
				}
			}
		}
		for unit, missing := range parts {
			if missing != 0 {
				t.Fatalf("the items at unit %d are %d too many for their Parts", unit, missing)
			}
		}
		for _, q := range sequences {
			for row := range q.Rows {
				for split := range (q.Position+row)/SplitPositions + 1 {
					if !seen[rowSplit{q.First + row, split}] {
						t.Fatalf("row %d, split %d is missing", q.First+row, split)
					}
				}
			}
		}
	})
}
