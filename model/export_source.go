package model

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"minisgl/internal/mapped"
	"minisgl/model/tokenizer"
	"minisgl/tensor"
	"minisgl/tensor/gguf"
)

// A ggufSource is a GGUF file: names, metadata and the order of rows are as they should be.
type ggufSource struct{ file *gguf.File }

func (s ggufSource) content(*Checkpoint) (ggufContent, error) {
	content := ggufContent{metadata: maps.Clone(s.file.Metadata)}
	for name, t := range s.file.Tensors {
		content.tensors = append(content.tensors, exported{name: name, stored: t})
	}
	slices.SortFunc(content.tensors, byPlace)
	return content, nil
}

// A folderSource is a folder as transformers saves it.
type folderSource struct {
	fsys    fs.FS
	weights *weights
}

func (s folderSource) content(c *Checkpoint) (content ggufContent, err error) {
	if content.metadata, err = c.Config.ggufMetadata(); err != nil {
		return content, fmt.Errorf("%s: %w", mapped.Shown(s.fsys, configName), err)
	}
	if content.notes, err = s.companions(c, content.metadata); err != nil {
		return content, err
	}
	for name := range s.weights.used {
		e := exported{name: ggufName(name), stored: s.weights.tensors[name]}
		if c.Config.Architecture == "llama" && (strings.Contains(name, ".q_proj.") || strings.Contains(name, ".k_proj.")) {
			e.order = permuted(c.Config.HeadDim)
		}
		content.tensors = append(content.tensors, e)
	}
	if c.Config.Rope.Type == "llama3" {
		divisors := c.Config.rotaryDivision()
		t := &tensor.Tensor{DType: tensor.F32, Shape: []int{len(divisors)}, Data: make([]byte, 4*len(divisors))}
		putFloats(t.Data, t.DType, divisors)
		content.tensors = append(content.tensors, exported{name: "rope_freqs.weight", stored: t})
	}
	slices.SortFunc(content.tensors, byPlace)
	return content, nil
}

// permuted is the inverse of unpermute: from a row in the file to the row in transformers' order.
func permuted(headDim int) func(i int) int {
	return func(i int) int {
		head, at := i/headDim*headDim, i%headDim
		return head + at%2*headDim/2 + at/2
	}
}

// ggufMetadata writes down what ggufMetadata.config reads.
func (c *Config) ggufMetadata() (gguf.Metadata, error) {
	m := gguf.Metadata{"general.architecture": c.Architecture, "general.type": "model"}
	for name, value := range map[string]int{
		"block_count": c.Layers, "context_length": c.MaxPositions, "embedding_length": c.HiddenSize, "feed_forward_length": c.IntermediateSize,
		"attention.head_count": c.Heads, "attention.head_count_kv": c.KVHeads, "attention.key_length": c.HeadDim, "attention.value_length": c.HeadDim,
		"rope.dimension_count": c.HeadDim, "vocab_size": c.Vocab,
	} {
		m[c.Architecture+"."+name] = uint32(value)
	}
	float := func(name string, value float64) {
		if value != 0 {
			m[c.Architecture+"."+name] = float32(value)
		}
	}
	float("attention.layer_norm_rms_epsilon", c.RMSNormEps)
	float("rope.freq_base", c.RopeTheta)
	s := &c.Rope
	switch {
	case s.Type == "llama3" && c.Architecture != "llama":
		return nil, fmt.Errorf("GGUF has no rope type %q for architecture %q", s.Type, c.Architecture)
	case s.Type == "yarn" && s.NoTruncate:
		return nil, errors.New(`GGUF has no rope type "yarn" with truncate false`)
	case s.Type == "linear", s.Type == "yarn":
		m[c.Architecture+".rope.scaling.type"] = s.Type
		float("rope.scaling.factor", s.Factor)
	}
	if s.Type == "yarn" {
		m[c.Architecture+".rope.scaling.original_context_length"] = uint32(s.OriginalPositions)
		float("rope.scaling.yarn_beta_fast", s.BetaFast)
		float("rope.scaling.yarn_beta_slow", s.BetaSlow)
		float("rope.scaling.attn_factor", s.AttentionFactor/yarnScale(s.Factor, 1))
	}
	return m, nil
}

