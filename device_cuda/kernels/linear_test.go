//go:build cuda

package kernels

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"minisgl/device_cuda/emulator"
	"minisgl/tensor"
)

func linearShape(element tensor.DType) Shape {
	return Shape{Element: element, Heads: 3, KVHeads: 1, HeadDim: 16, PageSize: 4, Vocab: 101}
}

func onLinear(t testing.TB, element tensor.DType) onCard {
	return onCard{t, compiled(t, linearShape(element), "linear", "linear_tile", "linear_wgmma", "rowwise", "pack")}
}

// A product is a matrix product on the card, which every kernel must compute to the same bits.
type product struct {
	onCard
	Linear
	rows                      int       // there are, at most
	weight, x, bias, residual []float32 // as Elements and floats on the card hold them
	positions, cells          []int32
	turns                     []float32
	normed                    Linear // the same, from rows that are not normalised yet
}

const cacheCells, turnRows = 80, 50

func (b onCard) product(out, in int, epilogue Epilogue, rows int) *product {
	random := rand.New(rand.NewPCG(uint64(out), uint64(in)))
	values := func(n int, mean, deviation float64) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(mean + deviation*random.NormFloat64())
		}
		return v
	}
	stride := (out + 3) / 4 * 4
	p := &product{
		onCard: b, rows: rows,
		weight: round(values(out*in, 0, 1/math.Sqrt(float64(in))), b.Element), bias: values(out, 0, 1),
		residual: values(rows*stride, 0, 1), turns: values(turnRows*b.HeadDim, 0, 1),
		Linear: Linear{Out: out, In: in, XStride: ceilDiv(in, 32) * 32, Stride: stride, Epilogue: epilogue, Eps: 1e-6},
	}
	selected := make([]int32, rows)
	for i := range rows {
		p.positions = append(p.positions, random.Int32N(turnRows))
		p.cells = append(p.cells, int32(i*7%cacheCells))
		selected[i] = int32(rows - 1 - i)
	}

	// Rows for the norm stand backwards; the norm's own kernel says what they become.
	x, width := values(rows*in, 0, 1), p.XStride
	backwards := make([]float32, 0, len(x))
	for i := range rows {
		backwards = append(backwards, x[(rows-1-i)*in:][:in]...)
	}
	norm := put(b, values(in, 1, 0.1))
	p.X = b.alloc(rows * width * b.Element.BlockBytes())
	p.Weight = b.alloc(int(PackedBytes(out, in, b.Element)))
	b.run(b.Pack(p.Weight, put(b, p.weight), tensor.F32, out, in, 0, put(b, []int32{0})),
		b.Set.Norm(Norm{Rows: put(b, []int32{int32(rows)}), X: put(b, x), XStride: in, Weight: norm, Width: in, Eps: p.Eps, Out: p.X, OutStride: width}, rows))
	p.x = fromElements(get[byte](b, p.X, rows*width*b.Element.BlockBytes()), b.Element)

	p.Bias, p.Positions, p.Cells, p.CosSin = put(b, p.bias), put(b, p.positions), put(b, p.cells), put(b, p.turns)
	p.normed = p.Linear
	p.normed.X, p.normed.XStride, p.normed.Norm, p.normed.Selected = put(b, backwards), in, norm, put(b, selected)
	return p
}

// An outcome is what rows have become: for each its result (Stride values) and what lies in its cell of the cache.
type outcome [][]float32

