// Package goldens gives tests the small models of model/testdata/goldens with the answers that Hugging Face transformers
// computed for them: logits in float64 arithmetic, rounded to float32, and greedy continuations. Whoever runs programs
// (devices, the engine, the server) compares itself with them.
package goldens

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"minisgl/tensor/safetensors"
)

// A Model is a checkpoint, opened with model.Open(Path), and what is known of it.
type Model struct {
	Name    string // "tiny-tied"
	Path    string // its folder
	Prompts []Prompt
}

// A Prompt is token ids and what follows them.
type Prompt struct {
	IDs    []int32
	Greedy []int32 // the ids that follow when always the likeliest is taken
	// MinMargin is the least distance between the two largest logits on the way through Greedy: an implementation whose
	// logits are off by less than half of it chooses the same ids.
	MinMargin  float64
	LogitsRows string // "all": logits of every position of IDs; "last": of the last one only
	Logits     [][]float32
}

// FirstRow is the position in IDs that Logits[0] belongs to.
func (p *Prompt) FirstRow() int { return len(p.IDs) - len(p.Logits) }

// All returns every golden model.
func All(t testing.TB) []Model {
	t.Helper()
	folder := Folder(t)
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var models []Model
	for _, e := range entries {
		models = append(models, load(t, filepath.Join(folder, e.Name())))
	}
	if len(models) == 0 {
		t.Fatalf("%s is empty", folder)
	}
	return models
}

// Get returns one golden model by its name.
func Get(t testing.TB, name string) Model {
	t.Helper()
	return load(t, filepath.Join(Folder(t), name))
}

// Folder returns the folder of the golden models, from a test of any package of the repository.
func Folder(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		folder := filepath.Join(dir, "model", "testdata", "goldens")
		if _, err := os.Stat(folder); err == nil {
			return folder
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no model/testdata/goldens in any folder above")
		}
		dir = parent
	}
}

func load(t testing.TB, path string) Model {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path, "goldens.json"))
	if err != nil {
		t.Fatal(err)
	}
	var content struct {
		Prompts []struct {
			IDs        []int32 `json:"ids"`
			Logits     string  `json:"logits"`
			LogitsRows string  `json:"logits_rows"`
			Greedy     []int32 `json:"greedy"`
			MinMargin  float64 `json:"min_margin"`
		} `json:"prompts"`
	}
	if err := json.Unmarshal(text, &content); err != nil {
		t.Fatal(err)
	}
	set, err := safetensors.Open(filepath.Join(path, "goldens.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	m := Model{Name: filepath.Base(path), Path: path}
	for _, p := range content.Prompts {
		logits := set.Tensors[p.Logits]
		rows := map[string]int{"all": len(p.IDs), "last": 1}[p.LogitsRows]
		if logits == nil || rows == 0 || len(logits.Shape) != 2 || logits.Shape[0] != rows {
			t.Fatalf("%s: tensor %q does not have the %d rows of its prompt", path, p.Logits, rows)
		}
		m.Prompts = append(m.Prompts, Prompt{
			IDs: p.IDs, Greedy: p.Greedy, MinMargin: p.MinMargin, LogitsRows: p.LogitsRows,
			Logits: slices.Collect(slices.Chunk(logits.Float32(), logits.Cols())),
		})
	}
	return m
}
