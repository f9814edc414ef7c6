//go:build cuda

package kernels

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"minisgl/device"
	"minisgl/tensor"
)

// rowShape has heads, rows and pages that are no multiples of anything; rowTolerance is what rounding to its Elements allows,
// relative to 1.
var rowShape = Shape{Element: tensor.BF16, Heads: 3, KVHeads: 2, HeadDim: 18, PageSize: 3, Vocab: 101}

const rowTolerance = 1.0 / 256

func onRows(t testing.TB) onCard { return onCard{t, compiled(t, rowShape, "rowwise", "pack")} }

func randomRows(n int) []float32 {
	random := rand.New(rand.NewPCG(3, 4))
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(random.NormFloat64())
	}
	return values
}

func expect(t *testing.T, what string, got []float32, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range want {
		if !(math.Abs(float64(got[i])-want[i]) <= rowTolerance*max(1, math.Abs(want[i]))) {
			t.Fatalf("%s: value %d is %g, want %g", what, i, got[i], want[i])
		}
	}
}

const untouched = float32(-77) // what the results hold before

func (b onCard) untouched(n int) []float32 { return slices.Repeat([]float32{untouched}, n) }

func TestEmbed(t *testing.T) {
	b := onRows(t)
	const width, stride = 70, 72
	table := round(randomRows(rowShape.Vocab*width), tensor.BF16)
	packed := b.alloc(int(PackedBytes(rowShape.Vocab, width, tensor.BF16)))
	packing := b.Pack(packed, put(b, table), tensor.F32, rowShape.Vocab, width, 0, put(b, []int32{0}))
	tokens := []int32{100, 0, device.Sampled(2), device.Sampled(0), 33}
	want := []int32{100, 0, 64, 0, 33}
	step := StepLayout{Header: put(b, []StepHeader{{Rows: 5}}), Tokens: put(b, tokens)}
	out := put(b, b.untouched(8*stride))
	b.run(packing, b.Embed(Embed{Step: step, Table: packed, Width: width, Last: put(b, []int32{device.NoToken, 7, 64}), Out: out, Stride: stride}, 8))
	got := get[float32](b, out, 8*stride)
	for row, token := range want {
		if !slices.Equal(got[row*stride:][:width], table[token*width:][:width]) {
			t.Errorf("row %d is not token %d", row, token)
		}
	}
	if !slices.Equal(got[5*stride:], b.untouched(3*stride)) {
		t.Error("rows behind the step's were written")
	}
}

func TestNorm(t *testing.T) {
	b := onRows(t)
	const width, stride, outStride, rows, first = 1100, 1104, 1120, 13, 2
	x, weight := randomRows((rows-first)*stride), randomRows(width)
	out := put(b, elementBytes(b.untouched(rows*outStride), tensor.BF16))
	b.run(b.Norm(Norm{Rows: put(b, []int32{rows}), FirstRow: first, X: put(b, x), XStride: stride, Weight: put(b, weight), Width: width, Eps: 1e-6,
		Out: out, OutStride: outStride}, rows))
	var want []float64
	for row := range rows - first {
		squares := 0.0
		for _, v := range x[row*stride:][:width] {
			squares += float64(v) * float64(v)
		}
		for i, v := range x[row*stride:][:width] {
			want = append(want, float64(v)/math.Sqrt(squares/width+1e-6)*float64(weight[i]))
		}
		want = append(want, make([]float64, outStride-width)...)
	}
	for range first * outStride {
		want = append(want, float64(untouched))
	}
	expect(t, "norm", fromElements(get[byte](b, out, rows*outStride*2), tensor.BF16), want)
}

func TestSelect(t *testing.T) {
	b := onRows(t)
	const width, stride = 300, 304
	x := randomRows(9 * stride)
	out := put(b, b.untouched(4*stride))
	step := StepLayout{Header: put(b, []StepHeader{{Outputs: 3}}), Selected: put(b, []int32{4, 8, 0})}
	b.run(b.Select(Select{Step: step, FirstRow: 1, X: put(b, x), XStride: stride, Width: width, Out: out, OutStride: stride}, 4))
	got := get[float32](b, out, 4*stride)
	if !slices.Equal(got[:width], x[8*stride:][:width]) || !slices.Equal(got[stride:][:width], x[:width]) {
		t.Error("outputs 1 and 2 are not rows 8 and 0")
	}
	if !slices.Equal(got[2*stride:], b.untouched(2*stride)) {
		t.Error("rows behind the outputs were written")
	}
}

