package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func asJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// lay writes files with their paths as content.
func lay(t *testing.T, dir string, paths ...string) {
	t.Helper()
	for _, p := range paths {
		name := filepath.Join(dir, p)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(p), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLocalPaths(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "model/config.json", "gguf/m-Q8_0.gguf", "two/m-Q8_0.gguf", "two/m-Q4_0.gguf", "none/README.md", "model/model.safetensors",
		"cloned/config.json", "cloned/m-Q8_0.gguf", "dummy/config.json")
	m := newHome(t, nowhere(t), nowhere(t))
	for _, c := range []struct{ name, file, want, errHas string }{
		{"model", "", "model", ""},
		{"gguf", "", "gguf/m-Q8_0.gguf", ""},
		{"gguf/m-Q8_0.gguf", "", "gguf/m-Q8_0.gguf", ""},
		{"cloned", "", "cloned/m-Q8_0.gguf", ""},
		{"dummy", "", "dummy", ""},
		{"two", "Q4_0", "two/m-Q4_0.gguf", ""},
		{"two", "", "", "m-Q4_0.gguf, m-Q8_0.gguf"},
		{"none", "", "", "neither config.json"},
		{"nothing", "", "", "nothing is at"},
		{"model/model.safetensors", "", "", "name the folder"},
	} {
		o := m.options()
		o.File = c.file
		got, err := Resolve(context.Background(), filepath.Join(dir, c.name), o)
		switch {
		case c.errHas == "" && (err != nil || got != filepath.Join(dir, c.want)):
			t.Errorf("%s %s: %q, %v, want %s", c.name, c.file, got, err, c.want)
		case c.errHas != "" && (err == nil || !strings.Contains(err.Error(), c.errHas) || !strings.Contains(err.Error(), filepath.FromSlash(c.name))):
			t.Errorf("%s %s: error %v, want one with %q", c.name, c.file, err, c.errHas)
		}
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]request{
		"gpt2":                              {repo: "gpt2"},
		"Qwen/Qwen2.5-0.5B":                 {repo: "Qwen/Qwen2.5-0.5B"},
		"Qwen/Qwen2.5-0.5B-GGUF:Q4_K_M":     {repo: "Qwen/Qwen2.5-0.5B-GGUF", file: "Q4_K_M"},
		"Qwen/Qwen2.5-0.5B-GGUF:sub/m.gguf": {}, // a file in a folder is what Options.File is for
		"./model":                           {},
		"../model":                          {},
		"/model":                            {},
		"~/model":                           {},
		"a/b/c":                             {},
		"model.gguf":                        {},
		`models\qwen`:                       {},
		"org/":                              {},
		"":                                  {},
		"-org/model":                        {},
		"org/model--x":                      {},
		"org/..":                            {},
		"org/model.git":                     {},
		"org/model:":                        {},
		"org/mo del":                        {},
		"org/modèle":                        {},
		"org/" + strings.Repeat("m", 97):    {},
	} {
		got, err := parse(name, Options{})
		if pathLike(name) {
			err = os.ErrNotExist
		}
		if (err == nil) != (want.repo != "") || err == nil && (got.repo != want.repo || got.file != want.file) {
			t.Errorf("%q: %+v, %v", name, got, err)
		}
	}
	for _, o := range []Options{
		{Source: "github"}, {Revision: "../../x"}, {Revision: "a b"}, {Revision: "-x"}, {ModelScopeName: "a/b/c"}, {File: "Q8_0"},
	} {
		if _, err := parse("org/model:Q4_K_M", o); err == nil {
			t.Errorf("accepted %+v", o)
		}
	}
	if _, err := parse("gpt2", Options{Source: modelScope}); err == nil {
		t.Error("ModelScope needs an owner")
	}
}

func TestChoose(t *testing.T) {
	const sharded = "m-00001-of-00002.gguf"
	for _, c := range []struct {
		files, file  string
		gguf, errHas string
		weights      string
	}{
		{files: "config.json model.safetensors x.gguf", weights: "model.safetensors"},
		{files: "config.json model.safetensors x.gguf", file: "x.gguf", gguf: "x.gguf"},
		{files: "config.json qwen.safetensors adapter_model.safetensors", weights: "qwen.safetensors"},
		{files: "config.json model-00001-of-00002.safetensors", errHas: "model.safetensors.index.json"},
		{files: "config.json a.safetensors b.safetensors", errHas: "a.safetensors, b.safetensors"},
		{files: "model.safetensors", errHas: "no config.json"},
		{files: "config.json", errHas: "no weights"},
		{files: "config.json model.ckpt", errHas: "pickled"},
		{files: "one.gguf config.json", gguf: "one.gguf"},
		{files: "one.gguf mmproj-one.gguf", gguf: "one.gguf"},
		{files: "m-Q4_K_M.gguf m-Q4_K_S.gguf m-Q4_0.gguf m-Q4_0_4_4.gguf", file: "q4_0", gguf: "m-Q4_0.gguf"},
		{files: "m.Q4_K_M.gguf m.Q4_K_S.gguf", file: "Q4_K_M", gguf: "m.Q4_K_M.gguf"},
		{files: "m.Q4_K_M.gguf m.Q4_K_S.gguf", file: "Q4_K", errHas: "m.Q4_K_M.gguf, m.Q4_K_S.gguf"},
		{files: "m-Q4_K_XL.gguf m-UD-Q4_K_XL.gguf", file: "Q4_K_XL", errHas: "2 .gguf files"},
		{files: "m-Q4_K_XL.gguf m-UD-Q4_K_XL.gguf", file: "UD-Q4_K_XL", gguf: "m-UD-Q4_K_XL.gguf"},
		{files: "Q8_0/m.gguf BF16/m.gguf", file: "BF16", gguf: "BF16/m.gguf"},
		{files: sharded + " m-00002-of-00002.gguf", errHas: "split over several files"},
		{files: "config.json model.safetensors", file: "Q8_0", errHas: "no .gguf file"},
	} {
		got, err := choose(strings.Fields(c.files), c.file)
		switch {
		case c.errHas != "":
			if err == nil || !strings.Contains(err.Error(), c.errHas) {
				t.Errorf("%s %s: error %v, want one with %q", c.files, c.file, err, c.errHas)
			}
		case err != nil || got.gguf != c.gguf || strings.Join(got.weights, " ") != c.weights:
			t.Errorf("%s %s: %+v, %v", c.files, c.file, got, err)
		}
	}
}

// Snapshots as Python's tools leave them, whole and not.
func TestSnapshotsInTheCache(t *testing.T) {
	const index = `{"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}`
	for _, c := range []struct {
		name, files string
		missing     string // "": complete
	}{
		{"whole", "config.json model.safetensors", ""},
		{"no weights yet", "config.json tokenizer.json", "no weights"},
		{"no configuration", "model.safetensors", "no config.json"},
		{"all shards", "config.json model.safetensors.index.json model-00001-of-00002.safetensors model-00002-of-00002.safetensors", ""},
		{"one shard", "config.json model.safetensors.index.json model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors is missing"},
		{"a GGUF file", "m-Q8_0.gguf", ""},
		{"nothing", "README.md", "neither"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newHome(t, nowhere(t), nowhere(t))
			m.vars["HF_HUB_OFFLINE"] = "1"
			repo := filepath.Join(m.dir, "hub/models--org--model")
			snapshot := filepath.Join(repo, "snapshots", commitA)
			lay(t, snapshot, strings.Fields(c.files)...)
			if strings.Contains(c.files, indexFile) {
				os.WriteFile(filepath.Join(snapshot, indexFile), []byte(index), 0o644)
			}
			if path, err := m.resolve("org/model"); err == nil {
				t.Errorf("without refs/main: %s", path)
			}
			lay(t, repo, "refs/main")
			os.WriteFile(filepath.Join(repo, "refs/main"), []byte(commitA), 0o644)
			path, err := m.resolve("org/model")
			if c.missing == "" && (err != nil || !strings.HasPrefix(path, snapshot)) || c.missing != "" && (err == nil || !strings.Contains(err.Error(), c.missing)) {
				t.Errorf("%q, %v, want an error with %q", path, err, c.missing)
			}
			o := m.options()
			o.Revision = commitA
			if _, err := Resolve(context.Background(), "org/model", o); (err == nil) != (c.missing == "") {
				t.Errorf("by commit: %v", err)
			}
		})
	}
	t.Run("broken link", func(t *testing.T) {
		m := newHome(t, nowhere(t), nowhere(t))
		snapshot := filepath.Join(m.dir, "hub/models--org--model/snapshots", commitA)
		lay(t, snapshot, "config.json")
		if err := os.Symlink("../../blobs/gone", filepath.Join(snapshot, weightsFile)); err != nil {
			t.Skip(err)
		}
		if path, err := complete(snapshot, ""); err == nil {
			t.Errorf("%s has no weights", path)
		}
	})
}

