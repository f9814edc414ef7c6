package cpu

import "minisgl/device"

// trace hands each operation's output to Step.Trace: at once where the step runs in one piece, else at its end.
type trace struct {
	emit    func(device.Tap)
	program *device.Program
	direct  bool
	taps    []device.Tap
}

func (t *trace) begin(s *device.Step, p *device.Program, direct bool) {
	*t = trace{emit: s.Trace, program: p, direct: direct}
	if t.emit == nil {
		return
	}
	for i, op := range p.Ops {
		t.taps = append(t.taps, device.Tap{Op: i, Label: op.Label(), Width: p.Buffers[op.Output()].Width})
	}
}

func (t *trace) on() bool { return t.emit != nil }

// tap takes the output of operation i, the first rows of its buffer.
func (t *trace) tap(i int, buffers []buffer, rows int) {
	if !t.on() {
		return
	}
	tap := &t.taps[i]
	b := buffers[t.program.Ops[i].Output()]
	for row := range rows {
		for _, v := range b.row(row)[:b.width] {
			tap.Data = append(tap.Data, float64(v))
		}
	}
	tap.Rows += rows
	if t.direct {
		t.emit(*tap)
		tap.Data = nil
	}
}

func (t *trace) end() {
	if t.on() && !t.direct {
		for _, tap := range t.taps {
			t.emit(tap)
		}
	}
	*t = trace{}
}
