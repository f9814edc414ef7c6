package model

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"minisgl/tensor"
	"minisgl/tensor/gguf"
)

// ExportOptions of WriteGGUF.
type ExportOptions struct {
	// Type is what matrices become: Q8_0, Q4_0, F16, BF16 or F32. Those that are quantised already, and for a quantised type those whose
	// rows are no whole number of blocks, stay as they are stored.
	Type     tensor.DType
	Name     string             // general.name, where the checkpoint does not have one
	Progress func(done float64) // nil: none
}

// An Export is what WriteGGUF wrote.
type Export struct {
	Tensors  int      // in the file
	Matrices int      // of them
	Written  int      // matrices that have the wanted type now
	Stored   int64    // bytes of the tensors before
	Notes    []string // what GGUF cannot express, a sentence each
}

// ExportTypes are the types that WriteGGUF can write matrices in.
var ExportTypes = []tensor.DType{tensor.Q8_0, tensor.Q4_0, tensor.F16, tensor.BF16, tensor.F32}

// ErrQuantised is in the error of WriteGGUF if every matrix is quantised already.
var ErrQuantised = errors.New("the weights are quantised already, and quantising twice adds error to error: give the checkpoint they were made from")

// WriteGGUF writes the checkpoint as a GGUF file as llama.cpp's convert_hf_to_gguf.py lays it out: with its tokenizer, chat template and sampling
// defaults, matrices in the wanted type, vectors in F32. Embeddings and LM head are matrices as all others are, so that the file holds
// the bits that a device makes when it quantises at load. What GGUF cannot express is in Export.Notes. Tensors pass through memory a piece at a time.
func (c *Checkpoint) WriteGGUF(w io.Writer, o ExportOptions) (Export, error) {
	if !slices.Contains(ExportTypes, o.Type) {
		return Export{}, fmt.Errorf("matrices cannot be written as %s; possible: %v", o.Type, ExportTypes)
	}
	if c.source == nil {
		return Export{}, errors.New("only an open checkpoint whose weights are not random can be written")
	}
	content, err := c.source.content(c)
	if err != nil {
		return Export{}, err
	}
	e := Export{Tensors: len(content.tensors), Notes: content.notes}
	var sources []gguf.Source
	var done int64
	quantised := 0
	for i := range content.tensors {
		t := &content.tensors[i]
		t.dtype = t.written(o.Type)
		e.Stored += int64(len(t.stored.Data))
		if len(t.stored.Shape) > 1 {
			e.Matrices++
			if t.dtype == o.Type {
				e.Written++
			}
			if t.stored.DType.Quantised() {
				quantised++
			}
		}
		sources = append(sources, gguf.Source{Name: t.name, DType: t.dtype, Shape: t.stored.Shape, Write: func(w io.Writer) error {
			return t.write(w, func(bytes int) {
				done += int64(bytes)
				if o.Progress != nil {
					o.Progress(float64(done) / float64(e.Stored))
				}
			})
		}})
	}
	switch {
	case e.Written == 0 && quantised > 0:
		return e, ErrQuantised
	case e.Written == 0:
		return e, fmt.Errorf("no matrix has rows of whole blocks of %d, as %s has them", o.Type.Block(), o.Type)
	}
	content.metadata["general.file_type"] = fileTypes[o.Type]
	if o.Type.Quantised() {
		content.metadata["general.quantization_version"] = uint32(2)
	}
	if content.metadata["general.name"] == nil && o.Name != "" {
		content.metadata["general.name"] = o.Name
	}
	return e, gguf.Write(w, content.metadata, sources)
}

// fileTypes are llama.cpp's enum llama_ftype.
var fileTypes = map[tensor.DType]uint32{tensor.F32: 0, tensor.F16: 1, tensor.Q4_0: 2, tensor.Q8_0: 7, tensor.BF16: 32}

