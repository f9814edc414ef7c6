// Package devicetest is what every device must pass: Run compares a device with device/reference, operation by operation,
// and with itself, to the bit, where the contract of package device says that nothing may change a request's results: its
// neighbours, its chunks, its pages, padding. TinyProgram builds the small models that these and other tests run.
package devicetest

import (
	"errors"
	"math"
	"slices"
	"testing"

	"minisgl/device"
	"minisgl/device/reference"
	"minisgl/tensor"
)

// Options of Run.
type Options struct {
	// Tolerance is the largest relative L2 distance between a row of an operation's output and the reference's; it covers
	// what the operations before it have added up. 0: 2e-5, fit for float32 arithmetic.
	Tolerance float64
	// KV is the type of the KV cache; tensor.Invalid: the device's own choice.
	KV tensor.DType
	// DTypes are the weight types to try; nil: all that TinyProgram can build.
	DTypes []tensor.DType
	// NoModel says that the device does not compute the program (device/fake): it is only compared with itself.
	NoModel bool
}

// Run runs the whole suite as subtests of t. open is called for each of them; the suite closes what it opens.
func Run(t *testing.T, open func(t testing.TB) device.Device, o Options) {
	if o.Tolerance == 0 {
		o.Tolerance = 2e-5
	}
	if o.DTypes == nil {
		o.DTypes = []tensor.DType{tensor.F32, tensor.F16, tensor.BF16, tensor.Q4_0, tensor.Q4_1, tensor.Q5_0, tensor.Q5_1,
			tensor.Q8_0, tensor.Q4_K, tensor.Q5_K, tensor.Q6_K}
	}
	for _, c := range []struct {
		name  string
		model bool // it needs a device that computes the program
		run   func(*suite)
	}{
		{"operations", true, (*suite).operations},
		{"trace order", true, (*suite).traceOrder},
		{"chunks and pages", false, (*suite).chunksAndPages},
		{"long context", false, (*suite).longContext},
		{"neighbours", false, (*suite).neighbours},
		{"rows 1 to 70", false, (*suite).rowCounts},
		{"mixed rows", false, (*suite).mixedRows},
		{"padding rows", false, (*suite).paddingRows},
		{"page copies", false, (*suite).pageCopies},
		{"two steps in flight", false, (*suite).twoStepsInFlight},
		{"submit and wait on two goroutines", false, (*suite).twoGoroutines},
		{"steps without outputs", false, (*suite).noOutputs},
		{"order of outputs", false, (*suite).outputOrder},
		{"sampling", true, (*suite).sampling},
		{"penalties count draws", true, (*suite).penalties},
		{"suppression", false, (*suite).suppression},
		{"nothing to draw", false, (*suite).nothingToDraw},
		{"NaN stays in its row", true, (*suite).nan},
		{"load", false, (*suite).load},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.model && o.NoModel {
				t.Skip("the device computes no model")
			}
			d := open(t)
			t.Cleanup(func() { d.Close() })
			c.run(&suite{T: t, device: d, Options: o})
		})
	}
}

type suite struct {
	*testing.T
	Options
	device device.Device
}

// sub runs f as a subtest.
func (s *suite) sub(name string, f func(*suite)) {
	s.T.Run(name, func(t *testing.T) { f(&suite{t, s.Options, s.device}) })
}

const maxRows, maxSlots = 80, 72

func (s *suite) rig(p *device.Program, pageSize int) *rig {
	s.Helper()
	return newRig(s, s.device, p, pageSize, s.KV)
}

func newRig(t testing.TB, d device.Device, p *device.Program, pageSize int, kv tensor.DType) *rig {
	t.Helper()
	if err := p.Validate(); err != nil {
		t.Fatalf("the test is wrong: %v", err)
	}
	o := device.LoadOptions{PageSize: pageSize, KV: kv, Pages: maxSlots + 512/pageSize, MaxSlots: maxSlots, MaxRows: maxRows, GraphMaxBatch: 8}
	r, err := d.Load(p, o)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	if r.Pages() != o.Pages {
		t.Fatalf("%d pages, want %d", r.Pages(), o.Pages)
	}
	g := &rig{t: t, program: p, runner: r, options: o}
	for page := range o.Pages {
		g.free = append(g.free, int32(o.Pages-1-page))
	}
	return g
}