// compute runs a kernel (the one that Linear chooses, if it has no name) on rows first … first+rows of the product.
func (p *product) compute(v LinearVariant, first, rows int) outcome {
	p.Helper()
	l := p.Linear
	if v.Norm {
		l = p.normed
	} else {
		l.X = l.X.Offset(int64(first * l.XStride * p.Element.BlockBytes()))
	}
	l.FirstRow, l.Rows = first, put(p.onCard, []int32{int32(first + rows)})
	element := tensor.F32
	before := p.residual[first*p.Stride:]
	if l.Epilogue == SiLU {
		element, before = p.Element, p.untouched(len(before))
	}
	l.Result = put(p.onCard, elementBytes(before, element))
	cache := elementBytes(p.untouched(cacheCells*p.KVHeads*p.HeadDim), p.Element)
	l.Keys, l.Values = put(p.onCard, cache), put(p.onCard, cache)

	launch, err := p.Set.Linear(l, p.rows)
	if v.Kernel != "" {
		launch, err = p.LinearWith(l, p.rows, v)
	}
	if err != nil {
		p.Fatal(err)
	}
	p.run(launch)

	got := fromElements(get[byte](p.onCard, l.Result, len(before)*element.BlockBytes()), element)
	if !slices.Equal(got[rows*p.Stride:], round(slices.Clone(before[rows*p.Stride:]), element)) {
		p.Fatalf("%s wrote behind its %d rows", launch.Function.Name, rows)
	}
	keys := fromElements(get[byte](p.onCard, l.Keys, len(cache)), p.Element)
	values := fromElements(get[byte](p.onCard, l.Values, len(cache)), p.Element)
	var o outcome
	for i := range rows {
		at := int(p.cells[first+i]) // one KV head: cells follow each other
		o = append(o, slices.Concat(got[i*p.Stride:][:p.Stride], keys[at*p.HeadDim:][:p.HeadDim], values[at*p.HeadDim:][:p.HeadDim]))
	}
	return o
}

// want is the outcome of a row in float64.
func (p *product) want(row int) []float64 {
	y := make([]float64, p.Out)
	for n := range y {
		y[n] = float64(p.bias[n])
		for k := range p.In {
			y[n] += float64(p.weight[n*p.In+k]) * float64(p.x[row*p.XStride+k])
		}
	}
	want := make([]float64, p.Stride+2*p.HeadDim)
	for i := range want {
		want[i] = float64(round([]float32{untouched}, p.Element)[0])
		if i < p.Stride && p.Epilogue != SiLU {
			want[i] = float64(p.residual[row*p.Stride+i])
		}
	}
	switch p.Epilogue {
	case Store:
		copy(want, y)
	case Residual:
		for n := range y {
			want[n] += y[n]
		}
	case SiLU:
		for i := range y[:p.Out/2] {
			want[i] = y[2*i] / (1 + math.Exp(-y[2*i])) * y[2*i+1]
		}
	case Rotate:
		turn := p.turns[int(p.positions[row])*p.HeadDim:]
		for head := range p.Heads + 2*p.KVHeads {
			at := head * p.HeadDim // of the head's outcome: q in its place, then k and v behind the row
			if head >= p.Heads {
				at = p.Stride + (head-p.Heads)*p.HeadDim
			}
			half := p.HeadDim / 2
			for i := range half {
				a, b := y[head*p.HeadDim+2*i], y[head*p.HeadDim+2*i+1]
				cos, sin := float64(turn[i]), float64(turn[half+i])
				if head < p.Heads+p.KVHeads {
					want[at+i], want[at+half+i] = a*cos-b*sin, b*cos+a*sin
				} else {
					want[at+2*i], want[at+2*i+1] = a, b
				}
			}
		}
	}
	return want
}

func (p *product) checkAgainstFloat64(o outcome) {
	p.Helper()
	for row := range o {
		for i, want := range p.want(row) {
			tolerance := 1e-5
			if p.Epilogue == SiLU || i >= p.Stride {
				tolerance = 1.0 / 128
			}
			if got := float64(o[row][i]); !(math.Abs(got-want) <= tolerance*max(1, math.Abs(want))) {
				p.Fatalf("%d outputs, %d inputs, epilogue %d: row %d, value %d is %g, want %g", p.Out, p.In, p.Epilogue, row, i, got, want)
			}
		}
	}
}

func (p *product) checkSame(what string, got, want outcome) {
	p.Helper()
	for row := range got {
		for i := range got[row] {
			if math.Float32bits(got[row][i]) != math.Float32bits(want[row][i]) {
				p.Errorf("%s: %d outputs, %d inputs, epilogue %d, %d rows: row %d, value %d is %g, others say %g",
					what, p.Out, p.In, p.Epilogue, len(got), row, i, got[row][i], want[row][i])
				return
			}
		}
	}
}

