package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"minisgl/device_cpu/internal/layout"
	"minisgl/tensor"
)

// Every number of rows and of blocks gives the sums of the twin, where nothing rounds but what is defined to the bit, and
// writes nothing else. What lies behind the last row of activations may be anything.
func TestByteTiles(t *testing.T) {
	r := rand.New(rand.NewPCG(51, 1))
	const ldc, canary = panelWidth + 16, 12345
	power := func() float32 { return float32(math.Ldexp(1, r.IntN(4))) }
	for _, v := range amxVariants() {
		for i, inputs := range []int{layout.Sub, layout.Sub / 2} {
			for _, blocks := range []int{1, 2, 3, 5, 8} {
				if inputs < layout.Sub {
					blocks *= 2
				}
				for _, rows := range []int{1, 3, 4, 5, 11, 12, 15, 16, 17, 31, 32, 33, 47} {
					ldx := blocks * inputs / layout.Sub * layout.TileBlock
					x := make([]byte, ceil(rows, layout.TileRows)*ldx)
					for i := range x {
						x[i] = byte(r.Uint32())
					}
					for row := range rows {
						for at := row / layout.TileRows * ldx; at < (row/layout.TileRows+1)*ldx; at += layout.TileBlock {
							for i := range 4 {
								as[float32](x[at+layout.TileScales:])[i*layout.TileRows+row%layout.TileRows] = power()
							}
						}
					}
					ldw := inputs * panelWidth
					w, scales := make([]byte, blocks*ldw), make([]float32, 2*panelWidth*blocks)
					for i := range w {
						w[i] = byte(r.Uint32())
					}
					for i := range scales {
						scales[i] = power()
					}
					for add := range 2 {
						var results [2][]float32
						for k, dot := range []dotTiles{bytesGeneric.dot[i], v.quantised.tiles.dot[i]} {
							c := slices.Repeat([]float32{canary}, (rows+2)*ldc)
							dot(c[:rows*ldc], ldc, x, ldx, w, ldw, scales, blocks, rows, add, 0, make([]int32, byteTileSums))
							results[k] = c
						}
						if !slices.Equal(results[0], results[1]) {
							t.Fatalf("%s: %d inputs to a scale, %d blocks, %d rows, add %d: differs", v.name, inputs, blocks, rows, add)
						}
						for i, y := range results[1] {
							if outside := i >= rows*ldc || i%ldc >= panelWidth; outside && y != canary {
								t.Fatalf("%s: %d rows: %v behind the sums at %d", v.name, rows, y, i)
							}
						}
					}
				}
			}
		}
	}
}

// A row becomes the bytes of its twin, and leaves the tiles' other rows alone.
func TestRoundTiles(t *testing.T) {
	r := rand.New(rand.NewPCG(52, 1))
	x := randomFloats(r, 8*layout.Sub)
	clear(x[32:64])
	x[70], x[100], x[130], x[170] = 1e30, 1e-35, float32(math.NaN()), float32(math.Inf(-1))
	for _, v := range amxVariants() {
		for _, row := range []int{0, 1, 15} {
			got := slices.Repeat([]byte{9}, 8*layout.TileBlock)
			want := slices.Clone(got)
			v.quantised.tiles.round(x, got, row)
			roundTilesGeneric(x, want, row)
			for i := range got {
				if got[i] != want[i] {
					t.Fatalf("%s: row %d: byte %d of block %d is %d, want %d", v.name, row, i%layout.TileBlock, i/layout.TileBlock, got[i], want[i])
				}
			}
		}
	}
}

// Tiles in plain Go give the bits of the kernels in plain Go. For the assembly TestQuantisedProducts says so.
func TestByteTilesAgreeWithRows(t *testing.T) {
	r := rand.New(rand.NewPCG(53, 1))
	const rows, outputs = 37, 40
	for _, f := range layout.Formats {
		for _, cols := range []int{256, 1536} {
			w := randomQuantised(t, r, f.DType, outputs, cols)
			x := randomFloats(r, rows*cols)
			want := multiplied(t, &generic, pack(t, &generic, w), x, rows)
			k := tiles().kernels
			for _, n := range []int{2, 5, 16, 17, rows} {
				if got := multiplied(t, k, pack(t, k, w), x, n); !slices.Equal(got, want[:len(got)]) {
					t.Errorf("%s, %d inputs: %d rows in tiles differ", f.DType, cols, n)
				}
			}
		}
	}
}

