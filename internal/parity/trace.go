package parity

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"minisgl/device"
	"minisgl/tensor"
)

// A Replay is a step to be run again on both devices: the one that draws the token behind Tokens.
type Replay struct {
	Set      string  `json:"set"`
	Index    int     `json:"index"`    // of the prompt
	Position int     `json:"position"` // of the token in the output
	BackendA string  `json:"backend_a"`
	BackendB string  `json:"backend_b"`
	Tokens   []int32 `json:"tokens"` // the prompt and the output of side A before the position
}

// A Trace tells what a replay found.
//
// The tokens are run on the two devices and on the float64 reference, all but the last as one prefill, then the last as a
// decode step, the same tokens everywhere (teacher forcing). Each operation's output is compared with the reference's, row by
// row: a row's error is the length of the difference over the length of the reference's row, so it is relative to the
// operation's magnitude; an operation's error is that of its worst row.
//
// Errors add up along a model, so a size alone says little: an operation stands out where the error jumps. It does if its
// error is more than 16 times the largest error of any operation before it on the same device, errors below the rounding of
// the weights' type (2⁻⁹ for bfloat16, 2⁻¹¹ for float16, 2⁻⁸ for quantised ones) counted as that rounding, which a device
// may do to activations too. If nothing stands out so, the search is made again with the rounding of float32 (2⁻²⁴): this
// finds a small fault of an exact device, and on a device that does round its activations it finds the first place where it
// does, or where it keeps weights in fewer bits; the finding then says within_rounding.
type Trace struct {
	Set      string   `json:"set"`
	Index    int      `json:"index"`
	Position int      `json:"position"`
	BackendA string   `json:"backend_a"`
	BackendB string   `json:"backend_b"`
	Finding  *Finding `json:"finding"` // null: no operation stands out
	// TokenA, TokenB and TokenReference are the likeliest tokens of the replayed step, and LogitErrorA and LogitErrorB the
	// largest distance of a logit from the reference's. MarginReference is the distance between the reference's two largest
	// logits: where it is below the sum of both errors, rounding may decide between the two.
	TokenA          int32       `json:"token_a"`
	TokenB          int32       `json:"token_b"`
	TokenReference  int32       `json:"token_reference"`
	LogitErrorA     Figure      `json:"logit_error_a"`
	LogitErrorB     Figure      `json:"logit_error_b"`
	MarginReference Figure      `json:"margin_reference"`
	Operations      []Operation `json:"operations"`
}

// An Operation is the errors of one operation's output on both devices.
type Operation struct {
	Step   string `json:"step"` // "prefill" or "decode"
	Label  string `json:"operation"`
	ErrorA Figure `json:"error_a"`
	ErrorB Figure `json:"error_b"`
}

// A Finding is the first operation whose error stands out, and in its worst row the element that is furthest off.
type Finding struct {
	Side           string `json:"side"` // "a" or "b"
	Backend        string `json:"backend"`
	Step           string `json:"step"`
	Operation      string `json:"operation"` // its label: "layers.3.attention"
	Layer          *int   `json:"layer"`     // null for operations outside the layers
	Row            int    `json:"row"`       // position in the sequence
	Element        int    `json:"element"`   // index in the row
	ValueA         Figure `json:"value_a"`
	ValueB         Figure `json:"value_b"`
	ValueReference Figure `json:"value_reference"`
	Error          Figure `json:"error"`        // of the operation
	ErrorBefore    Figure `json:"error_before"` // the largest of the operations before
	WithinRounding bool   `json:"within_rounding"`
}

// jump is how many times larger than all before it an error must be to stand out. Where float32 rounds, the largest jump on
// the golden models and on one of Qwen2.5-0.5B's shape is 6, from the first norm to the first projection.
const jump = 16

// compared is one operation on all devices.
type compared struct {
	step, label string
	sides       [2]deviation
}