// variants are the kernels that the card has.
func (b onCard) variants() []LinearVariant {
	return slices.DeleteFunc(LinearVariants(b.Element), func(v LinearVariant) bool { return !b.has(v) })
}

var linearCases = []struct {
	out, in  int
	epilogue Epilogue
}{
	{103, 37, Store}, {103, 300, Residual}, {24, 50, SiLU}, {130, 300, SiLU}, {256, 64, SiLU}, {34, 1100, Residual}, {224, 608, Residual}, {72, 688, Store}, {80, 50, Rotate}, {80, 300, Rotate},
}

// TestLinear compares every kernel, with and without the norm, with float64 and then bit for bit with the others.
func TestLinear(t *testing.T) {
	for _, element := range []tensor.DType{tensor.BF16, tensor.F16, tensor.F32} {
		t.Run(element.String(), func(t *testing.T) {
			b := onLinear(t, element)
			for _, c := range linearCases {
				p := b.product(c.out, c.in, c.epilogue, 70)
				all := p.compute(LinearVariant{}, 0, 70)
				p.checkAgainstFloat64(all)
				for _, v := range b.variants() {
					for _, rows := range []int{1, 17, 70} {
						p.checkSame(v.Kernel, p.compute(v, 0, rows), all)
					}
				}
			}
		})
	}
}

// TestLinearOfAnyRows takes every number of rows, as the scheduler may plan them: none of them changes a row's bits.
func TestLinearOfAnyRows(t *testing.T) {
	b := onLinear(t, tensor.BF16)
	p := b.product(80, 300, Rotate, 70)
	all := p.compute(LinearVariant{}, 0, 70)
	for rows := range 71 {
		few := *p
		few.rows = max(rows, 1) // so that another kernel is chosen
		p.checkSame("chosen kernel", few.compute(LinearVariant{}, 0, rows), all)
	}
	p.checkSame("a chunk", p.compute(LinearVariant{}, 50, 20), all[50:])
}

// TestLinearWithoutRoom has too little shared memory for all weights of a block, as with very many inputs.
func TestLinearWithoutRoom(t *testing.T) {
	b := onLinear(t, tensor.BF16)
	p := b.product(40, 3100, Store, 1)
	all := p.compute(LinearVariant{}, 0, 1)
	p.checkAgainstFloat64(all)
	for _, v := range b.variants() {
		small := *b.Set
		small.info.SharedPerBlock = 48 << 10
		if v.Norm {
			small.info.SharedPerBlock = 72 << 10
		}
		if p.Set = &small; v.Module == "linear" && (v.Outputs <= 16 || v.Norm) {
			p.checkSame(v.Kernel, p.compute(v, 0, 1), all)
		}
	}
}

// TestLinearInAnyOrder runs threads and blocks in other orders: a missing barrier would show.
func TestLinearInAnyOrder(t *testing.T) {
	emulator.Order(t, 3)
	b := onLinear(t, tensor.BF16)
	p := b.product(103, 300, Residual, 40)
	all := p.compute(LinearVariant{}, 0, 40)
	p.checkAgainstFloat64(all)
	for _, v := range b.variants() {
		p.checkSame(v.Kernel, p.compute(v, 0, 40), all)
	}
}

func TestLinearRefuses(t *testing.T) {
	b := onLinear(t, tensor.BF16)
	for want, l := range map[string]Linear{
		"linear: 0 outputs, 5 inputs, 100 rows: want at least one of each": {In: 5},
		"linear: a norm within the product is for few rows, not 100":       {Out: 8, In: 5, Norm: 16},
		"linear: 7 outputs, want pairs":                                    {Out: 7, In: 5, Epilogue: SiLU},
	} {
		if _, err := b.Set.Linear(l, 100); err == nil || err.Error() != want {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
