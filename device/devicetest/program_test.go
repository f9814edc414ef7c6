package devicetest

import (
	"bytes"
	"math"
	"testing"

	"gonum.org/v1/gonum/stat"

	"minisgl/device"
	"minisgl/tensor"
)

func TestTinyProgramsWeightsKeepTheSizeOfWhatTheyMultiply(t *testing.T) {
	for dtype := range scales {
		checkWeights(t, dtype)
	}
	for _, dtype := range []tensor.DType{tensor.F32, tensor.F16, tensor.BF16} {
		checkWeights(t, dtype)
	}
}

func checkWeights(t *testing.T, dtype tensor.DType) {
	t.Helper()
	p := TinyProgram(Config{DType: dtype, Hidden: 512, Intermediate: 256, Heads: 16, KVHeads: 16})
	if err := p.Validate(); err != nil {
		t.Errorf("%s: %v", dtype, err)
	}
	var values []float64
	for _, v := range p.Ops[2].(*device.Linear).Weight.Parts[0].Float32() {
		values = append(values, float64(v)*math.Sqrt(512))
	}
	mean, deviation := stat.MeanStdDev(values, nil)
	if math.Abs(mean) > 0.3 || deviation < 0.7 || deviation > 1.4 {
		t.Errorf("%s: mean %.2f, standard deviation %.2f; want about 0 and 1", dtype, mean, deviation)
	}
}

func TestTinyProgramFollowsFromItsSeed(t *testing.T) {
	weights := func(seed uint64) []byte {
		return TinyProgram(Config{Seed: seed}).Ops[2].(*device.Linear).Weight.Parts[1].Data
	}
	if !bytes.Equal(weights(1), weights(1)) || bytes.Equal(weights(1), weights(2)) {
		t.Error("the weights do not follow from the seed")
	}
}

func TestTiedHeadsShareTheirTensor(t *testing.T) {
	p := TinyProgram(Config{Tied: true})
	if p.Ops[0].(*device.Embed).Table.Parts[0] != p.Ops[len(p.Ops)-1].(*device.LMHead).Weight.Parts[0] {
		t.Error("two tensors")
	}
}
