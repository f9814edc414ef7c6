// Package safetensors reads and writes the format in which Hugging Face stores weights
// (https://github.com/huggingface/safetensors): 8 bytes of header length, a JSON header that gives each tensor's type, shape
// and place, and the tensors' bytes. Files come from strangers, so everything in a header is checked before it is used.
// Package model reads checkpoints with it; tests and tools write with it.
package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"minisgl/internal/mapped"
	"minisgl/tensor"
)

const (
	maxHeader = 100 << 20 // as the reference implementation
	maxDims   = 8

	// SingleFile and IndexFile are the names under which transformers saves a model.
	SingleFile = "model.safetensors"
	IndexFile  = "model.safetensors.index.json"
)

// A Set is the tensors of one file or of all shards of a checkpoint, by name. Their data lies in the mapped files, at any
// alignment, until Close.
type Set struct {
	Tensors  map[string]*tensor.Tensor
	Metadata map[string]string // "__metadata__" of a single file

	files []*mapped.File
}

// Close unmaps the files and takes the tensors' data away.
func (s *Set) Close() error {
	for _, t := range s.Tensors {
		t.Data = nil
	}
	var errs []error
	for _, f := range s.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// Open maps one file.
func Open(path string) (*Set, error) {
	return OpenFS(mapped.Dir(filepath.Dir(path)), filepath.Base(path))
}

// OpenFS opens one file of a file system.
func OpenFS(fsys fs.FS, name string) (*Set, error) {
	file, err := mapped.Open(fsys, name)
	if err != nil {
		return nil, err
	}
	set, err := Parse(file.Data)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", file.Name, err), file.Close())
	}
	set.files = []*mapped.File{file}
	return set, nil
}

// OpenFolder opens a checkpoint's weights in the root of fsys: SingleFile, or the shards that IndexFile lists. The error
// wraps fs.ErrNotExist if there is neither.
func OpenFolder(fsys fs.FS) (*Set, error) {
	if _, err := fs.Stat(fsys, SingleFile); err == nil {
		return OpenFS(fsys, SingleFile)
	}
	index, err := fs.ReadFile(fsys, IndexFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: neither %s nor %s: %w", mapped.Shown(fsys, "."), SingleFile, IndexFile, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	set, err := openShards(fsys, index)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", mapped.Shown(fsys, IndexFile), err)
	}
	return set, nil
}

