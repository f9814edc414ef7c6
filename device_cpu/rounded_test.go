package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"unsafe"

	"minisgl/device"
	"minisgl/device/devicetest"
	"minisgl/tensor"
)

// A roundedPath is a path whose attention multiplies bfloat16 numbers.
type roundedPath struct {
	variant
	activations tensor.DType
}

func (p roundedPath) String() string { return fmt.Sprintf("%s, activations %s", p.name, p.activations) }

func roundedPaths() []roundedPath {
	var paths []roundedPath
	for _, v := range pairVariants() {
		if v.pairs.faster(v.kernels) {
			paths = append(paths, roundedPath{v, tensor.BF16})
		}
	}
	for _, v := range amxVariants() {
		paths = append(paths, roundedPath{v, tensor.Invalid}, roundedPath{v, tensor.BF16})
	}
	return paths
}

// attentionOf is attention of one layer over a sequence of n positions, the last rows of which are the slab's, their queries random.
func attentionOf(t *testing.T, p roundedPath, pageSize, kvHeads, group, dim, n, rows int) *attention {
	r := rand.New(rand.NewPCG(41, uint64(n)))
	program := &device.Program{Layers: 1, Heads: kvHeads * group, KVHeads: kvHeads, HeadDim: dim}
	a := &runner{program: program, kernels: p.kernels, options: device.LoadOptions{Activations: p.activations}, pool: newPool(2),
		kv: newKVCache(program, tensor.BF16, pageSize, ceil(n, pageSize))}
	t.Cleanup(a.pool.close)
	a.tiled.halves = 2
	if p.activations == tensor.BF16 {
		a.tiled.halves = 1
	}
	a.kv.data = make([]byte, int(a.kv.pageBytes())*a.kv.pages)
	for position := range n {
		for head := range kvHeads {
			a.kv.store(int32(position/pageSize), position%pageSize, 0, head, randomFloats(r, dim), randomFloats(r, dim))
		}
	}
	width := (kvHeads*group + 2*kvHeads) * dim
	a.pieces = []piece{{rows: rows, position: n - rows, pages: consecutivePages(a.kv.pages)}}
	out := newAttention(a)
	out.op = &device.Attention{Scale: float32(1 / math.Sqrt(float64(dim)))}
	out.qkv = buffer{data: randomFloats(r, rows*width), width: width, stride: width}
	out.out = buffer{data: make([]float32, rows*kvHeads*group*dim), width: kvHeads * group * dim, stride: kvHeads * group * dim}
	return out
}

func (a *attention) attended() []float32 {
	a.plan(a.pieces)
	a.run(a.op, a.qkv, a.out)
	return a.out.data
}

// exactAttention is a row's output of a query head in float64, from the keys and values as they are stored.
func exactAttention(a *attention, row, head int) []float64 {
	p, dim := a.pieces[0], a.cache.headDim
	position := p.position + row
	list := listOfHead(a.cache, p.pages, head/a.group(), position+1)
	blocks := ceil(position+1, keyTile)
	query := a.qkv.row(row)[head*dim:][:dim]
	weights, sum := make([]float64, position+1), 0.0
	for i := range weights {
		score := 0.0
		for d, q := range query {
			score += float64(q) * float64(bfloat16Block{}.key(list[i/keyTile], d)[i%keyTile])
		}
		weights[i] = math.Exp(score * float64(a.op.Scale))
		sum += weights[i]
	}
	out := make([]float64, dim)
	for i, w := range weights {
		for d := range out {
			value := bfloat16Block{}.value(list[(1+d/panelWidth)*blocks+i/keyTile], i%keyTile)
			out[d] += w / sum * float64(value[d%panelWidth])
		}
	}
	return out
}

// One half keeps 8 bits of queries and probabilities, two keep 16: attention is as good as that, whatever the shapes.
func TestRoundedAttention(t *testing.T) {
	for _, p := range roundedPaths() {
		tolerance := 1e-4
		if p.activations == tensor.BF16 {
			tolerance = 2e-2
		}
		for _, c := range []struct{ pageSize, kvHeads, group, dim, n, rows int }{
			{16, 1, 1, 2, 1, 1}, {16, 2, 7, 64, 530, 40}, {7, 1, 3, 18, 300, 300}, {48, 1, 4, 80, 257, 20}, {16, 1, 20, 32, 270, 17}, {16, 1, 40, 64, 50, 3},
		} {
			t.Run(fmt.Sprintf("%s/%+v", p, c), func(t *testing.T) {
				a := attentionOf(t, p, c.pageSize, c.kvHeads, c.group, c.dim, c.n, c.rows)
				if a.rounded == nil {
					t.Fatal("attention is not in bfloat16")
				}
				got := a.attended()
				for row := 0; row < c.rows; row += 1 + c.rows/9 {
					for head := range c.kvHeads * c.group {
						for d, want := range exactAttention(a, row, head) {
							if v := float64(got[row*a.out.stride+head*c.dim+d]); !(math.Abs(v-want) <= tolerance) {
								t.Fatalf("row %d, head %d, element %d is %v, want %v", row, head, d, v, want)
							}
						}
					}
				}
			})
		}
	}
}

