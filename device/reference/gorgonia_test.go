//go:build !cuda

package reference_test

import (
	"fmt"
	"math"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"minisgl/device"
	"minisgl/device/devicetest"
	"minisgl/device/reference"
)

// TestGorgoniaAgrees builds whole models from gorgonia's operations, an implementation of them that is not ours, and compares
// the logits of every position. (The build tag keeps out gorgonia's own cuda files.)
func TestGorgoniaAgrees(t *testing.T) {
	tokens := []int32{5, 1, 96, 33, 33, 0, 71, 12, 8, 64, 2}
	for name, c := range map[string]devicetest.Config{
		"qwen2":            {Bias: true, Tied: true, Heads: 6, KVHeads: 2, HeadDim: 16},
		"qwen3":            {QKNorm: true, Heads: 4, KVHeads: 4, HeadDim: 24},
		"llama, with YaRN": {RotaryScale: 1.2079441541679836},
	} {
		t.Run(name, func(t *testing.T) {
			p := devicetest.TinyProgram(c)
			want := referenceLogits(t, p, tokens)
			got := newGraph(p, tokens).logits()
			if len(got) != len(want) {
				t.Fatalf("%d logits, want %d", len(got), len(want))
			}
			largest, off := 0.0, 0.0
			for i := range want {
				largest, off = max(largest, math.Abs(want[i])), max(off, math.Abs(got[i]-want[i]))
			}
			t.Logf("%d logits up to %.2f in size, largest difference %.1e", len(want), largest, off)
			if !(off <= 1e-12*largest) {
				t.Errorf("the largest difference is %g among logits of up to %g", off, largest)
			}
		})
	}
}

// referenceLogits returns the logits of all positions, tokens × vocabulary.
func referenceLogits(t *testing.T, p *device.Program, tokens []int32) (logits []float64) {
	n := int32(len(tokens))
	r, err := reference.New(1).Load(p, device.LoadOptions{PageSize: 4, Pages: 4, MaxSlots: 1, MaxRows: len(tokens)})
	if err != nil {
		t.Fatal(err)
	}
	s := &device.Step{Tokens: tokens, Sequences: []device.Sequence{{Rows: n, Pages: []int32{2, 0, 1}}}}
	for row := range n {
		s.Outputs = append(s.Outputs, device.Output{Row: row, Position: row + 1, Params: device.Greedy()})
	}
	s.Trace = func(tap device.Tap) {
		if tap.Op == len(p.Ops)-1 {
			logits = append(logits, tap.Data...)
		}
	}
	r.Submit(s)
	if err := r.Wait(s); err != nil {
		t.Fatal(err)
	}
	return logits
}

// A graph is a program as a gorgonia graph over whole sequences: no pages, no KV, a causal mask instead.
type graph struct {
	g      *gorgonia.ExprGraph
	p      *device.Program
	tokens []int32
	nodes  int
	ones   *gorgonia.Node // (tokens, 1): what a row is multiplied with to repeat it
}

func newGraph(p *device.Program, tokens []int32) *graph {
	g := &graph{g: gorgonia.NewGraph(), p: p, tokens: tokens}
	g.ones = g.constant(len(tokens), 1, func(int, int) float64 { return 1 })
	return g
}

func (g *graph) logits() []float64 {
	buffers := make(map[device.Buffer]*gorgonia.Node)
	cache := make(map[int]*gorgonia.Node) // by layer: rotated [query | key | value]
	for _, op := range g.p.Ops {
		switch o := op.(type) {
		case *device.Embed:
			chosen := g.constant(len(g.tokens), o.Table.Rows(), func(t, id int) float64 { return indicator(int(g.tokens[t]) == id) })
			buffers[o.Out] = must(gorgonia.Mul(chosen, g.matrix(o.Table)))
		case *device.RMSNorm:
			buffers[o.Out] = g.rmsNorm(buffers[o.In], o.Weight, o.Eps)
		case *device.Linear:
			y := must(gorgonia.Mul(buffers[o.In], must(gorgonia.Transpose(g.matrix(o.Weight), 1, 0))))
			if !o.Bias.None() {
				y = must(gorgonia.Add(y, g.repeated(o.Bias)))
			}
			if o.Residual {
				y = must(gorgonia.Add(y, buffers[o.Out]))
			}
			buffers[o.Out] = y
		case *device.RotaryStore:
			cache[o.Layer] = g.rotated(buffers[o.QKV], o)
		case *device.Attention:
			buffers[o.Out] = g.attention(cache[o.Layer], float64(o.Scale))
		case *device.GatedSiLU:
			width := g.p.Buffers[o.Out].Width
			gate, up := g.columns(buffers[o.GateUp], 0, width), g.columns(buffers[o.GateUp], width, 2*width)
			silu := must(gorgonia.HadamardProd(gate, must(gorgonia.Sigmoid(gate))))
			buffers[o.Out] = must(gorgonia.HadamardProd(silu, up))
		case *device.SelectRows:
			buffers[o.Out] = buffers[o.In]
		case *device.LMHead:
			buffers[o.Logits] = must(gorgonia.Mul(buffers[o.In], must(gorgonia.Transpose(g.matrix(o.Weight), 1, 0))))
		}
	}
	var logits gorgonia.Value
	gorgonia.Read(buffers[g.p.Ops[len(g.p.Ops)-1].Output()], &logits)
	machine := gorgonia.NewTapeMachine(g.g)
	defer machine.Close()
	if err := machine.RunAll(); err != nil {
		panic(err)
	}
	return logits.Data().([]float64)
}

