package cpu

import (
	"slices"

	"minisgl/device"
)

// gated are linear operations whose outputs are a gate and what it lets through, together with the GatedSiLU behind them. A unit
// computes some panels of the gate and the panels that belong to them, and their outputs never leave the cache: for 512 rows of a
// model of half a billion weights they would be 20 MB a layer. Every number is the one that the two operations compute.
type gated struct {
	*linear
	work   task
	out    buffer // of the GatedSiLU
	shares shares
}

// gatedRows is the most rows for which the operations stay apart: few rows' outputs stay in the cache, and their weights come
// faster in one stream than in two.
const gatedRows = 32

func newGated(l *linear) *gated {
	g := &gated{linear: l, shares: make(shares, l.pool.threads)}
	g.work.run = g.runUnit
	for i := range l.ops {
		l.ops[i].gate = gateOf(l.ops, i, l.buffers)
	}
	return g
}

// gateOf returns the GatedSiLU that alone reads what operation i computes, nil if there is none or its panels would not be whole.
func gateOf(ops []operation, i int, buffers []buffer) *device.GatedSiLU {
	follows := func(i int) *device.GatedSiLU {
		product, ok := ops[i].Op.(*device.Linear)
		if !ok || i+1 == len(ops) || product.Residual || ops[i].vector != nil {
			return nil
		}
		if gate, ok := ops[i+1].Op.(*device.GatedSiLU); ok && gate.GateUp == product.Out && buffers[gate.Out].width%panelWidth == 0 {
			return gate
		}
		return nil
	}
	gate := follows(i)
	if gate == nil {
		return nil
	}
	for j, c := range ops {
		if gate, ok := c.Op.(*device.GatedSiLU); ok && gate.GateUp == ops[i].Output() && (j == 0 || follows(j-1) == nil) {
			return nil
		}
		if _, ok := c.Op.(*device.GatedSiLU); !ok && slices.Contains(reads(c.Op), ops[i].Output()) {
			return nil
		}
	}
	return gate
}

// run computes a linear operation's gate.
func (g *gated) run(c *operation, rows int) {
	op := c.Op.(*device.Linear)
	g.op, g.linear.in, g.rows, g.out = c, g.buffers[op.In], rows, g.buffers[c.gate.Out]
	g.cut = g.cutFor(c.weight, rows)
	g.cut.panels = min(max(g.cut.panels/2, 1), g.panels())
	g.convert(c.weight, g.linear.in, rows)
	units := ceil(rows, g.cut.rows) * ceil(g.panels(), g.cut.panels)
	g.shares.deal(units)
	g.pool.run(units, &g.work)
}

// panels is the number of the gate's.
func (g *gated) panels() int { return g.out.width / panelWidth }

func (g *gated) runUnit(_, worker int) {
	unit := g.shares.take(worker)
	groups := ceil(g.panels(), g.cut.panels)
	first := unit / groups * g.cut.rows
	end := min(first+g.cut.rows, g.rows)
	panel := unit % groups * g.cut.panels
	panels := min(g.cut.panels, g.panels()-panel)
	sums, stride, n := g.sums[worker], cut{panels: 2 * g.cut.panels}.stride(), panels*panelWidth
	g.multiply(g.op.weight, g.linear.in, panel, panels, first, end, sums, stride, worker)
	g.multiply(g.op.weight, g.linear.in, g.panels()+panel, panels, first, end, sums[n:], stride, worker)
	for row := first; row < end; row++ {
		gate := sums[(row-first)*stride:]
		g.kernels.silu(g.out.row(row)[panel*panelWidth:][:n], gate, gate[n:])
	}
}
