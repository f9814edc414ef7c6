package device

import (
	"math"

	"minisgl/tensor"
)

// A Program is a transformer written as a short list of operations over named buffers, already fused as far as every
// device wants them fused. Package model writes it once for a checkpoint; a device compiles it (packs weights, picks
// kernels, captures graphs) and then runs steps of it. A new model family is a new program.
//
// Each buffer has one row of Width values for each row of the step, until SelectRows: the buffers behind it have one row
// for each output of the step.
type Program struct {
	Name   string // the model family, as in config.json: "qwen2"
	DType  tensor.DType
	Layers int // layers with a KV cache

	Heads   int // query heads
	KVHeads int // key and value heads; Heads is a multiple of it
	HeadDim int // width of a head, even

	Vocab        int // rows of the LM head, so ids are in [0, Vocab)
	MaxPositions int // positions are in [0, MaxPositions)
	Rotary       Rotary

	Buffers []BufferInfo
	Ops     []Op
}

// A Buffer is an index into Program.Buffers.
type Buffer int

// BufferInfo names a buffer and gives the number of values of one of its rows.
type BufferInfo struct {
	Name  string
	Width int
}

// Rotary says how a position turns a head's pairs (i, i+HeadDim/2), the half-split layout of GPT-NeoX and Qwen2.
// Scaled variants (YaRN, llama3) differ only in the numbers.
type Rotary struct {
	InvFreq []float32 // HeadDim/2 inverse frequencies
	Scale   float64   // factor on cosine and sine: 1, or YaRN's attention factor
}

// CosSin writes the cosines and sines of a position, len(InvFreq) each. The angle is rounded to float32 as transformers
// does; every device takes its numbers from here, so that none differs at long contexts.
func (r *Rotary) CosSin(position int, cos, sin []float64) {
	for i, f := range r.InvFreq {
		s, c := math.Sincos(float64(float32(position) * f))
		cos[i], sin[i] = c*r.Scale, s*r.Scale
	}
}

// A Matrix is a weight of shape (out, in), stored as one or more tensors stacked along out: query, key and value
// projections are one matrix of three parts, which may differ in type. Tensors shared between operations (tied
// embeddings) are the same pointer, so that a device packs them once.
type Matrix struct{ Parts []*tensor.Tensor }

// Rows is the number of outputs.
func (m Matrix) Rows() int {
	n := 0
	for _, t := range m.Parts {
		n += t.Rows()
	}
	return n
}

// Cols is the number of inputs.
func (m Matrix) Cols() int {
	if len(m.Parts) == 0 {
		return 0
	}
	return m.Parts[0].Cols()
}

// A Vector is a bias or a norm's weight, stored as one or more tensors end to end. The zero Vector means there is none.
type Vector struct{ Parts []*tensor.Tensor }

// None reports whether there is no such vector.
func (v Vector) None() bool { return len(v.Parts) == 0 }

// Float32 returns the vector's values; nil for none.
func (v Vector) Float32() []float32 {
	var out []float32
	for _, t := range v.Parts {
		out = append(out, t.Float32()...)
	}
	return out
}

// An Op is one operation of a program: *Embed, *RMSNorm, *Linear, *RotaryStore, *Attention, *GatedSiLU, *SelectRows or
// *LMHead. They run in order.
type Op interface {
	// Label names the operation for people, unique in its program: "layers.3.qkv".
	Label() string
	// Output is the buffer the operation writes.
	Output() Buffer
}

// Name is the label that operations embed.
type Name string

func (n Name) Label() string { return string(n) }

// Embed: Out[t] = Table[token of row t], Table (vocab, hidden).
type Embed struct {
	Name
	Table Matrix
	Out   Buffer
}

// RMSNorm: Out[t] = In[t] / sqrt(mean(In[t]²) + Eps) · Weight (Zhang and Sennrich 2019).
type RMSNorm struct {
	Name
	In, Out Buffer
	Weight  Vector
	Eps     float32
}

// Linear: Out[t] = In[t]·Weightᵀ + Bias, and + Out[t] as it was if Residual.
type Linear struct {
	Name
	In, Out  Buffer
	Weight   Matrix
	Bias     Vector
	Residual bool
}

// RotaryStore works on rows [query heads | key heads | value heads] in place: it normalises each query and key head
// (QNorm, KNorm of HeadDim values: Qwen3's QK norm) if there are such weights, rotates both by the row's position, and
// stores key and value in the layer's KV pages.
type RotaryStore struct {
	Name
	QKV          Buffer
	Layer        int
	QNorm, KNorm Vector
	Eps          float32
}

// Attention: for each query head of a row, Out = softmax(Scale · q·Kᵀ)·V over the KV pages of the row's sequence, positions
// 0 up to and with the row's own. Out has Heads·HeadDim values; query head h reads KV head h / (Heads/KVHeads).
type Attention struct {
	Name
	QKV, Out Buffer
	Layer    int
	Scale    float32
}

// GatedSiLU: Out[t][i] = silu(g)·u with g = GateUp[t][i], u = GateUp[t][i+n], n the width of Out and silu(x) = x/(1+e⁻ˣ).
type GatedSiLU struct {
	Name
	GateUp, Out Buffer
}

// SelectRows keeps the rows that the step's outputs name, in their order: Out[k] = In[Outputs[k].Row].
type SelectRows struct {
	Name
	In, Out Buffer
}

// LMHead: Logits[k] = In[k]·Weightᵀ, then the step's output k is sampled or scored from it (see Output). It is a program's
// last operation. A device need not keep the logits, unless the step is traced.
type LMHead struct {
	Name
	In, Logits Buffer
	Weight     Matrix
}

func (o *Embed) Output() Buffer       { return o.Out }
func (o *RMSNorm) Output() Buffer     { return o.Out }
func (o *Linear) Output() Buffer      { return o.Out }
func (o *RotaryStore) Output() Buffer { return o.QKV }
func (o *Attention) Output() Buffer   { return o.Out }
func (o *GatedSiLU) Output() Buffer   { return o.Out }
func (o *SelectRows) Output() Buffer  { return o.Out }
func (o *LMHead) Output() Buffer      { return o.Logits }
