package device

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"minisgl/tensor"
)

// Validate checks that the program is one that every device may compile: sizes that agree with each other and with the
// weights, buffers that are written before they are read, labels that are unique, one LMHead and that last. It reports all
// faults that it finds, each with the operation's label.
func (p *Program) Validate() error {
	v := &validator{Program: p, rows: make([]rowKind, len(p.Buffers)), stored: make(map[int]bool)}
	v.sizes()
	v.buffers()
	labels := make(map[string]bool)
	for i, op := range p.Ops {
		v.label = op.Label()
		if v.label == "" {
			v.label = fmt.Sprintf("operation %d", i)
			v.fault("it has no label")
		}
		if labels[v.label] {
			v.fault("another operation has the same label")
		}
		labels[v.label] = true
		if _, head := op.(*LMHead); head != (i == len(p.Ops)-1) {
			v.fault("an LMHead is the last operation, and only that")
		}
		v.op(op)
	}
	if len(p.Ops) == 0 {
		v.fault("it has no operations")
	}
	return errors.Join(v.faults...)
}

// rowKind says what a buffer's rows are at the operation that is being checked.
type rowKind uint8

const (
	unwritten  rowKind = iota
	stepRows           // a row for each row of the step
	outputRows         // a row for each output, behind SelectRows
)

func (k rowKind) String() string {
	return [...]string{"nothing yet", "the step's rows", "the outputs' rows"}[k]
}

type validator struct {
	*Program
	label  string // of the operation that is being checked
	rows   []rowKind
	stored map[int]bool // layers whose RotaryStore has been seen
	faults []error
}

func (v *validator) fault(format string, args ...any) {
	where := fmt.Sprintf("program %q", v.Name)
	if v.label != "" {
		where += ", " + v.label
	}
	v.faults = append(v.faults, fmt.Errorf("%s: %s", where, fmt.Sprintf(format, args...)))
}

func (v *validator) sizes() {
	if v.Layers < 0 || v.Heads < 1 || v.KVHeads < 1 || v.Heads%max(v.KVHeads, 1) != 0 || v.HeadDim < 2 || v.HeadDim%2 != 0 ||
		v.Vocab < 1 || v.MaxPositions < 1 {
		v.fault("impossible sizes: %d layers, %d heads of %d, %d KV heads, vocabulary %d, %d positions", v.Layers, v.Heads, v.HeadDim,
			v.KVHeads, v.Vocab, v.MaxPositions)
	}
	if v.Layers > 0 && len(v.Rotary.InvFreq) != v.HeadDim/2 {
		v.fault("%d rotary frequencies for heads of %d", len(v.Rotary.InvFreq), v.HeadDim)
	}
	if v.Layers > 0 && !(v.Rotary.Scale > 0 && !math.IsInf(v.Rotary.Scale, 0)) {
		v.fault("rotary scale %v is not positive", v.Rotary.Scale)
	}
}

func (v *validator) buffers() {
	for i, b := range v.Buffers {
		if b.Name == "" || b.Width < 1 {
			v.fault("buffer %d: name %q, width %d", i, b.Name, b.Width)
		}
		if slices.ContainsFunc(v.Buffers[:i], func(o BufferInfo) bool { return o.Name == b.Name }) {
			v.fault("buffer %d: another one is named %q too", i, b.Name)
		}
	}
}

