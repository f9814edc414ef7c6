package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"minisgl/tensor"
)

const configName = "config.json"

// Config is what a program needs to know of config.json or of GGUF's metadata, whatever its spelling there.
type Config struct {
	Architecture     string // model_type: "qwen2", "qwen3", "llama"
	DType            tensor.DType
	HiddenSize       int
	IntermediateSize int
	Layers           int
	Heads, KVHeads   int
	HeadDim          int
	Vocab            int
	MaxPositions     int // the context that is served: the checkpoint's, or Options.MaxSeqLen
	RMSNormEps       float64
	RopeTheta        float64
	Rope             RopeScaling
	TieWordEmbedding bool
	QKVBias          bool // of the query, key and value projections
	OutputBias       bool // of the attention's output projection
	MLPBias          bool
	QKNorm           bool
}

var architectures = []string{"llama", "qwen2", "qwen3"}

func checkArchitecture(name string) error {
	if !slices.Contains(architectures, name) {
		return fmt.Errorf("architecture %q is not supported; supported: %s", name, strings.Join(architectures, ", "))
	}
	return nil
}

// configFile is config.json, in the spellings of transformers 4 (torch_dtype, rope_theta, rope_scaling) and 5 (dtype,
// rope_parameters).
type configFile struct {
	ModelType            string          `json:"model_type"`
	DType                string          `json:"dtype"`
	TorchDType           string          `json:"torch_dtype"`
	HiddenSize           int             `json:"hidden_size"`
	IntermediateSize     int             `json:"intermediate_size"`
	HiddenLayers         int             `json:"num_hidden_layers"`
	AttentionHeads       int             `json:"num_attention_heads"`
	KeyValueHeads        *int            `json:"num_key_value_heads"`
	HeadDim              *int            `json:"head_dim"`
	VocabSize            int             `json:"vocab_size"`
	MaxPositions         int             `json:"max_position_embeddings"`
	RMSNormEps           *float64        `json:"rms_norm_eps"`
	RopeTheta            *float64        `json:"rope_theta"`
	RopeScaling          *ropeParameters `json:"rope_scaling"`
	RopeParameters       *ropeParameters `json:"rope_parameters"`
	OriginalMaxPositions *float64        `json:"original_max_position_embeddings"`
	PartialRotaryFactor  *float64        `json:"partial_rotary_factor"`
	TieWordEmbeddings    bool            `json:"tie_word_embeddings"`
	AttentionBias        bool            `json:"attention_bias"`
	MLPBias              bool            `json:"mlp_bias"`
	HiddenAct            string          `json:"hidden_act"`
	UseSlidingWindow     bool            `json:"use_sliding_window"`
	SlidingWindow        *int            `json:"sliding_window"`
	MaxWindowLayers      *int            `json:"max_window_layers"`
	LayerTypes           []string        `json:"layer_types"`
	QuantizationConfig   *quantization   `json:"quantization_config"`
}

type quantization struct {
	Method string `json:"quant_method"`
}

// parseConfig reads config.json for a context of maxSeqLen tokens, 0 for the checkpoint's own.
func parseConfig(text []byte, maxSeqLen int) (Config, error) {
	var f configFile
	if err := json.Unmarshal(text, &f); err != nil {
		return Config{}, err
	}
	if f.ModelType == "" {
		return Config{}, errors.New("model_type is missing")
	}
	if err := checkArchitecture(f.ModelType); err != nil {
		return Config{}, err
	}
	if f.QuantizationConfig != nil {
		return Config{}, fmt.Errorf("quantization_config: %q weights are not supported; use a GGUF file for quantised weights", f.QuantizationConfig.Method)
	}
	if f.HiddenAct != "" && f.HiddenAct != "silu" {
		return Config{}, fmt.Errorf("hidden_act %q is not supported; supported: silu", f.HiddenAct)
	}
	c := Config{
		Architecture:     f.ModelType,
		HiddenSize:       f.HiddenSize,
		IntermediateSize: f.IntermediateSize,
		Layers:           f.HiddenLayers,
		Heads:            f.AttentionHeads,
		KVHeads:          valueOr(f.KeyValueHeads, f.AttentionHeads),
		Vocab:            f.VocabSize,
		MaxPositions:     f.MaxPositions,
		RMSNormEps:       valueOr(f.RMSNormEps, 1e-6),
		TieWordEmbedding: f.TieWordEmbeddings,
		QKVBias:          f.ModelType == "qwen2" || f.AttentionBias,
		OutputBias:       f.ModelType != "qwen2" && f.AttentionBias,
		MLPBias:          f.ModelType == "llama" && f.MLPBias,
		QKNorm:           f.ModelType == "qwen3",
	}
	var err error
	if c.DType, err = parseDType(f.DType, f.TorchDType); err != nil {
		return Config{}, err
	}
	switch {
	case f.HeadDim != nil:
		c.HeadDim = *f.HeadDim
	case f.ModelType == "qwen3":
		c.HeadDim = 128
	case f.AttentionHeads > 0 && f.HiddenSize%f.AttentionHeads == 0:
		c.HeadDim = f.HiddenSize / f.AttentionHeads
	default:
		return Config{}, fmt.Errorf("hidden_size %d is no multiple of num_attention_heads %d", f.HiddenSize, f.AttentionHeads)
	}
	if err := c.parseRope(&f); err != nil {
		return Config{}, err
	}
	if err := c.check(); err != nil {
		return Config{}, err
	}
	if err := c.setContext(maxSeqLen); err != nil {
		return Config{}, err
	}
	return c, f.checkSlidingWindow(c.MaxPositions)
}

