package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"minisgl/device"
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
				b.Run(fmt.Sprintf("%s/spread %v/%s", v.name, spread, name), func(b *testing.B) {
					h := head{runner: &runner{kernels: v.kernels}}
					w := sample.Workspace{Weigh: h.weigh, Largest: v.largest}
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
