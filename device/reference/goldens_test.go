package reference_test

import (
	"math"
	"testing"

	"minisgl/device"
	"minisgl/device/reference"
	"minisgl/internal/goldens"
	"minisgl/model"
)

// The goldens keep rotary angles and norms in float32 even in a float64 run, which leaves about 1.5e-6.
const goldenTolerance = 5e-6

func TestGoldens(t *testing.T) {
	for _, m := range goldens.All(t) {
		t.Run(m.Name, func(t *testing.T) {
			checkpoint, err := model.Open(m.Path, model.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer checkpoint.Close()
			if err := checkpoint.Program.Validate(); err != nil {
				t.Fatal(err)
			}
			for i, prompt := range m.Prompts {
				checkPrompt(t, checkpoint.Program, i, prompt)
			}
		})
	}
}

func checkPrompt(t *testing.T, p *device.Program, i int, prompt goldens.Prompt) {
	const pageSize = 16
	n := len(prompt.IDs) + len(prompt.Greedy)
	pages := make([]int32, n/pageSize+1)
	for i := range pages {
		pages[i] = int32(len(pages) - 1 - i)
	}
	r, err := reference.New(2).Load(p, device.LoadOptions{PageSize: pageSize, Pages: len(pages), MaxSlots: 1, MaxRows: len(prompt.IDs)})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()

	s := &device.Step{Tokens: prompt.IDs, Sequences: []device.Sequence{{Rows: int32(len(prompt.IDs)), Pages: pages}}}
	for row := prompt.FirstRow(); row < len(prompt.IDs); row++ {
		o := device.Output{Row: int32(row), Target: 0, Position: int32(row) + 1, Params: device.Greedy()}
		if row == len(prompt.IDs)-1 {
			o.Target = device.Sample
		}
		s.Outputs = append(s.Outputs, o)
	}
	worst, largest := 0.0, 0.0
	s.Trace = func(tap device.Tap) {
		if tap.Op != len(p.Ops)-1 {
			return
		}
		for row, want := range prompt.Logits {
			distance, off := compare(tap.Data[row*tap.Width:(row+1)*tap.Width], want)
			worst, largest = max(worst, distance), max(largest, off)
		}
	}
	r.Submit(s)
	if err := r.Wait(s); err != nil {
		t.Fatal(err)
	}
	t.Logf("prompt %d, %d tokens: relative distance of logits %.1e, largest difference %.1e, least margin %.1e", i, len(prompt.IDs), worst,
		largest, prompt.MinMargin)
	if !(worst <= goldenTolerance) {
		t.Errorf("prompt %d: the logits are off by %.2g of their length, the tolerance is %.1g", i, worst, goldenTolerance)
	}
	if prompt.MinMargin <= 2*largest {
		return
	}
	token := s.Results[len(s.Results)-1].Token
	for k, want := range prompt.Greedy {
		if token != want {
			t.Fatalf("prompt %d: greedy token %d is %d, want %d", i, k, token, want)
		}
		position := int32(len(prompt.IDs) + k)
		next := &device.Step{
			Tokens:    []int32{device.Sampled(0)},
			Sequences: []device.Sequence{{Rows: 1, Position: position, Pages: pages}},
			Outputs:   []device.Output{{Target: device.Sample, Position: position + 1, Params: device.Greedy()}},
		}
		r.Submit(next)
		if err := r.Wait(next); err != nil {
			t.Fatal(err)
		}
		token = next.Results[0].Token
	}
}

// compare returns the relative L2 distance, and the largest difference.
func compare(got []float64, want []float32) (distance, largest float64) {
	off, length := 0.0, 0.0
	for i, w := range want {
		d := got[i] - float64(w)
		off += d * d
		length += float64(w) * float64(w)
		largest = max(largest, math.Abs(d))
	}
	return math.Sqrt(off / length), largest
}
