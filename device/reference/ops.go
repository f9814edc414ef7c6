package reference

import (
	"math"
	"sync"

	"gonum.org/v1/gonum/floats"

	"minisgl/device"
)

// A buffer is rows × width values, row-major.
type buffer struct {
	width  int
	values []float64
}

func (b *buffer) rows() int           { return len(b.values) / b.width }
func (b *buffer) row(t int) []float64 { return b.values[t*b.width : (t+1)*b.width] }

// resize gives the buffer so many rows. What was in them is kept if there are as many.
func (b *buffer) resize(rows int) {
	if n := rows * b.width; n != len(b.values) {
		b.values = make([]float64, n)
	}
}

// embed: Out[t] = Table[token of row t].
func (r *Runner) embed(o *device.Embed) {
	out := r.resized(o.Out, len(r.tokens))
	table := r.weights.matrix(o.Table)
	for t, token := range r.tokens {
		widen(out.row(t), table[token])
	}
}

// rmsNorm: Out[t] = In[t] / sqrt(mean(In[t]²) + Eps) · Weight.
func (r *Runner) rmsNorm(o *device.RMSNorm) {
	in := &r.buffers[o.In]
	out := r.resized(o.Out, in.rows())
	weight := r.weights.vector(o.Weight)
	for t := range in.rows() {
		normalise(out.row(t), in.row(t), weight, o.Eps)
	}
}

func normalise(out, in []float64, weight []float32, eps float32) {
	scale := 1 / math.Sqrt(floats.Dot(in, in)/float64(len(in))+float64(eps))
	for i, x := range in {
		out[i] = x * scale * float64(weight[i])
	}
}

// linear: Out[t] = In[t]·Weightᵀ + Bias, and + Out[t] as it was if Residual.
func (r *Runner) linear(o *device.Linear) {
	in := &r.buffers[o.In]
	out := r.resized(o.Out, in.rows())
	weight, bias := r.weights.matrix(o.Weight), r.weights.vector(o.Bias)
	r.product(in, weight, func(t, i int, y float64) {
		if bias != nil {
			y += float64(bias[i])
		}
		if o.Residual {
			y += out.row(t)[i]
		}
		out.row(t)[i] = y
	})
}

// product calls set with each row's inner product with each row of a matrix.
func (r *Runner) product(in *buffer, weight matrix, set func(t, i int, y float64)) {
	r.parallel(len(weight), func(from, to int) {
		wide := make([]float64, in.width)
		for i := from; i < to; i++ {
			widen(wide, weight[i])
			for t := range in.rows() {
				set(t, i, floats.Dot(in.row(t), wide))
			}
		}
	})
}

// rotaryStore works on rows [query heads | key heads | value heads] in place: it normalises each query and key head if there
// are weights for it, rotates both by the row's position, and stores key and value in the layer's KV pages.
func (r *Runner) rotaryStore(o *device.RotaryStore) {
	p := r.program
	qkv := &r.buffers[o.QKV]
	qNorm, kNorm := r.weights.vector(o.QNorm), r.weights.vector(o.KNorm)
	cos, sin := make([]float64, p.HeadDim/2), make([]float64, p.HeadDim/2)
	for t, place := range r.places {
		p.Rotary.CosSin(int(place.position), cos, sin)
		for head := range p.Heads + p.KVHeads {
			x := qkv.row(t)[head*p.HeadDim : (head+1)*p.HeadDim]
			norm := qNorm
			if head >= p.Heads {
				norm = kNorm
			}
			if norm != nil {
				normalise(x, x, norm, o.Eps)
			}
			rotate(x, cos, sin)
		}
		copy(r.kv(place.sequence, place.position, o.Layer), qkv.row(t)[p.Heads*p.HeadDim:])
	}
}

// rotate turns the pairs (i, i+len/2).
func rotate(x, cos, sin []float64) {
	half := len(x) / 2
	for i := range half {
		a, b := x[i], x[i+half]
		x[i], x[i+half] = a*cos[i]-b*sin[i], b*cos[i]+a*sin[i]
	}
}

// attention: for each query head of a row, Out = softmax(Scale · q·Kᵀ)·V over the KV pages of the row's sequence, positions 0
// up to and with the row's own. Query head h reads KV head h / (Heads/KVHeads).
func (r *Runner) attention(o *device.Attention) {
	p := r.program
	qkv := &r.buffers[o.QKV]
	out := r.resized(o.Out, qkv.rows())
	r.parallel(len(r.places)*p.Heads, func(from, to int) {
		var weights []float64
		for i := from; i < to; i++ {
			t, head := i/p.Heads, i%p.Heads
			place := r.places[t]
			kvHead := head / (p.Heads / p.KVHeads)
			key := func(position int32) []float64 {
				return r.kv(place.sequence, position, o.Layer)[kvHead*p.HeadDim:][:p.HeadDim]
			}
			value := func(position int32) []float64 {
				return r.kv(place.sequence, position, o.Layer)[(p.KVHeads+kvHead)*p.HeadDim:][:p.HeadDim]
			}
			query := qkv.row(t)[head*p.HeadDim:][:p.HeadDim]
			weights = weights[:0]
			for position := int32(0); position <= place.position; position++ {
				weights = append(weights, float64(o.Scale)*floats.Dot(query, key(position)))
			}
			softmax(weights)
			result := out.row(t)[head*p.HeadDim:][:p.HeadDim]
			clear(result)
			for position, weight := range weights {
				floats.AddScaled(result, weight, value(int32(position)))
			}
		}
	})
}

func softmax(x []float64) {
	largest, sum := floats.Max(x), 0.0
	for i := range x {
		x[i] = math.Exp(x[i] - largest)
		sum += x[i]
	}
	for i := range x {
		x[i] /= sum
	}
}

// gatedSiLU: Out[t][i] = silu(g)·u with g = GateUp[t][i], u = GateUp[t][i+n] and silu(x) = x/(1+e⁻ˣ).
func (r *Runner) gatedSiLU(o *device.GatedSiLU) {
	in := &r.buffers[o.GateUp]
	out := r.resized(o.Out, in.rows())
	for t := range in.rows() {
		gate, up := in.row(t)[:out.width], in.row(t)[out.width:]
		for i, g := range gate {
			out.row(t)[i] = g / (1 + math.Exp(-g)) * up[i]
		}
	}
}

// selectRows: Out[k] = In[Outputs[k].Row].
func (r *Runner) selectRows(o *device.SelectRows, outputs []device.Output) {
	out := r.resized(o.Out, len(outputs))
	for k := range outputs {
		copy(out.row(k), r.buffers[o.In].row(int(outputs[k].Row)))
	}
}

// lmHead: Logits[k] = In[k]·Weightᵀ.
func (r *Runner) lmHead(o *device.LMHead) {
	in := &r.buffers[o.In]
	logits := r.resized(o.Logits, in.rows())
	r.product(in, r.weights.matrix(o.Weight), func(k, token int, y float64) { logits.row(k)[token] = y })
}

func (r *Runner) resized(b device.Buffer, rows int) *buffer {
	r.buffers[b].resize(rows)
	return &r.buffers[b]
}

func widen(dst []float64, src []float32) {
	for i, x := range src {
		dst[i] = float64(x)
	}
}

// parallel calls work with pieces of [0, n), each on a goroutine.
func (r *Runner) parallel(n int, work func(from, to int)) {
	var done sync.WaitGroup
	for i := range r.threads {
		from, to := i*n/r.threads, (i+1)*n/r.threads
		if from < to {
			done.Go(func() { work(from, to) })
		}
	}
	done.Wait()
}
