package model

import (
	"errors"
	"fmt"
	"math"

	"minisgl/device"
)

// RopeScaling stretches rotary embeddings beyond the context that a model was trained on. The zero value of Type is none.
type RopeScaling struct {
	Type              string // "", "linear", "yarn" (Peng et al. 2023) or "llama3"
	Factor            float64
	OriginalPositions float64 // the context before stretching
	// AttentionFactor multiplies cosines and sines under YaRN; 0 stands for the paper's 0.1·ln(Factor) + 1.
	AttentionFactor    float64
	BetaFast, BetaSlow float64 // YaRN: rotations in OriginalPositions above and below which a frequency is kept or divided
	NoTruncate         bool    // YaRN: do not round the borders that follow from them to whole frequencies
	LowFreqFactor      float64 // llama3: OriginalPositions over the longest and the shortest wavelength that is blended
	HighFreqFactor     float64
	Divisors           []float32 // of each frequency: GGUF's rope_freqs, which holds llama3 scaling ready computed
}

// ropeParameters is rope_parameters of transformers 5, and rope_scaling of earlier ones.
type ropeParameters struct {
	RopeType             string          `json:"rope_type"`
	Type                 string          `json:"type"`
	RopeTheta            *float64        `json:"rope_theta"`
	Factor               *float64        `json:"factor"`
	OriginalMaxPositions *float64        `json:"original_max_position_embeddings"`
	PartialRotaryFactor  *float64        `json:"partial_rotary_factor"`
	AttentionFactor      *float64        `json:"attention_factor"`
	MScale               float64         `json:"mscale"`
	MScaleAllDim         float64         `json:"mscale_all_dim"`
	BetaFast             float64         `json:"beta_fast"`
	BetaSlow             float64         `json:"beta_slow"`
	Truncate             *bool           `json:"truncate"`
	LowFreqFactor        float64         `json:"low_freq_factor"`
	HighFreqFactor       float64         `json:"high_freq_factor"`
	FullAttention        *ropeParameters `json:"full_attention"` // where each layer type has its own
}

// parseRope fills RopeTheta and Rope, with the precedence and the defaults of transformers' modeling_rope_utils.py.
func (c *Config) parseRope(f *configFile) error {
	r := f.RopeScaling
	if r == nil {
		r = f.RopeParameters
	}
	if r == nil {
		r = &ropeParameters{}
	}
	if r.FullAttention != nil {
		r = r.FullAttention
	}
	c.RopeTheta = valueOr(r.RopeTheta, valueOr(f.RopeTheta, 10000))
	if part := valueOr(r.PartialRotaryFactor, valueOr(f.PartialRotaryFactor, 1)); part != 1 {
		return fmt.Errorf("partial_rotary_factor %v is not supported; supported: 1", part)
	}
	kind := r.RopeType
	if kind == "" {
		kind = r.Type
	}
	original := valueOr(f.OriginalMaxPositions, valueOr(r.OriginalMaxPositions, float64(f.MaxPositions)))
	s := RopeScaling{Type: kind}
	switch kind {
	case "", "default":
		c.Rope = RopeScaling{}
		return nil
	case "linear":
	case "llama3":
		s.OriginalPositions, s.LowFreqFactor, s.HighFreqFactor = original, r.LowFreqFactor, r.HighFreqFactor
	case "yarn":
		s.OriginalPositions = original
		s.BetaFast, s.BetaSlow, s.NoTruncate = r.BetaFast, r.BetaSlow, !valueOr(r.Truncate, true)
		if r.Factor == nil {
			factor := float64(f.MaxPositions) / original
			r.Factor = &factor
		}
		if r.AttentionFactor != nil {
			s.AttentionFactor = *r.AttentionFactor
		} else if r.MScale != 0 && r.MScaleAllDim != 0 {
			s.AttentionFactor = yarnScale(*r.Factor, r.MScale) / yarnScale(*r.Factor, r.MScaleAllDim)
		}
	default:
		return fmt.Errorf("rope type %q is not supported; supported: default, linear, llama3, yarn", kind)
	}
	if r.Factor == nil {
		return fmt.Errorf("rope type %q needs a factor", kind)
	}
	s.Factor = *r.Factor
	c.Rope = s
	return nil
}