// shapes are the configurations whose operations are compared with the reference.
func (s *suite) shapes() map[string]Config {
	shapes := map[string]Config{
		"llama":                            {},
		"qwen2":                            {Bias: true, Tied: true},
		"qwen3":                            {QKNorm: true},
		"yarn":                             {RotaryScale: 1.2079441541679836},
		"nothing is a multiple of 16":      {Hidden: 50, Intermediate: 37, Heads: 3, KVHeads: 1, HeadDim: 18, Vocab: 103, Bias: true},
		"one head":                         {Heads: 1, KVHeads: 1, HeadDim: 32},
		"groups of 7, as Qwen2.5-0.5B has": {Hidden: 56, Heads: 14, KVHeads: 2, HeadDim: 64, Bias: true, Tied: true},
		"like a golden model":              {Hidden: 224, Intermediate: 608, Heads: 14, KVHeads: 2, HeadDim: 16, Vocab: 2048, Bias: true},
		"groups of 1":                      {Heads: 5, KVHeads: 5, HeadDim: 24},
		"groups of 3":                      {Heads: 6, KVHeads: 2, HeadDim: 20},
		"heads of 128":                     {Heads: 4, KVHeads: 2, HeadDim: 128},
		"heads of 2":                       {Heads: 2, KVHeads: 1, HeadDim: 2},
		"a wide layer":                     {Hidden: 300, Intermediate: 1100, Layers: 1, Vocab: 3001},
	}
	for _, dtype := range s.DTypes {
		c := Config{DType: dtype, Bias: true, QKNorm: true, Hidden: 48, Intermediate: 40, Heads: 4, HeadDim: 16, Layers: 1}
		if block := dtype.Block(); block > 1 {
			c.Hidden, c.Intermediate, c.Heads = 2*block, block, max(block/16, 4)
		}
		shapes["weights of type "+dtype.String()] = c
	}
	return shapes
}

func (s *suite) operations() {
	for name, config := range s.shapes() {
		s.sub(name, func(s *suite) {
			p := TinyProgram(config)
			for _, pageSize := range []int{1, 16} {
				got := traceSteps(s, s.device, p, pageSize, s.KV)
				want := traceSteps(s, reference.New(0), p, pageSize, tensor.Invalid)
				s.compare(p, got, want)
			}
		})
	}
}

// traceSteps runs three steps, the second one of a decode row, two prompts and a piece of a third, the last one of a decode row
// alone, and returns their taps.
func traceSteps(t testing.TB, d device.Device, p *device.Program, pageSize int, kv tensor.DType) (steps [][]device.Tap) {
	t.Helper()
	g := newRig(t, d, p, pageSize, kv)
	a := g.request(3, withLogprobs(2), g.prompt(1, 21)...)
	b := g.request(0, withLogprobs(0), g.prompt(2, 5)...)
	c := g.request(2, withLogprobs(0), g.prompt(3, 1)...)
	e := g.request(1, withLogprobs(0), g.prompt(4, 40)...)
	a.scored, b.scored = true, true

	first := g.batch(21, a)
	a.tokens = append(a.tokens, 5) // not what the device draws, so that all devices run the same
	second := g.batch(17, a, b, c, e)
	for _, step := range []*batch{first, second, nil} {
		if step == nil { // one row alone: devices have kernels for few rows
			a.tokens = append(a.tokens, 7)
			step = g.batch(17, a)
		}
		var taps []device.Tap
		step.Trace = func(tap device.Tap) {
			tap.Data = slices.Clone(tap.Data)
			taps = append(taps, tap)
		}
		step.run()
		steps = append(steps, taps)
	}
	return steps
}

