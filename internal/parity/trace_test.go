package parity

import (
	"fmt"
	"math"
	"testing"

	"minisgl/device"
	"minisgl/tensor"
)

// series makes operations of one norm, projection and attention a layer with these errors on side b; side a has the first
// error all along.
func series(errors ...float64) (ops []compared) {
	names := []string{"input_norm", "qkv", "attention"}
	for i, e := range errors {
		op := compared{step: "prefill", label: fmt.Sprintf("layers.%d.%s", i/len(names), names[i%len(names)])}
		op.sides[0].error, op.sides[1].error = errors[0], e
		ops = append(ops, op)
	}
	return ops
}

func TestWhatStandsOut(t *testing.T) {
	for _, test := range []struct {
		name           string
		weights        tensor.DType
		errors         []float64
		operation      string // "": none
		withinRounding bool
	}{
		{"float32 device", tensor.BF16, []float64{1e-7, 4e-7, 6e-7, 8e-7, 2e-6, 3e-6}, "", false},
		{"a wrong operation", tensor.BF16, []float64{1e-7, 4e-7, 6e-7, 8e-7, 0.2, 0.3}, "layers.1.qkv", false},
		{"a small fault of a float32 device", tensor.BF16, []float64{1e-7, 4e-7, 6e-7, 8e-7, 1e-4, 1e-4}, "layers.1.qkv", true},
		{"a device that rounds activations to bfloat16", tensor.BF16, []float64{2e-3, 4e-3, 6e-3, 7e-3, 8e-3, 8e-3}, "layers.0.input_norm", true},
		{"the same with a wrong operation", tensor.BF16, []float64{2e-3, 4e-3, 6e-3, 7e-3, 0.4, 0.5}, "layers.1.qkv", false},
		{"float32 weights and a fault of half a percent", tensor.F32, []float64{1e-7, 4e-7, 6e-7, 5e-3, 6e-3}, "layers.1.input_norm", false},
		{"not a number", tensor.BF16, []float64{1e-7, math.Inf(1), math.Inf(1)}, "layers.0.qkv", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var trace Trace
			trace.find(series(test.errors...), test.weights)
			if trace.Finding == nil {
				trace.Finding = &Finding{}
			}
			if f := trace.Finding; f.Operation != test.operation || f.WithinRounding != test.withinRounding {
				t.Errorf("found %q (within rounding: %v), want %q (%v)", f.Operation, f.WithinRounding, test.operation, test.withinRounding)
			}
		})
	}
}

func TestDeviate(t *testing.T) {
	tap := func(values ...float64) device.Tap { return device.Tap{Rows: 2, Width: 2, Data: values} }
	want := tap(3, 4, 0, 10)
	for _, test := range []struct {
		got          device.Tap
		error        float64
		row, element int
	}{
		{tap(3, 4, 0, 10), 0, 0, 0},
		{tap(3, 4.5, 0, 10), 0.1, 0, 1},
		{tap(3.5, 4, 2, 10), 0.2, 1, 0},
		{tap(3, math.NaN(), 2, 10), math.Inf(1), 0, 1},
	} {
		d := deviate(test.got, want, want)
		if d.error != test.error || d.row != test.row || d.element != test.element {
			t.Errorf("%v: error %v at row %d, element %d; want %v at %d, %d", test.got.Data, d.error, d.row, d.element, test.error, test.row, test.element)
		}
	}
}

func TestLayer(t *testing.T) {
	for label, want := range map[string]int{"layers.3.qkv": 3, "layers.27.attention": 27, "lm_head": -1, "embed": -1, "layers.x": -1} {
		got := layer(label)
		if got == nil && want != -1 || got != nil && *got != want {
			t.Errorf("layer of %s: %v, want %d", label, got, want)
		}
	}
}
