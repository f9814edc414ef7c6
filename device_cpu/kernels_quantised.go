package cpu

import (
	"encoding/binary"
	"math"

	"minisgl/device_cpu/internal/layout"
	"minisgl/tensor"
)

// quantisedKernels multiply weights that are kept as GGUF has them (package layout). Activations become 16-bit numbers, 32 of
// which share a scale, so that a sub-block's products add up to a whole number, the same on every path; only what it is then
// multiplied with is float32. An activation is off by at most 2⁻¹⁶ of the largest of its 32.
type quantisedKernels struct {
	rows int // most rows of a tile

	// round makes len(q) activations, a multiple of 32, 16-bit numbers. scales receives for each 32 inputs their scale and
	// scale·Σq, and behind these the same for each 16.
	round func(x []float32, q []int16, scales []float32)

	// dot adds to c, or sets it if add is 0, the products of rows of x, ldx bytes apart as their scales sx are, with
	// sub-blocks that lie ldw bytes apart and have groups of 4 inputs, all of a panel. ahead is how many bytes ahead of w
	// memory is asked for.
	dot func(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, ldw int, scales []float32,
		groups, blocks, rows, add, ahead int)

	formats map[tensor.DType]formatKernels

	// tiles are used for many rows; nil if the path has none.
	tiles *byteTiles

	// fewRows is how many rows few takes at most. It is used for up to twice as many.
	fewRows int
}

type formatKernels struct {
	// unpack turns blocks into sub-blocks of bytes, and scales and offsets of ScaleInputs inputs of 32 outputs each. Formats
	// of 8 bits are read where they are, so that only their scales are unpacked.
	unpack func(w []byte, blocks int, u []byte, scales []float32)
	// few is unpack and dot in one, for few rows, which need not be unpacked for.
	few func(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, blocks, rows, add int)
}

var genericQuantised = quantisedKernels{
	rows:    4,
	round:   roundGeneric,
	dot:     dotGeneric,
	formats: genericFormats(),
}

func genericFormats() map[tensor.DType]formatKernels {
	formats := map[tensor.DType]formatKernels{}
	for i := range layout.Formats {
		f := &layout.Formats[i]
		unpack := func(w []byte, blocks int, u []byte, scales []float32) { unpackGeneric(f, w, blocks, u, scales) }
		formats[f.DType] = formatKernels{unpack: unpack}
	}
	return formats
}

func roundGeneric(x []float32, q []int16, scales []float32) {
	fine := scales[len(q)/16:]
	for at := 0; at < len(q); at += layout.Sub {
		var largest uint32 // among bits, where a NaN is larger than any number
		for _, v := range x[at:][:layout.Sub] {
			largest = max(largest, math.Float32bits(v)&^(1<<31))
		}
		scale := math.Float32frombits(largest) * (1.0 / math.MaxInt16)
		inverse := math.MaxInt16 / max(math.Float32frombits(largest), 1e-30)
		var sums [2]int32
		for i, v := range x[at:][:layout.Sub] {
			n := math.RoundToEven(float64(v * inverse))
			if n != n {
				n = math.MinInt16
			}
			q[at+i] = int16(min(max(n, math.MinInt16), math.MaxInt16))
			sums[i/16] += int32(q[at+i])
		}
		scales[at/16], scales[at/16+1] = scale, float32(sums[0]+sums[1])*scale
		for half, sum := range sums {
			fine[at/8+2*half], fine[at/8+2*half+1] = scale, float32(sum)*scale
		}
	}
}

func unpackGeneric(f *layout.Format, w []byte, blocks int, u []byte, scales []float32) {
	for range blocks {
		header := w[:f.HeaderBytes()]
		w = w[len(header):]
		for range f.Inputs() / layout.Sub {
			low, high := w[:f.LowBytes()], w[f.LowBytes():][:f.HighBytes()]
			if f.Low == 4 {
				unpackNibbles(f, low, high, u)
				u = u[layout.Unpacked:]
			}
			n := layout.Sub / f.ScaleInputs()
			unpackScales(f, header, w[len(low)+len(high):], scales[:n*2*layout.Panel])
			scales = scales[n*2*layout.Panel:]
			w = w[f.SubBytes():]
		}
	}
}

func unpackNibbles(f *layout.Format, low, high, u []byte) {
	for g := range layout.Groups {
		for j := range layout.Panel {
			word := binary.LittleEndian.Uint32(low[4*(g/2*layout.Panel+j):]) >> (g % 2 * 4) & 0x0f0f0f0f
			switch f.High {
			case 1:
				word |= binary.LittleEndian.Uint32(high[4*j:]) >> g & 0x01010101 << 4
			case 2:
				word |= binary.LittleEndian.Uint32(high[4*(g/4*layout.Panel+j):]) >> (g % 4 * 2) & 0x03030303 << 4
			}
			binary.LittleEndian.PutUint32(u[4*(g*layout.Panel+j):], word)
		}
	}
}

func unpackScales(f *layout.Format, header, from []byte, to []float32) {
	half := func(b []byte, j int) float32 { return tensor.F16ToFloat32(binary.LittleEndian.Uint16(b[2*j:])) }
	for i := range len(to) / (2 * layout.Panel) {
		for j := range layout.Panel {
			var scale, offset float32
			switch {
			case !f.Super:
				scale = half(from, j)
				if f.Offset {
					offset = half(from, layout.Panel+j)
				}
			case f.Offset:
				scale = float32(from[j]) * half(header, j)
				offset = float32(from[layout.Panel+j]) * half(header, layout.Panel+j)
			default:
				scale = float32(int8(from[i*layout.Panel+j])) * half(header, j)
			}
			if !f.Offset {
				offset = float32(f.Zero) * scale
			}
			to[2*i*layout.Panel+j], to[(2*i+1)*layout.Panel+j] = scale, offset
		}
	}
}

func dotGeneric(c []float32, ldc int, x []int16, sx []float32, ldx int, w []byte, ldw int, scales []float32,
	groups, blocks, rows, add, _ int) {
	clearTile(c, ldc, rows, add)
	for b := range blocks {
		scale, offset := scales[2*b*panelWidth:][:panelWidth], scales[(2*b+1)*panelWidth:][:panelWidth]
		for r := range rows {
			q := x[r*ldx/2+b*4*groups:]
			sum, total := sx[r*ldx/4+2*b], sx[r*ldx/4+2*b+1]
			for j := range panelWidth {
				var n int32
				for g := range groups {
					u, q := w[b*ldw+4*(g*panelWidth+j):][:4], q[4*g:][:4]
					n += int32(u[0])*int32(q[0]) + int32(u[2])*int32(q[1]) + int32(u[1])*int32(q[2]) + int32(u[3])*int32(q[3])
				}
				s := &c[r*ldc+j]
				*s += float32(float32(n) * float32(sum*scale[j]))
				*s -= float32(total * offset[j])
			}
		}
	}
}
