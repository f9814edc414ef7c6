package model

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"minisgl/internal/testtokenizer"
	"minisgl/model/chat"
)

// instruct returns the files of a model in which everything of Qwen2.5-0.5B-Instruct but the weights' sizes is as published.
func instruct(t *testing.T, extra fstest.MapFS) fstest.MapFS {
	t.Helper()
	config, err := json.Marshal(with(qwen25, fields{"hidden_size": 28, "intermediate_size": 32, "num_hidden_layers": 1}))
	if err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{
		"config.json":    {Data: config},
		"tokenizer.json": {Data: testtokenizer.JSON(t)},
		"tokenizer_config.json": {Data: []byte(`{"bos_token": null, "eos_token": "<|im_end|>", "chat_template":
			"{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}"}`)},
		"generation_config.json": {Data: []byte(`{"bos_token_id": 151643, "eos_token_id": [151645, 151643], "do_sample": true,
			"repetition_penalty": 1.1, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "transformers_version": "4.37.0"}`)},
	}
	for name, file := range extra {
		files[name] = file
		if file == nil {
			delete(files, name)
		}
	}
	return files
}

func TestCompanions(t *testing.T) {
	c, err := OpenFS(instruct(t, nil), ".", Options{RandomFill: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if !slices.Equal(c.StopIDs, []int32{151643, 151645}) {
		t.Errorf("stop ids %v", c.StopIDs)
	}
	if got := c.Tokenizer.Encode("Hello, world!", true); !slices.Equal(got, []int32{9707, 11, 1879, 0}) {
		t.Errorf("ids %v", got)
	}
	text, err := c.Chat.Render([]chat.Message{{Role: "user", Content: "hi"}}, chat.Options{})
	if err != nil || text != "user: hi<|im_end|>" {
		t.Errorf("rendered %q, error %v", text, err)
	}
	d := c.Defaults
	if *d.Temperature != 0.7 || *d.TopP != 0.8 || *d.TopK != 20 || *d.RepetitionPenalty != 1.1 || d.MinP != nil {
		t.Errorf("defaults %+v", d)
	}
}

func TestStopIDs(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	for name, c := range map[string]struct {
		extra fstest.MapFS
		want  []int32
	}{
		"config only":               {fstest.MapFS{"tokenizer_config.json": nil, "generation_config.json": nil}, []int32{151645}},
		"one id":                    {fstest.MapFS{"tokenizer_config.json": nil, "generation_config.json": file(`{"eos_token_id": 151643}`)}, []int32{151643, 151645}},
		"null":                      {fstest.MapFS{"tokenizer_config.json": nil, "generation_config.json": file(`{"eos_token_id": null}`)}, []int32{151645}},
		"out of the vocabulary":     {fstest.MapFS{"generation_config.json": file(`{"eos_token_id": [-1, 151936, 151935]}`)}, []int32{151645, 151935}},
		"tokenizer's, as an object": {fstest.MapFS{"generation_config.json": nil, "tokenizer_config.json": file(`{"eos_token": {"content": "<|endoftext|>", "lstrip": false}}`)}, []int32{151643, 151645}},
		"special tokens' map":       {fstest.MapFS{"generation_config.json": nil, "tokenizer_config.json": nil, "special_tokens_map.json": file(`{"eos_token": "<|im_start|>"}`)}, []int32{151644, 151645}},
		"no such token":             {fstest.MapFS{"generation_config.json": nil, "tokenizer_config.json": file(`{"eos_token": "<|nothing|>"}`)}, []int32{151645}},
	} {
		t.Run(name, func(t *testing.T) {
			opened, err := OpenFS(instruct(t, c.extra), ".", Options{RandomFill: true})
			if err != nil {
				t.Fatal(err)
			}
			defer opened.Close()
			if !slices.Equal(opened.StopIDs, c.want) {
				t.Errorf("stop ids %v, want %v", opened.StopIDs, c.want)
			}
		})
	}
}

func TestTemplateSource(t *testing.T) {
	for name, c := range map[string]struct {
		config, own string
		want        string
	}{
		"none":         {`{}`, "", ""},
		"null":         {`{"chat_template": null}`, "", ""},
		"text":         {`{"chat_template": "one"}`, "", "one"},
		"list":         {`{"chat_template": [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "plain"}]}`, "", "plain"},
		"no default":   {`{"chat_template": [{"name": "tool_use", "template": "tools"}]}`, "", ""},
		"its own file": {`{"chat_template": "one"}`, "file", "file"},
	} {
		t.Run(name, func(t *testing.T) {
			files := fstest.MapFS{}
			if c.own != "" {
				files["chat_template.jinja"] = &fstest.MapFile{Data: []byte(c.own)}
			}
			var config tokenizerConfig
			if err := json.Unmarshal([]byte(c.config), &config); err != nil {
				t.Fatal(err)
			}
			if got, _, err := templateSource(files, config); err != nil || got != c.want {
				t.Errorf("template %q, error %v, want %q", got, err, c.want)
			}
		})
	}
	var config tokenizerConfig
	if err := json.Unmarshal([]byte(`{"chat_template": 1}`), &config); err == nil {
		t.Error("a number is a chat template")
	}
}

func TestTokenizerLargerThanModel(t *testing.T) {
	files := instruct(t, nil)
	setConfig(t, files, fields{"vocab_size": 151000})
	_, err := OpenFS(files, ".", Options{RandomFill: true})
	if err == nil || !strings.Contains(err.Error(), "tokenizer.json: the tokenizer has 151665 ids, the model only 151000") {
		t.Errorf("error %v", err)
	}
}

func TestGGUFCompanions(t *testing.T) {
	// A byte-level vocabulary of the 256 bytes' stand-ins is what a tokenizer needs at least.
	var words []string
	for b := range 256 {
		words = append(words, byteWord(b))
	}
	kinds := slices.Repeat([]int32{1}, len(words))
	words, kinds = append(words, "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|eot|>"), append(kinds, 3, 3, 3, 3)
	plain := map[string]any{
		"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "qwen2", "tokenizer.ggml.tokens": words, "tokenizer.ggml.token_type": kinds,
		"tokenizer.ggml.merges": []string{"a b"}, "tokenizer.ggml.eos_token_id": uint32(256), "tokenizer.ggml.bos_token_id": uint32(257),
	}
	words = append(words, "ab")
	plain["tokenizer.ggml.tokens"], plain["tokenizer.ggml.token_type"] = words, append(kinds, 1)
	for name, c := range map[string]struct {
		extra map[string]any
		chat  string
		want  []int32
	}{
		"base":         {nil, "", []int32{256}},
		"chat":         {map[string]any{"tokenizer.chat_template": "{{ bos_token }}{{ eos_token }}"}, "<|im_start|><|endoftext|>", []int32{256, 258}},
		"end of turn":  {map[string]any{"tokenizer.ggml.eot_token_id": uint32(259)}, "", []int32{256, 259}},
		"out of range": {map[string]any{"tokenizer.ggml.eos_token_id": uint32(1 << 31)}, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			m := maps.Clone(plain)
			maps.Copy(m, c.extra)
			checkpoint := &Checkpoint{Config: Config{Vocab: 512}}
			if err := checkpoint.readGGUFCompanions(m); err != nil {
				t.Fatal(err)
			}
			if got := checkpoint.Tokenizer.Encode("ab", true); !slices.Equal(got, []int32{260}) {
				t.Errorf("ids %v", got)
			}
			if !slices.Equal(checkpoint.StopIDs, c.want) {
				t.Errorf("stop ids %v, want %v", checkpoint.StopIDs, c.want)
			}
			if checkpoint.Chat == nil {
				if c.chat != "" {
					t.Error("no chat template")
				}
				return
			}
			if got, err := checkpoint.Chat.Render(nil, chat.Options{}); err != nil || got != c.chat {
				t.Errorf("rendered %q, error %v, want %q", got, err, c.chat)
			}
		})
	}
	if err := (&Checkpoint{}).readGGUFCompanions(nil); err != nil {
		t.Errorf("metadata without a tokenizer: %v", err)
	}
}

// byteWord is the character by which byte-level vocabularies spell a byte (GPT-2's bytes_to_unicode).
func byteWord(b int) string {
	shifted := 0
	for other := range 256 {
		visible := other >= '!' && other <= '~' || other >= 0xa1 && other <= 0xac || other >= 0xae
		switch {
		case other == b && visible:
			return string(rune(b))
		case other == b:
			return string(rune(256 + shifted))
		case !visible:
			shifted++
		}
	}
	return ""
}