// deviation is how far one device's output of an operation is off.
type deviation struct {
	error        float64 // of the worst row
	row, element int
	value, want  float64 // at the element
	other        float64 // the other device's value there
}

// deviate compares an operation's output on one device with the reference's, whose rows are the ones that count.
func deviate(got, other, want device.Tap) (d deviation) {
	for row := range want.Rows {
		from := row * want.Width
		off, length, furthest, element := 0.0, 0.0, -1.0, 0
		for i, w := range want.Data[from : from+want.Width] {
			e := math.Abs(got.Data[from+i] - w)
			if math.IsNaN(e) {
				e = math.Inf(1)
			}
			off += e * e
			length += w * w
			if e > furthest {
				furthest, element = e, i
			}
		}
		relative := 0.0
		if off > 0 {
			relative = math.Sqrt(off / length)
		}
		if relative > d.error || row == 0 {
			at := from + element
			d = deviation{relative, row, element, got.Data[at], want.Data[at], other.Data[at]}
		}
	}
	return d
}

// standOut finds the first operation whose error jumps, counting errors below the floor as the floor.
func standOut(ops []compared, floor float64) (op, side int, before float64, found bool) {
	largest := [2]float64{}
	for i := range ops {
		for side := range 2 {
			if e := ops[i].sides[side].error; e > jump*max(largest[side], floor) {
				return i, side, largest[side], true
			}
		}
		for side := range 2 {
			largest[side] = max(largest[side], ops[i].sides[side].error)
		}
	}
	return 0, 0, 0, false
}

// find fills the trace with the operations and with the one that stands out.
func (t *Trace) find(ops []compared, weights tensor.DType) {
	for _, op := range ops {
		t.Operations = append(t.Operations, Operation{op.step, op.label, Figure(op.sides[0].error), Figure(op.sides[1].error)})
	}
	const float32Rounding = 1. / (1 << 24)
	for _, floor := range []float64{rounding(weights), float32Rounding} {
		i, side, before, found := standOut(ops, floor)
		if !found {
			continue
		}
		op, d := ops[i], ops[i].sides[side]
		f := &Finding{Side: "a", Backend: t.BackendA, Step: op.step, Operation: op.label, Layer: layer(op.label), Row: d.row, Element: d.element,
			ValueA: Figure(d.value), ValueB: Figure(d.other), ValueReference: Figure(d.want), Error: Figure(d.error), ErrorBefore: Figure(before),
			WithinRounding: d.error <= jump*rounding(weights) && floor != rounding(weights)}
		if side == 1 {
			f.Side, f.Backend, f.ValueA, f.ValueB = "b", t.BackendB, f.ValueB, f.ValueA
		}
		t.Finding = f
		return
	}
}

// rounding is the largest relative error of rounding to a type; for quantised weights that of the 8-bit activations they
// are often multiplied with.
func rounding(d tensor.DType) float64 {
	switch d {
	case tensor.F32:
		return 1. / (1 << 24)
	case tensor.F16:
		return 1. / (1 << 11)
	case tensor.BF16:
		return 1. / (1 << 9)
	}
	return 1. / (1 << 8)
}

// layer reads the number out of "layers.3.qkv".
func layer(label string) *int {
	rest, ok := strings.CutPrefix(label, "layers.")
	if !ok {
		return nil
	}
	text, _, _ := strings.Cut(rest, ".")
	n, err := strconv.Atoi(text)
	if err != nil {
		return nil
	}
	return &n
}

