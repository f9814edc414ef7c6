package cpu

import (
	"encoding/binary"

	"minisgl/tensor"
)

// AMX multiplies tiles of 16 rows by 16 outputs, 32 inputs at a time, in bfloat16 with float32 sums. An instruction adds to
// each sum c the even and the odd inputs' products (Intel's manual, volume 2, TDPBF16PS):
//
//	c += (x[0]·w[0] + x[2]·w[2] + …) + (x[1]·w[1] + x[3]·w[3] + …)
//
// in that order, fused, whatever other rows the tile has. So a row's sums have one order here too, and the same tiles serve
// every number of rows: with one row it is the weights' way from memory that takes time.
//
// An activation becomes one bfloat16 number or two, its upper and its lower half, which together keep 16 bits of it. The lower
// half meets the same tile of weights directly after the upper.
const (
	amxRows   = 16                  // rows of a tile
	amxWide   = 2 * amxRows         // most rows that share a step's weights
	amxInputs = 32                  // inputs of a step
	amxTile   = amxRows * amxInputs // numbers in a tile
	amxPanel  = 2 * amxTile         // weights of a panel in a step
)

const (
	// amxBlock is how many steps of a panel many rows share before the next panel's turn: 32 KB of weights, so that the
	// rows' activations stay in the second-level cache while panel by panel goes by.
	amxBlock = 16
	// amxRowBlock is how many rows share a panel's weights, amxUnitPanels how many panels a thread takes at most at once.
	amxRowBlock   = 256
	amxUnitPanels = 16
	// amxCache is what activations may fill of the second-level cache.
	amxCache = 1 << 20
	// amxCall bounds the steps of a call, which cannot be preempted, to 1 MB of weights.
	amxCall = 256
	// amxAhead is how many bytes ahead weights are asked for by few rows, amxWideAhead by 17 to 32.
	amxAhead     = 1024
	amxWideAhead = 8192
	// amxLines are the cache lines of a panel's weights in a step.
	amxLines = 2 * amxPanel / cacheLine
)

// amxKernels are the functions of a processor with AMX, for activations of one half and of two.
type amxKernels struct {
	split  [2]amxSplit
	narrow [2]amxNarrow
	wide   [2]amxWider
}

// An amxSplit writes up to 16 rows of x, ldx values apart, as tiles: for each step a tile for each half. Bit i of last says
// whether input i of the last step is there; others count as 0.
type amxSplit func(t []uint16, x []float32, ldx, steps, last, rows int)

// An amxNarrow multiplies up to 16 rows by a panel w or two, the second of which has its sums and weights nextC and nextW
// numbers behind: c = x · w, on top of what c holds if add is not 0. It asks for weights some bytes ahead.
type amxNarrow func(c []float32, ldc, nextC int, x, w []uint16, nextW, steps, rows, panels, add, ahead int)

// An amxWider multiplies blocks of rows, 32 each, or one block of 17 to 32, by a panel. Tiles of 16 rows lie ldx numbers apart.
// In each step it asks for so many lines of memory, a multiple of 4, from ahead bytes behind the start of w on.
type amxWider func(c []float32, ldc int, x []uint16, ldx int, w []uint16, steps, rows, blocks, add, ahead, lines int)

func amxSteps(inputs int) int { return ceil(inputs, amxInputs) }

// amxPack writes a panel of bfloat16 weights. A source is an output's row of inputs. A step's weights are two tiles, for 16
// outputs each, with pairs of inputs as rows.
func amxPack(panel []byte, sources [][]byte, inputs int) {
	if len(sources) < panelWidth || inputs%amxInputs != 0 {
		clear(panel)
	}
	var absent [2 * amxInputs]byte
	words := as[uint32](panel)
	for first := 0; first < len(sources); first += amxRows {
		columns := sources[first:min(first+amxRows, len(sources))]
		for step := range inputs / amxInputs {
			tile := (*[amxTile / 2]uint32)(words[(step*amxPanel+first*amxInputs)/2:])
			var rows [amxRows]*[2 * amxInputs]byte
			for j := range rows {
				rows[j] = &absent
				if j < len(columns) {
					rows[j] = (*[2 * amxInputs]byte)(columns[j][step*2*amxInputs:])
				}
			}
			for i := 0; i < amxRows; i += 2 {
				for j, row := range rows {
					pairs := binary.LittleEndian.Uint64(row[4*i:])
					tile[i*amxRows+j], tile[i*amxRows+amxRows+j] = uint32(pairs), uint32(pairs>>32)
				}
			}
		}
	}
	for k := inputs / amxInputs * amxInputs; k < inputs; k++ {
		for j, source := range sources {
			as[uint16](panel)[amxPlace(j, k)] = binary.LittleEndian.Uint16(source[2*k:])
		}
	}
}

// amxPlace is where a panel has the weight of output j for input k.
func amxPlace(j, k int) int {
	return k/amxInputs*amxPanel + j/amxRows*amxTile + k%amxInputs/2*2*amxRows + 2*(j%amxRows) + k%2
}

// amxRow reads an output's weights.
func amxRow(dst []float32, panel []byte, j int) {
	weights := as[uint16](panel)
	for k := range dst {
		dst[k] = tensor.BF16ToFloat32(weights[amxPlace(j, k)])
	}
}