func (v *validator) op(op Op) {
	switch o := op.(type) {
	case *Embed:
		if n := v.matrix("table", o.Table, v.width(o.Out)); n < v.Vocab {
			v.fault("the table has %d rows for a vocabulary of %d", n, v.Vocab)
		}
		v.writes(o.Out, stepRows)
	case *RMSNorm:
		v.vector("weight", o.Weight, v.width(o.In), true)
		v.same("in", v.width(o.In), "out", v.width(o.Out))
		v.eps(o.Eps)
		v.writes(o.Out, v.reads(o.In))
	case *Linear:
		v.same("weight", v.matrix("weight", o.Weight, v.width(o.In)), "out", v.width(o.Out))
		v.vector("bias", o.Bias, v.width(o.Out), false)
		kind := v.reads(o.In)
		if o.In == o.Out {
			v.fault("it cannot work in place")
		}
		if o.Residual && v.reads(o.Out) != kind {
			v.fault("the residual has %v, the input %v", v.reads(o.Out), kind)
		}
		v.writes(o.Out, kind)
	case *RotaryStore:
		v.qkv(o.QKV, o.Layer)
		v.vector("query norm", o.QNorm, v.HeadDim, false)
		v.vector("key norm", o.KNorm, v.HeadDim, false)
		if !o.QNorm.None() || !o.KNorm.None() {
			v.eps(o.Eps)
		}
		if v.stored[o.Layer] {
			v.fault("layer %d is stored twice", o.Layer)
		}
		v.stored[o.Layer] = true
	case *Attention:
		v.qkv(o.QKV, o.Layer)
		v.same("out", v.width(o.Out), "heads·dim", v.Heads*v.HeadDim)
		if !v.stored[o.Layer] {
			v.fault("layer %d has no RotaryStore before it", o.Layer)
		}
		if o.QKV == o.Out {
			v.fault("it cannot work in place")
		}
		v.writes(o.Out, stepRows)
	case *GatedSiLU:
		v.same("gate and up", v.width(o.GateUp), "twice out", 2*v.width(o.Out))
		v.writes(o.Out, v.reads(o.GateUp))
	case *SelectRows:
		v.same("in", v.width(o.In), "out", v.width(o.Out))
		if kind := v.reads(o.In); kind == outputRows {
			v.fault("it reads %v already", kind)
		}
		if o.In == o.Out {
			v.fault("it cannot work in place")
		}
		v.writes(o.Out, outputRows)
	case *LMHead:
		v.same("weight", v.matrix("weight", o.Weight, v.width(o.In)), "the vocabulary", v.Vocab)
		v.same("logits", v.width(o.Logits), "the vocabulary", v.Vocab)
		if kind := v.reads(o.In); kind == stepRows {
			v.fault("it reads %v: a SelectRows is missing", kind)
		}
		v.writes(o.Logits, outputRows)
	default:
		v.fault("unknown operation %T", op)
	}
}

func (v *validator) width(b Buffer) int {
	if b < 0 || int(b) >= len(v.Buffers) {
		return -1 // reads and writes report it
	}
	return v.Buffers[b].Width
}

func (v *validator) reads(b Buffer) rowKind {
	switch {
	case v.width(b) < 0:
		v.fault("there is no buffer %d", b)
		return unwritten
	case v.rows[b] == unwritten:
		v.fault("it reads buffer %q before anything is written to it", v.Buffers[b].Name)
	}
	return v.rows[b]
}

func (v *validator) writes(b Buffer, kind rowKind) {
	if v.width(b) < 0 {
		v.fault("there is no buffer %d", b)
		return
	}
	v.rows[b] = kind
}

func (v *validator) qkv(b Buffer, layer int) {
	if layer < 0 || layer >= v.Layers {
		v.fault("layer %d is not in [0, %d)", layer, v.Layers)
	}
	v.same("qkv", v.width(b), "(heads + 2·KV heads)·dim", (v.Heads+2*v.KVHeads)*v.HeadDim)
	if kind := v.reads(b); kind == outputRows {
		v.fault("it reads %v, and works on the step's rows", kind)
	}
}

func (v *validator) same(nameA string, a int, nameB string, b int) {
	if a != b {
		v.fault("%s is %d wide, %s %d", nameA, a, nameB, b)
	}
}

func (v *validator) eps(eps float32) {
	if !(eps >= 0 && eps < 1) {
		v.fault("epsilon %v", eps)
	}
}

// matrix checks a weight against the width of its input and returns the number of its outputs.
func (v *validator) matrix(name string, m Matrix, in int) (rows int) {
	if len(m.Parts) == 0 {
		v.fault("it has no %s", name)
	}
	for _, t := range m.Parts {
		if !v.tensor(name, t) {
			continue
		}
		if len(t.Shape) != 2 || t.Cols() != in {
			v.fault("%s: %v, but the input is %d wide", name, t, in)
		}
		rows += t.Rows()
	}
	return rows
}

func (v *validator) vector(name string, x Vector, width int, needed bool) {
	if x.None() {
		if needed {
			v.fault("it has no %s", name)
		}
		return
	}
	n := 0
	for _, t := range x.Parts {
		if v.tensor(name, t) {
			n += t.Rows() * t.Cols()
		}
	}
	v.same(name, n, "its buffer", width)
}

// tensor reports whether t can be read as numbers.
func (v *validator) tensor(name string, t *tensor.Tensor) bool {
	if t == nil {
		v.fault("%s: a part is missing", name)
		return false
	}
	size, err := t.DType.Size(t.Shape)
	switch {
	case err != nil:
		v.fault("%s: %v: %v", name, t, err)
	case !t.DType.Float():
		v.fault("%s: %v: values of this type are not numbers", name, t)
	case int64(len(t.Data)) != size:
		v.fault("%s: %v: %d bytes, it needs %d", name, t, len(t.Data), size)
	default:
		return true
	}
	return false
}
