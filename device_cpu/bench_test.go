package cpu

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"minisgl/device"
	"minisgl/device/devicetest"
	"minisgl/tensor"
)

// The shape of Qwen2.5-0.5B.
const (
	benchHidden       = 896
	benchIntermediate = 4864
	benchLayers       = 24
	benchHeads        = 14
	benchKVHeads      = 2
	benchHeadDim      = 64
	benchVocab        = 151936
)

// benchProgram is Qwen2.5-0.5B with random bf16 weights.
func benchProgram(layers int) *device.Program {
	r := rand.New(rand.NewPCG(11, 12))
	noise := make([]byte, 1<<20)
	for i := 0; i < len(noise); i += 2 {
		binary.LittleEndian.PutUint16(noise[i:], tensor.Float32ToBF16(float32(r.NormFloat64())*0.02))
	}
	weight := func(rows, cols int) device.Matrix {
		data := make([]byte, 2*rows*cols)
		for at := 0; at < len(data); {
			at += copy(data[at:], noise[2*r.IntN(1000):])
		}
		t, err := tensor.New("", tensor.BF16, []int{rows, cols}, data)
		if err != nil {
			panic(err)
		}
		return device.Matrix{Parts: []*tensor.Tensor{t}}
	}
	vector := func(n int, value float32) device.Vector {
		data := make([]byte, 4*n)
		for i := range n {
			binary.LittleEndian.PutUint32(data[4*i:], math.Float32bits(value))
		}
		t, err := tensor.New("", tensor.F32, []int{n}, data)
		if err != nil {
			panic(err)
		}
		return device.Vector{Parts: []*tensor.Tensor{t}}
	}
	p := &device.Program{Name: "qwen2", DType: tensor.BF16, Layers: layers, Heads: benchHeads, KVHeads: benchKVHeads,
		HeadDim: benchHeadDim, Vocab: benchVocab, MaxPositions: 32768, Rotary: device.Rotary{Scale: 1}}
	for i := range benchHeadDim / 2 {
		p.Rotary.InvFreq = append(p.Rotary.InvFreq, float32(math.Pow(1e6, -2*float64(i)/benchHeadDim)))
	}
	qkvWidth := (benchHeads + 2*benchKVHeads) * benchHeadDim
	const (
		x device.Buffer = iota
		normed
		qkv
		attended
		gateUp
		gated
		selected
		final
		logits
	)
	p.Buffers = []device.BufferInfo{{Name: "x", Width: benchHidden}, {Name: "normed", Width: benchHidden}, {Name: "qkv", Width: qkvWidth},
		{Name: "attended", Width: benchHidden}, {Name: "gateUp", Width: 2 * benchIntermediate}, {Name: "gated", Width: benchIntermediate},
		{Name: "selected", Width: benchHidden}, {Name: "final", Width: benchHidden}, {Name: "logits", Width: benchVocab}}
	table := weight(benchVocab, benchHidden)
	p.Ops = append(p.Ops, &device.Embed{Name: "embed", Table: table, Out: x})
	for i := range layers {
		name := func(s string) device.Name { return device.Name(fmt.Sprintf("layers.%d.%s", i, s)) }
		p.Ops = append(p.Ops,
			&device.RMSNorm{Name: name("input_norm"), In: x, Out: normed, Weight: vector(benchHidden, 1), Eps: 1e-6},
			&device.Linear{Name: name("qkv"), In: normed, Out: qkv, Weight: weight(qkvWidth, benchHidden), Bias: vector(qkvWidth, 0.1)},
			&device.RotaryStore{Name: name("rotary"), QKV: qkv, Layer: i},
			&device.Attention{Name: name("attention"), QKV: qkv, Out: attended, Layer: i, Scale: 0.125},
			&device.Linear{Name: name("o"), In: attended, Out: x, Weight: weight(benchHidden, benchHidden), Residual: true},
			&device.RMSNorm{Name: name("post_norm"), In: x, Out: normed, Weight: vector(benchHidden, 1), Eps: 1e-6},
			&device.Linear{Name: name("gate_up"), In: normed, Out: gateUp, Weight: weight(2*benchIntermediate, benchHidden)},
			&device.GatedSiLU{Name: name("silu"), GateUp: gateUp, Out: gated},
			&device.Linear{Name: name("down"), In: gated, Out: x, Weight: weight(benchHidden, benchIntermediate), Residual: true})
	}
	p.Ops = append(p.Ops,
		&device.SelectRows{Name: "select", In: x, Out: selected},
		&device.RMSNorm{Name: "norm", In: selected, Out: final, Weight: vector(benchHidden, 1), Eps: 1e-6},
		&device.LMHead{Name: "head", In: final, Logits: logits, Weight: table})
	return p
}

const benchThreads = 2