// tiled are activations as tiles: for each 16 rows the steps, for each step the halves.
type tiled struct {
	data   []uint16
	room   int // numbers in data
	halves int
	cols   int // of the rows that are there
	steps  int
}

// at returns the tiles of rows from row on, a multiple of 16, from a step on.
func (x *tiled) at(row, step int) []uint16 {
	return x.data[(row/amxRows*x.steps+step)*x.halves*amxTile:]
}

// stride is the distance of two tiles of rows.
func (x *tiled) stride() int { return x.steps * x.halves * amxTile }

// setRows makes tiles of up to 16 rows of in, the first of which is a multiple of 16.
func (x *tiled) setRows(kernels *amxKernels, in buffer, row, rows int) {
	last := 1<<((x.cols-1)%amxInputs+1) - 1
	kernels.split[x.halves-1](x.at(row, 0), in.data[row*in.stride:], in.stride, x.steps, last, rows)
}

// tiledCols is the number of inputs if any part wants activations as tiles, else 0.
func (m *matrix) tiledCols() int {
	for _, p := range m.parts {
		if p.tiles {
			return m.cols
		}
	}
	return 0
}

// cut makes units of two panels, or eight of a large weight, of few rows; of many rows units whose activations stay in the
// second-level cache or, if a row is too long for that, meet many panels each time they come to it.
func (x *tiled) cut(w *matrix, rows, threads int) cut {
	panels := w.panels()
	if rows <= amxWide {
		if panels >= 64*threads {
			return cut{amxWide, 8}
		}
		return cut{amxWide, 2}
	}
	block := roundUp(ceil(rows, ceil(rows, amxRowBlock)), amxWide)
	if 2*block*w.cols*x.halves > amxCache {
		return cut{block, min(ceil(panels, threads), amxUnitPanels)}
	}
	return cut{block, 4}
}

// multiplyTiles is multiplyPlain for weights that are packed for AMX and the rows that were made tiles; first is a multiple of
// 16.
func (r *runner) multiplyTiles(p *packed, panel, panels, first, end int, c []float32, stride int) {
	m := tileProduct{kernels: r.kernels.amx, x: &r.tiled, c: c, stride: stride, first: first,
		weights: as[uint16](p.data)[panel*r.tiled.steps*amxPanel:], panels: panels}
	if rows := end - first; rows > amxWide {
		m.many(rows)
	} else {
		m.few(rows)
	}
}

// A tileProduct multiplies rows from first on by some panels.
type tileProduct struct {
	kernels *amxKernels
	x       *tiled
	c       []float32
	stride  int // of c
	first   int
	weights []uint16
	panels  int
}

// place is where weights have a step of a panel.
func (m *tileProduct) place(panel, step int) int { return (panel*m.x.steps + step) * amxPanel }

// few multiplies up to 32 rows, which is done when the weights have come from memory.
func (m *tileProduct) few(rows int) {
	for step := 0; step < m.x.steps; step += amxCall {
		n := min(amxCall, m.x.steps-step)
		if rows > amxRows {
			for panel := range m.panels {
				m.wide(panel, step, n, rows, 1, amxWideAhead, amxLines)
			}
			continue
		}
		half := ceil(m.panels, 2)
		for panel := range half {
			m.narrow(panel, half, step, n, rows, amxAhead)
		}
	}
}

// many multiplies more than 32 rows, while the weights whose turn is next come from memory.
func (m *tileProduct) many(rows int) {
	blocks, rest := rows/amxWide, rows%amxWide
	lines := roundUp(ceil(amxLines, blocks), 4)
	n := ceil(m.x.steps, ceil(m.x.steps, amxBlock))
	for step := 0; step < m.x.steps; step += n {
		n := min(n, m.x.steps-step)
		for panel := range m.panels {
			next := m.place(panel+1, step)
			if panel == m.panels-1 {
				next = m.place(0, step+n)
				if step+n == m.x.steps {
					next = m.place(m.panels, 0)
				}
			}
			m.wide(panel, step, n, amxWide, blocks, 2*(next-m.place(panel, step)), lines)
			if rest == 0 {
				continue
			}
			behind := *m
			behind.first += blocks * amxWide
			behind.c = m.c[blocks*amxWide*m.stride:]
			if rest > amxRows {
				behind.wide(panel, step, n, rest, 1, 0, 0)
			} else {
				behind.narrow(panel, m.panels, step, n, rest, 0)
			}
		}
	}
}

func (m *tileProduct) wide(panel, step, n, rows, blocks, ahead, lines int) {
	m.kernels.wide[m.x.halves-1](m.c[panel*panelWidth:], m.stride, m.x.at(m.first, step), m.x.stride(),
		m.weights[m.place(panel, step):], n, rows, blocks, step, ahead, lines)
}

// narrow multiplies a panel and, if there is one, the one that lies far behind it.
func (m *tileProduct) narrow(panel, far, step, n, rows, ahead int) {
	panels := 1
	if panel+far < m.panels {
		panels = 2
	}
	m.kernels.narrow[m.x.halves-1](m.c[panel*panelWidth:], m.stride, far*panelWidth, m.x.at(m.first, step),
		m.weights[m.place(panel, step):], m.place(far, 0), n, rows, panels, step, ahead)
}
