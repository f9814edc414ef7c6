package devicetest

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"

	"minisgl/device"
	"minisgl/tensor"
)

// Config says what TinyProgram builds. Fields that are zero get the values of Tiny.
type Config struct {
	Seed           uint64
	Hidden         int
	Intermediate   int
	Layers         int
	Heads, KVHeads int
	HeadDim        int
	Vocab          int
	MaxPositions   int
	DType          tensor.DType // of matrices; vectors are F32 where it is quantised
	Bias           bool         // on query, key and value: Qwen2
	QKNorm         bool         // Qwen3
	Tied           bool         // the LM head is the embedding
	RotaryScale    float64      // YaRN's attention factor
	NaNToken       int32        // the embedding of this token holds a NaN; 0: none does
}

// Tiny is the configuration of small tests.
var Tiny = Config{Hidden: 32, Intermediate: 48, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 16, Vocab: 97, MaxPositions: 512,
	DType: tensor.F32, RotaryScale: 1}

func (c Config) withDefaults() Config {
	for _, field := range []struct {
		value *int
		tiny  int
	}{
		{&c.Hidden, Tiny.Hidden}, {&c.Intermediate, Tiny.Intermediate}, {&c.Layers, Tiny.Layers}, {&c.Heads, Tiny.Heads},
		{&c.KVHeads, Tiny.KVHeads}, {&c.HeadDim, Tiny.HeadDim}, {&c.Vocab, Tiny.Vocab}, {&c.MaxPositions, Tiny.MaxPositions},
	} {
		if *field.value == 0 {
			*field.value = field.tiny
		}
	}
	if c.DType == tensor.Invalid {
		c.DType = Tiny.DType
	}
	if c.RotaryScale == 0 {
		c.RotaryScale = Tiny.RotaryScale
	}
	return c
}

// TinyProgram returns a transformer of Qwen2's shape with random weights, the same for the same configuration. Its
// operations are those that package model writes, in the same order. A quantised type needs inputs that are whole numbers
// of its blocks.
func TinyProgram(c Config) *device.Program {
	c = c.withDefaults()
	b := &builder{
		random: rand.New(rand.NewPCG(c.Seed, 0)),
		dtype:  c.DType,
		program: &device.Program{
			Name: "tiny", DType: c.DType, Layers: c.Layers, Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim,
			Vocab: c.Vocab, MaxPositions: c.MaxPositions, Rotary: device.Rotary{Scale: c.RotaryScale},
		},
	}
	for i := range c.HeadDim / 2 {
		b.program.Rotary.InvFreq = append(b.program.Rotary.InvFreq, float32(math.Pow(10_000, -2*float64(i)/float64(c.HeadDim))))
	}
	queries, keys := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	hidden := b.buffer("hidden", c.Hidden)
	normed := b.buffer("normed", c.Hidden)
	qkv := b.buffer("qkv", queries+2*keys)
	attention := b.buffer("attention", queries)
	gateUp := b.buffer("gate_up", 2*c.Intermediate)
	gated := b.buffer("gated", c.Intermediate)
	selected := b.buffer("selected", c.Hidden)
	final := b.buffer("final", c.Hidden)
	logits := b.buffer("logits", c.Vocab)

	const eps = 1e-6
	embedding := b.embedding(c)
	b.add(&device.Embed{Name: "embed", Table: embedding, Out: hidden})
	for layer := range c.Layers {
		name := func(op string) device.Name { return device.Name(fmt.Sprintf("layers.%d.%s", layer, op)) }
		b.add(&device.RMSNorm{Name: name("input_norm"), In: hidden, Out: normed, Weight: b.norm(c.Hidden), Eps: eps})
		project := &device.Linear{Name: name("qkv"), In: normed, Out: qkv, Weight: b.matrix(c.Hidden, queries, keys, keys)}
		if c.Bias {
			project.Bias = b.bias(queries, keys, keys)
		}
		b.add(project)
		rotary := &device.RotaryStore{Name: name("rotary"), QKV: qkv, Layer: layer, Eps: eps}
		if c.QKNorm {
			rotary.QNorm, rotary.KNorm = b.norm(c.HeadDim), b.norm(c.HeadDim)
		}
		b.add(rotary)
		scale := float32(1 / math.Sqrt(float64(c.HeadDim)))
		b.add(&device.Attention{Name: name("attention"), QKV: qkv, Out: attention, Layer: layer, Scale: scale})
		b.add(&device.Linear{Name: name("o"), In: attention, Out: hidden, Weight: b.matrix(queries, c.Hidden), Residual: true})
		b.add(&device.RMSNorm{Name: name("post_norm"), In: hidden, Out: normed, Weight: b.norm(c.Hidden), Eps: eps})
		b.add(&device.Linear{Name: name("gate_up"), In: normed, Out: gateUp, Weight: b.matrix(c.Hidden, c.Intermediate, c.Intermediate)})
		b.add(&device.GatedSiLU{Name: name("silu"), GateUp: gateUp, Out: gated})
		b.add(&device.Linear{Name: name("down"), In: gated, Out: hidden, Weight: b.matrix(c.Intermediate, c.Hidden), Residual: true})
	}
	b.add(&device.SelectRows{Name: "select", In: hidden, Out: selected})
	b.add(&device.RMSNorm{Name: "norm", In: selected, Out: final, Weight: b.norm(c.Hidden), Eps: eps})
	head := embedding
	if !c.Tied {
		head = b.matrix(c.Hidden, c.Vocab)
	}
	b.add(&device.LMHead{Name: "lm_head", In: final, Logits: logits, Weight: head})
	return b.program
}