// A value that is no number breaks the rows that see it and no others, to the bit.
func TestBrokenValuesStayWithThoseWhoSeeThem(t *testing.T) {
	const dim, n, rows, position = 64, 300, 60, 271
	for _, p := range roundedPaths() {
		for _, bad := range []float64{math.NaN(), math.Inf(-1), math.MaxFloat32} {
			a := attentionOf(t, p, 16, 1, 7, dim, n, rows)
			whole := slices.Clone(a.attended())
			key, value := make([]float32, dim), make([]float32, dim)
			value[5] = float32(bad)
			a.cache.store(position/16, position%16, 0, 0, key, value)
			got := a.attended()
			first := (position - (n - rows)) * a.out.stride
			if !slices.Equal(got[:first], whole[:first]) {
				t.Errorf("%s: %v at position %d changes rows before it", p, bad, position)
			}
			if slices.ContainsFunc(got[first:], func(v float32) bool { return v == v }) {
				t.Errorf("%s: %v at position %d leaves rows behind it whole", p, bad, position)
			}
		}
	}
}

// Neither chunks nor pages nor threads change a bit of it.
func TestRoundedAttentionIsExact(t *testing.T) {
	const tokens, decode = 600, 3
	p := devicetest.TinyProgram(devicetest.Config{Heads: 7, KVHeads: 1, HeadDim: 32, Layers: 2, MaxPositions: 2048, DType: tensor.BF16, Bias: true})
	before := variants
	defer func() { variants = before }()
	variants = append(slices.Clone(before), tiles())
	r := rand.New(rand.NewPCG(4, 5))
	prompt := make([]int32, tokens)
	for i := range prompt {
		prompt[i] = int32(r.IntN(p.Vocab))
	}
	for _, path := range roundedPaths() {
		var want []device.Result
		for _, c := range []struct{ threads, pageSize, chunk int }{{1, 16, tokens}, {2, 64, tokens}, {2, 24, 257}, {3, 16, 64}, {2, 1, 33}} {
			t.Run(fmt.Sprintf("%s/%d threads, pages of %d, chunks of %d", path, c.threads, c.pageSize, c.chunk), func(t *testing.T) {
				runner := load(t, path.name, c.threads, p, device.LoadOptions{PageSize: c.pageSize, Pages: 1 + 700/c.pageSize, MaxSlots: 1,
					MaxRows: tokens, KV: tensor.BF16, Activations: path.activations})
				defer runner.Close()
				got := scoreAndDecode(t, runner, prompt, c.pageSize, c.chunk, decode)
				if want == nil {
					want = got
				}
				for i := range want {
					if !reflect.DeepEqual(got[i], want[i]) {
						t.Fatalf("position %d: %+v, want %+v", i+1, got[i], want[i])
					}
				}
			})
		}
	}
}

// The assembly lays keys and values out as plain Go does.
func TestSpread(t *testing.T) {
	r := rand.New(rand.NewPCG(42, 1))
	const pairs = 3 * 16
	block := func() *byte {
		words := make([]uint16, pairs*2*keyTile)
		for i := range words {
			words[i] = uint16(r.Uint32())
		}
		return (*byte)(unsafe.Pointer(&words[0]))
	}
	blocks := []*byte{block(), block()}
	for range lookBlocks {
		blocks = append(blocks, blocks[0])
	}
	for _, v := range usableVariants() {
		for _, product := range []roundedProduct{tileRows{}, pairRows{}} {
			pair, half := product.strides()
			for both := range 2 {
				for _, n := range []int{1, 9, 16, 17, pairs} {
					got, want := make([]uint16, 3*spreadGroup), make([]uint16, 3*spreadGroup)
					v.spread.keys(got, blocks, n, pair, half, both)
					spreadKeysGeneric(want, blocks, n, pair, half, both)
					if !slices.Equal(got, want) {
						t.Errorf("%s: keys of %d pairs, strides of %d and %d, both %d", v.name, n, pair, half, both)
					}
				}
				got, want := make([]uint16, spreadGroup), make([]uint16, spreadGroup)
				v.spread.values(got, blocks, pair, half, both)
				spreadValuesGeneric(want, blocks, pair, half, both)
				if !slices.Equal(got, want) {
					t.Errorf("%s: values, strides of %d and %d, both %d", v.name, pair, half, both)
				}
			}
		}
	}
}

func TestRotate(t *testing.T) {
	r := rand.New(rand.NewPCG(43, 1))
	for _, v := range usableVariants() {
		for _, half := range []int{16, 32, 48} {
			for heads := 1; heads < 4; heads++ {
				got, cos, sin := randomFloats(r, 2*heads*half), randomFloats(r, half), randomFloats(r, half)
				want := slices.Clone(got)
				v.rotate(got, heads, cos, sin)
				rotateGeneric(want, heads, cos, sin)
				if !slices.Equal(got, want) {
					t.Errorf("%s: %d heads of %d pairs differ from plain Go", v.name, heads, half)
				}
			}
		}
	}
}

// Values become bfloat16 as package tensor has it, and those that are not finite then are noticed wherever they stand.
func TestToBF16(t *testing.T) {
	r := rand.New(rand.NewPCG(44, 1))
	const n = 48
	for _, v := range usableVariants() {
		x, got, want := make([]float32, n), make([]uint16, n), make([]uint16, n)
		for range 1000 {
			for i := range x {
				x[i] = math.Float32frombits(r.Uint32())
			}
			broken := toBF16Generic(want, x)
			if b := v.toBF16(got, x); !slices.Equal(got, want) || b != 0 != (broken != 0) {
				t.Fatalf("%s: %v becomes %x, broken %d; want %x, broken %d", v.name, x, got, b, want, broken)
			}
		}
		for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), -math.MaxFloat32} {
			for i := range n {
				clear(x)
				if v.toBF16(got, x) != 0 {
					t.Fatalf("%s: zeros are broken", v.name)
				}
				if x[i] = float32(bad); v.toBF16(got, x) == 0 {
					t.Errorf("%s: %v at %d is not noticed", v.name, bad, i)
				}
			}
		}
	}
}