// A source is what a checkpoint was opened from.
type source interface {
	content(c *Checkpoint) (ggufContent, error)
}

// A ggufContent is what goes into a GGUF file.
type ggufContent struct {
	metadata gguf.Metadata
	tensors  []exported
	notes    []string
}

// An exported tensor has the name that it gets in the file. Row i there is row order(i) of what is stored; nil: they are in order.
type exported struct {
	name   string
	stored *tensor.Tensor
	order  func(i int) int
	dtype  tensor.DType // in the file
}

// written is the type that a tensor gets where matrices become want.
func (e *exported) written(want tensor.DType) tensor.DType {
	t := e.stored
	switch {
	case len(t.Shape) < 2 && t.DType.Float():
		return tensor.F32
	case !t.DType.Float(), t.DType.Quantised(), t.Cols()%want.Block() != 0:
		return t.DType
	}
	return want
}

// exportPiece is about how many bytes of a tensor are converted at a time.
const exportPiece = 4 << 20

// write converts the tensor's rows, some on each processor, and tells of every piece how many stored bytes it had.
func (e *exported) write(w io.Writer, progress func(bytes int)) error {
	t := *e.stored
	if len(t.Shape) < 2 {
		t.Shape = []int{t.Cols(), 1} // so that an order is one of rows here, too
	}
	rows, stored, size := t.Rows(), t.RowBytes(), e.dtype.RowBytes(t.Cols())
	step := max(1, exportPiece/max(stored, size, 1))
	out := make([]byte, min(step, rows)*size)
	for first := 0; first < rows; first += step {
		n := min(step, rows-first)
		var failed atomic.Pointer[error]
		const together = 16
		inParallel((n+together-1)/together, func(part int) {
			values := make([]float32, t.Cols())
			for i := part * together; i < min((part+1)*together, n); i++ {
				row := first + i
				if e.order != nil {
					row = e.order(row)
				}
				to := out[i*size : (i+1)*size]
				if t.DType == e.dtype {
					copy(to, t.Row(row))
					continue
				}
				t.Float32Row(values, row)
				if err := convert(to, e.dtype, values); err != nil {
					err = fmt.Errorf("row %d: %w", row, err)
					failed.CompareAndSwap(nil, &err)
				}
			}
		})
		if err := failed.Load(); err != nil {
			return *err
		}
		if _, err := w.Write(out[:n*size]); err != nil {
			return err
		}
		progress(n * stored)
	}
	return nil
}

// convert writes values in a type, as devices and Options.DType do it, and refuses those that the type cannot hold.
func convert(to []byte, dtype tensor.DType, values []float32) error {
	const infinite = 65520 // what rounds to infinity in F16, which scales are, too
	limit := map[tensor.DType]float32{tensor.F16: infinite, tensor.Q8_0: infinite * 127, tensor.Q4_0: infinite * 8}[dtype]
	for _, v := range values {
		if v != v || math.IsInf(float64(v), 0) || limit > 0 && max(v, -v) >= limit {
			return fmt.Errorf("%s cannot hold %v", dtype, v)
		}
	}
	if dtype.Quantised() {
		copy(to, tensor.Quantise(dtype, values))
	} else {
		putFloats(to, dtype, values)
	}
	return nil
}

// byPlace orders tensors as a step reads them: embeddings, layers, the rest.
func byPlace(a, b exported) int {
	place := func(name string) (rank, layer int) {
		if rest, ok := strings.CutPrefix(name, "blk."); ok {
			number, _, _ := strings.Cut(rest, ".")
			layer, _ := strconv.Atoi(number)
			return 1, layer
		}
		if strings.HasPrefix(name, "token_embd") {
			return 0, 0
		}
		return 2, 0
	}
	rankA, layerA := place(a.name)
	rankB, layerB := place(b.name)
	return cmp.Or(cmp.Compare(rankA, rankB), cmp.Compare(layerA, layerB), strings.Compare(a.name, b.name))
}
