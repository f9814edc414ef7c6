package cpu

import (
	"fmt"
	"strings"
)

//go:generate go run ./internal/gen

// kernels is one path through the processor's arithmetic: a set of functions that belong to one instruction set. Rows of x and
// c lie ldx and ldc values apart. A panel holds panelWidth outputs (see pack.go).
//
// The order of every sum is fixed: an output of a tile is summed over the inputs in ascending order, whatever the number of
// rows, and sums along a row go by lanes of the instruction set.
type kernels struct {
	name     string
	tileRows int // most rows of a tile

	// tileBF16 and tileF16 multiply rows of x by k inputs of a panel: c[r][0:32] = x[r][0:k] · w, on top of what c holds if
	// add is not 0.
	tileBF16, tileF16 func(c []float32, ldc int, x []float32, ldx int, w []uint16, k, rows, add int)
	// tileF32 does so with float32 weights: w0 has 16 values for the lower half of the outputs and w1 for the upper, each
	// input's ldw values behind the one before.
	tileF32 func(c []float32, ldc int, x []float32, ldx int, w0, w1 []float32, ldw, k, rows, add int)

	// quantised multiplies quantised weights as they are; nil if the path expands them to f16.
	quantised *quantisedKernels
	// pairs multiplies bfloat16 weights with activations of bfloat16; nil if the path cannot.
	pairs *pairKernels
	// amx multiplies bfloat16 weights instead of tileBF16; nil if the path has no AMX.
	amx *amxKernels

	// The functions below take rows whose length is a multiple of 16.

	// softmax replaces s by exp(scale·(s − max)) and returns the maximum and the sum of the results.
	softmax func(s []float32, scale float32) (max, sum float32)
	// silu: out = silu(gate)·up.
	silu func(out, gate, up []float32)
	// sumSquares returns Σ x².
	sumSquares func(x []float32) float32
	// scale: out = factor·x·w.
	scale func(out, x, w []float32, factor float32)
	// add: out += x.
	add func(out, x []float32)
	// largest returns the maximum, and a number that is NaN if a value is not finite.
	largest func(x []float32) (max, check float32)

	// rotate turns pairs of values by angles: low, high = low·cos − high·sin, high·cos + low·sin, each product rounded. x has heads
	// of as many low values as there are angles, a multiple of 16, and then as many high ones.
	rotate func(x []float32, heads int, cos, sin []float32)
	// toBF16 makes values bfloat16; broken is not 0 if one of them is not finite then.
	toBF16 func(dst []uint16, x []float32) (broken int)

	attention attentionKernels
	spread    spreadKernels
	// weights is sample.Weights to the bit, for a number of logits that is a multiple of 32.
	weights func(dst []float64, logits []float32, max, temperature float64)
}

// maxTileRows is the most that a path may have for tileRows.
const maxTileRows = 16

// variants are the paths that this build has, the best last. Each names the features it needs.
var variants = append([]variant{{kernels: &generic}}, nativeVariants...)

type variant struct {
	*kernels
	features []feature
}

// A feature is a property of the processor that a path needs.
type feature struct {
	name    string
	present bool
}

func (v variant) usable() bool {
	for _, f := range v.features {
		if !f.present {
			return false
		}
	}
	return true
}

// describe names the path and the features that led to it.
func (v variant) describe() string {
	if len(v.features) == 0 {
		return v.name
	}
	var names []string
	for _, f := range v.features {
		names = append(names, f.name)
	}
	return v.name + " (" + strings.Join(names, " ") + ")"
}

// choose returns the path of that name, or the best that the processor can run for "".
func choose(name string) (variant, error) {
	var names []string
	var best variant
	for _, v := range variants {
		names = append(names, v.name)
		if v.usable() {
			best = v
		}
		if v.name != name {
			continue
		}
		for _, f := range v.features {
			if !f.present {
				return v, fmt.Errorf("variant %q needs %s, which this processor does not have", name, f.name)
			}
		}
		return v, nil
	}
	if name != "" {
		return best, fmt.Errorf("unknown variant %q: this build has %s", name, strings.Join(names, ", "))
	}
	return best, nil
}
