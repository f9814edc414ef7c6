package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"minisgl/device"
	"minisgl/internal/goldens"
	"minisgl/tensor"
	"minisgl/tensor/safetensors"
)

func open(t *testing.T, path string, o Options) *Checkpoint {
	t.Helper()
	c, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestGoldensOpen(t *testing.T) {
	for name, want := range map[string]Config{
		"tiny-tied": {Architecture: "qwen2", DType: tensor.BF16, HiddenSize: 64, IntermediateSize: 176, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 16,
			Vocab: 512, MaxPositions: 2048, RMSNormEps: 1e-6, RopeTheta: 1e4, TieWordEmbedding: true, QKVBias: true},
		"ratio14to2": {Architecture: "qwen2", DType: tensor.BF16, HiddenSize: 224, IntermediateSize: 608, Layers: 4, Heads: 14, KVHeads: 2, HeadDim: 16,
			Vocab: 2048, MaxPositions: 2048, RMSNormEps: 1e-6, RopeTheta: 1e6, QKVBias: true},
		"head64-sharded-f16": {Architecture: "qwen2", DType: tensor.F16, HiddenSize: 256, IntermediateSize: 688, Layers: 3, Heads: 4, KVHeads: 1, HeadDim: 64,
			Vocab: 1024, MaxPositions: 2048, RMSNormEps: 1e-6, RopeTheta: 1e6, TieWordEmbedding: true, QKVBias: true},
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t, goldens.Get(t, name).Path, Options{})
			if err := equalConfigs(c.Config, want); err != "" {
				t.Error(err)
			}
			if err := c.Program.Validate(); err != nil {
				t.Error(err)
			}
			if c.Tokenizer != nil || c.Chat != nil || !slices.Equal(c.StopIDs, []int32{2}) || c.Defaults != (Defaults{}) {
				t.Errorf("tokenizer %v, chat %v, stop ids %v, defaults %v", c.Tokenizer, c.Chat, c.StopIDs, c.Defaults)
			}
		})
	}
}

// equalConfigs says how two configs differ.
func equalConfigs(got, want Config) string {
	if reflect.DeepEqual(got, want) {
		return ""
	}
	return fmt.Sprintf("config\n%+v, want\n%+v", got, want)
}

