package cpu

import (
	"math"
	"sync"

	"minisgl/device_cpu/internal/layout"
)

// byteTiles multiply quantised weights by many rows, in AMX's tiles of bytes. A 16-bit activation is a lower byte and an upper
// one, each of which meets the weights' bytes; sums of a block are whole numbers here, too, so results are dotVNNI's to the bit.
type byteTiles struct {
	// round makes a row's activations, a multiple of 32, numbers in blocks of tiles (package layout), in which it is row.
	round func(x []float32, tiles []byte, row int)
	// dot is the product for formats with a scale for 32 inputs, and for those with one for 16.
	dot [2]dotTiles
	// from is how many rows dot is faster from on than what it is the twin of.
	from func() int
}

// A dotTiles adds to c, or sets it if add is 0, the products of rows of activations with blocks of weights that lie ldw bytes
// apart, all of a panel. x are blocks of tiles, those of 16 rows ldx bytes behind the 16 before. It asks for weights some bytes
// ahead, and keeps tiles' sums in sums.
type dotTiles func(c []float32, ldc int, x []byte, ldx int, w []byte, ldw int, scales []float32, blocks, rows, add, ahead int, sums []int32)

const (
	// byteTileSums is the room for the sums of two blocks, of lower and of upper bytes.
	byteTileSums = 2 * 2 * layout.TileRows * layout.TileRows
	// byteTileInputs is how many inputs of a panel 16 rows or fewer meet in a call, so that it is worth to set tiles up. More rows
	// meet fewer, and unpackedInputs at least, which stay in the first-level cache until all rows have met them.
	byteTileInputs = 1024
	// bytesGain is how much faster than other kernels byteTiles have to be for use.
	bytesGain = 1.1
)

// with returns the kernels and tiles, for as many rows as make them faster: where other kernels need two tiles of their own, or
// from where they unpack weights on. Both give the same bits, so nothing but time depends on the answer.
func (k quantisedKernels) with(t byteTiles) quantisedKernels {
	plain := k
	t.from = sync.OnceValue(func() int {
		for _, rows := range []int{2*plain.fewRows + 1, plain.rows + 1} {
			if t.faster(&plain, rows) {
				return rows
			}
		}
		return math.MaxInt
	})
	k.tiles = &t
	return k
}

// faster compares products out of the first-level cache, as pairKernels.faster does.
func (t *byteTiles) faster(k *quantisedKernels, rows int) bool {
	const blocks = unpackedInputs / layout.Sub
	c, w, scales := make([]float32, rows*panelWidth), make([]byte, unpackedBytes), make([]float32, unpackedScales)
	x, sx := make([]int16, rows*unpackedInputs), make([]float32, rows*unpackedInputs)
	plain := quickest(func() {
		for tile := range ceil(rows, k.rows) {
			from, to := share(rows, ceil(rows, k.rows), tile)
			k.dot(c[from*panelWidth:], panelWidth, x[from*unpackedInputs:], sx[from*unpackedInputs/2:], 2*unpackedInputs, w, layout.Unpacked,
				scales, layout.Groups, blocks, to-from, 0, 0)
		}
	})
	tiles, sums := make([]byte, blocks*layout.TileBlock), make([]int32, byteTileSums)
	tiled := quickest(func() {
		t.dot[0](c, panelWidth, tiles, len(tiles), w, layout.Unpacked, scales, blocks, rows, 0, 0, sums)
	})
	return float64(plain) > bytesGain*float64(tiled)
}

// roundedFor says what a weight wants of so many rows. They become tiles if that is faster and there is room.
func (r *runner) roundedFor(w *matrix, rows int) rounded {
	x := w.shape()
	x.data = r.rounded.data
	if x.stride > 0 && !x.pairs && r.kernels.quantised.tiles != nil {
		x.tiles = ceil(rows, layout.TileRows)*x.tileBytes() <= len(x.data) && rows >= r.kernels.quantised.tiles.from()
	}
	return x
}

// tileBytes is the size of 16 rows' tiles.
func (x *rounded) tileBytes() int { return x.cols / layout.Sub * layout.TileBlock }

// block returns the tiles of a row's block of inputs, and of those that follow.
func (x *rounded) block(row, k int) []byte {
	return x.data[row/layout.TileRows*x.tileBytes()+k/layout.Sub*layout.TileBlock:]
}

// multiplyByteTiles is multiplyQuantised for rows that were made tiles; first is a multiple of 16.
func (r *runner) multiplyByteTiles(p *packed, panel, panels, first, end int, c []float32, stride int, t *unpacked) {
	x, dot := &r.rounded, r.kernels.quantised.tiles.dot[0]
	if p.format.Fine {
		dot = r.kernels.quantised.tiles.dot[1]
	}
	inputs := max(unpackedInputs, byteTileInputs/ceil(end-first, layout.TileRows)/unpackedInputs*unpackedInputs)
	for k := 0; k < p.cols; k += inputs {
		n := min(inputs, p.cols-k)
		for i := range panels {
			t.take(p, p.panel(panel+i), k, n)
			dot(c[i*panelWidth:], stride, x.block(first, k), x.tileBytes(), t.u, t.stride, t.scales, n/p.format.ScaleInputs(), end-first,
				min(k, 1), t.ahead, t.sums)
		}
	}
}
