//go:build cuda

package kernels

import (
	"slices"
	"testing"

	"minisgl/tensor"
)

// unpacked reads packed Elements: the (out, in) values, and whether all of the padding is zero.
func unpacked(packed []float32, out, in int, element tensor.DType) (values []float32, padded bool) {
	blocks, padded := ceilDiv(in, 32), true
	values = make([]float32, out*in)
	for n := range (out + 7) / 8 * 8 {
		for k := range blocks * 32 {
			at := (n/8*blocks+k/32)*256 + n%8*32
			if element == tensor.F32 {
				at += k % 32
			} else { // chunks of inputs 2c, 2c+1 of every eight, swizzled
				at += ((k%8/2)^(n%8/2))*8 + k%32/8*2 + k%2
			}
			switch {
			case n < out && k < in:
				values[n*in+k] = packed[at]
			case packed[at] != 0:
				padded = false
			}
		}
	}
	return values, padded
}

func TestPack(t *testing.T) {
	const out, in = 21, 70
	for _, element := range []tensor.DType{tensor.BF16, tensor.F16, tensor.F32} {
		b := onLinear(t, element)
		order := make([]int32, out)
		for i := range order {
			order[i] = int32((i*5 + 2) % out)
		}
		for _, source := range []tensor.DType{tensor.F32, tensor.F16, tensor.BF16} {
			weight := round(randomRows(out*in), source)
			want := make([]float32, 0, out*in)
			for _, row := range order {
				want = append(want, weight[int(row)*in:][:in]...)
			}
			round(want, element)

			raw := put(b, elementBytes(weight, source))
			size := int(PackedBytes(out, in, element))
			whole, parts := b.alloc(size), put(b, make([]byte, size))
			places := put(b, Places(order))
			const cut = 13 // rows in the first of two stagings
			b.run(
				b.Pack(whole, raw, source, out, in, put(b, order), 0),
				b.PackRows(parts, raw, source, cut, in, places, 0),
				b.PackRows(parts, raw.Offset(int64(source.RowBytes(cut*in))), source, out-cut, in, places.Offset(4*cut), 0))
			for what, packed := range map[string][]byte{"whole": get[byte](b, whole, size), "in parts": get[byte](b, parts, size)} {
				got, padded := unpacked(fromElements(packed, element), out, in, element)
				if !slices.Equal(got, want) || !padded {
					t.Errorf("%v from %v, %s: values differ, or padding is not zero (%t)", element, source, what, !padded)
				}
			}
		}
	}
}

func TestPackSaturates(t *testing.T) {
	b := onLinear(t, tensor.F16)
	for _, c := range []struct {
		value, want float32
		overflow    int32
	}{{65504, 65504, 0}, {-65600, -65504, 1}, {1e9, 65504, 1}} {
		packed, overflow := b.alloc(int(PackedBytes(1, 1, tensor.F16))), put(b, []int32{0})
		b.run(b.Pack(packed, put(b, []float32{c.value}), tensor.F32, 1, 1, 0, overflow))
		got, _ := unpacked(fromElements(get[byte](b, packed, 512), tensor.F16), 1, 1, tensor.F16)
		if got[0] != c.want || get[int32](b, overflow, 1)[0] != c.overflow {
			t.Errorf("%g became %g, overflow %d; want %g, %d", c.value, got[0], get[int32](b, overflow, 1)[0], c.want, c.overflow)
		}
	}
}

func TestOrders(t *testing.T) {
	for what, c := range map[string]struct{ got, want []int32 }{
		"gate_up": {GateUpOrder(3), []int32{0, 3, 1, 4, 2, 5}},
		"rotate":  {RotateOrder(1, 1, 4), []int32{0, 2, 1, 3, 4, 6, 5, 7, 8, 9, 10, 11}},
		"places":  {Places([]int32{2, 0, 1}), []int32{1, 2, 0}},
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("%s: got %v, want %v", what, c.got, c.want)
		}
	}
}