// readRate is the memory read rate in bytes a second that 2 threads reach over half a gigabyte in huge pages, by plain loads.
func readRate(v variant) float64 {
	const bytes, piece = 1 << 29, 1 << 16
	a, err := newArena(bytes)
	if err != nil {
		panic(err)
	}
	defer a.free()
	values := take[float32](a, bytes/4)
	for i := range values {
		values[i] = 1
	}
	return bytes / fastest(20, func(thread int) {
		for part := range slices.Chunk(values[len(values)/benchThreads*thread:][:len(values)/benchThreads], piece) {
			v.largest(part)
		}
	})
}

// multiplyRate is the float32 operations a second that 2 threads reach in tiles whose operands lie in the first-level cache.
func multiplyRate(v variant) float64 {
	const inputs, repeats = 64, 10000
	seconds := fastest(20, func(int) {
		w, x := make([]float32, inputs*panelWidth), make([]float32, v.tileRows*inputs)
		c := make([]float32, v.tileRows*panelWidth)
		for range repeats {
			v.tileF32(c, panelWidth, x, inputs, w, w[16:], panelWidth, inputs, v.tileRows, 0)
		}
	})
	return 2 * inputs * panelWidth * repeats * float64(v.tileRows*benchThreads) / seconds
}

// fastest runs f on all threads several times and returns the least seconds.
func fastest(times int, f func(thread int)) float64 {
	best := math.Inf(1)
	for range times {
		start := time.Now()
		var wait sync.WaitGroup
		for thread := range benchThreads {
			wait.Go(func() { f(thread) })
		}
		wait.Wait()
		best = min(best, time.Since(start).Seconds())
	}
	return best
}

func benchRunner(b testing.TB, v variant, threads, pageSize int, activations tensor.DType) device.Runner {
	p := benchProgram(benchLayers)
	d := openVariant(b, v.name, threads)
	start := time.Now()
	r, err := d.Load(p, device.LoadOptions{PageSize: pageSize, Pages: 16 * 4096 / pageSize * 2, MaxSlots: 64, MaxRows: 2048,
		Activations: activations})
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("load: %.2f s", time.Since(start).Seconds())
	b.Cleanup(func() { r.Close() })
	fillCache(r)
	return r
}

// fillCache writes to all of the KV cache: memory that was never written is one page of zeros, which is read from the cache.
func fillCache(r device.Runner) {
	kv := r.(*runner).kv.data
	for i := range kv {
		kv[i] = 1
	}
}

// benchStep is a step of sequences with rows each, at a position.
func benchStep(sequences, rows, position, pageSize int, params *device.Sampling) *device.Step {
	s := &device.Step{}
	r := rand.New(rand.NewPCG(1, 1))
	pages := ceil(position+rows, pageSize)
	for i := range sequences {
		q := device.Sequence{Slot: int32(i), First: int32(len(s.Tokens)), Rows: int32(rows), Position: int32(position)}
		for j := range pages {
			q.Pages = append(q.Pages, int32(i*pages+j))
		}
		s.Sequences = append(s.Sequences, q)
		for range rows {
			s.Tokens = append(s.Tokens, int32(r.IntN(benchVocab)))
		}
		s.Outputs = append(s.Outputs, device.Output{Row: int32(len(s.Tokens) - 1), Slot: int32(i), Target: device.Sample,
			Position: int32(position + rows), Params: params})
	}
	return s
}

