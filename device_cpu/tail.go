package cpu

import (
	"slices"

	"minisgl/device"
)

// A tail is the operations behind the last attention and in front of SelectRows. Rows do not meet there, so it is enough to run
// those that outputs name: of a prompt's, one.
type tail struct {
	first   int   // operation; SelectRows if there is no tail
	crosses []int // buffers that it reads and operations before it wrote
	rows    []int // rows of the slab that it runs, in ascending order
}

// newTail looks for a program's tail, which ends at operation selects.
func newTail(ops []operation, selects int) tail {
	t := tail{first: selects}
	for t.first > 0 && rowwiseOp(ops[t.first-1].Op) {
		t.first--
	}
	written := make(map[device.Buffer]bool)
	for _, c := range ops[t.first:min(selects+1, len(ops))] {
		for _, b := range reads(c.Op) {
			if !written[b] && !slices.Contains(t.crosses, int(b)) {
				t.crosses = append(t.crosses, int(b))
			}
		}
		written[c.Output()] = true
	}
	return t
}

// rowwiseOp reports whether an operation computes each row from that row of its buffers alone.
func rowwiseOp(op device.Op) bool {
	switch op.(type) {
	case *device.RMSNorm, *device.Linear, *device.GatedSiLU:
		return true
	}
	return false
}

// reads lists the buffers that an operation reads.
func reads(op device.Op) []device.Buffer {
	switch op := op.(type) {
	case *device.RMSNorm:
		return []device.Buffer{op.In}
	case *device.Linear:
		if op.Residual {
			return []device.Buffer{op.In, op.Out}
		}
		return []device.Buffer{op.In}
	case *device.GatedSiLU:
		return []device.Buffer{op.GateUp}
	case *device.SelectRows:
		return []device.Buffer{op.In}
	case *device.RotaryStore:
		return []device.Buffer{op.QKV}
	case *device.Attention:
		return []device.Buffer{op.QKV}
	case *device.LMHead:
		return []device.Buffer{op.In}
	}
	return nil
}

// choose keeps the rows of the slab that outputs name. If they are fewer than the slab has, they move to the front of the
// buffers that the tail reads.
func (t *tail) choose(outputs []device.Output, chosen []int32, first, rows int, buffers []buffer) {
	t.rows = t.rows[:0]
	for _, output := range chosen {
		t.rows = append(t.rows, int(outputs[output].Row)-first)
	}
	slices.Sort(t.rows)
	t.rows = slices.Compact(t.rows)
	if len(t.rows) == rows {
		return
	}
	for _, i := range t.crosses {
		for k, row := range t.rows {
			copy(buffers[i].row(k), buffers[i].row(row)) // k ≤ row: no row is overwritten before its turn
		}
	}
}

// keep keeps all rows.
func (t *tail) keep(rows int) {
	t.rows = t.rows[:0]
	for row := range rows {
		t.rows = append(t.rows, row)
	}
}

// place is where a row of the slab lies in the tail.
func (t *tail) place(row int) int {
	k, _ := slices.BinarySearch(t.rows, row)
	return k
}
