package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
)

const (
	configFile  = "config.json"
	weightsFile = "model.safetensors"
	indexFile   = "model.safetensors.index.json"
	maxIndex    = 64 << 20 // bytes of an index; the largest models' have 20 MB
)

// companions are the small files that a checkpoint of safetensors is read with, where they exist.
var companions = []string{
	configFile, "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "vocab.json",
	"merges.txt", "added_tokens.json", "special_tokens_map.json",
}

// A choice is what of a repository's files makes a checkpoint: one GGUF file, or the companions with the weights.
// With an index, weights is empty: the index names the shards.
type choice struct {
	gguf       string
	companions []string
	index      string
	weights    []string
}

// choose picks a checkpoint from the files of a repository or folder; file is a GGUF file or quantisation, or empty.
func choose(files []string, file string) (choice, error) {
	var ggufs, tensors, pickles []string
	for _, f := range files {
		switch ext := strings.ToLower(path.Ext(f)); {
		case ext == ".gguf" && !strings.Contains(strings.ToLower(path.Base(f)), "mmproj"):
			ggufs = append(ggufs, f)
		case ext == ".safetensors" && !strings.Contains(f, "/") && !strings.HasPrefix(f, "adapter_"):
			tensors = append(tensors, f)
		case ext == ".bin" || ext == ".pt" || ext == ".pth" || ext == ".ckpt":
			pickles = append(pickles, f)
		}
	}
	if file != "" {
		gguf, err := chooseGGUF(ggufs, file)
		return choice{gguf: gguf}, err
	}
	has := func(name string) bool { return slices.Contains(files, name) }
	c := choice{companions: slices.DeleteFunc(slices.Clone(companions), func(f string) bool { return !has(f) })}
	switch {
	case len(tensors) > 0 && !has(configFile):
		return choice{}, fmt.Errorf("safetensors but no %s: %w", configFile, ErrNotFound)
	case has(weightsFile):
		c.weights = []string{weightsFile}
	case has(indexFile):
		c.index = indexFile
	case len(tensors) == 1 && !strings.Contains(tensors[0], "-of-"):
		c.weights = tensors
	case len(tensors) > 0:
		return choice{}, fmt.Errorf("%s but neither %s nor %s: %w", list(tensors), weightsFile, indexFile, ErrNotFound)
	case len(ggufs) > 0:
		gguf, err := chooseGGUF(ggufs, "")
		return choice{gguf: gguf}, err
	case len(pickles) > 0:
		return choice{}, fmt.Errorf("only pickled weights (%s), which can run any code when they are read: want .safetensors or .gguf", list(pickles))
	case has(configFile):
		return choice{}, fmt.Errorf("%s but no weights (.safetensors or .gguf): %w", configFile, ErrNotFound)
	default:
		return choice{}, fmt.Errorf("neither %s with .safetensors nor a .gguf file: %w", configFile, ErrNotFound)
	}
	return c, nil
}

var splitGGUF = regexp.MustCompile(`(?i)-\d{5}-of-\d{5}\.gguf$`)

// chooseGGUF finds the one file that wanted names: its path, its base name, or a quantisation that stands in it between
// '-', '.', '/' and its ends, so that Q4_K is not Q4_K_M. Of several it takes none: the user knows which, we do not.
func chooseGGUF(ggufs []string, wanted string) (string, error) {
	found := ggufs
	if wanted != "" {
		quantisation := regexp.MustCompile(`(?i)(^|[-./])` + regexp.QuoteMeta(wanted) + `([-./]|$)`)
		exact := func(f string) bool { return f == wanted || path.Base(f) == wanted }
		if found = keep(ggufs, exact); len(found) == 0 {
			found = keep(ggufs, quantisation.MatchString)
		}
	}
	switch {
	case len(ggufs) == 0:
		return "", fmt.Errorf("no .gguf file, where %q was asked for: %w", wanted, ErrNotFound)
	case len(found) == 0:
		return "", fmt.Errorf("no .gguf file for %q, but %s: %w", wanted, list(ggufs), ErrNotFound)
	case splitGGUF.MatchString(found[0]):
		return "", fmt.Errorf("%s is split over several files, which is not supported: choose another, or join them with llama-gguf-split --merge", found[0])
	case len(found) > 1:
		return "", fmt.Errorf("%d .gguf files: choose one with its quantisation (org/name:Q4_K_M) or its name: %s", len(found), list(found))
	}
	return found[0], nil
}

func keep(all []string, good func(string) bool) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return !good(s) })
}

// list writes names for an error: all of a few, the first of many.
func list(names []string) string {
	const most = 24
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// shardsOf returns the files that a safetensors index spreads its tensors over, sorted.
func shardsOf(index string) ([]string, error) {
	f, err := os.Open(index)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxIndex+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxIndex {
		return nil, fmt.Errorf("%s: larger than %d bytes", index, maxIndex)
	}
	shards, err := parseIndex(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", index, err)
	}
	return shards, nil
}

func parseIndex(data []byte) ([]string, error) {
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, fmt.Errorf("not a safetensors index: %w", err)
	}
	seen := map[string]bool{}
	for tensor, shard := range index.WeightMap {
		if !safePath(shard) || path.Ext(shard) != ".safetensors" {
			return nil, fmt.Errorf("tensor %q is said to be in %q: want a .safetensors file beside the index", tensor, shard)
		}
		seen[shard] = true
	}
	if len(seen) == 0 {
		return nil, errors.New("not a safetensors index: no weight_map")
	}
	return slices.Sorted(maps.Keys(seen)), nil
}

// filesIn lists the files with any bytes in them below dir, down to depth folders, links followed, as slash-separated paths.
func filesIn(dir string, depth int) ([]string, error) {
	var files []string
	root := os.DirFS(dir)
	err := fs.WalkDir(root, ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && p != "." && strings.Count(p, "/")+1 >= depth:
			return fs.SkipDir
		case d.IsDir():
			return nil
		}
		if info, err := fs.Stat(root, p); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
			files = append(files, p)
		}
		return nil
	})
	return files, err
}