func (g *graph) rmsNorm(x *gorgonia.Node, weight device.Vector, epsilon float32) *gorgonia.Node {
	width := x.Shape()[1]
	average := g.constant(width, 1, func(int, int) float64 { return 1 / float64(width) })
	mean := must(gorgonia.Mul(must(gorgonia.Square(x)), average))
	eps := g.constant(len(g.tokens), 1, func(int, int) float64 { return float64(epsilon) })
	scale := must(gorgonia.Inverse(must(gorgonia.Sqrt(must(gorgonia.Add(mean, eps))))))
	wide := must(gorgonia.Mul(scale, g.constant(1, width, func(int, int) float64 { return 1 })))
	return must(gorgonia.HadamardProd(must(gorgonia.HadamardProd(x, wide)), g.repeated(weight)))
}

// rotated normalises each query and key head if there are weights for it, and turns it: x·cos + (x·J)·sin, where J maps (a, b) to (-b, a).
func (g *graph) rotated(qkv *gorgonia.Node, o *device.RotaryStore) *gorgonia.Node {
	dim, half := g.p.HeadDim, g.p.HeadDim/2
	angle := func(t, i int) float64 { return float64(float32(t) * g.p.Rotary.InvFreq[i%half]) }
	cos := g.constant(len(g.tokens), dim, func(t, i int) float64 { return math.Cos(angle(t, i)) * g.p.Rotary.Scale })
	sin := g.constant(len(g.tokens), dim, func(t, i int) float64 { return math.Sin(angle(t, i)) * g.p.Rotary.Scale })
	turn := g.constant(dim, dim, func(from, to int) float64 { return indicator(from+half == to) - indicator(from == to+half) })
	var parts []*gorgonia.Node
	for head := range g.p.Heads + g.p.KVHeads {
		x := g.columns(qkv, head*dim, (head+1)*dim)
		if head < g.p.Heads && !o.QNorm.None() {
			x = g.rmsNorm(x, o.QNorm, o.Eps)
		} else if head >= g.p.Heads && !o.KNorm.None() {
			x = g.rmsNorm(x, o.KNorm, o.Eps)
		}
		turned := must(gorgonia.Mul(x, turn))
		parts = append(parts, must(gorgonia.Add(must(gorgonia.HadamardProd(x, cos)), must(gorgonia.HadamardProd(turned, sin)))))
	}
	parts = append(parts, g.columns(qkv, (g.p.Heads+g.p.KVHeads)*dim, (g.p.Heads+2*g.p.KVHeads)*dim))
	return must(gorgonia.Concat(1, parts...))
}

func (g *graph) attention(qkv *gorgonia.Node, scale float64) *gorgonia.Node {
	n, dim := len(g.tokens), g.p.HeadDim
	factor := g.constant(n, n, func(int, int) float64 { return scale })
	mask := g.constant(n, n, func(query, key int) float64 { return -1e9 * indicator(key > query) })
	var heads []*gorgonia.Node
	for head := range g.p.Heads {
		kvHead := head * g.p.KVHeads / g.p.Heads
		part := func(i int) *gorgonia.Node { return g.columns(qkv, i*dim, (i+1)*dim) }
		query, key, value := part(head), part(g.p.Heads+kvHead), part(g.p.Heads+g.p.KVHeads+kvHead)
		scores := must(gorgonia.Mul(query, must(gorgonia.Transpose(key, 1, 0))))
		scores = must(gorgonia.Add(must(gorgonia.HadamardProd(scores, factor)), mask))
		heads = append(heads, must(gorgonia.Mul(must(gorgonia.SoftMax(scores, 1)), value)))
	}
	return must(gorgonia.Concat(1, heads...))
}

func (g *graph) columns(x *gorgonia.Node, from, to int) *gorgonia.Node {
	return must(gorgonia.Slice(x, nil, gorgonia.S(from, to)))
}

func (g *graph) matrix(m device.Matrix) *gorgonia.Node {
	var values []float32
	for _, part := range m.Parts {
		values = append(values, part.Float32()...)
	}
	return g.constant(m.Rows(), m.Cols(), func(i, j int) float64 { return float64(values[i*m.Cols()+j]) })
}

// repeated is a vector once for each token.
func (g *graph) repeated(v device.Vector) *gorgonia.Node {
	values := v.Float32()
	return must(gorgonia.Mul(g.ones, g.constant(1, len(values), func(_, i int) float64 { return float64(values[i]) })))
}

func (g *graph) constant(rows, cols int, value func(i, j int) float64) *gorgonia.Node {
	data := make([]float64, 0, rows*cols)
	for i := range rows {
		for j := range cols {
			data = append(data, value(i, j))
		}
	}
	g.nodes++
	return gorgonia.NewMatrix(g.g, gorgonia.Float64, gorgonia.WithName(fmt.Sprintf("constant.%d", g.nodes)), gorgonia.WithShape(rows, cols),
		gorgonia.WithValue(tensor.New(tensor.WithShape(rows, cols), tensor.WithBacking(data))))
}

func indicator(holds bool) float64 {
	if holds {
		return 1
	}
	return 0
}

// must is for building the graph: only a fault of this test makes it panic.
func must(n *gorgonia.Node, err error) *gorgonia.Node { return gorgonia.Must(n, err) }