// openShards opens the files that an index names, and takes from each the tensors that the index places there.
func openShards(fsys fs.FS, index []byte) (_ *Set, err error) {
	var content struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(index, &content); err != nil {
		return nil, err
	}
	if len(content.WeightMap) == 0 {
		return nil, errors.New("weight_map is missing or empty")
	}
	all := &Set{Tensors: make(map[string]*tensor.Tensor, len(content.WeightMap))}
	defer func() {
		if err != nil {
			err = errors.Join(err, all.Close())
		}
	}()
	shards := map[string]*Set{}
	for _, name := range slices.Sorted(maps.Keys(content.WeightMap)) {
		file := content.WeightMap[name]
		if file == "." || strings.ContainsAny(file, `/\`) || !fs.ValidPath(file) {
			return nil, fmt.Errorf("tensor %q: %q is not the name of a file in the same folder", name, file)
		}
		shard := shards[file]
		if shard == nil {
			shard, err = OpenFS(fsys, file)
			if err != nil {
				return nil, fmt.Errorf("tensor %q: %w", name, err)
			}
			shards[file] = shard
			all.files = append(all.files, shard.files...)
		}
		t := shard.Tensors[name]
		if t == nil {
			return nil, fmt.Errorf("tensor %q is not in %q, where the index places it", name, file)
		}
		all.Tensors[name] = t
	}
	return all, nil
}

// Parse reads a whole file's content; the tensors' data aliases it.
func Parse(data []byte) (*Set, error) {
	if len(data) < 8 {
		return nil, fmt.Errorf("%d bytes are too few for a safetensors file", len(data))
	}
	length, rest := binary.LittleEndian.Uint64(data), data[8:]
	if length > maxHeader {
		return nil, fmt.Errorf("header of %d bytes is longer than the %d allowed", length, maxHeader)
	}
	if length > uint64(len(rest)) {
		return nil, fmt.Errorf("header of %d bytes in a file of %d", length, len(data))
	}
	header, err := parseHeader(rest[:length])
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	body := rest[length:]
	if err := checkPlaces(header.entries, len(body)); err != nil {
		return nil, err
	}
	set := &Set{Tensors: make(map[string]*tensor.Tensor, len(header.entries)), Metadata: header.metadata}
	for _, e := range header.entries {
		t, err := tensor.New(e.name, e.dtype, e.shape, body[e.begin:e.end:e.end])
		if err != nil {
			return nil, err
		}
		set.Tensors[e.name] = t
	}
	return set, nil
}

type entry struct {
	name       string
	dtype      tensor.DType
	shape      []int
	begin, end int
}

type header struct {
	entries  []entry
	metadata map[string]string
}

var dtypes = map[string]tensor.DType{}

func init() {
	for _, d := range []tensor.DType{tensor.F32, tensor.F16, tensor.BF16, tensor.F64, tensor.I8, tensor.U8, tensor.I16, tensor.I32,
		tensor.I64, tensor.Bool} {
		dtypes[d.String()] = d
	}
}

// parseHeader reads the JSON object token by token, because decoding it into a map would hide names that occur twice.
func parseHeader(text []byte) (*header, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	if token, err := decoder.Token(); err != nil {
		return nil, err
	} else if token != json.Delim('{') {
		return nil, fmt.Errorf("expected an object, found %v", token)
	}
	h, seen := &header{}, map[string]bool{}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		name := token.(string) // More and Token have checked that this is a key
		if seen[name] {
			return nil, fmt.Errorf("%q occurs twice", name)
		}
		seen[name] = true
		if name == "__metadata__" {
			if err := decoder.Decode(&h.metadata); err != nil {
				return nil, fmt.Errorf("%q: %w", name, err)
			}
			continue
		}
		e, err := parseEntry(decoder, name)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		h.entries = append(h.entries, e)
	}
	if _, err := decoder.Token(); err != nil {
		return nil, err
	}
	if rest := bytes.TrimSpace(text[decoder.InputOffset():]); len(rest) > 0 {
		return nil, fmt.Errorf("%d bytes after the object", len(rest))
	}
	return h, nil
}

func parseEntry(decoder *json.Decoder, name string) (entry, error) {
	var fields struct {
		DType       string `json:"dtype"`
		Shape       *[]int `json:"shape"`
		DataOffsets []int  `json:"data_offsets"`
	}
	if err := decoder.Decode(&fields); err != nil {
		return entry{}, err
	}
	dtype, ok := dtypes[fields.DType]
	switch {
	case !ok:
		known := slices.Sorted(maps.Keys(dtypes))
		return entry{}, fmt.Errorf("element type %q is not supported; supported: %s", fields.DType, strings.Join(known, ", "))
	case fields.Shape == nil:
		return entry{}, errors.New("no shape")
	case len(*fields.Shape) > maxDims:
		return entry{}, fmt.Errorf("%d dimensions, at most %d are supported", len(*fields.Shape), maxDims)
	case len(fields.DataOffsets) != 2 || fields.DataOffsets[0] < 0 || fields.DataOffsets[0] > fields.DataOffsets[1]:
		return entry{}, fmt.Errorf("data_offsets %v are not [begin, end]", fields.DataOffsets)
	}
	return entry{name, dtype, *fields.Shape, fields.DataOffsets[0], fields.DataOffsets[1]}, nil
}

// checkPlaces demands what the format does: the tensors follow each other without hole or overlap and fill the body.
func checkPlaces(entries []entry, size int) error {
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end))
	})
	next := 0
	for _, e := range entries {
		switch {
		case e.end > size:
			return fmt.Errorf("tensor %q: data_offsets [%d, %d] in %d bytes of data: the file is cut short or lies", e.name, e.begin, e.end, size)
		case e.begin < next:
			return fmt.Errorf("tensor %q: data_offsets [%d, %d] overlap the tensor before, which ends at %d", e.name, e.begin, e.end, next)
		case e.begin > next:
			return fmt.Errorf("tensor %q: data_offsets [%d, %d] leave a hole behind %d", e.name, e.begin, e.end, next)
		}
		next = e.end
	}
	if next != size {
		return fmt.Errorf("%d bytes behind the last tensor", size-next)
	}
	return nil
}
