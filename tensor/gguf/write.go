package gguf

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math"
	"reflect"
	"slices"

	"minisgl/tensor"
)

// longestName is what llama.cpp's readers take of a tensor's name (GGML_MAX_NAME, less the zero byte).
const longestName = 63

// A Source is a tensor to be written. Its content is asked for when its turn comes, so that a file may be larger than memory.
type Source struct {
	Name  string
	DType tensor.DType
	Shape []int                   // row-major, as in tensor.Tensor; at most four dimensions
	Write func(w io.Writer) error // writes exactly the bytes that type and shape need
}

// Write writes a file of version 3: the keys in alphabetical order, the tensors in the given one, each at a multiple of
// "general.alignment" (32 if the metadata does not say). Metadata holds the Go types that Metadata names.
func Write(w io.Writer, metadata Metadata, tensors []Source) error {
	alignment, err := metadata.alignment()
	if err != nil {
		return err
	}
	out := &writer{out: bufio.NewWriterSize(w, 1<<20)}
	out.WriteString(magic)
	out.numbers(uint32(3), uint64(len(tensors)), uint64(len(metadata)))
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		out.keyValue(key, metadata[key])
	}
	sizes, err := out.infos(tensors, alignment)
	if err != nil {
		return err
	}
	out.pad(alignment)
	for i, t := range tensors {
		if out.err != nil {
			break
		}
		from := out.written
		if err := t.Write(out); err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		if got := out.written - from; got != sizes[i] && out.err == nil {
			return fmt.Errorf("tensor %q: %d bytes were written, %s %v takes %d", t.Name, got, t.DType, t.Shape, sizes[i])
		}
		out.pad(alignment)
	}
	if out.err == nil {
		out.err = out.out.Flush()
	}
	return out.err
}

// writer writes little-endian values one after the other. The first error sticks, and nothing is written after it.
type writer struct {
	out     *bufio.Writer
	written int64
	err     error
}

func (w *writer) Write(data []byte) (n int, err error) {
	if w.err == nil {
		n, w.err = w.out.Write(data)
		w.written += int64(n)
	}
	return n, w.err
}

func (w *writer) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

// numbers writes values of fixed size, or slices of them.
func (w *writer) numbers(values ...any) {
	for _, v := range values {
		if w.err == nil {
			w.err = binary.Write(w, binary.LittleEndian, v)
		}
	}
}

func (w *writer) string(s string) {
	w.numbers(uint64(len(s)))
	w.WriteString(s)
}

func (w *writer) pad(alignment int) {
	w.Write(make([]byte, align(int(w.written), alignment)-int(w.written)))
}

// infos writes where each tensor will lie, and returns their sizes.
func (w *writer) infos(tensors []Source, alignment int) ([]int64, error) {
	sizes := make([]int64, len(tensors))
	seen := map[string]bool{}
	offset := int64(0)
	for i, t := range tensors {
		kind, ok := kindOf(t.DType)
		size, err := t.DType.Size(t.Shape)
		switch {
		case t.Name == "" || len(t.Name) > longestName:
			return nil, fmt.Errorf("tensor %q: a name has 1 to %d bytes", t.Name, longestName)
		case seen[t.Name]:
			return nil, fmt.Errorf("tensor %q occurs twice", t.Name)
		case !ok:
			return nil, fmt.Errorf("tensor %q: GGUF has no type %s", t.Name, t.DType)
		case err != nil:
			return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		case len(t.Shape) > maxDims:
			return nil, fmt.Errorf("tensor %q: %d dimensions, at most %d are allowed", t.Name, len(t.Shape), maxDims)
		case size > math.MaxInt64-offset-int64(alignment):
			return nil, fmt.Errorf("tensor %q: the file would be too large", t.Name)
		}
		seen[t.Name] = true
		w.string(t.Name)
		w.numbers(uint32(len(t.Shape)))
		for _, n := range slices.Backward(t.Shape) {
			w.numbers(uint64(n))
		}
		w.numbers(kind, uint64(offset))
		sizes[i] = size
		offset = int64(align(int(offset+size), alignment))
	}
	return sizes, nil
}

func kindOf(d tensor.DType) (kind uint32, ok bool) {
	for kind, of := range types {
		if of == d {
			return kind, true
		}
	}
	return 0, false
}

func (w *writer) keyValue(key string, value any) {
	fail := func(format string, args ...any) {
		if w.err == nil {
			w.err = fmt.Errorf("key %q: "+format, append([]any{key}, args...)...)
		}
	}
	if key == "" || len(key) > maxName {
		fail("a key has 1 to %d bytes", maxName)
	}
	w.string(key)
	list := reflect.ValueOf(value)
	if list.Kind() != reflect.Slice {
		kind, ok := kinds[list.Kind()]
		if !ok {
			fail("GGUF has no type for Go's %T", value)
		}
		w.numbers(kind)
		w.scalar(value)
		return
	}
	kind, ok := kinds[list.Type().Elem().Kind()]
	if !ok {
		fail("GGUF has no type for Go's %T", value)
	}
	w.numbers(uint32(kindArray), kind, uint64(list.Len()))
	texts, ok := value.([]string)
	if !ok {
		w.scalar(value)
	}
	for _, text := range texts {
		w.string(text)
	}
}

// scalar writes a string, a number or a slice of numbers.
func (w *writer) scalar(value any) {
	if text, ok := value.(string); ok {
		w.string(text)
		return
	}
	w.numbers(value)
}

var kinds = map[reflect.Kind]uint32{
	reflect.Uint8: kindUint8, reflect.Int8: kindInt8, reflect.Uint16: kindUint16, reflect.Int16: kindInt16, reflect.Uint32: kindUint32,
	reflect.Int32: kindInt32, reflect.Float32: kindFloat32, reflect.Bool: kindBool, reflect.String: kindString, reflect.Uint64: kindUint64,
	reflect.Int64: kindInt64, reflect.Float64: kindFloat64,
}
