package cpu

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"minisgl/device"
	"minisgl/device_cpu/internal/layout"
	"minisgl/tensor"
)

// A keeping says in which types weights are kept.
type keeping struct {
	kernels *kernels
	weights tensor.DType // that plain ones are quantised to; Invalid for none
	pairs   bool         // bfloat16 in pairs of inputs
}

// quantisedTo are the types that plain weights can be quantised to.
var quantisedTo = []tensor.DType{tensor.Q8_0, tensor.Q4_0}

// newKeeping settles what the options leave open.
func newKeeping(k *kernels, o *device.LoadOptions) (keeping, error) {
	keep := keeping{kernels: k, weights: o.Weights}
	if o.Weights != tensor.Invalid && !slices.Contains(quantisedTo, o.Weights) {
		return keep, fmt.Errorf("weights cannot be quantised to %s: it has %v", o.Weights, quantisedTo)
	}
	if o.Weights != tensor.Invalid && k.quantised == nil {
		return keep, fmt.Errorf("weights cannot be quantised to %s: path %s has no kernels for it", o.Weights, k.name)
	}
	keep.pairs = o.Activations == tensor.BF16 && k.pairs != nil && k.pairs.faster(k)
	return keep, nil
}

// dtype is the type in which weights of a type are kept: their own, but f16 for quantised ones that the kernels do not read.
func (k keeping) dtype(t *tensor.Tensor) tensor.DType {
	switch {
	case t.DType.Quantised() && (k.kernels.quantised == nil || layout.Of(t.DType) == nil):
		return tensor.F16
	case !t.DType.Quantised() && k.weights != tensor.Invalid && t.Cols()%k.weights.Block() == 0:
		return k.weights
	}
	return t.DType
}

// newMatrix says how a weight is to be packed: each run of tensors of one type by itself if they fill whole panels. Else all
// become f16 if they are quantised, f32 if not.
func newMatrix(w device.Matrix, keep keeping) (*matrix, error) {
	m := &matrix{rows: w.Rows(), cols: w.Cols()}
	whole := true
	for _, t := range w.Parts {
		if !t.DType.Float() {
			return nil, fmt.Errorf("tensor %q: a weight cannot be of type %s", t.Name, t.DType)
		}
		dtype := keep.dtype(t)
		if n := len(m.parts); n == 0 || m.parts[n-1].dtype != dtype {
			first := 0
			if n > 0 {
				first = m.parts[n-1].first + m.parts[n-1].rows
			}
			whole = whole && first%panelWidth == 0
			p := &packed{dtype: dtype, first: first, cols: m.cols, format: layout.Of(dtype)}
			p.tiles = dtype == tensor.BF16 && keep.kernels.amx != nil
			if p.format != nil {
				p.kernels = keep.kernels.quantised.formats[dtype]
			}
			m.parts = append(m.parts, p)
		}
		p := m.parts[len(m.parts)-1]
		p.source.Parts = append(p.source.Parts, t)
		p.rows += t.Rows()
	}
	if whole {
		p := m.parts[0]
		p.pairs = keep.pairs && len(m.parts) == 1 && p.dtype == tensor.BF16 && m.cols%2 == 0
		return m, nil
	}
	all := &packed{source: w, dtype: tensor.F16, rows: m.rows, cols: m.cols}
	for _, p := range m.parts {
		if !p.dtype.Quantised() && p.dtype != tensor.F16 {
			all.dtype = tensor.F32
		}
	}
	m.parts = []*packed{all}
	return m, nil
}

// packPanel fills one panel from the weight's rows. It reports false if a value is too large for f16.
func (p *packed) packPanel(panel int, scratch *packScratch) bool {
	sources := scratch.rows[:0]
	defer func() { scratch.rows = sources[:0] }()
	first := panel * panelWidth
	end := min(first+panelWidth, p.rows)
	base := 0
	plain := true
	for _, t := range p.source.Parts {
		rows := t.Rows()
		for i := max(first-base, 0); i < min(end-base, rows); i++ {
			sources = append(sources, t.Row(i))
			if t.DType != p.dtype {
				plain = false
			}
		}
		base += rows
	}
	switch {
	case !plain:
		return p.packConverted(first, end, scratch)
	case p.format != nil:
		p.packQuantised(sources, panel)
	case p.tiles:
		amxPack(p.panel(panel), sources, p.cols)
	default:
		p.packPlain(sources, panel, scratch)
	}
	return true
}

