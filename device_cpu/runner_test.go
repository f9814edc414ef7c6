package cpu

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"minisgl/device"
	"minisgl/device/devicetest"
	"minisgl/tensor"
)

func load(t testing.TB, variant string, threads int, p *device.Program, o device.LoadOptions) device.Runner {
	t.Helper()
	r, err := openVariant(t, variant, threads).Load(p, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// scoreAndDecode runs a prompt in chunks, scoring every token, decodes a few tokens and returns all results. The pages lie in
// no order.
func scoreAndDecode(t *testing.T, r device.Runner, prompt []int32, pageSize, chunk, decode int) []device.Result {
	t.Helper()
	params := &device.Sampling{TopP: 1, RepetitionPenalty: 1, Logprobs: 3}
	pages := make([]int32, r.Pages())
	for i, page := range rand.New(rand.NewPCG(1, 9)).Perm(r.Pages()) {
		pages[i] = int32(page)
	}
	var results []device.Result
	run := func(s *device.Step) {
		t.Helper()
		runStep(t, r, s)
		for _, result := range s.Results {
			result.Top = slices.Clone(result.Top)
			results = append(results, result)
		}
	}
	for first := 0; first < len(prompt); first += chunk {
		end := min(first+chunk, len(prompt))
		s := &device.Step{Tokens: prompt[first:end],
			Sequences: []device.Sequence{{Rows: int32(end - first), Position: int32(first), Pages: pages}}}
		for row := range end - first {
			o := device.Output{Row: int32(row), Position: int32(first + row + 1), Target: device.Sample, Params: params}
			if first+row+1 < len(prompt) {
				o.Target = prompt[first+row+1]
			}
			s.Outputs = append(s.Outputs, o)
		}
		run(s)
	}
	for i := range decode {
		position := int32(len(prompt) + i)
		run(&device.Step{Tokens: []int32{device.Sampled(0)}, Sequences: []device.Sequence{{Rows: 1, Position: position, Pages: pages}},
			Outputs: []device.Output{{Position: position + 1, Target: device.Sample, Params: params}}})
	}
	return results
}

// Contexts of several partitions, chunks of several slabs: neither these nor threads and page sizes change a bit.
func TestLongContextsAreExact(t *testing.T) {
	const tokens, decode = 1100, 3
	p := devicetest.TinyProgram(devicetest.Config{Heads: 7, KVHeads: 1, HeadDim: 32, Layers: 2, MaxPositions: 2048, DType: tensor.BF16, Bias: true})
	r := rand.New(rand.NewPCG(4, 4))
	prompt := make([]int32, tokens)
	for i := range prompt {
		prompt[i] = int32(r.IntN(p.Vocab))
	}
	for _, v := range usableVariants() {
		var want []device.Result
		for _, c := range []struct{ threads, pageSize, chunk int }{
			{1, 16, tokens}, {2, 16, tokens}, {3, 64, tokens}, {2, 1, 512}, {2, 24, 257}, {5, 32, 64}, {2, 16, 7},
		} {
			t.Run(fmt.Sprintf("%s/%d threads, pages of %d, chunks of %d", v.name, c.threads, c.pageSize, c.chunk), func(t *testing.T) {
				runner := load(t, v.name, c.threads, p, device.LoadOptions{PageSize: c.pageSize, Pages: 1 + 1200/c.pageSize, MaxSlots: 1, MaxRows: tokens})
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

// A traced step of several slabs reports each operation once, in order, with all rows.
func TestTraceOfSeveralSlabs(t *testing.T) {
	p := devicetest.TinyProgram(devicetest.Config{MaxPositions: 2048})
	const rows = slabRows + 70
	r := load(t, "generic", 2, p, device.LoadOptions{PageSize: 16, Pages: 64, MaxSlots: 1, MaxRows: rows})
	defer r.Close()
	s := &device.Step{Tokens: make([]int32, rows), Sequences: []device.Sequence{{Rows: rows, Pages: consecutivePages(64)}}}
	for row := range rows {
		s.Outputs = append(s.Outputs, device.Output{Row: int32(row), Position: int32(row + 1), Params: device.Greedy()})
	}
	next := 0
	s.Trace = func(tap device.Tap) {
		if tap.Op != next || tap.Rows != rows || len(tap.Data) != rows*tap.Width || tap.Label != p.Ops[next].Label() {
			t.Errorf("tap %d is of operation %d (%s) with %d rows of %d", next, tap.Op, tap.Label, tap.Rows, tap.Width)
		}
		next++
	}
	runStep(t, r, s)
	if next != len(p.Ops) {
		t.Errorf("%d taps, want %d", next, len(p.Ops))
	}
}

func TestBadStepsAreErrors(t *testing.T) {
	p := devicetest.TinyProgram(devicetest.Config{})
	r := load(t, "", 2, p, device.LoadOptions{PageSize: 16, Pages: 4, MaxSlots: 2, MaxRows: 8})
	defer r.Close()
	good := func() *device.Step {
		return &device.Step{Tokens: []int32{1, 2}, Sequences: []device.Sequence{{Rows: 2, Pages: []int32{3}}},
			Outputs: []device.Output{{Row: 1, Position: 2, Target: device.Sample, Params: device.Greedy()}}}
	}
	for name, spoil := range map[string]func(*device.Step){
		"a page that is not there":       func(s *device.Step) { s.Sequences[0].Pages[0] = 4 },
		"a token that is not there":      func(s *device.Step) { s.Tokens[0] = int32(p.Vocab) },
		"a slot that is not there":       func(s *device.Step) { s.Tokens[0] = device.Sampled(2) },
		"a position behind the last":     func(s *device.Step) { s.Sequences[0].Position = int32(p.MaxPositions) },
		"an output of no row":            func(s *device.Step) { s.Outputs[0].Row = 2 },
		"a copy of more than a page":     func(s *device.Step) { s.Copies = []device.PageCopy{{Src: 0, Dst: 1, Tokens: 17}} },
		"more rows than were asked for":  func(s *device.Step) { s.Tokens = make([]int32, 9) },
		"a reset of a slot out of range": func(s *device.Step) { s.Resets = []device.SlotReset{{Slot: -1}} },
	} {
		s := good()
		spoil(s)
		r.Submit(s)
		if err := r.Wait(s); !errors.Is(err, device.ErrContract) {
			t.Errorf("%s: %v, want an error about the contract", name, err)
		}
		runStep(t, r, good())
	}
}

func TestMemoryThatIsNotThere(t *testing.T) {
	p := devicetest.TinyProgram(devicetest.Config{})
	d := openVariant(t, "generic", 1)
	for name, o := range map[string]device.LoadOptions{
		"pages":        {PageSize: 64, Pages: 1<<31 - 1, MaxSlots: 1, MaxRows: 1},
		"memory ratio": {PageSize: 1 << 20, MemoryRatio: 1e-9, MaxSlots: 1, MaxRows: 1},
	} {
		if _, err := d.Load(p, o); !errors.Is(err, device.ErrMemory) || !strings.Contains(fmt.Sprint(err), "MB") {
			t.Errorf("%s: %v, want an error about memory with numbers", name, err)
		}
	}
	r, err := d.Load(p, device.LoadOptions{PageSize: 16, MaxPages: 100, MaxSlots: 1, MaxRows: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if r.Pages() != 100 {
		t.Errorf("%d pages, want the 100 that were the most", r.Pages())
	}
}

func TestOpen(t *testing.T) {
	for spec, want := range map[string]string{
		"cpu+sse2": "unknown variant \"sse2\": this build has generic",
		"cpu:1":    "one CPU device",
	} {
		if _, _, err := device.Open(spec, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%q): %v, want an error with %q", spec, err, want)
		}
	}
	if _, _, err := device.Open("cpu", -1); err == nil {
		t.Error("a negative number of threads was accepted")
	}
	d, _, err := device.Open("auto", 3)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	info := d.Info()
	if info.Name != "cpu" || !strings.HasSuffix(info.Description, ", 3 threads") || info.Kernels == "" || info.MemoryFree <= 0 {
		t.Errorf("info is %+v", info)
	}
}

// A feature that the processor lacks makes its variants unusable, and says so.
func TestVariantsNeedTheirFeatures(t *testing.T) {
	before := variants
	defer func() { variants = before }()
	fast, faster := generic, generic
	fast.name, faster.name = "fast", "faster"
	variants = []variant{{kernels: &generic}, {&fast, []feature{{"SIMD", true}}}, {&faster, []feature{{"SIMD", true}, {"WIDE", false}}}}
	v, err := choose("")
	if err != nil || v.describe() != "fast (SIMD)" {
		t.Errorf("the best is %q (%v), want the one whose features are there", v.describe(), err)
	}
	if _, err := choose("faster"); err == nil || !strings.Contains(err.Error(), "WIDE") {
		t.Errorf("%v, want an error that names the feature", err)
	}
}

func TestStepsDoNotAllocate(t *testing.T) {
	p := devicetest.TinyProgram(devicetest.Config{Vocab: 3000})
	r := load(t, "", 2, p, device.LoadOptions{PageSize: 16, Pages: 64, MaxSlots: 4, MaxRows: 64})
	defer r.Close()
	s := &device.Step{Tokens: []int32{1, 2, 3, device.Sampled(1)}}
	for i := range 2 {
		s.Sequences = append(s.Sequences, device.Sequence{Slot: int32(i), First: int32(i * 3), Rows: int32(3 - 2*i), Pages: consecutivePages(64)[i*8 : i*8+8]})
	}
	sampled := &device.Sampling{Temperature: 0.8, TopK: 40, TopP: 0.9, RepetitionPenalty: 1.1, Logprobs: 4}
	s.Outputs = []device.Output{{Row: 2, Position: 3, Target: device.Sample, Params: device.Greedy()},
		{Row: 3, Slot: 1, Position: 1, Target: device.Sample, Params: sampled}}
	for range 200 {
		runStep(t, r, s)
	}
	if n := testing.AllocsPerRun(200, func() { runStep(t, r, s) }); n >= 1 {
		t.Errorf("%v allocations a step", n)
	}
}

func TestCloseWithStepsInFlight(t *testing.T) {
	p := devicetest.TinyProgram(devicetest.Config{})
	r := load(t, "", 2, p, device.LoadOptions{PageSize: 16, Pages: 4, MaxSlots: 2, MaxRows: 8})
	for range 2 {
		r.Submit(&device.Step{Tokens: []int32{1}, Sequences: []device.Sequence{{Rows: 1, Pages: []int32{0}}}})
	}
	for range 2 {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestLoadTellsItsProgress(t *testing.T) {
	p := devicetest.TinyProgram(devicetest.Config{})
	var told []float64
	r := load(t, "", 2, p, device.LoadOptions{PageSize: 16, Pages: 4, MaxSlots: 2, MaxRows: 8, Progress: func(done float64) { told = append(told, done) }})
	defer r.Close()
	if len(told) < 2 || !slices.IsSorted(told) || told[len(told)-1] != 1 {
		t.Errorf("progress %v", told)
	}
}
