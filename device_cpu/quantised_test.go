package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"minisgl/device_cpu/internal/layout"
	"minisgl/tensor"
)

// randomQuantised is a tensor of random blocks whose scales are numbers of a sensible size.
func randomQuantised(t testing.TB, r *rand.Rand, dtype tensor.DType, rows, cols int) *tensor.Tensor {
	t.Helper()
	n := dtype.BlockBytes()
	data := make([]byte, rows*dtype.RowBytes(cols))
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	halves := map[tensor.DType][]int{tensor.Q4_1: {0, 2}, tensor.Q5_1: {0, 2}, tensor.Q4_K: {0, 2}, tensor.Q5_K: {0, 2}, tensor.Q6_K: {208}}[dtype]
	if halves == nil {
		halves = []int{0}
	}
	for at := 0; at < len(data); at += n {
		for _, place := range halves {
			h := tensor.Float32ToF16(float32(r.NormFloat64()) / 100)
			data[at+place], data[at+place+1] = byte(h), byte(h>>8)
		}
	}
	x, err := tensor.New(dtype.String(), dtype, []int{rows, cols}, data)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func quantisedVariants() []variant {
	return slices.DeleteFunc(usableVariants(), func(v variant) bool { return v.quantised == nil })
}

// Every format's rows come back bit for bit, as package tensor reads them, beside parts of other types.
func TestQuantisedRows(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 1))
	for _, v := range quantisedVariants() {
		for _, f := range layout.Formats {
			t.Run(fmt.Sprintf("%s/%s", v.name, f.DType), func(t *testing.T) {
				const cols = 768
				x := randomQuantised(t, r, f.DType, 71, cols)
				first := encode(t, "first", tensor.BF16, 32, cols, randomFloats(r, 32*cols))
				m := pack(t, v.kernels, first, x)
				u := newUnpacked(t)
				got := make([]float32, cols)
				for i, want := 0, slices.Concat(first.Float32(), x.Float32()); i < m.rows; i++ {
					m.row(got, i, u)
					for k, v := range want[i*cols:][:cols] {
						if got[k] != v {
							t.Fatalf("row %d, input %d is %v, want %v", i, k, got[k], v)
						}
					}
				}
			})
		}
	}
}

func newUnpacked(t testing.TB) *unpacked {
	t.Helper()
	a, err := newArena(unpackedRoom())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.free)
	u := &unpacked{}
	u.allocate(a)
	return u
}

// multiplied are the outputs of a weight for some rows, as steps compute them.
func multiplied(t testing.TB, k *kernels, m *matrix, x []float32, rows int) []float32 {
	r := &runner{kernels: k, unpacked: []unpacked{*newUnpacked(t)}}
	r.rounded.data = make([]byte, roundUp(rows, layout.TileRows)*m.shape().stride)
	r.rounded = r.roundedFor(m, rows)
	for row := range rows {
		r.rounded.setRow(k, row, x[row*m.cols:])
	}
	width := m.panels() * panelWidth
	c := make([]float32, rows*width)
	r.multiply(m, buffer{}, 0, m.panels(), 0, rows, c, width, 0)
	return c
}

