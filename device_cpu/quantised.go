package cpu

import (
	"minisgl/device_cpu/internal/layout"
)

// unpackedInputs is how many inputs of a panel are unpacked at once: their 8 KB and the activations of a tile stay in the
// first-level cache.
const unpackedInputs = 256

// unpacked are some inputs of a panel of quantised weights as the kernels multiply them.
type unpacked struct {
	room   []byte
	scales []float32
	sums   []int32 // of byteTiles

	u      []byte // room, or the packed weights if they are read where they are
	stride int    // bytes between sub-blocks
	groups int    // of 4 inputs that share a scale
	ahead  int    // how far ahead memory is to be asked for
}

const (
	unpackedBytes  = byteTileInputs * panelWidth
	unpackedScales = 2 * panelWidth * byteTileInputs / (layout.Sub / 2)
)

// unpackedRoom is the memory that allocate needs.
func unpackedRoom() int64 {
	return room[byte](unpackedBytes) + room[float32](unpackedScales) + room[int32](byteTileSums)
}

func (t *unpacked) allocate(a *arena) {
	t.room, t.scales = take[byte](a, unpackedBytes), take[float32](a, unpackedScales)
	t.sums = take[int32](a, byteTileSums)
}

// take unpacks n inputs of a panel, from input k on; both are multiples of the block.
func (t *unpacked) take(p *packed, panel []byte, k, n int) {
	f := p.format
	w := panel[k/f.Inputs()*f.Bytes():]
	p.kernels.unpack(w, n/f.Inputs(), t.room, t.scales)
	t.u, t.stride, t.ahead = t.room, layout.Unpacked, 0
	if f.Low == 8 {
		t.u, t.stride, t.ahead = w, f.SubBytes(), 4096
	}
	t.groups = layout.Groups
	if f.Fine {
		t.groups, t.stride = layout.Groups/2, layout.Unpacked/2
	}
}

// row writes output j's weights.
func (t *unpacked) row(dst []float32, j int) {
	share := 4 * t.groups
	for k := range dst {
		block, place := k/share, k%share
		scales := t.scales[2*panelWidth*block:]
		at := block*t.stride + place/4*4*panelWidth + 4*j + [4]int{0, 2, 1, 3}[place%4]
		dst[k] = float32(scales[j]*float32(t.u[at])) - scales[panelWidth+j]
	}
}

// rounded are the activations of an operation as its weights want them: 16-bit numbers, the scales of 32 of them and those of
// 16, or the same as tiles of 16 rows (package layout), or bfloat16.
type rounded struct {
	data   []byte
	stride int // bytes of a row, unless they are tiles
	cols   int
	pairs  bool // bfloat16
	tiles  bool // for byteTiles
}

// shape says how a weight wants its inputs, without data: stride is 0 if it wants them as they are.
func (m *matrix) shape() rounded {
	for _, p := range m.parts {
		switch {
		case p.format != nil: // an odd number of cache lines
			return rounded{cols: m.cols, stride: (ceil(m.cols*11/4, cacheLine) | 1) * cacheLine}
		case p.pairs:
			return rounded{cols: m.cols, stride: (ceil(m.cols*2, cacheLine) | 1) * cacheLine, pairs: true}
		}
	}
	return rounded{}
}

// numbers returns a row's 16-bit numbers from input k on.
func (x *rounded) numbers(row, k int) []int16 { return as[int16](x.data[row*x.stride:])[k:] }

// halves returns a row's bfloat16 numbers from input k on.
func (x *rounded) halves(row, k int) []uint16 { return as[uint16](x.data[row*x.stride:])[k:] }

// scales returns a row's scales from input k on, for as many inputs as share one.
func (x *rounded) scales(row, k, share int) []float32 {
	s := as[float32](x.data[row*x.stride+2*x.cols:])
	if share < layout.Sub {
		s = s[x.cols/16:]
	}
	return s[2*k/share:]
}

// setRow rounds a row, in which there are values up to a multiple of 16.
func (x *rounded) setRow(kernels *kernels, row int, values []float32) {
	if x.pairs {
		kernels.pairs.round(values[:roundUp(x.cols, 16)], x.halves(row, 0))
		return
	}
	if x.tiles {
		kernels.quantised.tiles.round(values[:x.cols], x.block(row, 0), row%layout.TileRows)
		return
	}
	kernels.quantised.round(values[:x.cols], x.numbers(row, 0)[:x.cols], x.scales(row, 0, layout.Sub))
}

// multiplyQuantised is multiplyPlain for quantised weights and the rows that were rounded.
func (r *runner) multiplyQuantised(p *packed, panel, panels, first, end int, c []float32, stride int, t *unpacked) {
	kernels := r.kernels.quantised
	x := &r.rounded
	if x.tiles {
		r.multiplyByteTiles(p, panel, panels, first, end, c, stride, t)
		return
	}
	if end-first <= 2*kernels.fewRows { // the second time, the weights come from the cache
		for i := range panels {
			for row := first; row < end; row += kernels.fewRows {
				p.kernels.few(c[(row-first)*stride+i*panelWidth:], stride, x.numbers(row, 0), x.scales(row, 0, p.format.ScaleInputs()),
					x.stride, p.panel(panel+i), p.cols/p.format.Inputs(), min(kernels.fewRows, end-row), 0)
			}
		}
		return
	}
	tiles := ceil(end-first, kernels.rows)
	for k := 0; k < p.cols; k += unpackedInputs {
		n := min(unpackedInputs, p.cols-k)
		for i := range panels {
			t.take(p, p.panel(panel+i), k, n)
			inputs := 4 * t.groups // that share a scale
			for tile := range tiles {
				from, to := share(end-first, tiles, tile)
				kernels.dot(c[from*stride+i*panelWidth:], stride, x.numbers(first+from, k), x.scales(first+from, k, inputs), x.stride,
					t.u, t.stride, t.scales, t.groups, n/inputs, to-from, min(k, 1), t.ahead)
			}
		}
	}
}
