package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"minisgl/tensor"
)

// usableVariants are the paths of this build that this processor can run.
func usableVariants() []variant {
	return slices.DeleteFunc(slices.Clone(variants), func(v variant) bool { return !v.usable() })
}

func randomFloats(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

// requireClose fails if a value of got is further from want than tolerance times the values' size.
func requireClose(t *testing.T, got, want []float32, tolerance float64) {
	t.Helper()
	for i := range want {
		if distance := math.Abs(float64(got[i] - want[i])); !(distance <= tolerance*(1+math.Abs(float64(want[i])))) {
			t.Fatalf("value %d is %v, want %v", i, got[i], want[i])
		}
	}
}

// A panelCase is a panel of each type with the same values, and the tile function that reads it.
func tileOf(k *kernels, dtype tensor.DType, values []float32) func(c []float32, ldc int, x []float32, ldx, n, rows, add int) {
	inputs := len(values) / panelWidth
	switch dtype {
	case tensor.BF16, tensor.F16:
		w := make([]uint16, len(values))
		tile := k.tileF16
		for i, v := range values {
			w[i] = tensor.Float32ToF16(v)
		}
		if dtype == tensor.BF16 {
			tile = k.tileBF16
			for i := range inputs {
				for j := range panelWidth {
					w[i*panelWidth+bf16Place(j)] = tensor.Float32ToBF16(values[i*panelWidth+j])
				}
			}
		}
		return func(c []float32, ldc int, x []float32, ldx, n, rows, add int) { tile(c, ldc, x, ldx, w, n, rows, add) }
	}
	return func(c []float32, ldc int, x []float32, ldx, n, rows, add int) {
		k.tileF32(c, ldc, x, ldx, values, values[panelWidth/2:], panelWidth, n, rows, add)
	}
}

func TestTilesAgreeWithGeneric(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, v := range usableVariants() {
		for _, dtype := range []tensor.DType{tensor.BF16, tensor.F16, tensor.F32} {
			for rows := 1; rows <= v.tileRows; rows++ {
				for _, inputs := range []int{1, 2, 7, 64, 301} {
					t.Run(fmt.Sprintf("%s/%s/%dx%d", v.name, dtype, rows, inputs), func(t *testing.T) {
						ldc, ldx := panelWidth+5, inputs+3
						values := randomFloats(r, inputs*panelWidth)
						for i := range values {
							values[i] = tensor.BF16ToFloat32(tensor.Float32ToBF16(values[i]))
						}
						x := randomFloats(r, rows*ldx)
						want := randomFloats(r, rows*ldc)
						got := slices.Clone(want)
						tileOf(v.kernels, dtype, values)(got, ldc, x, ldx, inputs, rows, 0)
						for row := range rows {
							clear(want[row*ldc:][:panelWidth])
							for k := range inputs {
								for j := range panelWidth {
									want[row*ldc+j] += x[row*ldx+k] * values[k*panelWidth+j]
								}
							}
						}
						requireClose(t, got, want, 2e-5)
					})
				}
			}
		}
	}
}

// A row's sums are the same to the bit alone and among others, and with the inputs in one piece or several.
func TestTilesDoNotDependOnRowsOrBlocks(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const inputs, ldc = 100, panelWidth
	for _, v := range usableVariants() {
		for _, dtype := range []tensor.DType{tensor.BF16, tensor.F16, tensor.F32} {
			values := randomFloats(r, inputs*panelWidth)
			x := randomFloats(r, v.tileRows*inputs)
			tile := tileOf(v.kernels, dtype, values)
			alone := make([]float32, v.tileRows*ldc)
			for row := range v.tileRows {
				tile(alone[row*ldc:], ldc, x[row*inputs:], inputs, inputs, 1, 0)
			}
			for rows := 2; rows <= v.tileRows; rows++ {
				for _, first := range []int{inputs, 1, 33} {
					c := make([]float32, rows*ldc)
					tile(c, ldc, x, inputs, first, rows, 0)
					if first < inputs {
						rest := tileOf(v.kernels, dtype, values[first*panelWidth:])
						rest(c, ldc, x[first:], inputs, inputs-first, rows, 1)
					}
					if !slices.Equal(c, alone[:rows*ldc]) {
						t.Errorf("%s, %s: %d rows in blocks of %d differ from one row", v.name, dtype, rows, first)
					}
				}
			}
		}
	}
}

func TestRowFunctionsAgreeWithGeneric(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, v := range usableVariants() {
		for _, n := range []int{16, 32, 48, 896} {
			t.Run(fmt.Sprintf("%s/%d", v.name, n), func(t *testing.T) {
				x, y, z := randomFloats(r, n), randomFloats(r, n), randomFloats(r, n)

				got, want := slices.Clone(x), slices.Clone(x)
				for i := n / 2; i < n; i += 3 {
					got[i], want[i] = float32(math.Inf(-1)), float32(math.Inf(-1))
				}
				gotMax, gotSum := v.softmax(got, 3)
				wantMax, wantSum := softmaxGeneric(want, 3)
				requireClose(t, got, want, 3e-7)
				requireClose(t, []float32{gotMax, gotSum}, []float32{wantMax, wantSum}, 1e-6)

				gate := slices.Clone(x)
				gate[0], gate[1], gate[2], gate[3] = 0, 100, -100, -20
				v.silu(got, gate, y)
				siluGeneric(want, gate, y)
				requireClose(t, got, want, 1e-6)

				requireClose(t, []float32{v.sumSquares(x)}, []float32{sumSquaresGeneric(x)}, 1e-6)

				v.scale(got, x, y, 0.37)
				scaleGeneric(want, x, y, 0.37)
				requireClose(t, got, want, 0)

				v.add(got, z)
				addGeneric(want, z)
				requireClose(t, got, want, 0)

				largest, check := v.largest(x)
				if largest != slices.Max(x) || check != check {
					t.Errorf("largest is %v (check %v), want %v", largest, check, slices.Max(x))
				}
			})
		}
	}
}

func TestNaNSurvives(t *testing.T) {
	nan := float32(math.NaN())
	for _, v := range usableVariants() {
		for place := range 32 {
			x := make([]float32, 32)
			x[place] = nan
			if _, check := v.largest(x); check == check {
				t.Errorf("%s: largest misses a NaN at %d", v.name, place)
			}
			out := make([]float32, 32)
			v.silu(out, x, out)
			if out[place] == out[place] {
				t.Errorf("%s: silu loses a NaN at %d", v.name, place)
			}
			if _, sum := v.softmax(x, 1); sum == sum {
				t.Errorf("%s: softmax loses a NaN at %d", v.name, place)
			}
			x[place] = float32(math.Inf(1))
			if _, check := v.largest(x); check == check {
				t.Errorf("%s: largest misses an infinity at %d", v.name, place)
			}
		}
	}
}

func BenchmarkTile(b *testing.B) {
	r := rand.New(rand.NewPCG(7, 8))
	const inputs = 896
	for _, v := range usableVariants() {
		for _, dtype := range []tensor.DType{tensor.BF16, tensor.F16, tensor.F32} {
			tile := tileOf(v.kernels, dtype, randomFloats(r, inputs*panelWidth))
			for _, rows := range []int{1, v.tileRows / 2, v.tileRows} {
				x := randomFloats(r, rows*(inputs+16))
				c := make([]float32, rows*panelWidth)
				b.Run(fmt.Sprintf("%s/%s/%d", v.name, dtype, rows), func(b *testing.B) {
					for b.Loop() {
						tile(c, panelWidth, x, inputs+16, inputs, rows, 0)
					}
					b.ReportMetric(2*float64(inputs*panelWidth*rows)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOP/s")
				})
			}
		}
	}
}
