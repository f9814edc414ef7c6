package model

import (
	"encoding/json"
	"maps"
	"reflect"
	"strings"
	"testing"

	"minisgl/tensor"
)

type fields = map[string]any

// qwen25 is Qwen2.5-0.5B-Instruct's config.json, as published.
var qwen25 = fields{
	"architectures": []string{"Qwen2ForCausalLM"}, "attention_dropout": 0.0, "bos_token_id": 151643, "eos_token_id": 151645, "hidden_act": "silu",
	"hidden_size": 896, "initializer_range": 0.02, "intermediate_size": 4864, "max_position_embeddings": 32768, "max_window_layers": 21,
	"model_type": "qwen2", "num_attention_heads": 14, "num_hidden_layers": 24, "num_key_value_heads": 2, "rms_norm_eps": 1e-06,
	"rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": true, "torch_dtype": "bfloat16", "transformers_version": "4.43.1",
	"use_cache": true, "use_sliding_window": false, "vocab_size": 151936,
}

// with returns a copy with some fields changed, or taken out where the value is nil.
func with(base, changes fields) fields {
	out := maps.Clone(base)
	for name, value := range changes {
		if value == nil {
			delete(out, name)
		} else {
			out[name] = value
		}
	}
	return out
}

func parse(t *testing.T, f fields, maxSeqLen int) (Config, error) {
	t.Helper()
	text, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return parseConfig(text, maxSeqLen)
}

