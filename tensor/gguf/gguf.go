// Package gguf reads and writes llama.cpp's file format (versions 2 and 3, little endian; https://github.com/ggml-org/ggml/blob/master/docs/gguf.md):
// metadata as typed Go values, and tensors whose bytes stay in the mapped file. Files come from strangers, so every count,
// length and offset is checked against what is there before it is used. Package model reads and writes checkpoints with it, and
// model/tokenizer reads and makes the vocabulary in the metadata.
package gguf

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"minisgl/internal/mapped"
	"minisgl/tensor"
)

const (
	magic            = "GGUF"
	defaultAlignment = 32
	maxDims          = 4
	maxName          = 64 << 10
)

// A File is an opened GGUF file.
type File struct {
	Version  int
	Metadata Metadata
	// Tensors by name. A shape is row-major, so it is the reverse of the file's dimensions, the first of which is contiguous.
	Tensors map[string]*tensor.Tensor

	file *mapped.File
}

// Open maps a file.
func Open(path string) (*File, error) {
	return OpenFS(mapped.Dir(filepath.Dir(path)), filepath.Base(path))
}

// OpenFS opens a file of a file system.
func OpenFS(fsys fs.FS, name string) (*File, error) {
	file, err := mapped.Open(fsys, name)
	if err != nil {
		return nil, err
	}
	f, err := Parse(file.Data)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", file.Name, err), file.Close())
	}
	f.file = file
	return f, nil
}

// Close unmaps the file and takes the tensors' data away; the metadata stays.
func (f *File) Close() error {
	for _, t := range f.Tensors {
		t.Data = nil
	}
	if f.file == nil {
		return nil
	}
	return f.file.Close()
}

// Parse reads a whole file's content; the tensors' data aliases it.
func Parse(data []byte) (*File, error) {
	r := &reader{data: data}
	if start := r.bytes(len(magic)); r.err != nil || string(start) != magic {
		return nil, errors.New("not a GGUF file: it does not start with \"GGUF\"")
	}
	version := r.uint32()
	switch {
	case r.err != nil:
	case version == 2, version == 3:
	case version&0xffff == 0:
		return nil, errors.New("big-endian GGUF files are not supported")
	default:
		return nil, fmt.Errorf("GGUF version %d is not supported; supported: 2, 3", version)
	}
	tensors, keys := r.uint64(), r.uint64()
	f := &File{Version: int(version), Metadata: Metadata{}, Tensors: map[string]*tensor.Tensor{}}
	const leastKey, leastTensor = 8 + 4 + 1, 8 + 4 + 4 + 8
	if r.err != nil {
		return nil, r.err
	}
	if keys > uint64(r.left())/leastKey || tensors > uint64(r.left())/leastTensor {
		return nil, fmt.Errorf("%d keys and %d tensors cannot be in a file of %d bytes", keys, tensors, len(data))
	}
	for i := uint64(0); i < keys && r.err == nil; i++ {
		r.keyValue(f.Metadata)
	}
	infos := make([]info, 0, tensors)
	seen := map[string]bool{}
	for i := uint64(0); i < tensors && r.err == nil; i++ {
		t := r.info()
		if seen[t.name] && r.err == nil {
			r.fail(fmt.Errorf("tensor %q occurs twice", t.name))
		}
		seen[t.name] = true
		infos = append(infos, t)
	}
	if r.err != nil {
		return nil, r.err
	}
	alignment, err := f.Metadata.alignment()
	if err != nil {
		return nil, err
	}
	body := data[min(align(r.pos, alignment), len(data)):]
	if err := f.place(infos, body, alignment); err != nil {
		return nil, err
	}
	return f, nil
}

// place cuts the tensors out of the file's data section.
func (f *File) place(infos []info, body []byte, alignment int) error {
	slices.SortFunc(infos, func(a, b info) int { return cmp.Compare(a.offset, b.offset) })
	next := uint64(0)
	for _, t := range infos {
		size, err := t.dtype.Size(t.shape)
		switch {
		case err != nil:
			return fmt.Errorf("tensor %q: %w", t.name, err)
		case t.offset%uint64(alignment) != 0:
			return fmt.Errorf("tensor %q: offset %d is no multiple of the alignment %d", t.name, t.offset, alignment)
		case t.offset > uint64(len(body)) || uint64(size) > uint64(len(body))-t.offset:
			return fmt.Errorf("tensor %q: %d bytes at offset %d of %d bytes of data: the file is cut short or lies", t.name, size, t.offset, len(body))
		case t.offset < next:
			return fmt.Errorf("tensor %q: offset %d lies in the tensor before, which ends at %d", t.name, t.offset, next)
		}
		next = t.offset + uint64(size)
		f.Tensors[t.name], err = tensor.New(t.name, t.dtype, t.shape, body[t.offset:next:next])
		if err != nil {
			return err
		}
	}
	return nil
}

func align(n, alignment int) int { return (n + alignment - 1) / alignment * alignment }

type info struct {
	name   string
	shape  []int
	dtype  tensor.DType
	offset uint64
}

func (r *reader) info() info {
	t := info{name: r.string(maxName)}
	dims := r.uint32()
	if dims > maxDims {
		r.fail(fmt.Errorf("tensor %q: %d dimensions, at most %d are allowed", t.name, dims, maxDims))
		return t
	}
	for range dims {
		n := r.uint64()
		if n > math.MaxInt {
			r.fail(fmt.Errorf("tensor %q: dimension %d is too large", t.name, n))
			return t
		}
		t.shape = append(t.shape, int(n))
	}
	slices.Reverse(t.shape)
	kind := r.uint32()
	t.offset = r.uint64()
	if r.err != nil {
		return t
	}
	var ok bool
	if t.dtype, ok = types[kind]; !ok {
		name := unsupported[kind]
		if name == "" {
			name = fmt.Sprintf("type %d", kind)
		}
		r.fail(fmt.Errorf("tensor %q: %s is not supported; supported: %s", t.name, name, supported()))
	}
	return t
}

// types and unsupported are ggml's enum ggml_type.
var types = map[uint32]tensor.DType{
	0: tensor.F32, 1: tensor.F16, 2: tensor.Q4_0, 3: tensor.Q4_1, 6: tensor.Q5_0, 7: tensor.Q5_1, 8: tensor.Q8_0, 12: tensor.Q4_K,
	13: tensor.Q5_K, 14: tensor.Q6_K, 24: tensor.I8, 25: tensor.I16, 26: tensor.I32, 27: tensor.I64, 28: tensor.F64, 30: tensor.BF16,
}

var unsupported = map[uint32]string{
	4: "Q4_2", 5: "Q4_3", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL",
	21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 29: "IQ1_M", 31: "Q4_0_4_4", 32: "Q4_0_4_8", 33: "Q4_0_8_8", 34: "TQ1_0", 35: "TQ2_0",
	36: "IQ4_NL_4_4", 37: "IQ4_NL_4_8", 38: "IQ4_NL_8_8", 39: "MXFP4", 40: "NVFP4", 41: "Q1_0",
}

func supported() string {
	var names []string
	for _, kind := range slices.Sorted(maps.Keys(types)) {
		if types[kind].Float() {
			names = append(names, types[kind].String())
		}
	}
	return strings.Join(names, ", ")
}