func (s *RopeScaling) check(theta float64) error {
	switch {
	case !(theta > 1) || theta > math.MaxFloat32:
		return fmt.Errorf("rope_theta %v is not a base above 1", theta)
	case s.Type == "":
		return nil
	case !(s.Factor >= 1) || s.Factor > 1<<20:
		return fmt.Errorf("rope factor %v is not in [1, %d]", s.Factor, 1<<20)
	case s.Type != "linear" && !(s.OriginalPositions >= 1 && s.OriginalPositions <= 1<<30):
		return fmt.Errorf("original_max_position_embeddings %v is not in [1, %d]", s.OriginalPositions, 1<<30)
	case s.Type == "llama3" && !(s.LowFreqFactor > 0 && s.HighFreqFactor > s.LowFreqFactor):
		return errors.New("llama3 rope scaling needs 0 < low_freq_factor < high_freq_factor")
	case s.AttentionFactor < 0 || s.BetaFast < 0 || s.BetaSlow < 0:
		return errors.New("negative attention_factor, beta_fast or beta_slow")
	}
	return nil
}

// longest is the context that the scaling stretches a checkpoint with maxPositions to.
func (s *RopeScaling) longest(maxPositions int) int {
	switch s.Type {
	case "linear":
		return int(float64(maxPositions) * s.Factor)
	case "llama3", "yarn":
		return int(s.OriginalPositions * s.Factor)
	}
	return maxPositions
}

// rotary computes the frequencies with the float32 operations of transformers, because its cosines follow from them.
func (c *Config) rotary() device.Rotary {
	s := &c.Rope
	base := rotaryBase(c.RopeTheta, c.HeadDim)
	inverse := make([]float32, len(base))
	for i, b := range base {
		inverse[i] = 1 / b
	}
	r := device.Rotary{InvFreq: inverse, Scale: 1}
	switch s.Type {
	case "linear":
		for i := range inverse {
			inverse[i] /= float32(s.Factor)
		}
	case "llama3":
		s.llama3(inverse)
	case "yarn":
		s.yarn(inverse, base, c.RopeTheta)
		r.Scale = s.AttentionFactor
		if r.Scale == 0 {
			r.Scale = yarnScale(s.Factor, 1)
		}
	}
	for i, d := range s.Divisors {
		inverse[i] /= d
	}
	return r
}

// rotaryBase returns theta^(2i/headDim), the inverse of the unscaled frequencies (Su et al. 2021).
func rotaryBase(theta float64, headDim int) []float32 {
	base := make([]float32, headDim/2)
	for i := range base {
		exponent := float32(2*i) / float32(headDim)
		base[i] = float32(math.Pow(float64(float32(theta)), float64(exponent)))
	}
	return base
}

// llama3 divides long wavelengths by the factor, keeps short ones, and blends those between, as Llama 3.1 does.
func (s *RopeScaling) llama3(inverse []float32) {
	longest := float32(s.OriginalPositions / s.LowFreqFactor)
	shortest := float32(s.OriginalPositions / s.HighFreqFactor)
	for i, f := range inverse {
		wavelength := float32(2*math.Pi) / f
		switch {
		case wavelength > longest:
			inverse[i] = f / float32(s.Factor)
		case wavelength >= shortest:
			smooth := (float32(s.OriginalPositions)/wavelength - float32(s.LowFreqFactor)) / float32(s.HighFreqFactor-s.LowFreqFactor)
			inverse[i] = float32((1-smooth)*f)/float32(s.Factor) + float32(smooth*f)
		}
	}
}

// yarn blends kept and divided frequencies by a ramp over the frequencies' indices.
func (s *RopeScaling) yarn(inverse, base []float32, theta float64) {
	headDim := float64(2 * len(base))
	border := func(rotations float64) float64 {
		return headDim * math.Log(s.OriginalPositions/(rotations*2*math.Pi)) / (2 * math.Log(theta))
	}
	low, high := border(orDefault(s.BetaFast, 32)), border(orDefault(s.BetaSlow, 1))
	if !s.NoTruncate {
		low, high = math.Floor(low), math.Ceil(high)
	}
	low, high = max(low, 0), min(high, headDim-1)
	if low == high {
		high += 0.001
	}
	for i, b := range base {
		ramp := (float32(i) - float32(low)) / float32(high-low)
		kept := 1 - min(max(ramp, 0), 1)
		divided := 1 / (float32(s.Factor) * b)
		inverse[i] = float32(divided*(1-kept)) + float32(inverse[i]*kept)
	}
}

func yarnScale(factor, mscale float64) float64 {
	if factor <= 1 {
		return 1
	}
	return 0.1*mscale*math.Log(factor) + 1
}

func orDefault(value, otherwise float64) float64 {
	if value == 0 {
		return otherwise
	}
	return value
}