// check bounds the sizes, so that products of two of them cannot overflow.
func (c *Config) check() error {
	const most = 1 << 30
	for _, field := range []struct {
		name  string
		value int
		most  int
	}{
		{"hidden_size", c.HiddenSize, most}, {"intermediate_size", c.IntermediateSize, most}, {"num_hidden_layers", c.Layers, 1 << 16},
		{"num_attention_heads", c.Heads, 1 << 16}, {"num_key_value_heads", c.KVHeads, 1 << 16}, {"head_dim", c.HeadDim, 1 << 14},
		{"vocab_size", c.Vocab, most}, {"max_position_embeddings", c.MaxPositions, most},
	} {
		if field.value < 1 || field.value > field.most {
			return fmt.Errorf("%s is missing or not in [1, %d]: %d", field.name, field.most, field.value)
		}
	}
	switch {
	case c.Heads%c.KVHeads != 0:
		return fmt.Errorf("num_attention_heads %d is no multiple of num_key_value_heads %d", c.Heads, c.KVHeads)
	case c.HeadDim%2 != 0:
		return fmt.Errorf("head_dim %d is odd", c.HeadDim)
	case !(c.RMSNormEps > 0 && c.RMSNormEps < 1):
		return fmt.Errorf("rms_norm_eps %v is not in (0, 1)", c.RMSNormEps)
	}
	return c.Rope.check(c.RopeTheta)
}

// setContext applies Options.MaxSeqLen.
func (c *Config) setContext(maxSeqLen int) error {
	longest := max(c.MaxPositions, c.Rope.longest(c.MaxPositions))
	switch {
	case maxSeqLen < 0:
		return fmt.Errorf("maximum sequence length %d is negative", maxSeqLen)
	case maxSeqLen > longest:
		return fmt.Errorf("maximum sequence length %d is longer than the model's %d", maxSeqLen, longest)
	case maxSeqLen > 0:
		c.MaxPositions = maxSeqLen
	}
	return nil
}

// checkSlidingWindow refuses what the program does not have: layers that see less than the whole context.
func (f *configFile) checkSlidingWindow(context int) error {
	if f.ModelType == "llama" {
		return nil // transformers has no such layers there
	}
	sliding := f.UseSlidingWindow && f.HiddenLayers > valueOr(f.MaxWindowLayers, 28)
	if f.LayerTypes != nil {
		sliding = slices.Contains(f.LayerTypes, "sliding_attention")
	}
	for _, kind := range f.LayerTypes {
		if kind != "full_attention" && kind != "sliding_attention" {
			return fmt.Errorf("layer_types: %q is not supported; supported: full_attention", kind)
		}
	}
	if window := valueOr(f.SlidingWindow, 4096); sliding && window < context {
		return fmt.Errorf("sliding window attention (sliding_window %d) is not supported for a context of %d tokens; a maximum sequence length of %d or less makes it full attention",
			window, context, window)
	}
	return nil
}

func parseDType(names ...string) (tensor.DType, error) {
	for _, name := range names {
		switch strings.TrimPrefix(name, "torch.") {
		case "":
		case "bfloat16":
			return tensor.BF16, nil
		case "float16", "half":
			return tensor.F16, nil
		case "float32", "float":
			return tensor.F32, nil
		default:
			return tensor.Invalid, fmt.Errorf("dtype %q is not supported; supported: bfloat16, float16, float32", name)
		}
	}
	return tensor.Invalid, nil
}

func valueOr[T any](value *T, otherwise T) T {
	if value != nil {
		return *value
	}
	return otherwise
}
