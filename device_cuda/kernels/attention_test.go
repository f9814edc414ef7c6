//go:build cuda

package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"minisgl/device"
	"minisgl/device_cuda/driver"
	"minisgl/device_cuda/emulator"
	"minisgl/tensor"
)

// An attended is one sequence on a card: queries, keys and values of its positions, and what float64 makes of them.
type attended struct {
	onCard
	positions         int
	stride, outStride int
	query             []float32 // (positions, stride)
	keys, values      []float32 // (positions, KVHeads, HeadDim), rounded to Elements
	table             []int32
	keyPages, scratch driver.Ptr
	valuePages        driver.Ptr
	scale             float32
	copies            int32 // that the step's header speaks of
}

func newAttended(t testing.TB, shape Shape, positions int) *attended {
	set := compiled(t, shape, "attention")
	width := shape.Heads * shape.HeadDim
	a := &attended{onCard: onCard{t, set}, positions: positions, stride: width + 2*shape.KVHeads*shape.HeadDim,
		outStride: ceilDiv(width, 32) * 32, scale: float32(1 / math.Sqrt(float64(shape.HeadDim)))}
	random := rand.New(rand.NewPCG(1, 2))
	normal := func(n int, size float64) []float32 {
		values := make([]float32, n)
		for i := range values {
			values[i] = float32(random.NormFloat64() * size)
		}
		return values
	}
	a.query = normal(positions*a.stride, 2)
	a.keys = round(normal(positions*shape.KVHeads*shape.HeadDim, 1), shape.Element)
	a.values = round(normal(positions*shape.KVHeads*shape.HeadDim, 1), shape.Element)

	pages := ceilDiv(positions, shape.PageSize)
	for _, page := range random.Perm(pages + 3)[:pages] {
		a.table = append(a.table, int32(page))
	}
	a.keyPages = put(a.onCard, elementBytes(a.paged(a.keys, pages+3), shape.Element))
	a.valuePages = put(a.onCard, elementBytes(a.paged(a.values, pages+3), shape.Element))
	a.scratch = a.alloc(int(set.AttentionScratch()))
	if err := set.card.Fill(a.scratch, 0, set.AttentionScratch()); err != nil {
		t.Fatal(err)
	}
	return a
}

// paged lays (positions, KVHeads, HeadDim) out as pages. What nobody wrote is NaN.
func (a *attended) paged(values []float32, pages int) []float32 {
	paged := make([]float32, pages*a.KVHeads*a.PageSize*a.HeadDim)
	for i := range paged {
		paged[i] = float32(math.NaN())
	}
	for position := range a.positions {
		for head := range a.KVHeads {
			to := ((int(a.table[position/a.PageSize])*a.KVHeads+head)*a.PageSize + position%a.PageSize) * a.HeadDim
			copy(paged[to:to+a.HeadDim], values[(position*a.KVHeads+head)*a.HeadDim:])
		}
	}
	return paged
}

// run attends to positions [from, to) as one sequence of a step and returns its rows.
func (a *attended) run(plan attentionPlan, from, to int) []float32 {
	a.Helper()
	rows := to - from
	tables := append([]int32{-1, -1, -1}, a.table...) // another sequence's table lies before
	items := plan.items(nil, []device.Sequence{{Rows: int32(rows), Position: int32(from)}}, []int32{3})
	step := StepLayout{
		Header: put(a.onCard, []StepHeader{{Rows: int32(rows), Items: int32(len(items)), Copies: a.copies}}),
		Items:  put(a.onCard, items),
		Tables: put(a.onCard, tables),
	}
	out := a.alloc(rows * a.outStride * a.Element.BlockBytes())
	launch := a.Attention(Attention{Step: step, QKV: put(a.onCard, a.query[from*a.stride:to*a.stride]), QKVStride: a.stride,
		Keys: a.keyPages, Values: a.valuePages, Out: out, OutStride: a.outStride, Scale: a.scale, Scratch: a.scratch}, rows)
	launch.Grid[0] = min(launch.Grid[0], 3) // so that blocks have several items
	a.onCard.run(launch)
	return fromElements(get[byte](a.onCard, out, rows*a.outStride*a.Element.BlockBytes()), a.Element)
}

