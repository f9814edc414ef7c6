package model

import (
	"bytes"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"minisgl/device"
	"minisgl/internal/goldens"
	"minisgl/tensor"
	"minisgl/tensor/gguf"
)

// weightsOf returns a program's weights, by operation.
func weightsOf(p *device.Program) map[string][]*tensor.Tensor {
	out := map[string][]*tensor.Tensor{}
	for _, op := range p.Ops {
		switch op := op.(type) {
		case *device.Embed:
			out[op.Label()] = op.Table.Parts
		case *device.RMSNorm:
			out[op.Label()] = op.Weight.Parts
		case *device.Linear:
			out[op.Label()] = slices.Concat(op.Weight.Parts, op.Bias.Parts)
		case *device.RotaryStore:
			out[op.Label()] = slices.Concat(op.QNorm.Parts, op.KNorm.Parts)
		case *device.LMHead:
			out[op.Label()] = op.Weight.Parts
		}
	}
	return out
}

// checkSameWeights compares the weights of two programs, element by element, within a share of a row's largest element.
func checkSameWeights(t *testing.T, got, want *device.Program, within float64) {
	t.Helper()
	all := weightsOf(want)
	if len(all) < 5 || len(weightsOf(got)) != len(all) {
		t.Fatalf("weights of %d operations, want %d", len(weightsOf(got)), len(all))
	}
	for label, parts := range weightsOf(got) {
		if len(parts) != len(all[label]) {
			t.Fatalf("%s has %d parts, want %d", label, len(parts), len(all[label]))
		}
		for i, part := range parts {
			w := all[label][i]
			if !slices.Equal(part.Shape, w.Shape) {
				t.Fatalf("%s: %v, want %v", label, part, w)
			}
			got, want := part.Float32(), w.Float32()
			for at := range want {
				row := want[at/w.Cols()*w.Cols():][:w.Cols()]
				largest := math.Max(float64(slices.Max(row)), -float64(slices.Min(row)))
				if math.Abs(float64(got[at]-want[at])) > within*largest {
					t.Fatalf("%s: element %d of %v is %v, want %v of %v", label, at, part, got[at], want[at], w)
				}
			}
		}
	}
}

// testdata/gguf/make.py writes the files with the gguf package of PyPI.
func TestGGUFIsItsTwin(t *testing.T) {
	for _, c := range []struct {
		file, folder string
		dtype        tensor.DType
		within       float64
	}{
		{"tiny-tied-bf16.gguf", goldens.Get(t, "tiny-tied").Path, tensor.BF16, 0},
		{"tiny-tied-f16.gguf", goldens.Get(t, "tiny-tied").Path, tensor.F16, 1e-6},
		{"tiny-tied-q8_0.gguf", goldens.Get(t, "tiny-tied").Path, tensor.Q8_0, 0.5/127 + 1e-3},
		{"llama.gguf", "testdata/gguf/llama", tensor.F32, 0},
	} {
		t.Run(c.file, func(t *testing.T) {
			got, want := open(t, "testdata/gguf/"+c.file, Options{}), open(t, c.folder, Options{})
			if err := got.Program.Validate(); err != nil {
				t.Error(err)
			}
			if got.Config.DType != c.dtype {
				t.Errorf("type %s, want %s", got.Config.DType, c.dtype)
			}
			checkSameWeights(t, got.Program, want.Program, c.within)
			for i, f := range want.Program.Rotary.InvFreq {
				if got := got.Program.Rotary.InvFreq[i]; math.Abs(float64(got/f-1)) > 3e-7 {
					t.Errorf("frequency %d is %v, want %v", i, got, f)
				}
			}
			a, b := got.Config, want.Config
			a.RMSNormEps, b.RMSNormEps = float64(float32(a.RMSNormEps)), float64(float32(b.RMSNormEps)) // GGUF has float32
			a.Rope, a.DType = b.Rope, b.DType
			if err := equalConfigs(a, b); err != "" {
				t.Error(err)
			}
		})
	}
	single := goldens.Get(t, "tiny-tied")
	if c := open(t, "testdata/gguf/tiny-tied-q8_0.gguf", Options{DType: tensor.BF16}); c.Config.DType != tensor.Q8_0 {
		t.Errorf("%s: quantised weights are converted to %s", single.Name, c.Config.DType)
	}
}

