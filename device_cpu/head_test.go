package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"minisgl/device"
	"minisgl/device/devicetest"
	"minisgl/device/sample"
)

// Every path's weights are those of the definition, to the bit.
func TestWeightsAreTheDefinitions(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 1))
	for _, v := range usableVariants() {
		for _, temperature := range []float64{1e-6, 0.3, 1, 0.7, 50} {
			t.Run(fmt.Sprintf("%s/%v", v.name, temperature), func(t *testing.T) {
				logits := randomFloats(r, 4096)
				for i := range logits {
					logits[i] = 20*logits[i] - 80
				}
				logits[5], logits[77], logits[78], logits[79] = float32(math.Inf(-1)), 0, -708, -math.MaxFloat32
				got, want := make([]float64, len(logits)), make([]float64, len(logits))
				v.weights(got, logits, 0, temperature)
				sample.Weights(want, logits, 0, temperature)
				for i := range want {
					if logits[i] <= 0 && got[i] != want[i] {
						t.Fatalf("the weight of logit %v is %v, want %v", logits[i], got[i], want[i])
					}
				}
			})
		}
	}
}

// Rows of a step are read by a thread each, or by all threads together: the bits are the same.
func TestSamplingOnAnyNumberOfThreads(t *testing.T) {
	p := devicetest.TinyProgram(devicetest.Config{Vocab: 20_000})
	asked := []device.Sampling{{Temperature: 1, TopP: 1}, {Temperature: 2, TopP: 0.9}, {Temperature: 1, TopP: 1, MinP: 0.3},
		{Temperature: 1, TopP: 1, TopK: 50}, {TopP: 1, Logprobs: 3}}
	results := func(threads, rows int) (all []device.Result) {
		r := load(t, "", threads, p, device.LoadOptions{PageSize: 16, Pages: 8, MaxSlots: 8, MaxRows: 8})
		defer r.Close()
		for step := range 10 {
			s := &device.Step{Tokens: make([]int32, rows)}
			for i := range rows {
				params := asked[i%len(asked)]
				params.RepetitionPenalty, params.Seed = 1, uint64(100*step+i)
				if params.Logprobs == 0 {
					params.Logprobs = -1
				}
				s.Tokens[i] = int32(100*step + i)
				s.Sequences = append(s.Sequences, device.Sequence{Slot: int32(i), First: int32(i), Rows: 1, Pages: []int32{int32(i)}})
				s.Outputs = append(s.Outputs, device.Output{Row: int32(i), Slot: int32(i), Position: 1, Target: device.Sample, Params: &params})
			}
			runStep(t, r, s)
			all = append(all, s.Results...)
		}
		return all
	}
	for rows := 1; rows <= 6; rows++ {
		want := results(1, rows)
		for threads := 2; threads <= 5; threads++ {
			if got := results(threads, rows); !reflect.DeepEqual(got, want) {
				t.Errorf("%d rows on %d threads: %+v, want %+v", rows, threads, got, want)
			}
		}
	}
}

// BenchmarkSampling draws from logits of Qwen2.5's vocabulary, normally distributed and so with a large nucleus, or nearly flat.
func BenchmarkSampling(b *testing.B) {
	r := rand.New(rand.NewPCG(32, 1))
	for _, v := range usableVariants() {
		for _, spread := range []float32{2.5, 0.1} {
			logits := randomFloats(r, benchVocab)
			for i := range logits {
				logits[i] *= spread
			}
			for name, params := range map[string]device.Sampling{
				"temperature": {Temperature: 0.7, TopP: 1},
				"top-p 0.9":   {Temperature: 0.7, TopP: 0.9},
				"top-k 20":    {Temperature: 0.7, TopP: 1, TopK: 20},
				"min-p 0.1":   {Temperature: 0.7, TopP: 1, MinP: 0.1},
			} {
				params.RepetitionPenalty, params.Logprobs = 1, -1
				for _, threads := range []int{1, benchThreads} {
					b.Run(fmt.Sprintf("%s/spread %v/%s/%d threads", v.name, spread, name, threads), func(b *testing.B) {
						r := &runner{kernels: v.kernels, pool: newPool(threads), program: &device.Program{}}
						defer r.pool.close()
						h := newHead(r)
						w := &h.alone[0]
						if threads > 1 {
							w = &h.all
						}
						var result device.Result
						position := int32(0)
						for b.Loop() {
							w.Read(&result, logits, &device.Output{Target: device.Sample, Position: position, Params: &params}, nil)
							position++
						}
					})
				}
			}
		}
	}
}