// want is the definition, in float64, with queries rounded to Elements.
func (a *attended) want(position int) []float64 {
	query := round(append([]float32(nil), a.query[position*a.stride:][:a.Heads*a.HeadDim]...), a.Element)
	out := make([]float64, 0, a.outStride)
	for head := range a.Heads {
		at := func(values []float32, j int) []float32 {
			return values[(j*a.KVHeads+head/(a.Heads/a.KVHeads))*a.HeadDim:][:a.HeadDim]
		}
		scores, sum := make([]float64, position+1), 0.0
		for j := range scores {
			for d, k := range at(a.keys, j) {
				scores[j] += float64(query[head*a.HeadDim+d]) * float64(k)
			}
			scores[j] = math.Exp(scores[j] * float64(a.scale))
			sum += scores[j]
		}
		mean := make([]float64, a.HeadDim)
		for j, weight := range scores {
			for d, v := range at(a.values, j) {
				mean[d] += weight / sum * float64(v)
			}
		}
		out = append(out, mean...)
	}
	return append(out, make([]float64, a.outStride-len(out))...)
}

func TestAttention(t *testing.T) {
	for _, c := range []struct {
		shape     Shape
		positions int
		tolerance float64
	}{
		{Shape{Element: tensor.BF16, Heads: 14, KVHeads: 2, HeadDim: 64, PageSize: 16}, 600, 0.02},
		{Shape{Element: tensor.F16, Heads: 4, KVHeads: 2, HeadDim: 128, PageSize: 4}, 330, 0.003},
		{Shape{Element: tensor.BF16, Heads: 3, KVHeads: 1, HeadDim: 18, PageSize: 1}, 330, 0.02},
		{Shape{Element: tensor.F16, Heads: 2, KVHeads: 2, HeadDim: 24, PageSize: 300}, 330, 0.003},
		{Shape{Element: tensor.F16, Heads: 70, KVHeads: 1, HeadDim: 2, PageSize: 16}, 270, 0.003},
		{Shape{Element: tensor.F16, Heads: 1, KVHeads: 1, HeadDim: 256, PageSize: 16}, 270, 0.003},
		{Shape{Element: tensor.F32, Heads: 6, KVHeads: 2, HeadDim: 20, PageSize: 16}, 330, 1e-5},
	} {
		t.Run(fmt.Sprintf("%v/%dx%dx%d/pages of %d", c.shape.Element, c.shape.Heads, c.shape.KVHeads, c.shape.HeadDim, c.shape.PageSize), func(t *testing.T) {
			a := newAttended(t, c.shape, c.positions)
			whole := attentionPlan{group: a.Heads / a.KVHeads, aim: 1, few: 1}
			shared := attentionPlan{group: a.Heads / a.KVHeads, aim: 1 << 20, few: 1 << 20}
			all := a.run(whole, 0, a.positions)
			for position := range a.positions {
				if position%37 > 1 && position%64 < 62 {
					continue
				}
				for i, want := range a.want(position) {
					if got := float64(all[position*a.outStride+i]); !(math.Abs(got-want) <= c.tolerance) {
						t.Fatalf("position %d: value %d is %g, want %g", position, i, got, want)
					}
				}
			}
			emulator.Order(t, 7)
			end := a.positions
			a.same(all, "all, splits shared out", shared, 0, end, end)
			a.same(all, "chunks of 64", whole, 0, end, 64)
			a.same(all, "chunks of 7", shared, 230, 265, 7)
			a.same(all, "chunks of 3", whole, 250, 259, 3)
			a.same(all, "decode", whole, 0, 5, 1)
			a.same(all, "decode", whole, 254, 258, 1)
			a.same(all, "decode, splits shared out", shared, end-5, end, 1)
			a.copies = 1 // so nothing may be read before the kernels before are done
			a.same(all, "decode behind copies", whole, end-1, end, 1)
		})
	}
}

// same fails the test unless positions [from, to) in chunks have the bits that they have in `all`.
func (a *attended) same(all []float32, what string, plan attentionPlan, from, to, chunk int) {
	a.Helper()
	for first := from; first < to; first += chunk {
		for i, got := range a.run(plan, first, min(first+chunk, to)) {
			if want := all[first*a.outStride+i]; math.Float32bits(got) != math.Float32bits(want) {
				a.Fatalf("%s: position %d, value %d is %g, and %g as part of the whole", what, first+i/a.outStride, i%a.outStride, got, want)
			}
		}
	}
}

// round rounds values to what Elements can hold, in place.
func round(values []float32, element tensor.DType) []float32 {
	copy(values, fromElements(elementBytes(values, element), element))
	return values
}

func elementBytes(values []float32, element tensor.DType) []byte {
	if element == tensor.F32 {
		return asBytes(append([]float32(nil), values...))
	}
	narrow := tensor.Float32ToBF16
	if element == tensor.F16 {
		narrow = tensor.Float32ToF16
	}
	elements := make([]uint16, len(values))
	for i, x := range values {
		elements[i] = narrow(x)
	}
	return asBytes(elements)
}

func fromElements(bytes []byte, element tensor.DType) []float32 {
	values := make([]float32, len(bytes)/element.BlockBytes())
	element.ToFloat32(values, bytes)
	return values
}
