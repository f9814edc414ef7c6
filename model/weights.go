package model

import (
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"minisgl/device"
	"minisgl/internal/mapped"
	"minisgl/tensor"
)

type tensors = []*tensor.Tensor

// weights hands a checkpoint's tensors to the program, each checked against the shape that the config demands. The first error
// sticks; from then on tensors are nil.
type weights struct {
	tensors map[string]*tensor.Tensor // by the file's names
	random  *randomFill               // instead of tensors
	source  string                    // where the expected shapes come from, for errors
	rename  func(string) string       // from transformers' names to the file's; nil: they are the same
	convert tensor.DType              // of matrices; Invalid: none

	used  map[string]bool
	owned []io.Closer // memory of converted and random tensors
	err   error
}

// matrix returns a two-dimensional weight by its name in transformers.
func (w *weights) matrix(name string, rows, cols int) *tensor.Tensor {
	t := w.tensor(name, []int{rows, cols})
	if t == nil || w.convert == tensor.Invalid || t.DType.Quantised() || t.DType == w.convert {
		return t
	}
	return w.converted(t)
}

func (w *weights) tensor(name string, shape []int) *tensor.Tensor {
	if w.err != nil {
		return nil
	}
	if w.random != nil {
		return w.fill(name, shape)
	}
	if w.rename != nil {
		name = w.rename(name)
	}
	if w.used == nil {
		w.used = map[string]bool{}
	}
	w.used[name] = true
	t := w.tensors[name]
	switch {
	case t == nil:
		w.err = fmt.Errorf("tensor %q, of shape %v by %s, is missing", name, shape, w.source)
		return nil
	case !slices.Equal(t.Shape, shape):
		w.err = fmt.Errorf("tensor %q has shape %v, %s expects %v", name, t.Shape, w.source, shape)
		return nil
	case !t.DType.Float():
		w.err = fmt.Errorf("tensor %q has elements of type %s, a float type is expected", name, t.DType)
		return nil
	}
	return t
}

// mainType is the type that most bytes of the weights have.
func (w *weights) mainType() tensor.DType {
	bytes := map[tensor.DType]int{}
	for _, t := range w.tensors {
		bytes[t.DType] += len(t.Data)
	}
	main := tensor.Invalid
	for _, d := range slices.Sorted(maps.Keys(bytes)) {
		if bytes[d] > bytes[main] {
			main = d
		}
	}
	if w.convert != tensor.Invalid && !main.Quantised() {
		return w.convert
	}
	return main
}

var layerOf = regexp.MustCompile(`^(?:model\.layers|blk)\.(\d+)\.`)

// checkLeftovers refuses tensors that the program has not asked for, because a model without them would answer wrongly.
func (w *weights) checkLeftovers(c *Config) {
	head := "lm_head.weight"
	for _, name := range slices.Sorted(maps.Keys(w.tensors)) {
		switch {
		case w.used[name], strings.HasSuffix(name, "rotary_emb.inv_freq"), name == "rope_freqs.weight":
			continue
		case name == head && c.TieWordEmbedding:
			continue
		}
		if m := layerOf.FindStringSubmatch(name); m != nil {
			if layer, err := strconv.Atoi(m[1]); err == nil && layer >= c.Layers {
				w.err = fmt.Errorf("tensor %q belongs to layer %d, %s says that there are %d", name, layer, w.source, c.Layers)
				return
			}
		}
		w.err = fmt.Errorf("tensor %q has no place in the %s model that %s describes", name, c.Architecture, w.source)
		return
	}
}

// in returns access to the tensors whose names begin with a prefix.
func (w *weights) in(prefix string) module { return module{w, prefix} }

type module struct {
	weights *weights
	prefix  string
}

func (m module) norm(name string, width int) device.Vector {
	return device.Vector{Parts: tensors{m.weights.tensor(m.prefix+name+".weight", []int{width})}}
}

func (m module) linear(name string, out, in int, bias bool) linear {
	l := linear{weight: device.Matrix{Parts: tensors{m.weights.matrix(m.prefix+name+".weight", out, in)}}}
	if bias {
		l.bias = device.Vector{Parts: tensors{m.weights.tensor(m.prefix+name+".bias", []int{out})}}
	}
	return l
}

// allocate returns a tensor of zeros that Checkpoint.Close gives back.
func (w *weights) allocate(name string, dtype tensor.DType, shape []int) *tensor.Tensor {
	size, err := dtype.Size(shape)
	if err == nil && size > math.MaxInt {
		err = fmt.Errorf("%d bytes cannot be addressed", size)
	}
	var memory *mapped.File
	if err == nil {
		memory, err = mapped.Allocate(int(size))
	}
	if err != nil {
		w.err = fmt.Errorf("tensor %q: %w", name, err)
		return nil
	}
	t := &tensor.Tensor{Name: name, DType: dtype, Shape: shape, Data: memory.Data}
	w.owned = append(w.owned, ownedTensor{t, memory})
	return t
}

type ownedTensor struct {
	tensor *tensor.Tensor
	memory *mapped.File
}

func (o ownedTensor) Close() error {
	o.tensor.Data = nil
	return o.memory.Close()
}

// converted returns a copy of a matrix in the wanted type.
func (w *weights) converted(t *tensor.Tensor) *tensor.Tensor {
	to := w.allocate(t.Name, w.convert, t.Shape)
	if to == nil {
		return nil
	}
	inParallel(t.Rows(), func(row int) {
		values := make([]float32, t.Cols())
		t.Float32Row(values, row)
		putFloats(to.Row(row), to.DType, values)
	})
	return to
}

func putFloats(dst []byte, dtype tensor.DType, values []float32) {
	for i, v := range values {
		switch dtype {
		case tensor.BF16:
			binary.LittleEndian.PutUint16(dst[2*i:], tensor.Float32ToBF16(v))
		case tensor.F16:
			binary.LittleEndian.PutUint16(dst[2*i:], tensor.Float32ToF16(v))
		case tensor.F32:
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
		}
	}
}
