package model

import (
	"fmt"
	"math"

	"minisgl/device"
)

// program writes a model down: the decoder of Llama (Touvron et al. 2023), with Qwen2's biases or Qwen3's norms on query and key
// where the config says so. The tensors have the names that transformers gives them. Errors stay in w.
func program(c *Config, w *weights) *device.Program {
	p := &builder{Program: &device.Program{
		Name: c.Architecture, DType: c.DType, Layers: c.Layers, Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim,
		Vocab: c.Vocab, MaxPositions: c.MaxPositions, Rotary: c.rotary(),
	}}
	eps := float32(c.RMSNormEps)
	queries, keys := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim

	hidden := p.buffer("hidden", c.HiddenSize)
	normed := p.buffer("normed", c.HiddenSize)
	qkv := p.buffer("qkv", queries+2*keys)
	attention := p.buffer("attention", queries)
	gateUp := p.buffer("gate_up", 2*c.IntermediateSize)
	gated := p.buffer("gated", c.IntermediateSize)
	selected := p.buffer("selected", c.HiddenSize)
	final := p.buffer("final", c.HiddenSize)
	logits := p.buffer("logits", c.Vocab)

	embedding := device.Matrix{Parts: tensors{w.matrix("model.embed_tokens.weight", c.Vocab, c.HiddenSize)}}
	p.add(&device.Embed{Name: "embed", Table: embedding, Out: hidden})
	for layer := 0; layer < c.Layers && w.err == nil; layer++ {
		l := w.in(fmt.Sprintf("model.layers.%d.", layer))
		name := func(op string) device.Name { return device.Name(fmt.Sprintf("layers.%d.%s", layer, op)) }

		p.add(&device.RMSNorm{Name: name("input_norm"), In: hidden, Out: normed, Weight: l.norm("input_layernorm", c.HiddenSize), Eps: eps})
		q := l.linear("self_attn.q_proj", queries, c.HiddenSize, c.QKVBias)
		k := l.linear("self_attn.k_proj", keys, c.HiddenSize, c.QKVBias)
		v := l.linear("self_attn.v_proj", keys, c.HiddenSize, c.QKVBias)
		p.add(stack(q, k, v).op(name("qkv"), normed, qkv))
		rotary := &device.RotaryStore{Name: name("rotary"), QKV: qkv, Layer: layer, Eps: eps}
		if c.QKNorm {
			rotary.QNorm = l.norm("self_attn.q_norm", c.HeadDim)
			rotary.KNorm = l.norm("self_attn.k_norm", c.HeadDim)
		}
		p.add(rotary)
		scale := float32(1 / math.Sqrt(float64(c.HeadDim)))
		p.add(&device.Attention{Name: name("attention"), QKV: qkv, Out: attention, Layer: layer, Scale: scale})
		o := l.linear("self_attn.o_proj", c.HiddenSize, queries, c.OutputBias)
		p.add(o.residual(name("o"), attention, hidden))

		p.add(&device.RMSNorm{Name: name("post_norm"), In: hidden, Out: normed, Weight: l.norm("post_attention_layernorm", c.HiddenSize), Eps: eps})
		gate := l.linear("mlp.gate_proj", c.IntermediateSize, c.HiddenSize, c.MLPBias)
		up := l.linear("mlp.up_proj", c.IntermediateSize, c.HiddenSize, c.MLPBias)
		p.add(stack(gate, up).op(name("gate_up"), normed, gateUp))
		p.add(&device.GatedSiLU{Name: name("silu"), GateUp: gateUp, Out: gated})
		down := l.linear("mlp.down_proj", c.HiddenSize, c.IntermediateSize, c.MLPBias)
		p.add(down.residual(name("down"), gated, hidden))
	}
	p.add(&device.SelectRows{Name: "select", In: hidden, Out: selected})
	p.add(&device.RMSNorm{Name: "norm", In: selected, Out: final, Weight: w.in("model.").norm("norm", c.HiddenSize), Eps: eps})
	head := embedding
	if !c.TieWordEmbedding {
		head = device.Matrix{Parts: tensors{w.matrix("lm_head.weight", c.Vocab, c.HiddenSize)}}
	}
	p.add(&device.LMHead{Name: "lm_head", In: final, Logits: logits, Weight: head})
	return p.Program
}

type builder struct{ *device.Program }

func (b *builder) buffer(name string, width int) device.Buffer {
	b.Buffers = append(b.Buffers, device.BufferInfo{Name: name, Width: width})
	return device.Buffer(len(b.Buffers) - 1)
}

func (b *builder) add(op device.Op) { b.Ops = append(b.Ops, op) }

// A linear is a projection's weight and bias.
type linear struct {
	weight device.Matrix
	bias   device.Vector
}

// stack puts projections of the same input on top of each other.
func stack(parts ...linear) linear {
	var all linear
	for _, l := range parts {
		all.weight.Parts = append(all.weight.Parts, l.weight.Parts...)
		all.bias.Parts = append(all.bias.Parts, l.bias.Parts...)
	}
	return all
}

func (l linear) op(name device.Name, in, out device.Buffer) *device.Linear {
	return &device.Linear{Name: name, In: in, Out: out, Weight: l.weight, Bias: l.bias}
}

func (l linear) residual(name device.Name, in, out device.Buffer) *device.Linear {
	op := l.op(name, in, out)
	op.Residual = true
	return op
}
