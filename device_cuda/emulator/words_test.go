//go:build cuda

package emulator_test

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"

	"minisgl/device_cuda/emulator"
	"minisgl/tensor"
)

// each returns f of 0 … n-1, end to end.
func each(n int, f func(i uint32) []uint32) []uint32 {
	var all []uint32
	for i := range n {
		all = append(all, f(uint32(i))...)
	}
	return all
}

func floats(values ...float32) []uint32 {
	words := make([]uint32, len(values))
	for i, x := range values {
		words[i] = math.Float32bits(x)
	}
	return words
}

func pick[T any](condition bool, yes, no T) T {
	if condition {
		return yes
	}
	return no
}

func voted(i uint32) []uint32 {
	lane, lanes := i%32, pick(i < 32, uint32(32), 28)
	if i >= 60 {
		return make([]uint32, 8)
	}
	ballot, same, sum := uint32(0), uint32(0), uint32(0)
	for l := range lanes {
		ballot |= pick(l%3 == 0, uint32(1), 0) << l
		same |= pick(l/10 == lane/10, uint32(1), 0) << l
		sum += l
	}
	return []uint32{
		ballot, pick(i < 32, uint32(2), 1), sum, ^uint32(6), math.MaxUint32, same,
		pick(lane < 16, uint32(0xffff), lanes-1), 1,
	}
}

func TestWords(t *testing.T) {
	const x, y = 0x00f12345, 0x89abcdef
	tests := []struct {
		kernel          string
		grid            [3]int
		threads, shared int
		want            []uint32
	}{
		{"indices", [3]int{3, 2, 2}, 96, 0, each(12*96, func(i uint32) []uint32 { return []uint32{i/96<<16 | i%96} })},
		{"sums", [3]int{2, 1, 1}, 128, 512, floats(8256, 128, 8256, 128)},
		{"shuffles", [3]int{1, 1, 1}, 32, 0, each(32, func(l uint32) []uint32 {
			return []uint32{
				5, l&^7 + 3, l ^ 17, pick(l < 2, l, l-2), pick(l%16 > 12, l, l+3), l ^ 1, pick(l < 2, l+30, l) / 2, (l + 1) % 32,
			}
		})},
		{"votes", [3]int{1, 1, 1}, 64, 0, each(64, voted)},
		{"atomics", [3]int{2, 1, 1}, 256, 0, slices.Concat([]uint32{65280, math.Float32bits(256), 255, ^uint32(99), math.MaxUint32, 12, 0, 65280, 1, 1, 0, 512})},
		{"bits", [3]int{1, 1, 1}, 1, 0, []uint32{
			uint32(bits.LeadingZeros32(x)), 1, uint32(bits.OnesCount32(x)), uint32(bits.OnesCount64(x<<32 | y)), bits.Reverse32(x), x * y >> 32,
			x * y & math.MaxUint32, 0xabf1cd23, 0xabcdef00, 0x3fc00000, 32, 0, x, x, 2, 7, 0x3ff00000,
		}},
		{"floats", [3]int{1, 1, 1}, 1, 0, floats(0.25, 0.125, 17, 0x1p-24, 3, 12, 1024, 1, 1, 2, 1.5, 1.5)},
		{"remember", [3]int{1, 1, 1}, 1, 0, []uint32{1}},
	}
	for _, flags := range []string{"", "-DEMULATED_UCONTEXT"} {
		t.Setenv("EMULATED_CUDA_FLAGS", flags)
		b := newBench(t, "words.cu", "ELEMENT_BF16")
		for _, seed := range []uint64{0, 1, 2} {
			for _, test := range tests {
				t.Run(fmt.Sprintf("%s/%d%s", test.kernel, seed, flags), func(t *testing.T) {
					emulator.Order(t, seed)
					out := b.zeros(4 * len(test.want))
					got := b.run(b.launch(test.kernel, test.grid, test.threads, test.shared, params{out: out, n: x, m: y - 1<<32}), out, len(test.want))
					want := slices.Clone(test.want)
					switch {
					case test.kernel == "atomics" && seed != 0: // whoever came first
						want[8], want[9] = got[8], got[8]
					case test.kernel == "remember":
						want[0] = uint32(seed) + 1
					}
					if i := differs(got, want); i >= 0 {
						t.Errorf("word %d of %d is %#x, want %#x", i, len(want), got[i], want[i])
					}
				})
			}
		}
	}
}

// differs returns where two slices differ first, or -1.
func differs(a, b []uint32) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}

