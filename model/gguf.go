package model

import (
	"fmt"
	"io/fs"
	"strings"

	"minisgl/internal/mapped"
	"minisgl/tensor"
	"minisgl/tensor/gguf"
)

// openGGUF opens a file as llama.cpp's convert_hf_to_gguf.py writes it.
func openGGUF(fsys fs.FS, name string, o Options) (_ *Checkpoint, err error) {
	file, err := gguf.OpenFS(fsys, name)
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{}
	c.files = append(c.files, file)
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", mapped.Shown(fsys, name), err)
		}
		c.closeOnError(&err)
	}()
	m := ggufMetadata{Metadata: file.Metadata}
	if c.Config, err = m.config(file, o.MaxSeqLen); err != nil {
		return nil, err
	}
	w := &weights{source: "the metadata", convert: o.DType, rename: ggufName}
	if o.RandomFill {
		w.random = newRandomFill(o.Seed, randomType(o.DType, tensor.BF16))
		c.Config.DType = w.random.dtype
	} else {
		w.tensors = file.Tensors
		c.source = ggufSource{file}
		if c.Config.Architecture == "llama" {
			w.tensors = unpermuted(file.Tensors, &c.Config)
		}
	}
	if err := c.build(w); err != nil {
		return nil, err
	}
	return c, c.readGGUFCompanions(file.Metadata)
}

// ggufMetadata reads a model's keys. The first error sticks.
type ggufMetadata struct {
	gguf.Metadata
	architecture string
	err          error
}

func (m *ggufMetadata) key(name string) string { return m.architecture + "." + name }

func (m *ggufMetadata) int(name string) int {
	n, ok := m.Int(m.key(name))
	if !ok && m.err == nil {
		m.err = fmt.Errorf("%s is missing or no integer", m.key(name))
	}
	return n
}

func (m *ggufMetadata) intOr(name string, otherwise int) int {
	if m.Metadata[m.key(name)] == nil {
		return otherwise
	}
	return m.int(name)
}

func (m *ggufMetadata) floatOr(name string, otherwise float64) float64 {
	if m.Metadata[m.key(name)] == nil {
		return otherwise
	}
	v, ok := m.Float(m.key(name))
	if !ok && m.err == nil {
		m.err = fmt.Errorf("%s is no number", m.key(name))
	}
	return v
}

// config reads what a program needs to know. What GGUF does not say, such as biases, follows from the tensors that are there.
func (m *ggufMetadata) config(file *gguf.File, maxSeqLen int) (Config, error) {
	has := func(name string) bool { return file.Tensors[name] != nil }
	m.architecture, _ = m.Text("general.architecture")
	if err := checkArchitecture(m.architecture); err != nil {
		return Config{}, err
	}
	if parts, ok := m.Int("split.count"); ok && parts > 1 {
		return Config{}, fmt.Errorf("a model split over %d files is not supported; merge them with llama-gguf-split", parts)
	}
	c := Config{
		Architecture:     m.architecture,
		HiddenSize:       m.int("embedding_length"),
		IntermediateSize: m.int("feed_forward_length"),
		Layers:           m.int("block_count"),
		Heads:            m.int("attention.head_count"),
		MaxPositions:     m.int("context_length"),
		RMSNormEps:       m.floatOr("attention.layer_norm_rms_epsilon", 1e-6),
		RopeTheta:        m.floatOr("rope.freq_base", 10000),
		TieWordEmbedding: !has("output.weight"),
		QKVBias:          has("blk.0.attn_q.bias"),
		OutputBias:       has("blk.0.attn_output.bias"),
		MLPBias:          has("blk.0.ffn_gate.bias"),
		QKNorm:           m.architecture == "qwen3",
	}
	c.KVHeads = m.intOr("attention.head_count_kv", c.Heads)
	if c.Heads > 0 {
		c.HeadDim = m.intOr("attention.key_length", c.HiddenSize/c.Heads)
	}
	if table := file.Tensors["token_embd.weight"]; table != nil {
		c.Vocab = table.Rows()
	}
	c.Vocab = m.intOr("vocab_size", c.Vocab)
	c.Rope = m.rope(c.MaxPositions)
	if m.err != nil {
		return Config{}, m.err
	}
	for name, want := range map[string]int{
		"attention.value_length": c.HeadDim, "rope.dimension_count": c.HeadDim, "expert_count": 0,
	} {
		if got := m.intOr(name, want); got != want {
			return Config{}, fmt.Errorf("%s is %d; supported: %d", m.key(name), got, want)
		}
	}
	if err := c.check(); err != nil {
		return Config{}, err
	}
	if err := c.rotaryDivisors(file.Tensors["rope_freqs.weight"]); err != nil {
		return Config{}, err
	}
	if err := c.setContext(maxSeqLen); err != nil {
		return Config{}, err
	}
	if window := m.intOr("attention.sliding_window", 0); window > 0 && window < c.MaxPositions {
		return Config{}, fmt.Errorf("sliding window attention (%s %d) is not supported for a context of %d tokens", m.key("attention.sliding_window"), window, c.MaxPositions)
	}
	return c, m.err
}