// Rows are cut where tiles are, and not into more than there is room for.
func TestByteTileCuts(t *testing.T) {
	k := tiles().kernels
	m := pack(t, k, randomQuantised(t, rand.New(rand.NewPCG(54, 1)), tensor.Q8_0, 64, 64))
	for _, rows := range []int{2, 16, 17, 128, 129, 130, 500, 512} {
		r := &runner{kernels: k, pool: &pool{threads: 2}}
		r.rounded.data = make([]byte, roundUp(rows, layout.TileRows)*m.shape().stride)
		if cut := r.cutFor(m, rows); cut.rows%layout.TileRows != 0 || cut.rows > rowBlock {
			t.Errorf("%d rows in blocks of %d", rows, cut.rows)
		}
		r.rounded.data = r.rounded.data[:m.shape().stride]
		if r.roundedFor(m, rows).tiles {
			t.Errorf("%d rows are made tiles, for which there is no room", rows)
		}
	}
}

// Tiles are used from where they are faster on: where other kernels unpack weights, or need two tiles of their own, or never.
func TestByteTilesFrom(t *testing.T) {
	k := genericQuantised
	k.fewRows, k.rows = 2, 8
	k.dot = func([]float32, int, []int16, []float32, int, []byte, int, []float32, int, int, int, int, int) {
		time.Sleep(10 * time.Microsecond)
	}
	for _, c := range []struct{ slow, want int }{{0, 5}, {8, 9}, {16, math.MaxInt}} { // slow: up to so many rows
		tiles := byteTiles{dot: [2]dotTiles{func(_ []float32, _ int, _ []byte, _ int, _ []byte, _ int, _ []float32, _, rows, _, _ int, _ []int32) {
			if rows <= c.slow {
				time.Sleep(time.Millisecond)
			}
		}}}
		if got := k.with(tiles).tiles.from(); got != c.want {
			t.Errorf("slow up to %d rows: from %d, want %d", c.slow, got, c.want)
		}
	}
}

// BenchmarkByteTiles measures a product out of the first-level cache beside the one that it replaces.
func BenchmarkByteTiles(b *testing.B) {
	i := slices.IndexFunc(variants, func(v variant) bool { return v.name == "amx" })
	if i < 0 || !variants[i].usable() || variants[i].quantised.tiles == nil {
		b.Skip("this processor or system has no AMX for bytes")
	}
	k := variants[i].quantised
	for _, rows := range []int{5, 8, 16, 32, 128} {
		const inputs, blocks = unpackedInputs, unpackedInputs / layout.Sub
		c, w, scales := make([]float32, rows*panelWidth), make([]byte, unpackedBytes), make([]float32, unpackedScales)
		report := func(b *testing.B) {
			b.ReportMetric(2*float64(rows*inputs*panelWidth)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GOP/s")
		}
		b.Run(fmt.Sprintf("tiles/%d", rows), func(b *testing.B) {
			x, sums := make([]byte, ceil(rows, layout.TileRows)*blocks*layout.TileBlock), make([]int32, byteTileSums)
			for b.Loop() {
				k.tiles.dot[0](c, panelWidth, x, blocks*layout.TileBlock, w, layout.Unpacked, scales, blocks, rows, 0, 0, sums)
			}
			report(b)
		})
		b.Run(fmt.Sprintf("rows/%d", rows), func(b *testing.B) {
			x, sx := make([]int16, rows*inputs), make([]float32, rows*inputs)
			for b.Loop() {
				for tile := range ceil(rows, k.rows) {
					from, to := share(rows, ceil(rows, k.rows), tile)
					k.dot(c[from*panelWidth:], panelWidth, x[from*inputs:], sx[from*inputs/2:], 2*inputs, w, layout.Unpacked, scales,
						layout.Groups, blocks, to-from, 0, 0)
				}
			}
			report(b)
		})
	}
}