// Print writes what the trace found, for people.
func (t *Trace) Print(w io.Writer) {
	fmt.Fprintf(w, "trace: %s, prompt %d, token %d: a draws %d, b %d, the reference %d\n", t.Set, t.Index, t.Position, t.TokenA, t.TokenB, t.TokenReference)
	fmt.Fprintf(w, "  logits: a is off by up to %.3g, b by %.3g; the reference's margin is %.3g\n", t.LogitErrorA, t.LogitErrorB, t.MarginReference)
	if f := t.Finding; f != nil {
		fmt.Fprintf(w, "  %s on %s (%s) stands out: its error is %.3g, before it at most %.3g", f.Operation, f.Backend, f.Step, f.Error, f.ErrorBefore)
		if f.WithinRounding {
			fmt.Fprint(w, "; rounding of weights or activations explains that much")
		}
		fmt.Fprintf(w, "\n  row %d, element %d: a %.9g, b %.9g, reference %.9g\n", f.Row, f.Element, f.ValueA, f.ValueB, f.ValueReference)
		return
	}
	switch {
	case t.TokenA == t.TokenB:
		fmt.Fprintln(w, "  no operation stands out, and the replay draws the same token: the difference comes from how the step was put together"+
			" (cache, page copies, chunks, neighbours), not from an operation")
	case float64(t.MarginReference) <= float64(t.LogitErrorA+t.LogitErrorB):
		fmt.Fprintln(w, "  no operation stands out: the two likeliest tokens are closer together than rounding, which decides between them")
	default:
		fmt.Fprintln(w, "  no operation stands out")
	}
}

// trace runs a replay.
func (j *Job) trace(ctx context.Context, progress func(string)) (*Trace, error) {
	replay := j.Trace
	checkpoint, err := j.Model.open(ctx, j.Profile.MaxSeqLenOverride)
	if err != nil {
		return nil, err
	}
	defer checkpoint.Close()
	program := checkpoint.Program
	names := []string{referenceName, replay.BackendA, replay.BackendB}
	devices := make([]*replayed, len(names))
	defer func() {
		for _, d := range devices {
			d.close()
		}
	}()
	for i, name := range names {
		progress("trace: loading " + name)
		if devices[i], err = load(name, program, len(replay.Tokens)); err != nil {
			return nil, fmt.Errorf("trace: %s: %w", name, err)
		}
	}
	progress(fmt.Sprintf("trace: replaying %d tokens", len(replay.Tokens)))
	t := &Trace{Set: replay.Set, Index: replay.Index, Position: replay.Position, BackendA: replay.BackendA, BackendB: replay.BackendB}
	var ops []compared
	last := len(replay.Tokens) - 1
	for _, step := range []struct {
		name     string
		from, to int
	}{{"prefill", 0, last}, {"decode", last, last + 1}} {
		if step.from == step.to {
			continue
		}
		err := lockstep(ctx, devices, replay.Tokens, step.from, step.to, func(taps []device.Tap) {
			want, a, b := taps[0], taps[1], taps[2]
			op := compared{step: step.name, label: want.Label, sides: [2]deviation{deviate(a, b, want), deviate(b, a, want)}}
			for side := range op.sides {
				op.sides[side].row += step.to - want.Rows
			}
			ops = append(ops, op)
			if step.to == len(replay.Tokens) && want.Op == len(program.Ops)-1 {
				t.logits(want.Data, a.Data, b.Data)
			}
		})
		if err != nil {
			return nil, fmt.Errorf("trace: %w", err)
		}
	}
	t.find(ops, program.DType)
	return t, nil
}

// logits fills in what the step's logits say.
func (t *Trace) logits(want, a, b []float64) {
	off := func(got []float64) Figure {
		worst := 0.0
		for i, w := range want {
			worst = math.Max(worst, math.Abs(got[i]-w))
		}
		return Figure(worst)
	}
	t.LogitErrorA, t.LogitErrorB = off(a), off(b)
	t.TokenA, t.TokenB, t.TokenReference = argmax(a), argmax(b), argmax(want)
	sorted := slices.Sorted(slices.Values(want))
	if n := len(sorted); n > 1 {
		t.MarginReference = Figure(sorted[n-1] - sorted[n-2])
	}
}

// argmax is the smallest index among the largest values.
func argmax(x []float64) int32 {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return int32(best)
}