// Conversions are compared with those of package tensor, which has its own tests.
func TestHalves(t *testing.T) {
	values := []float32{0, 1, 1.00390625, 1.01171875, 65504, 65519, 65520, 1e6, -1e6, 0x1p-24, 0x1p-25, 0x1.8p-25, 0x1p-14, 0x1.ffcp-15, float32(math.Inf(1)), 3.4e38}
	random := rand.New(rand.NewPCG(1, 2))
	for range 50_000 {
		values = append(values, math.Float32frombits(random.Uint32()))
	}
	for i := range 1 << 16 {
		values = append(values, tensor.F16ToFloat32(uint16(i)))
	}
	b := newBench(t, "words.cu", "ELEMENT_BF16")
	out := b.zeros(16 * len(values))
	got := b.run(b.launch("halves", [3]int{4, 1, 1}, 256, 0, params{in: upload(b, values), out: out, n: int32(len(values))}), out, 4*len(values))
	for i, x := range values {
		if x != x {
			if got := math.Float32frombits(got[4*i+3]); got == got {
				t.Fatalf("NaN %#x as f16 becomes %v", math.Float32bits(x), got)
			}
			continue
		}
		bf16, f16 := tensor.Float32ToBF16(x), tensor.Float32ToF16(max(-65504, min(x, 65504)))
		if x == 0 {
			f16 = 0 // pack_f16 drops a zero's sign
		}
		want := []uint32{uint32(bf16), uint32(f16), math.Float32bits(tensor.BF16ToFloat32(bf16)), math.Float32bits(tensor.F16ToFloat32(f16))}
		if w := differs(got[4*i:4*i+4], want); w >= 0 {
			t.Fatalf("%v: word %d is %#x, want %#x", x, w, got[4*i+w], want[w])
		}
	}
}

func TestMatrixProduct(t *testing.T) {
	for _, element := range []string{"ELEMENT_BF16", "ELEMENT_F16"} {
		t.Run(element, func(t *testing.T) {
			narrow, widen := tensor.Float32ToBF16, tensor.BF16ToFloat32
			if element == "ELEMENT_F16" {
				narrow, widen = tensor.Float32ToF16, tensor.F16ToFloat32
			}
			random := rand.New(rand.NewPCG(3, 4))
			in := make([]uint16, 384+256)
			for i := range in[:384] {
				in[i] = narrow(float32(random.NormFloat64()))
			}
			var want []uint32
			for i := range 128 {
				d := float32(random.NormFloat64())
				in[384+2*i], in[385+2*i] = uint16(math.Float32bits(d)), uint16(math.Float32bits(d)>>16)
				row, column, sum := i/8, i%8, float64(d)
				for k := range 16 {
					sum += float64(widen(in[row*16+k])) * float64(widen(in[256+column*16+k]))
				}
				want = append(want, math.Float32bits(float32(sum)))
			}
			b := newBench(t, "words.cu", element)
			out := b.zeros(512)
			got := b.run(b.launch("product", [3]int{1, 1, 1}, 32, 768, params{in: upload(b, in), out: out}), out, 128)
			if i := differs(got, want); i >= 0 {
				t.Errorf("row %d, column %d is %v, want %v", i/8, i%8, math.Float32frombits(got[i]), math.Float32frombits(want[i]))
			}
		})
	}
}

func TestTranspose(t *testing.T) {
	in := make([]uint16, 256)
	for i := range in {
		in[i] = uint16(i)
	}
	b := newBench(t, "words.cu", "ELEMENT_BF16")
	out := b.zeros(128)
	got := b.run(b.launch("transpose", [3]int{1, 1, 1}, 32, 512, params{in: upload(b, in), out: out}), out, 32)
	for lane, pair := range got {
		row, column := uint32(lane/4), uint32(lane%4*2)
		if want := 192 + column*8 + row | (192+column*8+8+row)<<16; pair != want {
			t.Errorf("lane %d has %#x, want %#x", lane, pair, want)
		}
	}
}

// An asynchronous copy that nobody has waited for is not there.
func TestCopiesArriveInTheWait(t *testing.T) {
	in := make([]uint32, 3*32*4)
	for i := range in {
		in[i] = uint32(i / 4)
	}
	b := newBench(t, "words.cu", "ELEMENT_BF16")
	out := b.zeros(4 * 96)
	launch := b.launch("pipeline", [3]int{1, 1, 1}, 32, 2048, params{in: upload(b, in), out: out})
	launch.Dependent = true
	got := b.run(launch, out, 96)
	for lane := range uint32(32) {
		if want := 32 + (lane+1)%32; got[lane] != want {
			t.Errorf("the second group gives lane %d %d, want %d", lane, got[lane], want)
		}
		if got[32+lane] != math.MaxUint32 {
			t.Errorf("lane %d reads %#x before its group's wait, want 0xffffffff", lane, got[32+lane])
		}
		if want := 64 + lane; got[64+lane] != want {
			t.Errorf("the third group gives lane %d %d, want %d", lane, got[64+lane], want)
		}
	}
}

// A missing barrier changes the result with the order.
func TestOrderShowsRaces(t *testing.T) {
	b := newBench(t, "words.cu", "ELEMENT_BF16")
	out := b.zeros(4)
	results := map[uint32]bool{}
	for seed := range uint64(5) {
		emulator.Order(t, seed)
		results[b.run(b.launch("race", [3]int{1, 1, 1}, 128, 0, params{out: out}), out, 1)[0]] = true
	}
	if len(results) < 2 {
		t.Errorf("five orders all give %v", results)
	}
}