type builder struct {
	random  *rand.Rand
	dtype   tensor.DType
	program *device.Program
}

func (b *builder) buffer(name string, width int) device.Buffer {
	b.program.Buffers = append(b.program.Buffers, device.BufferInfo{Name: name, Width: width})
	return device.Buffer(len(b.program.Buffers) - 1)
}

func (b *builder) add(op device.Op) { b.program.Ops = append(b.program.Ops, op) }

func (b *builder) embedding(c Config) device.Matrix {
	t := b.normal(c.DType, 0, 1, c.Vocab, c.Hidden)
	if c.NaNToken > 0 {
		copy(t.Row(int(c.NaNToken)), encode(c.DType, []float32{float32(math.NaN())}))
	}
	return device.Matrix{Parts: []*tensor.Tensor{t}}
}

// matrix returns one tensor of shape (out, in) for each out, with values that keep the size of what they multiply.
func (b *builder) matrix(in int, outs ...int) (m device.Matrix) {
	for _, out := range outs {
		m.Parts = append(m.Parts, b.normal(b.dtype, 0, 1/math.Sqrt(float64(in)), out, in))
	}
	return m
}

func (b *builder) norm(width int) device.Vector {
	return device.Vector{Parts: []*tensor.Tensor{b.normal(b.vectors(), 1, 0.2, width)}}
}

func (b *builder) bias(widths ...int) (v device.Vector) {
	for _, width := range widths {
		v.Parts = append(v.Parts, b.normal(b.vectors(), 0, 0.3, width))
	}
	return v
}

func (b *builder) vectors() tensor.DType {
	if b.dtype.Quantised() {
		return tensor.F32
	}
	return b.dtype
}

func (b *builder) normal(dtype tensor.DType, mean, deviation float64, shape ...int) *tensor.Tensor {
	size, err := dtype.Size(shape)
	if err != nil {
		panic("devicetest: " + err.Error()) // the test's configuration is impossible
	}
	t := &tensor.Tensor{Name: fmt.Sprintf("random.%d", b.random.Uint32()), DType: dtype, Shape: shape}
	if dtype.Quantised() {
		t.Data = b.blocks(dtype, deviation, int(size))
		return t
	}
	values := make([]float32, t.Rows()*t.Cols())
	for i := range values {
		values[i] = float32(mean + deviation*b.random.NormFloat64())
	}
	t.Data = encode(dtype, values)
	return t
}

func encode(dtype tensor.DType, values []float32) (data []byte) {
	for _, v := range values {
		switch dtype {
		case tensor.F32:
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
		case tensor.F16:
			data = binary.LittleEndian.AppendUint16(data, tensor.Float32ToF16(v))
		case tensor.BF16:
			data = binary.LittleEndian.AppendUint16(data, tensor.Float32ToBF16(v))
		default:
			panic("devicetest: no random tensors of type " + dtype.String())
		}
	}
	return data
}

// scales says where a block keeps its float16 scale and minimum (layouts as in ggml-common.h; -1: none), and how large they
// are for values with a standard deviation of about 1 and a mean of about 0 when all other bytes are random.
var scales = map[tensor.DType]struct {
	scaleAt, minAt int
	scale, min     float64
}{
	tensor.Q4_0: {0, -1, 1 / 4.6, 0},
	tensor.Q4_1: {0, 2, 1 / 4.6, -7.5 / 4.6},
	tensor.Q5_0: {0, -1, 1 / 9.2, 0},
	tensor.Q5_1: {0, 2, 1 / 9.2, -15.5 / 9.2},
	tensor.Q8_0: {0, -1, 1 / 74., 0},
	tensor.Q4_K: {0, 2, 1 / 300., 7.5 / 300},
	tensor.Q5_K: {0, 2, 1 / 600., 15.5 / 600},
	tensor.Q6_K: {208, -1, 1 / 1300., 0},
}

func (b *builder) blocks(dtype tensor.DType, deviation float64, size int) []byte {
	s, known := scales[dtype]
	if !known {
		panic("devicetest: no random blocks of type " + dtype.String())
	}
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(b.random.Uint32())
	}
	half := func(at int, v float64) {
		binary.LittleEndian.PutUint16(data[at:], tensor.Float32ToF16(float32(v*deviation)))
	}
	for at := 0; at < size; at += dtype.BlockBytes() {
		half(at+s.scaleAt, s.scale)
		if s.minAt >= 0 {
			half(at+s.minAt, s.min)
		}
	}
	return data
}