// Products are within 2⁻¹⁵ of the size of their terms of the dequantised weights' in float64, and the same to the bit on
// every path of assembly.
func TestQuantisedProducts(t *testing.T) {
	r := rand.New(rand.NewPCG(22, 1))
	const rows, outputs, cols = 21, 45, 1280
	x := randomFloats(r, rows*cols)
	x[5], x[70] = 100, -30
	clear(x[cols : cols+64])
	for _, f := range layout.Formats {
		w := randomQuantised(t, r, f.DType, outputs, cols)
		values := w.Float32()
		var fused []float32
		for _, v := range quantisedVariants() {
			t.Run(fmt.Sprintf("%s/%s", f.DType, v.name), func(t *testing.T) {
				m := pack(t, v.kernels, w)
				got := multiplied(t, v.kernels, m, x, rows)
				for row := range rows {
					for j := range outputs {
						var want, size float64
						for k := range cols {
							term := float64(values[j*cols+k]) * float64(x[row*cols+k])
							want += term
							size += math.Abs(term)
						}
						if distance := math.Abs(float64(got[row*64+j]) - want); !(distance <= size/(1<<15)) {
							t.Fatalf("row %d, output %d is %v, want %v ± %v", row, j, got[row*64+j], want, size/(1<<15))
						}
					}
				}
				if v.name == "generic" {
					return
				}
				if fused == nil {
					fused = got
				}
				if !slices.Equal(got, fused) {
					t.Errorf("differs from another path")
				}
				for n := 1; n < rows; n++ {
					if some := multiplied(t, v.kernels, m, x, n); !slices.Equal(some, got[:len(some)]) {
						t.Errorf("%d rows differ from %d", n, rows)
					}
				}
			})
		}
	}
}

func TestRoundAgreesWithGeneric(t *testing.T) {
	r := rand.New(rand.NewPCG(23, 1))
	x := randomFloats(r, 256)
	clear(x[32:64])
	x[70] = 1e30
	x[100] = 1e-35
	for _, v := range quantisedVariants() {
		got, gotScales := make([]int16, 256), make([]float32, 48)
		want, wantScales := make([]int16, 256), make([]float32, 48)
		v.quantised.round(x, got, gotScales)
		roundGeneric(x, want, wantScales)
		if !slices.Equal(got, want) || !slices.Equal(gotScales, wantScales) {
			t.Errorf("%s: %v %v, want %v %v", v.name, got, gotScales, want, wantScales)
		}
	}
}

// One value that is no number makes all sums of its row none.
func TestQuantisedNaN(t *testing.T) {
	r := rand.New(rand.NewPCG(24, 1))
	const cols = 256
	for _, v := range quantisedVariants() {
		m := pack(t, v.kernels, randomQuantised(t, r, tensor.Q4_0, 32, cols))
		for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			x := randomFloats(r, 2*cols)
			x[77] = float32(bad)
			c := multiplied(t, v.kernels, m, x, 2)
			for j := range 32 {
				if y := float64(c[j]); !math.IsNaN(y) && !math.IsInf(y, 0) {
					t.Errorf("%s: output %d is %v for an activation of %v", v.name, j, y, bad)
				}
				if y := float64(c[32+j]); math.IsNaN(y) || math.IsInf(y, 0) {
					t.Errorf("%s: output %d of another row is %v", v.name, j, y)
				}
			}
		}
	}
}

// BenchmarkQuantised measures weights that lie in memory and rows of activations in the cache: what a second of one thread
// reads and multiplies.
func BenchmarkQuantised(b *testing.B) {
	r := rand.New(rand.NewPCG(25, 1))
	const cols, outputs = 896, 32 * 64
	for _, v := range quantisedVariants() {
		if v.name == "generic" {
			continue
		}
		for _, f := range layout.Formats {
			in := cols
			if f.Super {
				in = 1024
			}
			m := pack(b, v.kernels, randomQuantised(b, r, f.DType, outputs, in))
			for _, rows := range []int{1, 8, 128} {
				b.Run(fmt.Sprintf("%s/%s/%d", v.name, f.DType, rows), func(b *testing.B) {
					k := &runner{kernels: v.kernels, unpacked: []unpacked{*newUnpacked(b)}}
					k.rounded.data = make([]byte, roundUp(rows, layout.TileRows)*m.shape().stride)
					k.rounded = k.roundedFor(m, rows)
					c := make([]float32, rows*cut{panels: 2}.stride())
					for b.Loop() {
						for panel := 0; panel < outputs/panelWidth; panel += 2 {
							k.multiply(m, buffer{}, panel, 2, 0, rows, c, len(c)/rows, 0)
						}
					}
					b.ReportMetric(2*float64(in*outputs*rows)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GOP/s")
					b.ReportMetric(float64(m.bytes())*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GB/s")
				})
			}
		}
	}
}
