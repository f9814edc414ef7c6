package model

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"

	"minisgl/internal/mapped"
	"minisgl/model/chat"
	"minisgl/model/tokenizer"
	"minisgl/tensor/gguf"
)

const (
	tokenizerName       = "tokenizer.json"
	tokenizerConfigName = "tokenizer_config.json"
)

// endKeys are GGUF's keys of tokens that end an answer.
var endKeys = []string{"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}

// turnEnds are tokens that end a turn of a chat, which GGUF files often do not name: at most one of several.
var turnEnds = []string{"<|im_end|>", "<|endoftext|>", "<|eot_id|>"}

// tokenIDs is a field that holds an id, a list of ids or null.
type tokenIDs []int

func (t *tokenIDs) UnmarshalJSON(text []byte) error {
	var one *int
	if err := json.Unmarshal(text, &one); err == nil {
		*t = nil
		if one != nil {
			*t = tokenIDs{*one}
		}
		return nil
	}
	return json.Unmarshal(text, (*[]int)(t))
}

// specialToken is a field that holds a token's text, an object with the text as content, or null.
type specialToken string

func (t *specialToken) UnmarshalJSON(text []byte) error {
	var object struct {
		Content string `json:"content"`
	}
	if err := json.Unmarshal(text, &object); err == nil {
		*t = specialToken(object.Content)
		return nil
	}
	return json.Unmarshal(text, (*string)(t))
}

// chatTemplates is a field that holds a template, a list of named ones, of which the one called "default" counts, or null.
type chatTemplates string

func (t *chatTemplates) UnmarshalJSON(text []byte) error {
	var named []struct{ Name, Template string }
	if err := json.Unmarshal(text, &named); err != nil {
		return json.Unmarshal(text, (*string)(t))
	}
	for _, n := range named {
		if n.Name == "default" {
			*t = chatTemplates(n.Template)
		}
	}
	return nil
}

type tokenizerConfig struct {
	BOS          specialToken  `json:"bos_token"`
	EOS          specialToken  `json:"eos_token"`
	Pad          specialToken  `json:"pad_token"`
	ChatTemplate chatTemplates `json:"chat_template"`
}

type generationConfig struct {
	EOSTokenID        tokenIDs `json:"eos_token_id"`
	Temperature       *float64 `json:"temperature"`
	TopP              *float64 `json:"top_p"`
	MinP              *float64 `json:"min_p"`
	TopK              *int     `json:"top_k"`
	RepetitionPenalty *float64 `json:"repetition_penalty"`
}

// readCompanions reads what lies beside the weights: tokenizer, chat template and generation defaults, each of which may be missing.
func (c *Checkpoint) readCompanions(fsys fs.FS, configText []byte) error {
	var generation generationConfig
	var own struct {
		EOSTokenID tokenIDs `json:"eos_token_id"`
	}
	if err := json.Unmarshal(configText, &own); err != nil {
		return fmt.Errorf("%s: %w", mapped.Shown(fsys, configName), err)
	}
	if err := readJSON(fsys, "generation_config.json", &generation); err != nil {
		return err
	}
	config, err := readTokenizerConfig(fsys)
	if err != nil {
		return err
	}
	if err := c.readTokenizer(fsys); err != nil {
		return err
	}
	if err := c.readTemplate(fsys, config); err != nil {
		return err
	}
	c.Defaults = Defaults{
		Temperature: generation.Temperature, TopP: generation.TopP, MinP: generation.MinP, TopK: generation.TopK,
		RepetitionPenalty: generation.RepetitionPenalty,
	}
	c.stopAt(own.EOSTokenID...)
	c.stopAt(generation.EOSTokenID...)
	c.stopAtTokens(string(config.EOS))
	return nil
}

// readTokenizerConfig reads tokenizer_config.json and, for what it does not name, special_tokens_map.json.
func readTokenizerConfig(fsys fs.FS) (config tokenizerConfig, err error) {
	var special tokenizerConfig
	if err = readJSON(fsys, "special_tokens_map.json", &special); err == nil {
		err = readJSON(fsys, tokenizerConfigName, &config)
	}
	config.BOS = cmp.Or(config.BOS, special.BOS)
	config.EOS = cmp.Or(config.EOS, special.EOS)
	config.Pad = cmp.Or(config.Pad, special.Pad)
	return config, err
}

// readJSON leaves into as it is if there is no such file.
func readJSON(fsys fs.FS, name string, into any) error {
	text, err := fs.ReadFile(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", mapped.Shown(fsys, name), err)
	}
	return nil
}

func (c *Checkpoint) readTokenizer(fsys fs.FS) error {
	text, err := fs.ReadFile(fsys, tokenizerName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		c.Tokenizer, err = tokenizer.FromJSON(text)
	}
	if err == nil {
		err = c.checkTokenizer()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", mapped.Shown(fsys, tokenizerName), err)
	}
	return nil
}

// checkTokenizer refuses a tokenizer with ids that the model has no embedding for; fewer are common.
func (c *Checkpoint) checkTokenizer() error {
	if n := c.Tokenizer.Vocab(); n > c.Config.Vocab {
		return fmt.Errorf("the tokenizer has %d ids, the model only %d", n, c.Config.Vocab)
	}
	return nil
}

func (c *Checkpoint) readTemplate(fsys fs.FS, config tokenizerConfig) error {
	source, name, err := templateSource(fsys, config)
	if err == nil && source != "" {
		c.Chat, err = chat.New(source, string(config.BOS), string(config.EOS))
	}
	if err != nil {
		return fmt.Errorf("%s: chat template: %w", mapped.Shown(fsys, name), err)
	}
	return nil
}

// templateSource returns the chat template and the file it is in. A file of its own wins, as in transformers.
func templateSource(fsys fs.FS, config tokenizerConfig) (source, name string, err error) {
	const own = "chat_template.jinja"
	text, err := fs.ReadFile(fsys, own)
	if errors.Is(err, fs.ErrNotExist) {
		return string(config.ChatTemplate), tokenizerConfigName, nil
	}
	return string(text), own, err
}

// readGGUFCompanions reads from a GGUF file's metadata what readCompanions reads from files.
func (c *Checkpoint) readGGUFCompanions(m gguf.Metadata) error {
	c.Defaults = ggufDefaults(m)
	for _, key := range endKeys {
		if id, ok := m.Int(key); ok {
			c.stopAt(id)
		}
	}
	words, ok := m["tokenizer.ggml.tokens"].([]string)
	if !ok {
		return nil
	}
	var err error
	if c.Tokenizer, err = tokenizer.FromGGUF(m); err == nil {
		err = c.checkTokenizer()
	}
	if err != nil {
		return fmt.Errorf("tokenizer: %w", err)
	}
	word := func(key string) string {
		if id, ok := m.Int(key); ok && id >= 0 && id < len(words) {
			return words[id]
		}
		return ""
	}
	if source, ok := m.Text("tokenizer.chat_template"); ok && source != "" {
		c.Chat, err = chat.New(source, word("tokenizer.ggml.bos_token_id"), word("tokenizer.ggml.eos_token_id"))
		if err != nil {
			return fmt.Errorf("tokenizer.chat_template: %w", err)
		}
		c.stopAtTokens(turnEnds...)
	}
	return nil
}

// ggufDefaults reads the general.sampling.* keys. They are float32; what is meant are the decimals that generation_config.json had.
func ggufDefaults(m gguf.Metadata) (d Defaults) {
	for key, into := range map[string]**float64{
		"temp": &d.Temperature, "top_p": &d.TopP, "min_p": &d.MinP, "penalty_repeat": &d.RepetitionPenalty,
	} {
		if value, ok := m.Float("general.sampling." + key); ok {
			if decimal, err := strconv.ParseFloat(strconv.FormatFloat(value, 'g', -1, 32), 64); err == nil {
				*into = &decimal
			}
		}
	}
	if k, ok := m.Int("general.sampling.top_k"); ok {
		d.TopK = &k
	}
	return d
}

// stopAt adds stop ids. Those that the model cannot produce are left out.
func (c *Checkpoint) stopAt(ids ...int) {
	for _, id := range ids {
		if id < 0 || id >= c.Config.Vocab {
			continue
		}
		if at, found := slices.BinarySearch(c.StopIDs, int32(id)); !found {
			c.StopIDs = slices.Insert(c.StopIDs, at, int32(id))
		}
	}
}

func (c *Checkpoint) stopAtTokens(tokens ...string) {
	for _, token := range tokens {
		if c.Tokenizer == nil || token == "" {
			continue
		}
		if id, ok := c.Tokenizer.Token(token); ok {
			c.stopAt(int(id))
		}
	}
}
