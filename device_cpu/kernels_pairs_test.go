package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"minisgl/device"
	"minisgl/internal/goldens"
	"minisgl/model"
	"minisgl/tensor"
)

func pairVariants() []variant {
	return slices.DeleteFunc(usableVariants(), func(v variant) bool { return v.pairs == nil })
}

// Products of bfloat16 are those in float64 of the numbers rounded, and the same to the bit whatever the rows and blocks.
func TestPairs(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 1))
	const inputs, ldc = 1030, panelWidth
	for _, v := range pairVariants() {
		rows := v.pairs.rows
		x, values := randomFloats(r, rows*inputs+16), randomFloats(r, inputs*panelWidth)
		halves, w := make([]uint16, len(x)), make([]uint16, len(values))
		v.pairs.round(x[:len(x)/16*16], halves)
		for i, h := range halves[:rows*inputs] {
			if want := tensor.Float32ToBF16(x[i]); h != want {
				t.Fatalf("%s: %v becomes %#x, want %#x", v.name, x[i], h, want)
			}
		}
		for k := range inputs {
			for j := range panelWidth {
				w[k/2*2*panelWidth+2*j+k%2] = tensor.Float32ToBF16(values[k*panelWidth+j])
			}
		}
		alone := make([]float32, rows*ldc)
		for row := range rows {
			v.pairs.dot(alone[row*ldc:], ldc, halves[row*inputs:], inputs, w, inputs/2, 1, 0)
			for j := range panelWidth {
				var want, size float64
				for k := range inputs {
					term := float64(tensor.BF16ToFloat32(halves[row*inputs+k])) * float64(tensor.BF16ToFloat32(w[k/2*2*panelWidth+2*j+k%2]))
					want += term
					size += math.Abs(term)
				}
				if got := float64(alone[row*ldc+j]); !(math.Abs(got-want) <= 1e-6*size) {
					t.Fatalf("%s: row %d, output %d is %v, want %v", v.name, row, j, got, want)
				}
			}
		}
		for n := 2; n <= rows; n++ {
			for _, first := range []int{inputs, 2, 512} {
				c := make([]float32, n*ldc)
				v.pairs.dot(c, ldc, halves, inputs, w, first/2, n, 0)
				if first < inputs {
					v.pairs.dot(c, ldc, halves[first:], inputs, w[first*panelWidth:], (inputs-first)/2, n, 1)
				}
				if !slices.Equal(c, alone[:n*ldc]) {
					t.Errorf("%s: %d rows in blocks of %d differ from one row", v.name, n, first)
				}
			}
		}
	}
}

// A weight kept in pairs reads back as it was.
func TestPackedPairs(t *testing.T) {
	r := rand.New(rand.NewPCG(32, 1))
	const rows, cols = 71, 130
	x := encode(t, "w", tensor.BF16, rows, cols, randomFloats(r, rows*cols))
	m := packAs(t, keeping{kernels: &generic, pairs: true}, x)
	if !m.parts[0].pairs {
		t.Fatal("not in pairs")
	}
	got := make([]float32, cols)
	for i, want := 0, x.Float32(); i < rows; i++ {
		m.row(got, i, nil)
		if !slices.Equal(got, want[i*cols:][:cols]) {
			t.Fatalf("row %d is %v, want %v", i, got, want[i*cols:][:cols])
		}
	}
}

// Plain weights that are quantised while they are packed are package tensor's blocks.
func TestPackedToQuantised(t *testing.T) {
	r := rand.New(rand.NewPCG(33, 1))
	const rows, cols = 71, 96
	for _, dtype := range quantisedTo {
		for _, from := range []tensor.DType{tensor.F32, tensor.F16, tensor.BF16} {
			t.Run(fmt.Sprint(from, " to ", dtype), func(t *testing.T) {
				x := encode(t, "w", from, rows, cols, randomFloats(r, rows*cols))
				m := packAs(t, keeping{kernels: &generic, weights: dtype}, x)
				u := newUnpacked(t)
				got, want, values := make([]float32, cols), make([]float32, cols), x.Float32()
				for i := range rows {
					m.row(got, i, u)
					dtype.ToFloat32(want, tensor.Quantise(dtype, values[i*cols:][:cols]))
					if !slices.Equal(got, want) {
						t.Fatalf("row %d is %v, want %v", i, got, want)
					}
				}
			})
		}
	}
}

func TestImpossibleWeights(t *testing.T) {
	d := openVariant(t, "generic", 1)
	defer d.Close()
	if _, err := d.Load(benchProgram(1), device.LoadOptions{PageSize: 16, Pages: 1, MaxSlots: 1, MaxRows: 1, Weights: tensor.Q6_K}); err == nil {
		t.Error("weights are quantised to Q6_K")
	}
}

func BenchmarkPairs(b *testing.B) {
	const inputs = 896
	for _, v := range pairVariants() {
		for _, rows := range []int{1, 7, 14} {
			b.Run(fmt.Sprintf("%s/%d", v.name, rows), func(b *testing.B) {
				x, w, c := make([]uint16, rows*(inputs+32)), make([]uint16, inputs*panelWidth), make([]float32, rows*panelWidth)
				for b.Loop() {
					v.pairs.dot(c, panelWidth, x, inputs+32, w, inputs/2, rows, 0)
				}
				b.ReportMetric(2*float64(inputs*panelWidth*rows)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOP/s")
			})
		}
	}
}

// Activations that are rounded to bfloat16 move the logits of the golden models by about what bfloat16 is short of float32.
func TestGoldensInPairs(t *testing.T) {
	for _, v := range pairVariants() {
		for _, m := range goldens.All(t) {
			t.Run(v.name+"/"+m.Name, func(t *testing.T) {
				checkpoint, err := model.Open(m.Path, model.Options{})
				if err != nil {
					t.Fatal(err)
				}
				defer checkpoint.Close()
				d := openVariant(t, v.name, 2)
				defer d.Close()
				r, err := d.Load(checkpoint.Program, device.LoadOptions{PageSize: 16, KV: tensor.F32, Activations: tensor.BF16,
					Pages: 64, MaxSlots: 1, MaxRows: 512})
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				m.Check(t, r, 2e-2, false)
			})
		}
	}
}