func TestParseConfig(t *testing.T) {
	want := Config{
		Architecture: "qwen2", DType: tensor.BF16, HiddenSize: 896, IntermediateSize: 4864, Layers: 24, Heads: 14, KVHeads: 2, HeadDim: 64,
		Vocab: 151936, MaxPositions: 32768, RMSNormEps: 1e-6, RopeTheta: 1e6, TieWordEmbedding: true, QKVBias: true,
	}
	changed := func(change func(c *Config)) Config {
		c := want
		change(&c)
		return c
	}
	yarn := RopeScaling{Type: "yarn", Factor: 4, OriginalPositions: 32768}
	llama3 := RopeScaling{Type: "llama3", Factor: 8, OriginalPositions: 8192, LowFreqFactor: 1, HighFreqFactor: 4}
	for name, c := range map[string]struct {
		config    fields
		maxSeqLen int
		want      Config
	}{
		"as published": {qwen25, 0, want},
		"transformers 5": {with(qwen25, fields{"torch_dtype": nil, "dtype": "bfloat16", "rope_theta": nil,
			"rope_parameters": fields{"rope_theta": 1e6, "rope_type": "default"}}), 0, want},
		"rope by layer type": {with(qwen25, fields{"rope_theta": nil,
			"rope_parameters": fields{"full_attention": fields{"rope_theta": 1e6, "rope_type": "default"}}}), 0, want},
		"null rope_scaling": {with(qwen25, fields{"rope_scaling": (*int)(nil)}), 0, want},
		"yarn, old": {with(qwen25, fields{"rope_scaling": fields{"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}}), 0,
			changed(func(c *Config) { c.Rope = yarn })},
		"yarn, new, to its end": {with(qwen25, fields{"rope_parameters": fields{"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e6}}), 131072,
			changed(func(c *Config) { c.Rope, c.MaxPositions = yarn, 131072 })},
		"linear": {with(qwen25, fields{"rope_scaling": fields{"type": "linear", "factor": 2}}), 0,
			changed(func(c *Config) { c.Rope = RopeScaling{Type: "linear", Factor: 2} })},
		"short context":                         {qwen25, 1000, changed(func(c *Config) { c.MaxPositions = 1000 })},
		"sliding window behind the last layer":  {with(qwen25, fields{"use_sliding_window": true, "sliding_window": 100, "max_window_layers": 24}), 0, want},
		"sliding window as long as the context": {with(qwen25, fields{"use_sliding_window": true}), 0, want},
		"sliding window and short context": {with(qwen25, fields{"use_sliding_window": true, "sliding_window": 4096}), 4096,
			changed(func(c *Config) { c.MaxPositions = 4096 })},
		"sliding layer types, off": {with(qwen25, fields{"layer_types": []string{"full_attention"}, "use_sliding_window": true, "sliding_window": 9}), 0, want},
		"no KV heads, float16": {with(qwen25, fields{"num_key_value_heads": nil, "torch_dtype": "float16"}), 0,
			changed(func(c *Config) { c.KVHeads, c.DType = 14, tensor.F16 })},
		"qwen3": {with(qwen25, fields{"model_type": "qwen3", "head_dim": 128}), 0,
			changed(func(c *Config) { c.Architecture, c.HeadDim, c.QKVBias, c.QKNorm = "qwen3", 128, false, true })},
		"qwen3 with biases": {with(qwen25, fields{"model_type": "qwen3", "attention_bias": true}), 0,
			changed(func(c *Config) { c.Architecture, c.HeadDim, c.OutputBias, c.QKNorm = "qwen3", 128, true, true })},
		"llama": {with(qwen25, fields{"model_type": "llama", "rope_theta": 5e5, "rope_scaling": fields{"rope_type": "llama3", "factor": 8.0,
			"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}}), 65536,
			changed(func(c *Config) {
				c.Architecture, c.QKVBias, c.RopeTheta, c.Rope, c.MaxPositions = "llama", false, 5e5, llama3, 65536
			})},
		"llama with biases": {with(qwen25, fields{"model_type": "llama", "attention_bias": true, "mlp_bias": true}), 0,
			changed(func(c *Config) { c.Architecture, c.OutputBias, c.MLPBias = "llama", true, true })},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parse(t, c.config, c.maxSeqLen)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("config\n%+v, want\n%+v", got, c.want)
			}
		})
	}
}

func TestBadConfig(t *testing.T) {
	for name, c := range map[string]struct {
		changes   fields
		maxSeqLen int
		want      string
	}{
		"no architecture":       {fields{"model_type": nil}, 0, "model_type is missing"},
		"unknown architecture":  {fields{"model_type": "gemma3"}, 0, `architecture "gemma3" is not supported; supported: llama, qwen2, qwen3`},
		"mixture of experts":    {fields{"model_type": "qwen2_moe"}, 0, `architecture "qwen2_moe" is not supported`},
		"quantised":             {fields{"quantization_config": fields{"quant_method": "gptq"}}, 0, `"gptq" weights are not supported`},
		"activation":            {fields{"hidden_act": "gelu"}, 0, `hidden_act "gelu" is not supported`},
		"dtype":                 {fields{"torch_dtype": "float8_e4m3fn"}, 0, `dtype "float8_e4m3fn" is not supported`},
		"no hidden size":        {fields{"hidden_size": nil}, 0, "hidden_size is missing"},
		"ill-typed hidden size": {fields{"hidden_size": "big"}, 0, "hidden_size"},
		"fractional layers":     {fields{"num_hidden_layers": 1.5}, 0, "num_hidden_layers"},
		"huge layers":           {fields{"num_hidden_layers": 1 << 40}, 0, "num_hidden_layers is missing or not in [1, 65536]"},
		"negative vocabulary":   {fields{"vocab_size": -1}, 0, "vocab_size is missing or not in"},
		"zero heads":            {fields{"num_attention_heads": 0}, 0, "num_attention_heads"},
		"zero KV heads":         {fields{"num_key_value_heads": 0}, 0, "num_key_value_heads is missing or not in"},
		"ragged heads":          {fields{"num_attention_heads": 15}, 0, "hidden_size 896 is no multiple of num_attention_heads 15"},
		"ragged KV heads":       {fields{"num_key_value_heads": 4}, 0, "num_attention_heads 14 is no multiple of num_key_value_heads 4"},
		"odd heads":             {fields{"head_dim": 63}, 0, "head_dim 63 is odd"},
		"no epsilon":            {fields{"rms_norm_eps": 0.0}, 0, "rms_norm_eps 0 is not in (0, 1)"},
		"rope base":             {fields{"rope_theta": -1.0}, 0, "rope_theta -1 is not a base"},
		"rope type":             {fields{"rope_scaling": fields{"type": "dynamic", "factor": 2.0}}, 0, `rope type "dynamic" is not supported; supported: default, linear, llama3, yarn`},
		"rope factor":           {fields{"rope_scaling": fields{"type": "linear"}}, 0, `rope type "linear" needs a factor`},
		"small rope factor":     {fields{"rope_scaling": fields{"type": "yarn", "factor": 0.5}}, 0, "rope factor 0.5 is not in"},
		"original context":      {fields{"rope_scaling": fields{"type": "yarn", "factor": 2.0, "original_max_position_embeddings": 0}}, 0, "original_max_position_embeddings 0 is not in"},
		"llama3 without":        {fields{"rope_scaling": fields{"type": "llama3", "factor": 2.0}}, 0, "0 < low_freq_factor < high_freq_factor"},
		"partial rotary":        {fields{"partial_rotary_factor": 0.5}, 0, "partial_rotary_factor 0.5 is not supported"},
		"sliding window":        {fields{"use_sliding_window": true, "sliding_window": 4096}, 0, "sliding window attention (sliding_window 4096) is not supported for a context of 32768"},
		"sliding layer types":   {fields{"layer_types": []string{"full_attention", "sliding_attention"}, "sliding_window": 4096}, 0, "sliding window attention"},
		"other layer types":     {fields{"layer_types": []string{"linear_attention"}}, 0, `layer_types: "linear_attention" is not supported`},
		"context too long":      {nil, 32769, "maximum sequence length 32769 is longer than the model's 32768"},
		"negative context":      {nil, -1, "maximum sequence length -1 is negative"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parse(t, with(qwen25, c.changes), c.maxSeqLen)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("config %+v, error %v, want %q", got, err, c.want)
			}
		})
	}
}

func FuzzParseConfig(f *testing.F) {
	for _, config := range []fields{qwen25, with(qwen25, fields{"model_type": "llama", "rope_scaling": fields{"type": "yarn", "factor": 4.0, "truncate": false}})} {
		text, err := json.Marshal(config)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, 0)
	}
	f.Fuzz(func(t *testing.T, text []byte, maxSeqLen int) {
		config, err := parseConfig(text, maxSeqLen)
		if err != nil {
			return
		}
		for i, frequency := range config.rotary().InvFreq {
			if !(frequency >= 0 && frequency <= 1) {
				t.Fatalf("%+v: frequency %d is %v", config, i, frequency)
			}
		}
		if config.MaxPositions < 1 || config.Heads%config.KVHeads != 0 {
			t.Fatalf("%+v", config)
		}
	})
}