func TestEnvironment(t *testing.T) {
	home := t.TempDir()
	lay(t, home, "token-file")
	for _, c := range []struct {
		vars         map[string]string
		cache, token string
	}{
		{map[string]string{}, home + "/.cache/huggingface/hub", ""},
		{map[string]string{"XDG_CACHE_HOME": "/xdg"}, "/xdg/huggingface/hub", ""},
		{map[string]string{"HF_HOME": "~/hf", "XDG_CACHE_HOME": "/xdg"}, home + "/hf/hub", ""},
		{map[string]string{"HF_HOME": "/hf", "HF_HUB_CACHE": "$HOME/cache", "HF_TOKEN": " hf_a\n"}, home + "/cache", "hf_a"},
		{map[string]string{"HF_TOKEN_PATH": "~/token-file"}, home + "/.cache/huggingface/hub", "token-file"},
	} {
		c.vars["HOME"] = home
		env, err := readEnvironment(func(name string) string { return c.vars[name] })
		if err != nil || env.cache != filepath.FromSlash(c.cache) || env.token != c.token {
			t.Errorf("%v: cache %s, token %q, %v", c.vars, env.cache, env.token, err)
		}
		if env.endpoint.String() != "https://huggingface.co" {
			t.Errorf("endpoint %s", env.endpoint)
		}
	}
	for name, bad := range map[string]string{"HF_ENDPOINT": "huggingface.co", "MODELSCOPE_ENDPOINT": "ftp://x", "HF_TOKEN": "a b"} {
		_, err := readEnvironment(func(n string) string {
			if n == name {
				return bad
			}
			return ""
		})
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s=%s: %v", name, bad, err)
		}
	}
}

func TestProgressLines(t *testing.T) {
	var out bytes.Buffer
	p := ProgressBar(&out)
	for done := int64(0); done <= 2<<20; done += 1 << 18 {
		p("model.safetensors", done, 2<<20)
	}
	p("other", 5, -1)
	p("other", 6, -1)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 10 || lines[0] != "downloading model.safetensors: 0 % (0 B of 2.0 MiB)" || lines[8] != "downloading model.safetensors: 100 % (2.0 MiB of 2.0 MiB)" || lines[9] != "downloading other" {
		t.Errorf("%d lines:\n%s", len(lines), out.String())
	}
}

func TestProgressBarOfATerminal(t *testing.T) {
	var out bytes.Buffer
	p := bars(&out)
	for _, done := range []int64{0, 50, 10, 100} {
		p("tokenizer.json", done, 100)
	}
	if got := out.String(); !strings.Contains(got, "tokenizer.json") || !strings.Contains(got, "100%") {
		t.Errorf("drew %q", got)
	}
}