// BenchmarkStep measures whole steps of Qwen2.5-0.5B in bf16 against the limits that it measures itself: the memory read rate
// for decode, the rate of multiplications for prefill.
func BenchmarkStep(b *testing.B) {
	type path struct {
		variant
		name        string
		activations tensor.DType
	}
	var paths []path
	for _, v := range usableVariants() {
		switch v.name {
		case "generic":
		case "amx":
			paths = append(paths, path{v, v.name, tensor.Invalid}, path{v, v.name + " bfloat16", tensor.BF16})
		default:
			paths = append(paths, path{v, v.name, tensor.Invalid})
		}
	}
	for _, v := range paths {
		b.Run(v.name, func(b *testing.B) {
			const pageSize = 16
			read, multiply := readRate(v.variant), multiplyRate(v.variant)
			r := benchRunner(b, v.variant, benchThreads, pageSize, v.activations)
			weights := float64(r.Memory().Weights)
			perOutput := 2.0 * benchVocab * benchHidden
			perToken := weights - perOutput                                    // an operation on each of two bytes, twice
			perTail := 2.0 * benchHidden * (benchHidden + 3*benchIntermediate) // behind the last attention, for outputs only
			b.Logf("memory read %.1f GB/s, multiplication %.0f GFLOP/s, weights %.0f MB", read/1e9, multiply/1e9, weights/1e6)
			sampled := &device.Sampling{Temperature: 1, TopP: 0.9, TopK: 50, RepetitionPenalty: 1, Logprobs: -1}
			for _, c := range []struct {
				name                      string
				sequences, rows, position int
				params                    *device.Sampling
			}{
				{"decode 1", 1, 1, 64, device.Greedy()},
				{"decode 1 sampled", 1, 1, 64, sampled},
				{"decode 1 at 1024", 1, 1, 1023, device.Greedy()},
				{"decode 1 at 4096", 1, 1, 4095, device.Greedy()},
				{"decode 4", 4, 1, 64, device.Greedy()},
				{"decode 16", 16, 1, 64, device.Greedy()},
				{"decode 16 at 1024", 16, 1, 1023, device.Greedy()},
				{"decode 32", 32, 1, 64, device.Greedy()},
				{"prefill 128", 1, 128, 0, device.Greedy()},
				{"prefill 512", 1, 512, 0, device.Greedy()},
				{"prefill 2048", 1, 2048, 0, device.Greedy()},
			} {
				b.Run(c.name, func(b *testing.B) {
					s := benchStep(c.sequences, c.rows, c.position, pageSize, c.params)
					runStep(b, r, s)
					b.ReportAllocs()
					for b.Loop() {
						runStep(b, r, s)
					}
					seconds := b.Elapsed().Seconds() / float64(b.N)
					tokens := float64(c.sequences * c.rows)
					b.ReportMetric(tokens/seconds, "tok/s")
					b.ReportMetric(weights/seconds/read*100, "%read")
					operations := tokens*(perToken-perTail) + float64(c.sequences)*(perTail+perOutput)
					b.ReportMetric(operations/seconds/1e9, "GFLOP/s")
					b.ReportMetric(operations/seconds/multiply*100, "%multiply")
				})
			}
			for _, rows := range []int{1, 4, 16, 32, 128, 512} {
				b.Run(fmt.Sprintf("products %d", rows), func(b *testing.B) {
					r := r.(*runner)
					for b.Loop() {
						for i := range r.ops {
							if op, ok := r.ops[i].Op.(*device.Linear); ok {
								r.linear.run(&r.ops[i], op, rows)
							}
						}
					}
					seconds := b.Elapsed().Seconds() / float64(b.N)
					b.ReportMetric(float64(rows)/seconds, "rows/s")
					b.ReportMetric(perToken/seconds/read*100, "%read")
					b.ReportMetric(perToken*float64(rows)/seconds/1e9, "GFLOP/s")
				})
			}
		})
	}
}

// BenchmarkAttention measures steps of a model that is hardly more than Qwen2.5-0.5B's attention: a row or 16 at the end of
// 4,096 tokens, whose KV is read once, and the last 256 rows of 2,048.
func BenchmarkAttention(b *testing.B) {
	p := devicetest.TinyProgram(devicetest.Config{Layers: benchLayers, Heads: benchHeads, KVHeads: benchKVHeads,
		HeadDim: benchHeadDim, MaxPositions: 8192})
	for _, v := range usableVariants() {
		for _, c := range []struct{ sequences, rows, position, pageSize int }{
			{1, 1, 4095, 16}, {1, 1, 4095, 64}, {1, 1, 4095, 1}, {16, 1, 1023, 16}, {1, 256, 2048 - 256, 16}, {1, 256, 2048 - 256, 64},
		} {
			b.Run(fmt.Sprintf("%s/%d rows of %d at %d, pages of %d", v.name, c.rows, c.sequences, c.position, c.pageSize), func(b *testing.B) {
				tokens := c.position + c.rows
				r := load(b, v.name, benchThreads, p, device.LoadOptions{PageSize: c.pageSize, Pages: c.sequences * ceil(tokens, c.pageSize),
					MaxSlots: 16, MaxRows: 512})
				defer r.Close()
				s := benchStep(c.sequences, c.rows, c.position, c.pageSize, device.Greedy())
				for i := range s.Tokens {
					s.Tokens[i] %= int32(p.Vocab)
				}
				for i := range s.Sequences {
					for first := 0; first < c.position; first += 512 {
						n := min(512, c.position-first)
						runStep(b, r, &device.Step{Tokens: make([]int32, n), Sequences: []device.Sequence{
							{Rows: int32(n), Position: int32(first), Pages: s.Sequences[i].Pages}}})
					}
				}
				for b.Loop() {
					runStep(b, r, s)
				}
				seconds := b.Elapsed().Seconds() / float64(b.N)
				b.ReportMetric(float64(c.sequences*tokens)*float64(r.Memory().KV)/float64(r.Pages()*c.pageSize)/seconds/1e9, "GB/s")
				seen := float64(c.sequences*c.rows) * (float64(c.position) + float64(c.rows+1)/2)
				b.ReportMetric(4*seen*benchHeads*benchHeadDim*benchLayers/seconds/1e9, "GFLOP/s")
			})
		}
	}
}
