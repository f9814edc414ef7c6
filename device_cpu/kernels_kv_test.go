package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"minisgl/device"
	"minisgl/tensor"
)

// filledCache is a cache of one layer and head that holds n positions, in pages one behind the other, and what was stored.
func filledCache(r *rand.Rand, dtype tensor.DType, pageSize, dim, n int) (c *kvCache, pages []int32, keys, values [][]float32) {
	p := &device.Program{Layers: 1, KVHeads: 1, HeadDim: dim}
	c = newKVCache(p, dtype, pageSize, ceil(n, pageSize))
	c.data = make([]byte, int(c.pageBytes())*c.pages)
	pages = consecutivePages(c.pages)
	for i := range n {
		keys, values = append(keys, randomFloats(r, dim)), append(values, randomFloats(r, dim))
		c.store(pages[i/pageSize], i%pageSize, 0, 0, keys[i], values[i])
	}
	return c, pages, keys, values
}

// listOf is the list of blocks of n positions, as readBlocks makes it.
func listOf(c *kvCache, pages []int32, n int) []*byte { return listOfHead(c, pages, 0, n) }

func listOfHead(c *kvCache, pages []int32, head, n int) []*byte {
	blocks := ceil(n, keyTile)
	var list []*byte
	for i := range blocks {
		if c.lanes == keyTile {
			list = append(list, c.block(pages, 0, head, i))
		} else {
			list = append(list, c.gather(make([]byte, c.read.bytes), pages, 0, head, i, n-i*keyTile))
		}
	}
	for panel := range c.panels {
		for _, block := range list[:blocks] {
			list = append(list, &elements[byte](block, c.read.values+panel*c.read.panel, 1)[0])
		}
	}
	for range lookBlocks {
		list = append(list, list[0])
	}
	return list
}

// What is stored comes back as near as the type allows, from pages of any size.
func TestCacheKeepsWhatIsStored(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 1))
	for dtype, tolerance := range map[tensor.DType]float64{tensor.F32: 0, tensor.BF16: 1.0 / 256, tensor.I8: 1.0 / 254} {
		for _, pageSize := range []int{1, 7, 16, 48} {
			for _, dim := range []int{2, 18, 64, 80} {
				const n = 37
				c, pages, keys, values := filledCache(r, dtype, pageSize, dim, n)
				list := listOf(c, pages, n)
				reader := map[tensor.DType]blockReader{tensor.F32: float32Block{}, tensor.BF16: bfloat16Block{}, tensor.I8: int8Block{}}[dtype]
				near := func(got, want float32, all []float32) bool {
					size := max(math.Abs(float64(slices.Max(all))), math.Abs(float64(slices.Min(all))))
					return math.Abs(float64(got-want)) <= tolerance*1.0001*size
				}
				var key [keyTile]float32
				var value [panelWidth]float32
				for position := range n {
					for d := range dim {
						key = reader.key(list[position/keyTile], d)
						value = reader.value(list[(1+d/panelWidth)*ceil(n, keyTile)+position/keyTile], position%keyTile)
						if !near(key[position%keyTile], keys[position][d], keys[position]) || !near(value[d%panelWidth], values[position][d], values[position]) {
							t.Fatalf("%s, pages of %d, heads of %d, position %d, element %d: key %v and value %v, want %v and %v", dtype, pageSize, dim,
								position, d, key[position%keyTile], value[d%panelWidth], keys[position][d], values[position][d])
						}
					}
				}
			}
		}
	}
}

func TestAttentionKernelsAgreeWithGeneric(t *testing.T) {
	r := rand.New(rand.NewPCG(22, 1))
	for _, v := range usableVariants() {
		for _, dtype := range kvTypes {
			for _, dim := range []int{2, 18, 64} {
				t.Run(fmt.Sprintf("%s/%s/%d", v.name, dtype, dim), func(t *testing.T) {
					for rows := 1; rows <= v.tileRows; rows++ {
						for _, n := range []int{1, 16, 17, 90} {
							c, pages, _, _ := filledCache(r, dtype, 16, dim, n)
							list := listOf(c, pages, n)
							blocks := ceil(n, keyTile)
							ldx, ldc := dim+3, scoreWidth
							x := randomFloats(r, rows*ldx)
							got, want := make([]float32, rows*ldc), make([]float32, rows*ldc)
							v.attention.of(dtype).scores(got, ldc, x, ldx, list, blocks, dim, rows)
							genericAttention.of(dtype).scores(want, ldc, x, ldx, list, blocks, dim, rows)
							for row := range rows {
								requireClose(t, got[row*ldc:][:n], want[row*ldc:][:n], 2e-5)
							}
							for panel := range c.panels {
								for _, from := range []int{0, n / 2, n - 1} {
									ldc, add := panelWidth+5, from&1
									got := randomFloats(r, rows*ldc)
									want := slices.Clone(got)
									p := randomFloats(r, rows*scoreWidth)
									values := list[(1+panel)*blocks:]
									v.attention.of(dtype).weigh(got, ldc, p, scoreWidth, values, from, n, rows, add)
									genericAttention.of(dtype).weigh(want, ldc, p, scoreWidth, values, from, n, rows, add)
									requireClose(t, got, want, 2e-5)
								}
							}
						}
					}
				})
			}
		}
		sum, x := randomFloats(r, 64), randomFloats(r, 64)
		want := slices.Clone(sum)
		v.attention.blend(sum, x, 0.3, 1)
		blendGeneric(want, x, 0.3, 1)
		requireClose(t, sum, want, 1e-6)
	}
}