// rotaryDivision is what the scaling divides each frequency by.
func (c *Config) rotaryDivision() []float32 {
	divisors := rotaryBase(c.RopeTheta, c.HeadDim)
	for i, scaled := range c.rotary().InvFreq {
		divisors[i] = 1 / divisors[i] / scaled
	}
	return divisors
}

// companions adds to m what readGGUFCompanions reads, and says what will not come out as it went in.
func (s folderSource) companions(c *Checkpoint, m gguf.Metadata) (notes []string, err error) {
	config, err := readTokenizerConfig(s.fsys)
	if err != nil {
		return nil, err
	}
	if c.Tokenizer == nil {
		m["tokenizer.ggml.model"] = "no_vocab"
	} else {
		text, err := fs.ReadFile(s.fsys, tokenizerName)
		if err != nil {
			return nil, err
		}
		var keys map[string]any
		if keys, notes, err = tokenizer.ToGGUF(text, c.Config.Vocab); err != nil {
			return nil, fmt.Errorf("%s: %w", mapped.Shown(s.fsys, tokenizerName), err)
		}
		maps.Copy(m, keys)
		template, _, err := templateSource(s.fsys, config)
		if err != nil {
			return nil, err
		}
		if template != "" {
			m["tokenizer.chat_template"] = template
		}
	}
	c.Defaults.write(m)
	c.nameTokens(m, config)

	back := &Checkpoint{Config: c.Config}
	if err := back.readGGUFCompanions(m); err != nil {
		return nil, fmt.Errorf("as GGUF: %w", err)
	}
	if !slices.Equal(back.StopIDs, c.StopIDs) {
		notes = append(notes, fmt.Sprintf("the checkpoint ends an answer at tokens %v, the file at %v", c.StopIDs, back.StopIDs))
	}
	return notes, nil
}

// nameTokens adds the ids of tokens with a role: those that tokenizer_config.json names, and the ends of an answer.
func (c *Checkpoint) nameTokens(m gguf.Metadata, config tokenizerConfig) {
	known := map[int32]bool{}
	find := func(token string) (id int32, ok bool) {
		if c.Tokenizer == nil {
			return 0, false
		}
		return c.Tokenizer.Token(token)
	}
	name := func(key, token string) {
		if id, ok := find(token); ok && m[key] == nil {
			m[key] = uint32(id)
		}
	}
	name("tokenizer.ggml.bos_token_id", string(config.BOS))
	name("tokenizer.ggml.padding_token_id", string(config.Pad))
	if id, ok := find(string(config.EOS)); ok {
		m[endKeys[0]], known[id] = uint32(id), true
	}
	if m["tokenizer.chat_template"] != nil {
		for _, token := range turnEnds {
			if id, ok := find(token); ok {
				known[id] = true
			}
		}
	}
	unnamed := slices.DeleteFunc(slices.Clone(c.StopIDs), func(id int32) bool { return known[id] })
	for _, key := range endKeys {
		if m[key] == nil && len(unnamed) > 0 {
			m[key], unnamed = uint32(unnamed[0]), unnamed[1:]
		}
	}
}

// write adds the keys that ggufDefaults reads.
func (d *Defaults) write(m gguf.Metadata) {
	for key, value := range map[string]*float64{"temp": d.Temperature, "top_p": d.TopP, "min_p": d.MinP, "penalty_repeat": d.RepetitionPenalty} {
		if value != nil {
			m["general.sampling."+key] = float32(*value)
		}
	}
	if d.TopK != nil && *d.TopK == int(int32(*d.TopK)) {
		m["general.sampling.top_k"] = int32(*d.TopK)
	}
}
