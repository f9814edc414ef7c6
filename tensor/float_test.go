package tensor_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"math"
	"slices"
	"testing"

	"minisgl/tensor"
	"minisgl/tensor/safetensors"
)

// The checksums are numpy's and ml_dtypes', printed by testdata/make.py.

func TestFloat16Checksums(t *testing.T) {
	check := func(name, want string, write func(h hash.Hash)) {
		h := sha256.New()
		write(h)
		if got := hex.EncodeToString(h.Sum(nil)); got != want {
			t.Errorf("%s: checksum %s, want %s", name, got, want)
		}
	}
	check("float16 to float32", "680bbc22915f61aa1bbfc7265bc3882a6aa42d299bfd2c571807196e5544de2e", func(h hash.Hash) {
		for bits := range 1 << 16 {
			if f := tensor.F16ToFloat32(uint16(bits)); f == f {
				binary.Write(h, binary.LittleEndian, f)
			}
		}
	})
	spread := func(h hash.Hash, convert func(float32) uint16) {
		for i := range uint32(1 << 20) {
			if f := math.Float32frombits(i * 4097); f == f {
				binary.Write(h, binary.LittleEndian, convert(f))
			}
		}
	}
	check("float32 to float16", "cda960494effcb752395aa5e0ac056849cf9f90f3a98119afb17259d48c10150", func(h hash.Hash) {
		spread(h, tensor.Float32ToF16)
	})
	check("float32 to bfloat16", "9563b3c8223be8ba3f951a71514a388b00d740eafa7a23d7814e03bf7a5817f6", func(h hash.Hash) {
		spread(h, tensor.Float32ToBF16)
	})
}

func TestRounding(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		value    float32
		f16, b16 uint16
	}{
		{0, 0, 0},
		{float32(math.Copysign(0, -1)), 0x8000, 0x8000},
		{1, 0x3c00, 0x3f80},
		{-2, 0xc000, 0xc000},
		{1 + 1.0/2048, 0x3c00, 0x3f80},    // half-way in float16: to even, down
		{1 + 3.0/2048, 0x3c02, 0x3f80},    // half-way in float16: to even, up
		{1 + 1.0/256, 0x3c04, 0x3f80},     // half-way in bfloat16: to even, down
		{1 + 3.0/256, 0x3c0c, 0x3f82},     // half-way in bfloat16: to even, up
		{65504, 0x7bff, 0x4780},           // the largest float16
		{65519, 0x7bff, 0x4780},           // the last one that rounds to it
		{65520, 0x7c00, 0x4780},           // half-way to 65536, which float16 has not
		{0x1p-24, 0x0001, 0x3380},         // the least float16
		{0x1p-25, 0x0000, 0x3300},         // half of it: to even
		{0x1.8p-25, 0x0001, 0x3340},       // more than half of it
		{math.MaxFloat32, 0x7c00, 0x7f80}, // rounds up to infinity in both
		{inf, 0x7c00, 0x7f80},
		{-inf, 0xfc00, 0xff80},
	} {
		if got := tensor.Float32ToF16(c.value); got != c.f16 {
			t.Errorf("%v as float16 is %#04x, want %#04x", c.value, got, c.f16)
		}
		if got := tensor.Float32ToBF16(c.value); got != c.b16 {
			t.Errorf("%v as bfloat16 is %#04x, want %#04x", c.value, got, c.b16)
		}
	}
	for _, bits := range []uint32{0x7f800001, 0xffc00000, math.Float32bits(nan)} {
		f := math.Float32frombits(bits)
		if back := tensor.F16ToFloat32(tensor.Float32ToF16(f)); back == back {
			t.Errorf("NaN %#x becomes float16 %v", bits, back)
		}
		if back := tensor.BF16ToFloat32(tensor.Float32ToBF16(f)); back == back {
			t.Errorf("NaN %#x becomes bfloat16 %v", bits, back)
		}
	}
}

// The values are those of the numpy functions of the gguf package.
func TestDequantise(t *testing.T) {
	goldens, err := safetensors.Open("testdata/dequantise.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer goldens.Close()
	for _, d := range []tensor.DType{tensor.Q4_0, tensor.Q4_1, tensor.Q5_0, tensor.Q5_1, tensor.Q8_0, tensor.Q4_K, tensor.Q5_K, tensor.Q6_K} {
		t.Run(d.String(), func(t *testing.T) {
			want := goldens.Tensors[d.String()+".values"].Float32()
			blocks := goldens.Tensors[d.String()+".blocks"].Data
			rows, err := tensor.New("w", d, []int{2, len(want) / 2}, blocks)
			if err != nil {
				t.Fatal(err)
			}
			got := rows.Float32()
			for i := range want {
				if got[i] != want[i] {
					t.Fatalf("element %d is %v, want %v", i, got[i], want[i])
				}
			}
			if !d.Float() || !d.Quantised() {
				t.Error("not known as a quantised float")
			}
		})
	}
}

func TestToFloat32(t *testing.T) {
	for _, c := range []struct {
		dtype tensor.DType
		bytes []byte
		want  []float32
	}{
		{tensor.F32, []byte{0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc1}, []float32{1, -10}},
		{tensor.F16, []byte{0, 0x3c, 0, 0xc9}, []float32{1, -10}},
		{tensor.BF16, []byte{0x80, 0x3f, 0x20, 0xc1}, []float32{1, -10}},
		{tensor.F32, nil, []float32{}},
	} {
		got := make([]float32, len(c.want))
		c.dtype.ToFloat32(got, c.bytes)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s % x is %v, want %v", c.dtype, c.bytes, got, c.want)
		}
	}
	got := make([]float32, 1)
	if tensor.I32.ToFloat32(got, []byte{1, 0, 0, 0}); got[0] == got[0] {
		t.Errorf("an integer becomes %v, want NaN", got[0])
	}
}

func TestSize(t *testing.T) {
	for _, c := range []struct {
		dtype tensor.DType
		shape []int
		want  int64 // -1: an error
	}{
		{tensor.F32, []int{3, 4}, 48},
		{tensor.F32, nil, 4},
		{tensor.BF16, []int{3, 0}, 0},
		{tensor.Q8_0, []int{2, 64}, 136},
		{tensor.Q6_K, []int{256}, 210},
		{tensor.Q8_0, []int{2, 48}, -1},
		{tensor.Q8_0, nil, -1},
		{tensor.F32, []int{-1, 4}, -1},
		{tensor.F32, []int{math.MaxInt, 2}, -1},
		{tensor.F32, []int{math.MaxInt / 2}, -1},
		{tensor.Invalid, []int{1}, -1},
		{tensor.DType(200), []int{1}, -1},
	} {
		got, err := c.dtype.Size(c.shape)
		if err != nil {
			got = -1
		}
		if got != c.want {
			t.Errorf("%s %v takes %d bytes (%v), want %d", c.dtype, c.shape, got, err, c.want)
		}
	}
}