// A row's scores and weighted values are the same to the bit alone and among others, in one call or several.
func TestAttentionKernelsDoNotDependOnRows(t *testing.T) {
	r := rand.New(rand.NewPCG(23, 1))
	const dim, n = 64, 75
	for _, v := range usableVariants() {
		for _, dtype := range kvTypes {
			c, pages, _, _ := filledCache(r, dtype, 16, dim, n)
			list := listOf(c, pages, n)
			kv := v.attention.of(dtype)
			x, p := randomFloats(r, v.tileRows*dim), randomFloats(r, v.tileRows*n)
			blocks := ceil(n, keyTile)
			run := func(first, rows, cut int) (scores, weighted []float32) {
				scores, weighted = make([]float32, rows*scoreWidth), make([]float32, rows*panelWidth)
				kv.scores(scores, scoreWidth, x[first*dim:], dim, list, blocks, dim, rows)
				kv.weigh(weighted, panelWidth, p[first*n:], n, list[blocks:], 0, cut, rows, 0)
				if cut < n {
					kv.weigh(weighted, panelWidth, p[first*n:], n, list[blocks:], cut, n, rows, 1)
				}
				return scores, weighted
			}
			for rows := 1; rows <= v.tileRows; rows++ {
				for _, cut := range []int{1, 16, 30, n} {
					scores, weighted := run(0, rows, cut)
					for row := range rows {
						s, w := run(row, 1, n)
						if !slices.Equal(s[:n], scores[row*scoreWidth:][:n]) || !slices.Equal(w, weighted[row*panelWidth:][:panelWidth]) {
							t.Fatalf("%s, %s: row %d of %d, values in parts of %d, differs from the row alone", v.name, dtype, row, rows, cut)
						}
					}
				}
			}
		}
	}
}

// BenchmarkAttentionKernels streams keys and values of 128 MB through one thread: 7 query heads of 64 share a KV head. The limit
// is what the thread reads of the same memory by plain loads.
func BenchmarkAttentionKernels(b *testing.B) {
	const dim, rows, pageSize, bytes = 64, 7, 16, 128 << 20
	p := &device.Program{Layers: 24, KVHeads: 2, HeadDim: dim}
	for _, v := range usableVariants() {
		for _, dtype := range kvTypes {
			c := newKVCache(p, dtype, pageSize, 1)
			c.pages = bytes / int(c.pageBytes())
			memory, err := newArena(bytes)
			if err != nil {
				b.Fatal(err)
			}
			defer memory.free()
			c.data = take[byte](memory, bytes)
			for i := range c.data {
				c.data[i] = 1
			}
			r := &runner{program: &device.Program{Heads: rows * p.KVHeads, KVHeads: p.KVHeads, HeadDim: dim}, kernels: v.kernels, kv: c,
				pool: &pool{threads: 1}}
			a := newAttention(r)
			a.op = &device.Attention{Scale: 0.1}
			pages := consecutivePages(c.pages)
			s := span{piece: &piece{position: c.pages*pageSize - 1, pages: pages}, rows: 1, to: ceil(c.pages*pageSize, partition), whole: true}
			b.Run(fmt.Sprintf("%s/%s", v.name, dtype), func(b *testing.B) {
				fastest, read := math.Inf(1), math.Inf(1)
				floats := elements[float32](&c.data[0], 0, bytes/4)
				for b.Loop() {
					start := time.Now()
					for layer := range p.Layers {
						a.op.Layer = layer
						for s.head = range p.KVHeads {
							for number := range s.to {
								a.runPartition(&s, &a.scratch[0], number)
							}
						}
					}
					fastest = min(fastest, time.Since(start).Seconds())
					start = time.Now()
					v.largest(floats)
					read = min(read, time.Since(start).Seconds())
				}
				b.ReportMetric(float64(int(c.pageBytes())*c.pages)/fastest/1e9, "GB/s")
				b.ReportMetric(read/fastest*100, "%read")
			})
		}
	}
}
