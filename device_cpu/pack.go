package cpu

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"

	"minisgl/device"
	"minisgl/tensor"
)

// panelWidth is the number of outputs whose weights lie together: for each input, one row of 32.
const panelWidth = 32

// A matrix is a packed weight: panels of 32 outputs, the last one filled up with zeros; in a panel the inputs one behind the
// other, and for each of them its 32 weights. One order serves every instruction set and every number of rows.
//
// bfloat16 rows are interleaved, outputs j and j+16 side by side (bf16Place): a 32-bit word then turns into the two as
// float32 by a shift and a mask, which is cheaper than to widen 16-bit words.
type matrix struct {
	dtype  tensor.DType // BF16, F16 or F32
	rows   int          // outputs
	cols   int          // inputs
	half   []uint16     // BF16 and F16
	single []float32    // F32
}

func bf16Place(j int) int { return j%(panelWidth/2)*2 + j/(panelWidth/2) }

func (m *matrix) panels() int { return ceil(m.rows, panelWidth) }

// values is the number of weights, padding included.
func (m *matrix) values() int { return m.panels() * m.cols * panelWidth }

// bytes is the room that the weights take.
func (m *matrix) bytes() int64 {
	if m.dtype == tensor.F32 {
		return room[float32](m.values())
	}
	return room[uint16](m.values())
}

func (m *matrix) allocate(a *arena) {
	if m.dtype == tensor.F32 {
		m.single = take[float32](a, m.values())
	} else {
		m.half = take[uint16](a, m.values())
	}
}

// tile multiplies rows of x, which starts at input k, by n inputs of a panel.
func (m *matrix) tile(kernels *kernels, panel, k, n int, c []float32, ldc int, x []float32, ldx, rows, add int) {
	at := (panel*m.cols + k) * panelWidth
	switch m.dtype {
	case tensor.BF16:
		kernels.tileBF16(c, ldc, x, ldx, m.half[at:at+n*panelWidth], n, rows, add)
	case tensor.F16:
		kernels.tileF16(c, ldc, x, ldx, m.half[at:at+n*panelWidth], n, rows, add)
	case tensor.F32:
		w := m.single[at : at+n*panelWidth]
		kernels.tileF32(c, ldc, x, ldx, w, w[panelWidth/2:], panelWidth, n, rows, add)
	}
}

// row writes the weights of output i, which is how embeddings are read, tied to the LM head or not.
func (m *matrix) row(dst []float32, i int) {
	panel, j := i/panelWidth, i%panelWidth
	at := panel * m.cols * panelWidth
	switch m.dtype {
	case tensor.BF16:
		at += bf16Place(j)
		for k := range dst[:m.cols] {
			dst[k] = tensor.BF16ToFloat32(m.half[at+k*panelWidth])
		}
	case tensor.F16:
		for k := range dst[:m.cols] {
			dst[k] = tensor.F16ToFloat32(m.half[at+j+k*panelWidth])
		}
	case tensor.F32:
		for k := range dst[:m.cols] {
			dst[k] = m.single[at+j+k*panelWidth]
		}
	}
}

// packedType is the type in which a weight is kept. Quantised types become f16; parts of different types become f32 unless
// f16 holds them all.
func packedType(w device.Matrix) (tensor.DType, error) {
	var types [256]int
	for _, t := range w.Parts {
		if !t.DType.Float() {
			return tensor.Invalid, fmt.Errorf("tensor %q: a weight cannot be of type %s", t.Name, t.DType)
		}
		if t.DType.Quantised() {
			types[tensor.F16]++
		} else {
			types[t.DType]++
		}
	}
	for _, dtype := range []tensor.DType{tensor.BF16, tensor.F16} {
		if types[dtype] == len(w.Parts) {
			return dtype, nil
		}
	}
	return tensor.F32, nil
}

// packPanel fills one panel from the weight's rows. It reports false if a value is too large for f16.
func (m *matrix) packPanel(w device.Matrix, panel int, scratch *packScratch) bool {
	sources := scratch.rows[:0]
	defer func() { scratch.rows = sources[:0] }()
	first := panel * panelWidth
	end := min(first+panelWidth, m.rows)
	base := 0
	plain := true
	for _, t := range w.Parts {
		rows := t.Rows()
		for i := max(first-base, 0); i < min(end-base, rows); i++ {
			sources = append(sources, t.Row(i))
			if t.DType != m.dtype {
				plain = false
			}
		}
		base += rows
	}
	if plain {
		m.packPlain(sources, panel, scratch)
		return true
	}
	return m.packConverted(w, first, end, scratch)
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
func (m *matrix) packPlain(sources [][]byte, panel int, scratch *packScratch) {
	at := panel * m.cols * panelWidth
	if m.dtype == tensor.F32 {
		for j, source := range sources {
			for k := range m.cols {
				m.single[at+k*panelWidth+j] = math.Float32frombits(binary.LittleEndian.Uint32(source[4*k:]))
			}
		}
		return
	}
	// Two outputs share a 32-bit word. Rows that are not there are read as zeros.
	words := unsafe.Slice((*uint32)(unsafe.Pointer(&m.half[at])), m.cols*panelWidth/2)
	var lower, upper [panelWidth / 2][]byte
	for j := range panelWidth {
		source := scratch.zeros(2 * m.cols)
		if j < len(sources) {
			source = sources[j]
		}
		switch {
		case m.dtype == tensor.BF16 && j < panelWidth/2:
			lower[j] = source
		case m.dtype == tensor.BF16:
			upper[j-panelWidth/2] = source
		case j%2 == 0:
			lower[j/2] = source
		default:
			upper[j/2] = source
		}
	}
	whole := m.cols / 4 * 4
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
	for k := whole; k < m.cols; k++ {
		for j := range panelWidth / 2 {
			a, b := binary.LittleEndian.Uint16(lower[j][2*k:]), binary.LittleEndian.Uint16(upper[j][2*k:])
			words[k*panelWidth/2+j] = uint32(a) | uint32(b)<<16
		}
	}
}

// packConverted goes through float32.
func (m *matrix) packConverted(w device.Matrix, first, end int, scratch *packScratch) bool {
	at := first * m.cols
	if cap(scratch.values) < m.cols {
		scratch.values = make([]float32, m.cols)
	}
	values := scratch.values[:m.cols]
	fits := true
	for i := first; i < end; i++ {
		j := i - first
		part, row := w.Parts, i
		for row >= part[0].Rows() {
			row -= part[0].Rows()
			part = part[1:]
		}
		part[0].Float32Row(values, row)
		if m.dtype == tensor.F32 {
			for k, v := range values {
				m.single[at+k*panelWidth+j] = v
			}
			continue
		}
		for k, v := range values {
			h := tensor.Float32ToF16(v)
			if h&0x7fff == 0x7c00 && !math.IsInf(float64(v), 0) {
				fits = false
			}
			m.half[at+k*panelWidth+j] = h
		}
	}
	return fits
}