// packScratch is what one thread needs to pack.
type packScratch struct {
	rows   [][]byte
	values []float32
	zero   []byte
}

// zeros returns n zero bytes.
func (s *packScratch) zeros(n int) []byte {
	if len(s.zero) < n {
		s.zero = make([]byte, n)
	}
	return s.zero[:n]
}

// packPlain reorders weights whose type stays.
func (p *packed) packPlain(sources [][]byte, panel int, scratch *packScratch) {
	if p.dtype == tensor.F32 {
		single := as[float32](p.panel(panel))
		for j, source := range sources {
			for k := range p.cols {
				single[k*panelWidth+j] = math.Float32frombits(binary.LittleEndian.Uint32(source[4*k:]))
			}
		}
		return
	}
	if p.pairs {
		p.packPairs(sources, panel)
		return
	}
	// Two outputs share a 32-bit word. Rows that are not there are read as zeros.
	words := as[uint32](p.panel(panel))
	var lower, upper [panelWidth / 2][]byte
	for j := range panelWidth {
		source := scratch.zeros(2 * p.cols)
		if j < len(sources) {
			source = sources[j]
		}
		switch {
		case p.dtype == tensor.BF16 && j < panelWidth/2:
			lower[j] = source
		case p.dtype == tensor.BF16:
			upper[j-panelWidth/2] = source
		case j%2 == 0:
			lower[j/2] = source
		default:
			upper[j/2] = source
		}
	}
	whole := p.cols / 4 * 4
	for k := 0; k < whole; k += 4 {
		block := (*[4 * panelWidth / 2]uint32)(words[k*panelWidth/2:])
		for j := range panelWidth / 2 {
			a, b := binary.LittleEndian.Uint64(lower[j][2*k:]), binary.LittleEndian.Uint64(upper[j][2*k:])
			block[j] = uint32(a)&0xffff | uint32(b)<<16
			block[j+panelWidth/2] = uint32(a)>>16 | uint32(b)&0xffff0000
			a, b = a>>32, b>>32
			block[j+panelWidth] = uint32(a)&0xffff | uint32(b)<<16
			block[j+panelWidth*3/2] = uint32(a)>>16 | uint32(b)&0xffff0000
		}
	}
	for k := whole; k < p.cols; k++ {
		for j := range panelWidth / 2 {
			a, b := binary.LittleEndian.Uint16(lower[j][2*k:]), binary.LittleEndian.Uint16(upper[j][2*k:])
			words[k*panelWidth/2+j] = uint32(a) | uint32(b)<<16
		}
	}
}

func (p *packed) packPairs(sources [][]byte, panel int) {
	words := as[uint32](p.panel(panel))
	for j, source := range sources {
		for k := range p.cols / 2 {
			words[k*panelWidth+j] = binary.LittleEndian.Uint32(source[4*k:])
		}
	}
}

// packConverted goes through float32.
func (p *packed) packConverted(first, end int, scratch *packScratch) bool {
	panel := p.panel(first / panelWidth)
	half, single := as[uint16](panel), as[float32](panel)
	if cap(scratch.values) < p.cols {
		scratch.values = make([]float32, p.cols)
	}
	values := scratch.values[:p.cols]
	fits := true
	var blocks [][]byte
	for i := first; i < end; i++ {
		j := i - first
		part, row := p.source.Parts, i
		for row >= part[0].Rows() {
			row -= part[0].Rows()
			part = part[1:]
		}
		part[0].Float32Row(values, row)
		if p.format != nil {
			blocks = append(blocks, tensor.Quantise(p.dtype, values))
			continue
		}
		if p.dtype == tensor.F32 {
			for k, v := range values {
				single[k*panelWidth+j] = v
			}
			continue
		}
		for k, v := range values {
			h := tensor.Float32ToF16(v)
			if h&0x7fff == 0x7c00 && !math.IsInf(float64(v), 0) {
				fits = false
			}
			half[k*panelWidth+j] = h
		}
	}
	if p.format != nil {
		p.packQuantised(blocks, first/panelWidth)
	}
	return fits
}