func (m *ggufMetadata) rope(context int) RopeScaling {
	kind, _ := m.Text(m.key("rope.scaling.type"))
	factor := m.floatOr("rope.scaling.factor", m.floatOr("rope.scale_linear", 1))
	switch {
	case kind == "none", kind == "" && factor <= 1:
		return RopeScaling{}
	case kind == "", kind == "linear":
		return RopeScaling{Type: "linear", Factor: factor}
	case kind == "yarn":
		s := RopeScaling{
			Type: kind, Factor: factor,
			OriginalPositions: m.floatOr("rope.scaling.original_context_length", float64(context)),
			BetaFast:          m.floatOr("rope.scaling.yarn_beta_fast", 0),
			BetaSlow:          m.floatOr("rope.scaling.yarn_beta_slow", 0),
		}
		if attention := m.floatOr("rope.scaling.attn_factor", 1); attention != 1 {
			s.AttentionFactor = attention * yarnScale(factor, 1)
		}
		return s
	}
	m.err = fmt.Errorf("rope type %q is not supported; supported: none, linear, yarn", kind)
	return RopeScaling{}
}

// rotaryDivisors takes over rope_freqs, which divides every frequency: how Llama 3.1's scaling is stored.
func (c *Config) rotaryDivisors(t *tensor.Tensor) error {
	if t == nil {
		return nil
	}
	if len(t.Shape) != 1 || t.Shape[0] != c.HeadDim/2 || !t.DType.Float() {
		return fmt.Errorf("tensor %q is %s %v, F32 [%d] is expected", t.Name, t.DType, t.Shape, c.HeadDim/2)
	}
	c.Rope.Divisors = t.Float32()
	for _, d := range c.Rope.Divisors {
		if !(d > 0) {
			return fmt.Errorf("tensor %q: %v is no divisor of a frequency", t.Name, d)
		}
	}
	return nil
}

var ggufNames = strings.NewReplacer(
	"model.embed_tokens.", "token_embd.", "model.norm.", "output_norm.", "lm_head.", "output.", "model.layers.", "blk.",
	"input_layernorm.", "attn_norm.", "post_attention_layernorm.", "ffn_norm.",
	"self_attn.q_proj.", "attn_q.", "self_attn.k_proj.", "attn_k.", "self_attn.v_proj.", "attn_v.", "self_attn.o_proj.", "attn_output.",
	"self_attn.q_norm.", "attn_q_norm.", "self_attn.k_norm.", "attn_k_norm.",
	"mlp.gate_proj.", "ffn_gate.", "mlp.up_proj.", "ffn_up.", "mlp.down_proj.", "ffn_down.",
)

// ggufName turns the name that a tensor has in transformers into GGUF's.
func ggufName(name string) string { return ggufNames.Replace(name) }

// unpermuted returns the tensors with the rows of llama's query and key projections in transformers' order. The converter
// stores a head's rows so that the pairs that rotate together, (i, i+HeadDim/2), are neighbours.
func unpermuted(all map[string]*tensor.Tensor, c *Config) map[string]*tensor.Tensor {
	out := make(map[string]*tensor.Tensor, len(all))
	for name, t := range all {
		_, part, _ := strings.Cut(strings.TrimPrefix(name, "blk."), ".")
		heads := 0
		switch part {
		case "attn_q.weight", "attn_q.bias":
			heads = c.Heads
		case "attn_k.weight", "attn_k.bias":
			heads = c.KVHeads
		}
		out[name] = t
		// A tensor of another shape stays as it is, for the program to refuse.
		if heads > 0 && len(t.Shape) > 0 && t.Shape[0] == heads*c.HeadDim {
			out[name] = unpermute(t, c.HeadDim)
		}
	}
	return out
}

func unpermute(t *tensor.Tensor, headDim int) *tensor.Tensor {
	rows := t.Shape[0]
	bytes := len(t.Data) / rows
	data := make([]byte, 0, len(t.Data))
	for row := range rows {
		head, i := row/headDim*headDim, row%headDim
		from := head + 2*(i%(headDim/2)) + i/(headDim/2)
		data = append(data, t.Data[from*bytes:][:bytes]...)
	}
	return &tensor.Tensor{Name: t.Name, DType: t.DType, Shape: t.Shape, Data: data}
}