func TestProgram(t *testing.T) {
	c := open(t, goldens.Get(t, "tiny-tied").Path, Options{})
	p := c.Program
	var got []string
	for _, op := range p.Ops {
		got = append(got, op.Label()+" > "+p.Buffers[op.Output()].Name)
	}
	want := []string{"embed > hidden"}
	for layer := range 2 {
		for _, op := range []string{"input_norm > normed", "qkv > qkv", "rotary > qkv", "attention > attention", "o > hidden",
			"post_norm > normed", "gate_up > gate_up", "silu > gated", "down > hidden"} {
			want = append(want, fmt.Sprintf("layers.%d.%s", layer, op))
		}
	}
	want = append(want, "select > selected", "norm > final", "lm_head > logits")
	if !slices.Equal(got, want) {
		t.Errorf("operations\n%s, want\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	qkv := find[*device.Linear](t, p, "layers.1.qkv")
	for i, name := range []string{"q", "k", "v"} {
		weight, bias := qkv.Weight.Parts[i], qkv.Bias.Parts[i]
		if weight.Name != "model.layers.1.self_attn."+name+"_proj.weight" || bias.Name != "model.layers.1.self_attn."+name+"_proj.bias" {
			t.Errorf("part %d of qkv is %v with %v", i, weight, bias)
		}
	}
	if qkv.Weight.Rows() != 128 || qkv.Weight.Cols() != 64 || len(qkv.Bias.Float32()) != 128 || qkv.Residual {
		t.Errorf("qkv is %d by %d", qkv.Weight.Rows(), qkv.Weight.Cols())
	}
	if o := find[*device.Linear](t, p, "layers.0.o"); !o.Residual || !o.Bias.None() {
		t.Errorf("o: %+v", o)
	}
	if a := find[*device.Attention](t, p, "layers.1.attention"); a.Scale != 0.25 || a.Layer != 1 {
		t.Errorf("attention: %+v", a)
	}
	if r := find[*device.RotaryStore](t, p, "layers.0.rotary"); !r.QNorm.None() || !r.KNorm.None() {
		t.Error("a qwen2 has no norms on query and key")
	}
	if find[*device.Embed](t, p, "embed").Table.Parts[0] != find[*device.LMHead](t, p, "lm_head").Weight.Parts[0] {
		t.Error("tied embeddings are two tensors")
	}
	untied := open(t, goldens.Get(t, "ratio14to2").Path, Options{}).Program
	if name := find[*device.LMHead](t, untied, "lm_head").Weight.Parts[0].Name; name != "lm_head.weight" {
		t.Errorf("the head is %s", name)
	}
}

func TestVariants(t *testing.T) {
	norms := func(p *device.Program) (q, k []float32) {
		r := find[*device.RotaryStore](t, p, "layers.0.rotary")
		return r.QNorm.Float32(), r.KNorm.Float32()
	}
	biases := func(p *device.Program) string {
		out := ""
		for _, op := range []string{"qkv", "o", "gate_up", "down"} {
			if l := find[*device.Linear](t, p, "layers.0."+op); !l.Bias.None() {
				out += fmt.Sprint(op, len(l.Bias.Float32()), " ")
			}
		}
		return out
	}
	for name, c := range map[string]struct {
		changes fields
		norm    int // width of the norms on query and key
		biases  string
	}{
		"qwen2":             {nil, 0, "qkv1152 "},
		"qwen3":             {fields{"model_type": "qwen3", "head_dim": 128}, 128, ""},
		"llama":             {fields{"model_type": "llama"}, 0, ""},
		"llama with biases": {fields{"model_type": "llama", "attention_bias": true, "mlp_bias": true}, 0, "qkv1152 o896 gate_up9728 down896 "},
	} {
		t.Run(name, func(t *testing.T) {
			p := random(t, with(small, c.changes), Options{}).Program
			if err := p.Validate(); err != nil {
				t.Error(err)
			}
			if q, k := norms(p); len(q) != c.norm || len(k) != c.norm {
				t.Errorf("norms of %d and %d values, want %d", len(q), len(k), c.norm)
			}
			if got := biases(p); got != c.biases {
				t.Errorf("biases %q, want %q", got, c.biases)
			}
		})
	}
}

func find[T device.Op](t *testing.T, p *device.Program, label string) T {
	t.Helper()
	for _, op := range p.Ops {
		if op.Label() == label {
			return op.(T)
		}
	}
	t.Fatalf("no operation %q", label)
	panic("unreachable")
}

func TestConversion(t *testing.T) {
	path := goldens.Get(t, "tiny-tied").Path
	stored := open(t, path, Options{})
	for _, d := range []tensor.DType{tensor.F32, tensor.F16, tensor.BF16} {
		c := open(t, path, Options{DType: d})
		if c.Config.DType != d || c.Program.DType != d {
			t.Errorf("types %s and %s, want %s", c.Config.DType, c.Program.DType, d)
		}
		want := find[*device.Linear](t, stored.Program, "layers.1.down").Weight.Parts[0].Float32()
		down := find[*device.Linear](t, c.Program, "layers.1.down").Weight.Parts[0]
		if down.DType != d {
			t.Errorf("a matrix is %s, want %s", down.DType, d)
		}
		for i, v := range down.Float32() {
			if diff := v - want[i]; diff > 6e-8 || diff < -6e-8 { // float16 rounds what is below its normal numbers
				t.Fatalf("%s: element %d is %v, want %v", d, i, v, want[i])
			}
		}
		if find[*device.Embed](t, c.Program, "embed").Table.Parts[0] != find[*device.LMHead](t, c.Program, "lm_head").Weight.Parts[0] {
			t.Error("tied embeddings are converted twice")
		}
	}
	if _, err := Open(path, Options{DType: tensor.Q4_0}); err == nil || !strings.Contains(err.Error(), "cannot be converted to Q4_0") {
		t.Errorf("error %v", err)
	}
}

// folder returns the files of tiny-tied, to change.
func folder(t *testing.T) fstest.MapFS {
	t.Helper()
	out := fstest.MapFS{}
	path := goldens.Get(t, "tiny-tied").Path
	for _, name := range []string{"config.json", "generation_config.json", "model.safetensors"} {
		data, err := os.ReadFile(filepath.Join(path, name))
		if err != nil {
			t.Fatal(err)
		}
		out[name] = &fstest.MapFile{Data: data}
	}
	return out
}

func setConfig(t *testing.T, files fstest.MapFS, changes fields) {
	t.Helper()
	var config fields
	if err := json.Unmarshal(files["config.json"].Data, &config); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(with(config, changes))
	if err != nil {
		t.Fatal(err)
	}
	files["config.json"] = &fstest.MapFile{Data: text}
}

// setTensors rewrites the weights: change may alter, replace or remove (nil) each tensor.
func setTensors(t *testing.T, files fstest.MapFS, change func(t *tensor.Tensor) *tensor.Tensor, added ...*tensor.Tensor) {
	t.Helper()
	set, err := safetensors.OpenFS(files, "model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	for _, old := range set.Tensors {
		if changed := change(old); changed != nil {
			added = append(added, changed)
		}
	}
	var out bytes.Buffer
	if err := safetensors.Write(&out, added, nil); err != nil {
		t.Fatal(err)
	}
	files["model.safetensors"] = &fstest.MapFile{Data: out.Bytes()}
}

func zeros(name string, dtype tensor.DType, shape ...int) *tensor.Tensor {
	size, err := dtype.Size(shape)
	if err != nil {
		panic(err)
	}
	return &tensor.Tensor{Name: name, DType: dtype, Shape: shape, Data: make([]byte, size)}
}

func keep(t *tensor.Tensor) *tensor.Tensor { return t }

func TestBadCheckpoints(t *testing.T) {
	const down = "model.layers.1.mlp.down_proj.weight"
	replace := func(name string, by *tensor.Tensor) func(t *testing.T, files fstest.MapFS) {
		return func(t *testing.T, files fstest.MapFS) {
			setTensors(t, files, func(old *tensor.Tensor) *tensor.Tensor {
				if old.Name == name {
					return by
				}
				return old
			})
		}
	}
	add := func(extra *tensor.Tensor) func(t *testing.T, files fstest.MapFS) {
		return func(t *testing.T, files fstest.MapFS) { setTensors(t, files, keep, extra) }
	}
	config := func(changes fields) func(t *testing.T, files fstest.MapFS) {
		return func(t *testing.T, files fstest.MapFS) { setConfig(t, files, changes) }
	}
	remove := func(name string) func(t *testing.T, files fstest.MapFS) {
		return func(t *testing.T, files fstest.MapFS) { delete(files, name) }
	}
	write := func(name, text string) func(t *testing.T, files fstest.MapFS) {
		return func(t *testing.T, files fstest.MapFS) { files[name] = &fstest.MapFile{Data: []byte(text)} }
	}
	for name, c := range map[string]struct {
		change func(t *testing.T, files fstest.MapFS)
		want   string
	}{
		"no config":           {remove("config.json"), "is not a model: it has neither config.json nor a .gguf file"},
		"no weights":          {remove("model.safetensors"), "has no weights: neither model.safetensors, model.safetensors.index.json nor a .gguf file"},
		"config no JSON":      {write("config.json", "{"), "config.json: unexpected end"},
		"generation no JSON":  {write("generation_config.json", "["), "generation_config.json: unexpected end"},
		"tokenizer no JSON":   {write("tokenizer.json", "{"), "tokenizer.json: "},
		"weights cut short":   {func(t *testing.T, f fstest.MapFS) { w := f["model.safetensors"]; w.Data = w.Data[:len(w.Data)-1] }, `model.safetensors: tensor "model.norm.weight": data_offsets`},
		"weights empty":       {write("model.safetensors", ""), "model.safetensors: 0 bytes are too few"},
		"missing layer":       {config(fields{"num_hidden_layers": 3, "layer_types": nil}), `tensor "model.layers.2.input_layernorm.weight", of shape [64] by config.json, is missing`},
		"extra layer":         {config(fields{"num_hidden_layers": 1}), `tensor "model.layers.1.input_layernorm.weight" belongs to layer 1, config.json says that there are 1`},
		"vocabulary":          {config(fields{"vocab_size": 511}), `tensor "model.embed_tokens.weight" has shape [512 64], config.json expects [511 64]`},
		"hidden size":         {config(fields{"hidden_size": 32, "head_dim": 16}), `tensor "model.embed_tokens.weight" has shape [512 64], config.json expects [512 32]`},
		"heads":               {config(fields{"num_attention_heads": 8}), `tensor "model.layers.0.self_attn.k_proj.weight" has shape [32 64], config.json expects [16 64]`},
		"untied without head": {config(fields{"tie_word_embeddings": false}), `tensor "lm_head.weight", of shape [512 64] by config.json, is missing`},
		"missing tensor":      {replace(down, nil), `tensor "` + down + `", of shape [64 176] by config.json, is missing`},
		"transposed tensor":   {replace(down, zeros(down, tensor.BF16, 176, 64)), `tensor "` + down + `" has shape [176 64], config.json expects [64 176]`},
		"flat tensor":         {replace(down, zeros(down, tensor.BF16, 64*176)), `tensor "` + down + `" has shape [11264]`},
		"integer tensor":      {replace(down, zeros(down, tensor.I8, 64, 176)), `tensor "` + down + `" has elements of type I8, a float type is expected`},
		"missing bias":        {replace("model.layers.0.self_attn.v_proj.bias", nil), `tensor "model.layers.0.self_attn.v_proj.bias", of shape [32] by config.json, is missing`},
		"bias unheard of":     {add(zeros("model.layers.0.self_attn.o_proj.bias", tensor.BF16, 64)), `tensor "model.layers.0.self_attn.o_proj.bias" has no place in the qwen2 model`},
		"unknown tensor":      {add(zeros("visual.patch", tensor.BF16, 4)), `tensor "visual.patch" has no place in the qwen2 model that config.json describes`},
		"two GGUF files": {func(t *testing.T, f fstest.MapFS) {
			clear(f)
			f["b.gguf"], f["a.gguf"] = &fstest.MapFile{}, &fstest.MapFile{}
		}, "has 2 GGUF files, name one of them: a.gguf, b.gguf"},
		"GGUF rubbish": {func(t *testing.T, f fstest.MapFS) { clear(f); f["a.gguf"] = &fstest.MapFile{Data: []byte("{}")} }, "a.gguf: not a GGUF file"},
	} {
		t.Run(name, func(t *testing.T) {
			files := folder(t)
			c.change(t, files)
			_, err := OpenFS(files, ".", Options{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	if _, err := Open(filepath.Join(t.TempDir(), "missing"), Options{}); !os.IsNotExist(err) {
		t.Errorf("missing folder: %v", err)
	}
	if _, err := Open(filepath.Join(goldens.Get(t, "tiny-tied").Path, "model.safetensors"), Options{}); err == nil ||
		!strings.Contains(err.Error(), "is neither a folder nor a .gguf file") {
		t.Errorf("a weight file: %v", err)
	}
}

func TestHarmlessTensors(t *testing.T) {
	files := folder(t)
	setTensors(t, files, keep, zeros("model.layers.0.self_attn.rotary_emb.inv_freq", tensor.F32, 8), zeros("lm_head.weight", tensor.BF16, 512, 64))
	c, err := OpenFS(files, ".", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if head := find[*device.LMHead](t, c.Program, "lm_head").Weight.Parts[0]; head.Name != "model.embed_tokens.weight" {
		t.Errorf("the head of a tied model is %v", head)
	}
}

func TestOpenFS(t *testing.T) {
	files := fstest.MapFS{}
	for name, file := range folder(t) {
		files["models/tiny/"+name] = file
	}
	files["models/tiny.gguf"] = &fstest.MapFile{Data: read(t, "testdata/gguf/tiny-tied-f16.gguf")}
	sub, err := fs.Sub(files, "models")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tiny", "tiny.gguf"} {
		c, err := OpenFS(sub, name, Options{MaxSeqLen: 100})
		if err != nil {
			t.Fatal(err)
		}
		if c.Path != name || c.Program.MaxPositions != 100 || c.Config.Layers != 2 {
			t.Errorf("%s: path %s, config %+v", name, c.Path, c.Config)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := OpenFS(sub, "large", Options{}); !os.IsNotExist(err) {
		t.Errorf("missing folder: %v", err)
	}
}

func TestClose(t *testing.T) {
	c, err := Open(goldens.Get(t, "tiny-tied").Path, Options{DType: tensor.F32})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if data := find[*device.Embed](t, c.Program, "embed").Table.Parts[0].Data; data != nil {
		t.Error("a converted tensor has data after Close")
	}
	if data := find[*device.RMSNorm](t, c.Program, "norm").Weight.Parts[0].Data; data != nil {
		t.Error("a mapped tensor has data after Close")
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
