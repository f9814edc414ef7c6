package cpu

import (
	"unsafe"

	"minisgl/device"
	"minisgl/device_cpu/internal/layout"
	"minisgl/tensor"
)

// panelWidth is the number of outputs whose weights lie together.
const panelWidth = layout.Panel

// A matrix is a packed weight: outputs in panels of 32, the last one filled up with zeros. Its parts are of one type each, and
// all but the last have whole panels.
type matrix struct {
	rows  int // outputs
	cols  int // inputs
	parts []*packed
}

// packed are panels of one type. Plain types have, in a panel, the inputs one behind the other, and for each of them its 32
// weights; one order serves every instruction set and every number of rows. bfloat16 rows are interleaved, outputs j and j+16
// side by side (bf16Place): a 32-bit word then turns into the two as float32 by a shift and a mask, which is cheaper than to
// widen 16-bit words. For AMX they are tiles (amx.go). Quantised types lie in blocks of several inputs (package layout).
type packed struct {
	source device.Matrix
	dtype  tensor.DType
	first  int // output
	rows   int
	cols   int
	data   []byte

	pairs   bool           // of bfloat16: in pairs of inputs (pairKernels)
	tiles   bool           // of bfloat16: for AMX (amxKernels)
	format  *layout.Format // of quantised types
	kernels formatKernels
}

func bf16Place(j int) int { return j%(panelWidth/2)*2 + j/(panelWidth/2) }

func (m *matrix) panels() int { return ceil(m.rows, panelWidth) }

// part returns the part that has a panel.
func (m *matrix) part(panel int) *packed {
	for _, p := range m.parts {
		if panel*panelWidth < p.first+p.rows {
			return p
		}
	}
	return nil
}

func (m *matrix) bytes() (n int64) {
	for _, p := range m.parts {
		n += p.bytes()
	}
	return n
}

func (p *packed) panels() int { return ceil(p.rows, panelWidth) }

// values is the number of weights, padding included.
func (p *packed) values() int { return p.panels() * p.cols * panelWidth }

// bytes is the room that the weights take.
func (p *packed) bytes() int64 { return room[byte](p.panels() * p.panelBytes()) }

// panelBytes is the room of a panel.
func (p *packed) panelBytes() int {
	if f := p.format; f != nil {
		return p.cols / f.Inputs() * f.Bytes()
	}
	if p.tiles {
		return amxSteps(p.cols) * amxPanel * p.dtype.BlockBytes()
	}
	return p.cols * panelWidth * p.dtype.BlockBytes()
}

// panel returns a panel of the part's.
func (p *packed) panel(i int) []byte {
	n := p.panelBytes()
	return p.data[i*n : (i+1)*n]
}

// as reads bytes as numbers of another type.
func as[T any](b []byte) []T {
	var zero T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(zero)))
}

// tile multiplies rows of x, which starts at input k, by n inputs of a panel of plain weights.
func (p *packed) tile(kernels *kernels, panel, k, n int, c []float32, ldc int, x []float32, ldx, rows, add int) {
	w := p.panel(panel)
	switch p.dtype {
	case tensor.BF16:
		kernels.tileBF16(c, ldc, x, ldx, as[uint16](w)[k*panelWidth:(k+n)*panelWidth], n, rows, add)
	case tensor.F16:
		kernels.tileF16(c, ldc, x, ldx, as[uint16](w)[k*panelWidth:(k+n)*panelWidth], n, rows, add)
	case tensor.F32:
		w := as[float32](w)[k*panelWidth : (k+n)*panelWidth]
		kernels.tileF32(c, ldc, x, ldx, w, w[panelWidth/2:], panelWidth, n, rows, add)
	}
}

// row writes the weights of output i, which is how embeddings are read, tied to the LM head or not.
func (m *matrix) row(dst []float32, i int, u *unpacked) {
	p := m.part(i / panelWidth)
	w, j := p.panel((i-p.first)/panelWidth), i%panelWidth
	dst = dst[:p.cols]
	switch p.dtype {
	case tensor.BF16:
		if p.tiles {
			amxRow(dst, w, j)
			return
		}
		if p.pairs {
			for k, w := 0, as[uint16](w)[2*j:]; k < len(dst); k++ {
				dst[k] = tensor.BF16ToFloat32(w[k/2*2*panelWidth+k%2])
			}
			return
		}
		for k, w := 0, as[uint16](w)[bf16Place(j):]; k < len(dst); k++ {
			dst[k] = tensor.BF16ToFloat32(w[k*panelWidth])
		}
	case tensor.F16:
		for k, w := 0, as[uint16](w)[j:]; k < len(dst); k++ {
			dst[k] = tensor.F16ToFloat32(w[k*panelWidth])
		}
	case tensor.F32:
		for k, w := 0, as[float32](w)[j:]; k < len(dst); k++ {
			dst[k] = w[k*panelWidth]
		}
	default:
		for k := 0; k < len(dst); k += unpackedInputs {
			part := dst[k:min(k+unpackedInputs, len(dst))]
			u.take(p, w, k, len(part))
			u.row(part, j)
		}
	}
}
