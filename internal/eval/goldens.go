// Package eval is the accuracy gate: it runs stored token sequences through the engine and measures how far its
// log-probabilities are from those that another implementation computed, alone, batched and in a crowd. The command minisgl
// eval calls it; tools/goldens writes the goldens with Hugging Face transformers.
package eval

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"gonum.org/v1/gonum/floats"

	"minisgl"
)

// Goldens are sequences and what the other implementation thinks of them. tools/goldens/README.md describes the format.
type Goldens struct {
	Format    string     `json:"format"`
	Model     string     `json:"model"`
	DType     string     `json:"dtype"` // the arithmetic they were computed in
	Limits    Limits     `json:"limits"`
	Sequences []Sequence `json:"sequences"`
}

// A Sequence is tokens, and for each of them from index First on what was expected in its place. Entry k of the lists is
// about index First+k.
type Sequence struct {
	Tokens      []int32     `json:"tokens"`
	First       int         `json:"first"`
	Logprobs    []float64   `json:"logprobs"` // of the token itself
	TopIDs      [][]int32   `json:"top_ids"`  // the likeliest, likeliest first
	TopLogprobs [][]float64 `json:"top_logprobs"`
}

const format = "minisgl-eval-goldens/1"

// maxSize bounds what a compressed file may expand to.
const maxSize = 4 << 30

// Read reads a file of goldens, plain JSON or compressed with gzip.
func Read(path string) (*Goldens, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	g, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return g, nil
}

func parse(data []byte) (*Goldens, error) {
	if bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		reader, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		if data, err = io.ReadAll(io.LimitReader(reader, maxSize+1)); err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		if len(data) > maxSize {
			return nil, fmt.Errorf("it expands to more than %d bytes", maxSize)
		}
	}
	g := new(Goldens)
	if err := json.Unmarshal(data, g); err != nil {
		return nil, err
	}
	if g.Format != format {
		return nil, fmt.Errorf("format %q: expected %q", g.Format, format)
	}
	if len(g.Sequences) == 0 {
		return nil, errors.New("it holds no sequences")
	}
	for i := range g.Sequences {
		if err := g.Sequences[i].check(); err != nil {
			return nil, fmt.Errorf("sequence %d: %w", i, err)
		}
	}
	return g, g.Limits.check()
}

func (s *Sequence) check() error {
	scored := len(s.Tokens) - s.First
	switch {
	case s.First < 1 || scored < 1:
		return fmt.Errorf("first is %d: expected 1 to %d, with %d tokens", s.First, len(s.Tokens)-1, len(s.Tokens))
	case len(s.Logprobs) != scored || len(s.TopIDs) != scored || len(s.TopLogprobs) != scored:
		return fmt.Errorf("%d logprobs, %d top_ids and %d top_logprobs: expected %d of each", len(s.Logprobs), len(s.TopIDs), len(s.TopLogprobs), scored)
	}
	for k := range scored {
		ids, logprobs := s.TopIDs[k], s.TopLogprobs[k]
		if len(ids) != len(logprobs) || len(ids) < 1 || len(ids) > minisgl.MaxLogprobs {
			return fmt.Errorf("position %d: %d top_ids with %d top_logprobs: expected as many, 1 to %d", s.First+k, len(ids), len(logprobs), minisgl.MaxLogprobs)
		}
		// Beyond -1e30 lie what some write for minus infinity.
		previous := math.Inf(1)
		for _, l := range logprobs {
			if !(l <= 1e-6 && l > -1e30 && l <= previous) {
				return fmt.Errorf("position %d: a log-probability of %v: expected falling numbers up to 0", s.First+k, l)
			}
			previous = l
		}
	}
	return nil
}

// Positions is the number of tokens that are scored.
func (g *Goldens) Positions() (n int) {
	for i := range g.Sequences {
		n += len(g.Sequences[i].Logprobs)
	}
	return n
}

// perplexity is the exponential of the mean negative log-probability of the sequences' own tokens.
func (g *Goldens) perplexity() float64 {
	sum := 0.0
	for i := range g.Sequences {
		sum += floats.Sum(g.Sequences[i].Logprobs)
	}
	return math.Exp(-sum / float64(g.Positions()))
}

// Limits are what the figures of a pass may be at most. Nil: no limit of its own.
type Limits struct {
	MaxRegret    *float64 `json:"max_regret"`
	MaxMeanError *float64 `json:"max_mean_error"`
	MaxP99Error  *float64 `json:"max_p99_error"`
	MaxError     *float64 `json:"max_error"`
}

// Or takes other's limits where l has none.
func (l Limits) Or(other Limits) Limits {
	for _, f := range []struct{ to, from **float64 }{{&l.MaxRegret, &other.MaxRegret}, {&l.MaxMeanError, &other.MaxMeanError},
		{&l.MaxP99Error, &other.MaxP99Error}, {&l.MaxError, &other.MaxError}} {
		if *f.to == nil {
			*f.to = *f.from
		}
	}
	return l
}

func (l *Limits) check() error {
	for name, limit := range map[string]*float64{"max_regret": l.MaxRegret, "max_mean_error": l.MaxMeanError, "max_p99_error": l.MaxP99Error,
		"max_error": l.MaxError} {
		if limit != nil && !(*limit >= 0) {
			return fmt.Errorf("limit %s is %v: expected a number from 0 on", name, *limit)
		}
	}
	return nil
}

// DefaultLimits leave room for a device that rounds activations to bfloat16: transformers in bfloat16 throughout has a regret
// of 0.14, and errors of 0.06 in the mean, 0.21 and 0.52 at most on the golden model tiny-tied. A device that computes in
// float32 stays ten thousand times below; goldens made for one should say so in their limits.
func DefaultLimits() Limits {
	regret, mean, p99, largest := 0.25, 0.1, 0.3, 1.0
	return Limits{&regret, &mean, &p99, &largest}
}
