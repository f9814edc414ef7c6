package device_test

import (
	"strings"
	"testing"

	"minisgl/device"
	"minisgl/device/devicetest"
	"minisgl/tensor"
)

func TestValidPrograms(t *testing.T) {
	for name, c := range map[string]devicetest.Config{
		"llama": {}, "qwen2": {Bias: true, Tied: true}, "qwen3": {QKNorm: true}, "quantised": {DType: tensor.Q8_0, Intermediate: 64},
	} {
		if err := devicetest.TinyProgram(c).Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// op returns the first operation of a type.
func op[T device.Op](p *device.Program) T {
	for _, o := range p.Ops {
		if o, ok := o.(T); ok {
			return o
		}
	}
	panic("the program has no such operation")
}

func TestInvalidPrograms(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*device.Program)
		want   string // part of the error
	}{
		{"no operations", func(p *device.Program) { p.Ops = nil }, `program "tiny": it has no operations`},
		{"sizes", func(p *device.Program) { p.KVHeads = 3 }, "impossible sizes: 2 layers, 4 heads of 16, 3 KV heads"},
		{"frequencies", func(p *device.Program) { p.Rotary.InvFreq = p.Rotary.InvFreq[1:] }, "7 rotary frequencies for heads of 16"},
		{"scale", func(p *device.Program) { p.Rotary.Scale = 0 }, "rotary scale 0 is not positive"},
		{"buffer without width", func(p *device.Program) { p.Buffers[1].Width = 0 }, `buffer 1: name "normed", width 0`},
		{"buffers of one name", func(p *device.Program) { p.Buffers[1].Name = "hidden" }, `buffer 1: another one is named "hidden" too`},
		{"two labels", func(p *device.Program) { op[*device.RMSNorm](p).Name = "embed" }, "embed: another operation has the same label"},
		{"no label", func(p *device.Program) { op[*device.RMSNorm](p).Name = "" }, "operation 1: it has no label"},
		{"head not last", func(p *device.Program) { p.Ops = p.Ops[:len(p.Ops)-1] }, "norm: an LMHead is the last operation"},
		{"head in the middle", func(p *device.Program) { p.Ops[3] = p.Ops[len(p.Ops)-1] }, "lm_head: an LMHead is the last operation"},
		{"no rows selected", func(p *device.Program) { op[*device.LMHead](p).In = 1 }, "lm_head: it reads the step's rows: a SelectRows is missing"},
		{"buffer out of range", func(p *device.Program) { op[*device.GatedSiLU](p).Out = 99 }, "layers.0.silu: there is no buffer 99"},
		{"read before written", func(p *device.Program) { op[*device.RMSNorm](p).In = 6 }, `input_norm: it reads buffer "selected" before anything`},
		{"short table", func(p *device.Program) { p.Vocab++ }, "embed: the table has 97 rows for a vocabulary of 98"},
		{"narrow weight", func(p *device.Program) { op[*device.Linear](p).In = 3 }, "layers.0.qkv: weight: random."},
		{"missing weight", func(p *device.Program) { op[*device.Linear](p).Weight.Parts = nil }, "layers.0.qkv: it has no weight"},
		{"weight that is nil", func(p *device.Program) { op[*device.Linear](p).Weight.Parts[1] = nil }, "weight: a part is missing"},
		{"table that is nil", func(p *device.Program) { op[*device.Embed](p).Table.Parts[0] = nil }, "embed: table: a part is missing"},
		{"norm that is nil", func(p *device.Program) { op[*device.RMSNorm](p).Weight.Parts[0] = nil }, "input_norm: weight: a part is missing"},
		{"missing part", func(p *device.Program) {
			w := &op[*device.Linear](p).Weight
			w.Parts = w.Parts[:2]
		}, "layers.0.qkv: weight is 96 wide, out 128"},
		{"bias of another width", func(p *device.Program) {
			op[*device.Linear](p).Bias = op[*device.RMSNorm](p).Weight
		}, "layers.0.qkv: bias is 32 wide, its buffer 128"},
		{"in place", func(p *device.Program) { op[*device.Linear](p).Out = op[*device.Linear](p).In }, "qkv: it cannot work in place"},
		{"truncated weight", func(p *device.Program) {
			t := op[*device.Linear](p).Weight.Parts[0]
			t.Data = t.Data[4:]
		}, "8188 bytes, it needs 8192"},
		{"weight of integers", func(p *device.Program) {
			op[*device.Linear](p).Weight.Parts[0].DType = tensor.I32
		}, "values of this type are not numbers"},
		{"layer out of range", func(p *device.Program) { op[*device.Attention](p).Layer = 2 }, "layers.0.attention: layer 2 is not in [0, 2)"},
		{"layer stored twice", func(p *device.Program) { op[*device.RotaryStore](p).Layer = 1 }, "layers.1.rotary: layer 1 is stored twice"},
		{"attention before its layer", func(p *device.Program) { op[*device.Attention](p).Layer = 1 }, "layer 1 has no RotaryStore before it"},
		{"head norm", func(p *device.Program) { op[*device.RotaryStore](p).QNorm = op[*device.RMSNorm](p).Weight },
			"query norm is 32 wide, its buffer 16"},
		{"epsilon", func(p *device.Program) { op[*device.RMSNorm](p).Eps = -1 }, "layers.0.input_norm: epsilon -1"},
	} {
		p := devicetest.TinyProgram(devicetest.Config{})
		c.change(p)
		if err := p.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
}