func metadata() gguf.Metadata {
	return gguf.Metadata{
		"general.architecture": "qwen2", "qwen2.block_count": uint32(2), "qwen2.context_length": uint32(2048), "qwen2.embedding_length": uint32(64),
		"qwen2.feed_forward_length": uint32(176), "qwen2.attention.head_count": uint32(4), "qwen2.attention.head_count_kv": uint32(2),
		"qwen2.rope.freq_base": float32(1e6), "qwen2.attention.layer_norm_rms_epsilon": float32(0.5),
	}
}

func TestGGUFConfig(t *testing.T) {
	want := Config{
		Architecture: "qwen2", HiddenSize: 64, IntermediateSize: 176, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 16, Vocab: 512, MaxPositions: 2048,
		RMSNormEps: 0.5, RopeTheta: 1e6, TieWordEmbedding: true, QKVBias: true,
	}
	changed := func(change func(c *Config)) Config {
		c := want
		change(&c)
		return c
	}
	for name, c := range map[string]struct {
		changes gguf.Metadata
		tensors []*tensor.Tensor
		want    Config
	}{
		"plain":     {nil, nil, want},
		"untied":    {nil, []*tensor.Tensor{zeros("output.weight", tensor.F32, 512, 64)}, changed(func(c *Config) { c.TieWordEmbedding = false })},
		"head size": {gguf.Metadata{"qwen2.attention.key_length": uint32(32)}, nil, changed(func(c *Config) { c.HeadDim = 32 })},
		"linear": {gguf.Metadata{"qwen2.rope.scaling.type": "linear", "qwen2.rope.scaling.factor": float32(4)}, nil,
			changed(func(c *Config) { c.Rope = RopeScaling{Type: "linear", Factor: 4} })},
		"yarn": {gguf.Metadata{"qwen2.rope.scaling.type": "yarn", "qwen2.rope.scaling.factor": float32(4), "qwen2.rope.scaling.original_context_length": uint32(512)}, nil,
			changed(func(c *Config) { c.Rope = RopeScaling{Type: "yarn", Factor: 4, OriginalPositions: 512} })},
		"no scaling": {gguf.Metadata{"qwen2.rope.scaling.type": "none"}, nil, want},
	} {
		t.Run(name, func(t *testing.T) {
			m := metadata()
			maps.Copy(m, c.changes)
			got, err := (&ggufMetadata{Metadata: m}).config(ggufFile(c.tensors...), 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := equalConfigs(got, c.want); err != "" {
				t.Error(err)
			}
		})
	}
}

func ggufFile(extra ...*tensor.Tensor) *gguf.File {
	f := &gguf.File{Tensors: map[string]*tensor.Tensor{}}
	for _, t := range append(extra, zeros("token_embd.weight", tensor.F32, 512, 64), zeros("blk.0.attn_q.bias", tensor.F32, 64)) {
		f.Tensors[t.Name] = t
	}
	return f
}

func TestBadGGUF(t *testing.T) {
	nan := zeros("rope_freqs.weight", tensor.F32, 8)
	for name, c := range map[string]struct {
		key   string
		value any
		extra *tensor.Tensor
		want  string
	}{
		"no architecture": {"general.architecture", nil, nil, `architecture "" is not supported`},
		"architecture":    {"general.architecture", "gemma2", nil, `architecture "gemma2" is not supported; supported: llama, qwen2, qwen3`},
		"no layers":       {"qwen2.block_count", nil, nil, "qwen2.block_count is missing or no integer"},
		"text for layers": {"qwen2.block_count", "2", nil, "qwen2.block_count is missing or no integer"},
		"zero heads":      {"qwen2.attention.head_count", uint32(0), nil, "num_attention_heads is missing"},
		"heads by layer":  {"qwen2.attention.head_count_kv", []int32{2, 2}, nil, "qwen2.attention.head_count_kv is missing or no integer"},
		"value heads":     {"qwen2.attention.value_length", uint32(8), nil, "qwen2.attention.value_length is 8; supported: 16"},
		"rotary part":     {"qwen2.rope.dimension_count", uint32(8), nil, "qwen2.rope.dimension_count is 8; supported: 16"},
		"experts":         {"qwen2.expert_count", uint32(8), nil, "qwen2.expert_count is 8; supported: 0"},
		"rope type":       {"qwen2.rope.scaling.type", "longrope", nil, `rope type "longrope" is not supported; supported: none, linear, yarn`},
		"rope base":       {"qwen2.rope.freq_base", "ten", nil, "qwen2.rope.freq_base is no number"},
		"sliding window":  {"qwen2.attention.sliding_window", uint32(512), nil, "sliding window attention"},
		"split":           {"split.count", uint16(3), nil, "a model split over 3 files is not supported"},
		"huge":            {"qwen2.embedding_length", uint64(math.MaxUint64), nil, "qwen2.embedding_length is missing or no integer"},
		"divisor 0":       {"x", true, nan, `tensor "rope_freqs.weight": 0 is no divisor`},
		"divisors":        {"x", true, zeros("rope_freqs.weight", tensor.F32, 16), `tensor "rope_freqs.weight" is F32 [16], F32 [8] is expected`},
	} {
		t.Run(name, func(t *testing.T) {
			m := metadata()
			m[c.key] = c.value
			var extra []*tensor.Tensor
			if c.extra != nil {
				extra = append(extra, c.extra)
			}
			_, err := (&ggufMetadata{Metadata: m}).config(ggufFile(extra...), 0)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	// Errors about tensors are in the file's own names.
	w := &weights{tensors: ggufFile().Tensors, source: "the metadata", rename: ggufName}
	if w.matrix("model.layers.0.mlp.down_proj.weight", 64, 176); w.err == nil || !strings.Contains(w.err.Error(), `"blk.0.ffn_down.weight", of shape [64 176] by the metadata, is missing`) {
		t.Errorf("error %v", w.err)
	}
}

// The names are those of the gguf package's get_tensor_name_map.
func TestGGUFNames(t *testing.T) {
	for name, want := range map[string]string{
		"model.embed_tokens.weight":                      "token_embd.weight",
		"model.norm.weight":                              "output_norm.weight",
		"lm_head.weight":                                 "output.weight",
		"model.layers.1.input_layernorm.weight":          "blk.1.attn_norm.weight",
		"model.layers.1.self_attn.q_proj.bias":           "blk.1.attn_q.bias",
		"model.layers.1.self_attn.k_proj.weight":         "blk.1.attn_k.weight",
		"model.layers.1.self_attn.v_proj.weight":         "blk.1.attn_v.weight",
		"model.layers.1.self_attn.o_proj.weight":         "blk.1.attn_output.weight",
		"model.layers.1.self_attn.q_norm.weight":         "blk.1.attn_q_norm.weight",
		"model.layers.1.self_attn.k_norm.weight":         "blk.1.attn_k_norm.weight",
		"model.layers.1.post_attention_layernorm.weight": "blk.1.ffn_norm.weight",
		"model.layers.1.mlp.gate_proj.weight":            "blk.1.ffn_gate.weight",
		"model.layers.1.mlp.up_proj.weight":              "blk.1.ffn_up.weight",
		"model.layers.1.mlp.down_proj.weight":            "blk.1.ffn_down.weight",
	} {
		if got := ggufName(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

// FuzzOpenGGUF changes the header only, so that the changes are not lost among the weights.
func FuzzOpenGGUF(f *testing.F) {
	const path = "testdata/gguf/llama.gguf"
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	file, err := gguf.Open(path)
	if err != nil {
		f.Fatal(err)
	}
	header := len(whole)
	for _, t := range file.Tensors {
		header -= (len(t.Data) + 31) / 32 * 32
	}
	if err := file.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(whole[:header])
	f.Fuzz(func(t *testing.T, changed []byte) {
		data := slices.Concat(changed, whole[header:])
		c, err := OpenFS(fstest.MapFS{"model.gguf": {Data: data}}, "model.gguf", Options{})
		if err != nil {
			if len(changed) == header && bytes.Equal(changed, whole[:header]) {
				t.Errorf("the file as it is: %v", err)
			}
			return
		}
		if err := c.Program.Validate(); err != nil {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}