// compare checks each tap against the reference's. A device may leave out padding rows or not, so only rows that the
// reference has count.
func (s *suite) compare(p *device.Program, got, want [][]device.Tap) {
	s.Helper()
	for step := range want {
		if len(got[step]) != len(want[step]) {
			s.Fatalf("step %d: %d operations traced, want %d", step, len(got[step]), len(want[step]))
		}
		for i, w := range want[step] {
			g := got[step][i]
			if g.Op != i || g.Label != w.Label || g.Width != w.Width || g.Rows < w.Rows || len(g.Data) != g.Rows*g.Width {
				s.Fatalf("step %d, operation %d: op %d %q, %d rows of %d, %d values; want %q, %d rows of %d", step, i, g.Op, g.Label, g.Rows,
					g.Width, len(g.Data), w.Label, w.Rows, w.Width)
			}
			for row := range w.Rows {
				from, to := row*w.Width, (row+1)*w.Width
				if d := distance(g.Data[from:to], w.Data[from:to]); !(d <= s.Tolerance) {
					s.Fatalf("step %d, %s: row %d is off by %.2g of its length, the tolerance is %.2g", step, w.Label, row, d, s.Tolerance)
				}
			}
		}
	}
}

// distance is the length of got − want, relative to that of want.
func distance(got, want []float64) float64 {
	off, length := 0.0, 0.0
	for i := range want {
		off += (got[i] - want[i]) * (got[i] - want[i])
		length += want[i] * want[i]
	}
	return math.Sqrt(off / length)
}

// traceOrder checks that each operation is traced once, in order, and that tracing changes no result.
func (s *suite) traceOrder() {
	p := TinyProgram(Config{})
	g := s.rig(p, 4)
	want := g.generate(g.request(0, withLogprobs(3), g.prompt(1, 9)...), 4, 9)
	traced := g.request(1, withLogprobs(3), g.prompt(1, 9)...)
	for range 4 {
		b := g.batch(9, traced)
		var labels []string
		b.Trace = func(tap device.Tap) { labels = append(labels, tap.Label) }
		b.run()
		traced.next()
		if !slices.EqualFunc(labels, p.Ops, func(label string, op device.Op) bool { return label == op.Label() }) {
			s.Fatalf("traced %v", labels)
		}
	}
	same(s, "traced", traced, want)
}

// load checks the bounds of LoadOptions.
func (s *suite) load() {
	p := TinyProgram(Config{})
	o := device.LoadOptions{PageSize: 64, Pages: math.MaxInt32, MaxSlots: 4, MaxRows: 8}
	if _, err := s.device.Load(p, o); !errors.Is(err, device.ErrMemory) {
		s.Errorf("Load of %d pages: error %v, want ErrMemory", o.Pages, err)
	}
	var progress []float64
	o = device.LoadOptions{PageSize: 16, MaxPages: 40, MemoryRatio: 0.5, MaxSlots: 4, MaxRows: 8,
		Progress: func(done float64) { progress = append(progress, done) }}
	r, err := s.device.Load(p, o)
	if err != nil {
		s.Fatalf("Load with MaxPages: %v", err)
	}
	defer r.Close()
	if n := r.Pages(); n < 1 || n > 40 {
		s.Errorf("%d pages, want 1 to 40", n)
	}
	if len(progress) == 0 || progress[len(progress)-1] != 1 || !slices.IsSorted(progress) {
		s.Errorf("progress went %v, want it to rise to 1", progress)
	}
	if info := s.device.Info(); info.Name == "" || info.Description == "" || info.Kernels == "" {
		s.Errorf("an incomplete description: %+v", info)
	}
	if s.NoModel {
		return
	}
	if use := r.Memory(); use.Weights <= 0 || use.KV < 0 || use.Scratch < 0 {
		s.Errorf("memory use %+v", use)
	}
	broken := TinyProgram(Config{})
	broken.Heads = 3
	if _, err := s.device.Load(broken, o); err == nil {
		s.Error("a program that contradicts itself was loaded")
	}
}
