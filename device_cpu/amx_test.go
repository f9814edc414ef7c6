package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"minisgl/device"
	"minisgl/device/devicetest"
	"minisgl/internal/goldens"
	"minisgl/model"
	"minisgl/tensor"
)

// tiles is a path that does all that path amx does, in plain Go, so that every processor can test it.
func tiles() variant {
	k := generic
	quantised := *k.quantised
	quantised.tiles = &bytesGeneric
	k.name, k.amx, k.quantised = "tiles", &amxGeneric, &quantised
	return variant{kernels: &k}
}

func amxVariants() []variant {
	return append([]variant{tiles()}, slices.DeleteFunc(usableVariants(), func(v variant) bool { return v.amx == nil })...)
}

// The suite and a golden model, on tiles in plain Go.
func TestTiles(t *testing.T) {
	before := variants
	defer func() { variants = before }()
	variants = append(slices.Clone(before), tiles())
	open := func(t testing.TB) device.Device { return openVariant(t, "tiles", 2) }
	devicetest.Run(t, open, devicetest.Options{DTypes: []tensor.DType{tensor.BF16}, KV: tensor.F32})
	devicetest.Run(t, open, devicetest.Options{DTypes: []tensor.DType{tensor.Q8_0, tensor.Q4_K, tensor.Q6_K}, KV: tensor.F32, Tolerance: 2e-4})
	m := goldens.Get(t, "ratio14to2")
	m.Prompts = m.Prompts[:2]
	checkpoint, err := model.Open(m.Path, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer checkpoint.Close()
	for _, c := range []struct {
		activations tensor.DType
		limit       float64
		exact       bool
	}{{tensor.Invalid, 2e-4, true}, {tensor.BF16, 1e-2, false}} {
		r, err := open(t).Load(checkpoint.Program, device.LoadOptions{PageSize: 16, KV: tensor.F32, Activations: c.activations, Pages: 64, MaxSlots: 1, MaxRows: 512})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		m.Check(t, r, c.limit, c.exact)
	}
}

// tileMultiplied are the outputs of a weight for some rows, as steps compute them.
func tileMultiplied(k *kernels, m *matrix, x []float32, rows, halves int) []float32 {
	r := &runner{kernels: k, pool: newPool(2)}
	defer r.pool.close()
	r.tiled = tiled{halves: halves, data: make([]uint16, ceil(rows, amxRows)*amxSteps(m.cols)*halves*amxTile)}
	l := newLinear(r)
	l.convert(m, buffer{data: x, width: m.cols, stride: len(x) / rows}, rows)
	width := m.panels() * panelWidth
	c := make([]float32, rows*width)
	cut := r.cutFor(m, rows)
	for first := 0; first < rows; first += cut.rows {
		for panel := 0; panel < m.panels(); panel += cut.panels {
			r.multiply(m, l.in, panel, min(cut.panels, m.panels()-panel), first, min(first+cut.rows, rows), c[first*width+panel*panelWidth:], width, 0)
		}
	}
	return c
}

// Two halves keep 16 bits of an activation, one keeps 8: products are as good as that.
func TestTileProducts(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 1))
	for _, v := range amxVariants() {
		for _, c := range []struct{ rows, outputs, cols int }{
			{1, 32, 32}, {1, 100, 31}, {7, 64, 1}, {16, 96, 300}, {17, 40, 65}, {32, 33, 900}, {33, 70, 64}, {50, 32, 800}, {70, 45, 100}, {300, 64, 40},
		} {
			for halves, tolerance := range []float64{1.0 / (1 << 8), 1.0 / (1 << 16)} {
				t.Run(fmt.Sprintf("%s/%dx%dx%d/%d", v.name, c.rows, c.outputs, c.cols, halves+1), func(t *testing.T) {
					w := encode(t, "w", tensor.BF16, c.outputs, c.cols, randomFloats(r, c.outputs*c.cols))
					m := pack(t, v.kernels, w)
					values, x := w.Float32(), randomFloats(r, c.rows*c.cols)
					got := tileMultiplied(v.kernels, m, x, c.rows, halves+1)
					for row := range c.rows {
						for j := range c.outputs {
							var want, size float64
							for k := range c.cols {
								term := float64(values[j*c.cols+k]) * float64(x[row*c.cols+k])
								want += term
								size += math.Abs(term)
							}
							if distance := math.Abs(float64(got[row*m.panels()*panelWidth+j]) - want); !(distance <= tolerance*size) {
								t.Fatalf("row %d, output %d is %v, want %v ± %v", row, j, got[row*m.panels()*panelWidth+j], want, tolerance*size)
							}
						}
					}
				})
			}
		}
	}
}

// A row's sums are the same to the bit alone and among others, however these are cut, and on the processor as in plain Go.
func TestTileProductsDoNotDependOnRows(t *testing.T) {
	r := rand.New(rand.NewPCG(32, 1))
	const rows, outputs, cols = 300, 70, 530
	w := encode(t, "w", tensor.BF16, outputs, cols, randomFloats(r, outputs*cols))
	x := randomFloats(r, rows*cols)
	for halves := 1; halves <= 2; halves++ {
		var want []float32
		for _, v := range amxVariants() {
			m := pack(t, v.kernels, w)
			if want == nil {
				want = tileMultiplied(v.kernels, m, x, rows, halves)
			}
			for _, n := range []int{1, 2, 15, 16, 17, 31, 32, 33, 48, 49, 64, 65, 255, 256, 257, rows} {
				if got := tileMultiplied(v.kernels, m, x[:n*cols], n, halves); !slices.Equal(got, want[:len(got)]) {
					t.Errorf("%s, %d halves: %d rows differ from those of %d in plain Go", v.name, halves, n, rows)
				}
			}
			for row := 40; row < rows; row += 53 {
				if got := tileMultiplied(v.kernels, m, x[row*cols:][:cols], 1, halves); !slices.Equal(got, want[row*len(got):][:len(got)]) {
					t.Errorf("%s, %d halves: row %d differs alone", v.name, halves, row)
				}
			}
		}
	}
}

func TestTileRows(t *testing.T) {
	r := rand.New(rand.NewPCG(33, 1))
	for _, v := range amxVariants() {
		for _, cols := range []int{1, 31, 32, 70} {
			values := randomFloats(r, 45*cols)
			w := encode(t, "w", tensor.BF16, 45, cols, values)
			m, got := pack(t, v.kernels, w), make([]float32, cols)
			for i, want := 0, w.Float32(); i < m.rows; i++ {
				if m.row(got, i, nil); !slices.Equal(got, want[i*cols:][:cols]) {
					t.Fatalf("%s: row %d is %v, want %v", v.name, i, got, want[i*cols:][:cols])
				}
			}
		}
	}
}

// What is not finite stays so, and in its row.
func TestTileProductsNotFinite(t *testing.T) {
	r := rand.New(rand.NewPCG(34, 1))
	const rows, cols = 18, 64
	w := encode(t, "w", tensor.BF16, 32, cols, randomFloats(r, 32*cols))
	for _, v := range amxVariants() {
		for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			x := randomFloats(r, rows*cols)
			x[17*cols+40] = float32(bad)
			for halves := 1; halves <= 2; halves++ {
				for i, sum := range tileMultiplied(v.kernels, pack(t, v.kernels, w), x, rows, halves) {
					if finite := sum-sum == 0; finite == (i/panelWidth == 17) {
						t.Fatalf("%s, %v: row %d has %v", v.name, bad, i/panelWidth, sum)
					}
				}
			}
		}
	}
}