func TestRotary(t *testing.T) {
	const rows, pages, eps = 4, 3, 1e-5
	heads, dim := rowShape.Heads+2*rowShape.KVHeads, rowShape.HeadDim
	stride := heads*dim + 2
	positions, cells := []int32{0, 7, 8, 3}, []int32{8, 1, 2, 5}
	qkv, qNorm, kNorm := randomRows(rows*stride), randomRows(dim), randomRows(2 * dim)[dim:]
	rotary := device.Rotary{InvFreq: []float32{1, .7, .5, .4, .3, .2, .1, .05, .01}, Scale: 1}
	var angles []float32
	for position := range 9 {
		cos, sin := make([]float64, dim/2), make([]float64, dim/2)
		rotary.CosSin(position, cos, sin)
		for _, v := range append(cos, sin...) {
			angles = append(angles, float32(v))
		}
	}
	for _, c := range []struct {
		name   string
		normed bool
	}{{"Qwen2", false}, {"Qwen3", true}} {
		t.Run(c.name, func(t *testing.T) {
			b := onRows(t)
			cache := elementBytes(b.untouched(pages*rowShape.KVHeads*rowShape.PageSize*dim), tensor.BF16)
			r := Rotary{Step: StepLayout{Header: put(b, []StepHeader{{Rows: rows}}), Positions: put(b, positions), Cells: put(b, cells)},
				QKV: put(b, qkv), Stride: stride, CosSin: put(b, angles), Eps: eps, Keys: put(b, cache), Values: put(b, cache)}
			if c.normed {
				r.QNorm, r.KNorm = put(b, qNorm), put(b, kNorm)
			}
			b.run(b.Rotary(r, rows+2))
			got := get[float32](b, r.QKV, rows*stride)
			keys := fromElements(get[byte](b, r.Keys, len(cache)), tensor.BF16)
			values := fromElements(get[byte](b, r.Values, len(cache)), tensor.BF16)
			for row := range rows {
				for head := range heads {
					want := make([]float64, dim)
					for i, x := range qkv[row*stride+head*dim:][:dim] {
						want[i] = float64(x)
					}
					isKey := head >= rowShape.Heads && head < rowShape.Heads+rowShape.KVHeads
					isValue := head >= rowShape.Heads+rowShape.KVHeads
					if c.normed && !isValue {
						weight := qNorm
						if isKey {
							weight = kNorm
						}
						normalise(want, weight, eps)
					}
					if !isValue {
						rotate(want, &rotary, int(positions[row]))
					}
					expect(t, "row", got[row*stride+head*dim:][:dim], want)
					kv := max(head-rowShape.Heads, 0) % rowShape.KVHeads
					at := ((int(cells[row])/rowShape.PageSize*rowShape.KVHeads+kv)*rowShape.PageSize + int(cells[row])%rowShape.PageSize) * dim
					switch {
					case isKey:
						expect(t, "key", keys[at:at+dim], want)
					case isValue:
						expect(t, "value", values[at:at+dim], want)
					}
				}
			}
			written := 0
			for i := range keys {
				if keys[i] != untouched || values[i] != untouched {
					written++
				}
			}
			if want := rows * rowShape.KVHeads * dim; written != want {
				t.Errorf("%d cells of the cache were written, want %d", written, want)
			}
		})
	}
}

func normalise(x []float64, weight []float32, eps float64) {
	squares := 0.0
	for _, v := range x {
		squares += v * v
	}
	for i := range x {
		x[i] *= float64(weight[i]) / math.Sqrt(squares/float64(len(x))+eps)
	}
}

func rotate(x []float64, rotary *device.Rotary, position int) {
	half := len(x) / 2
	cos, sin := make([]float64, half), make([]float64, half)
	rotary.CosSin(position, cos, sin)
	for i := range half {
		x[i], x[i+half] = x[i]*cos[i]-x[i+half]*sin[i], x[i+half]*cos[i]+x[i]*sin[i]
	}
}

func TestGatedSiLU(t *testing.T) {
	b := onRows(t)
	const rows, width, stride, outStride = 3, 1500, 3002, 1504
	x := randomRows(rows * stride)
	x[0], x[1] = -200, 200 // e²⁰⁰ is infinite
	out := put(b, elementBytes(b.untouched((rows+1)*outStride), tensor.BF16))
	b.run(b.GatedSiLU(GatedSiLU{Rows: put(b, []int32{rows}), GateUp: put(b, x), Stride: stride, Width: width, Out: out, OutStride: outStride}, rows+1))
	var want []float64
	for row := range rows {
		for i := range width {
			gate, up := float64(x[row*stride+i]), float64(x[row*stride+width+i])
			want = append(want, gate/(1+math.Exp(-gate))*up)
		}
		want = append(want, make([]float64, outStride-width)...)
	}
	for range outStride {
		want = append(want, float64(untouched))
	}
	expect(t, "silu", fromElements(get[byte](b, out, (rows+1)*outStride*2), tensor.BF16), want)
}

func TestCopyPages(t *testing.T) {
	b := onRows(t)
	const pages, layers = 7, 3
	block := rowShape.PageSize * rowShape.HeadDim
	page := rowShape.KVHeads * block
	cache := make([]uint16, 2*layers*pages*page)
	for i := range cache {
		cache[i] = uint16(i)
	}
	copies := []device.PageCopy{{Src: 1, Dst: 4, Tokens: 2}, {Src: 6, Dst: 0, Tokens: 3}, {Src: 5, Dst: 2, Tokens: 0}}
	want := slices.Clone(cache)
	for plane := range 2 * layers {
		for _, c := range copies {
			for head := range rowShape.KVHeads {
				at := func(page32 int32) int { return (plane*pages+int(page32))*page + head*block }
				copy(want[at(c.Dst):][:int(c.Tokens)*rowShape.HeadDim], cache[at(c.Src):])
			}
		}
	}
	onTheCard := put(b, cache)
	step := StepLayout{Header: put(b, []StepHeader{{Copies: 3}}), Copies: put(b, copies)}
	b.run(b.CopyPages(CopyPages{Step: step, Cache: onTheCard, Pages: pages, Layers: layers}, 2))
	if got := get[uint16](b, onTheCard, len(cache)); !slices.Equal(got, want) {
		t.Error("the cache is not what the copies make of it")
	}
}
