package eval

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"

	"minisgl"
)

// A Pass is what one way of running all sequences gave.
//
// An error is the distance between our log-probability and the golden one, of each token that the goldens list at each
// position and of the sequence's own token there. We ask for our 128 likeliest; where a listed token is not among them, the
// least that it can be off by counts. A regret is what choosing our likeliest token costs at a position: the golden
// log-probability of the golden choice minus that of ours, 0 where both choose the same.
type Pass struct {
	Name       string  `json:"name"`
	Duration   float64 `json:"duration_s"`
	Tokens     int     `json:"tokens"`     // log-probabilities compared
	Perplexity float64 `json:"perplexity"` // of the sequences' own tokens, by our log-probabilities
	// Divergence is the mean over positions of Σ p·ln(p/q) - p + q over the listed tokens, p golden and q ours: Kullback and Leibler's (1951) if all
	// tokens are listed, and else as much of it as these tokens account for.
	Divergence    float64 `json:"divergence"`
	ArgmaxDiffers int     `json:"argmax_differs"` // positions where our likeliest token is another one
	// SequencesDiffer is the number of sequences with such positions. Where sequences are what the other implementation says to prompts, always
	// the likeliest token, these are the prompts to which we say something else.
	SequencesDiffer int     `json:"sequences_differ"`
	MaxRegret       float64 `json:"max_regret"`
	MeanError       float64 `json:"mean_error"`
	P99Error        float64 `json:"p99_error"`
	MaxError        float64 `json:"max_error"`
	WorstRegret     *Place  `json:"worst_regret"` // null: none
	WorstError      *Place  `json:"worst_error"`
	// Identical says that all results are those of the first pass to the bit; Differs is where they first are not.
	Identical bool   `json:"identical"`
	Differs   *Place `json:"differs"`
}

// A Place is a log-probability in the goldens.
type Place struct {
	Sequence int   `json:"sequence"`
	Position int   `json:"position"` // index in the sequence
	Token    int32 `json:"token"`    // of a regret: the one we would choose
	// Ours and Golden are the token's log-probabilities; for a regret Golden is our choice's and Best that of the golden one.
	Ours   float64  `json:"ours"`
	Golden float64  `json:"golden"`
	Best   *float64 `json:"best,omitempty"`
}

func (p *Place) String() string {
	return fmt.Sprintf("sequence %d, position %d, token %d: ours %.9g, golden %.9g", p.Sequence, p.Position, p.Token, p.Ours, p.Golden)
}

// scores are what the engine says to each sequence: one Token for each scored index.
type scores [][]minisgl.Token

// measure compares scores with the goldens.
func (g *Goldens) measure(name string, got scores) Pass {
	p := Pass{Name: name}
	var errors []float64
	var logprobs float64
	positions := float64(g.Positions())
	for i := range g.Sequences {
		s := &g.Sequences[i]
		differed := p.ArgmaxDiffers
		for k, ours := range got[i] {
			place := Place{Sequence: i, Position: s.First + k}
			note := func(token int32, our, golden float64, listed bool) {
				e := math.Abs(our - golden)
				if !listed {
					e = max(0, golden-our)
				}
				errors = append(errors, e)
				if e > p.MaxError {
					place.Token, place.Ours, place.Golden = token, our, golden
					at := place
					p.MaxError, p.WorstError = e, &at
				}
			}
			logprobs += float64(ours.Logprob)
			note(ours.ID, float64(ours.Logprob), s.Logprobs[k], true)
			for n, token := range s.TopIDs[k] {
				our, listed := find(ours, token)
				golden := s.TopLogprobs[k][n]
				note(token, our, golden, listed)
				if listed || golden > our {
					p.Divergence += (math.Exp(golden)*(golden-our) - math.Exp(golden) + math.Exp(our)) / positions
				}
			}
			p.regret(place, ours, s.TopIDs[k], s.TopLogprobs[k])
		}
		if p.ArgmaxDiffers > differed {
			p.SequencesDiffer++
		}
	}
	p.Perplexity = math.Exp(-logprobs / positions)
	slices.Sort(errors)
	n := len(errors)
	p.Tokens, p.MeanError, p.P99Error = n, floats.Sum(errors)/float64(n), errors[min(int(float64(n)*0.99), n-1)]
	return p
}

// regret notes what our choice at a place costs.
func (p *Pass) regret(place Place, ours minisgl.Token, ids []int32, logprobs []float64) {
	choice := ours.Top[0]
	if choice.Token == ids[0] {
		return
	}
	p.ArgmaxDiffers++
	place.Token, place.Ours, place.Golden, place.Best = choice.Token, float64(choice.Logprob), logprobs[len(logprobs)-1], &logprobs[0]
	if n := slices.Index(ids, choice.Token); n >= 0 {
		place.Golden = logprobs[n]
	}
	if regret := *place.Best - place.Golden; p.WorstRegret == nil || regret > p.MaxRegret {
		p.MaxRegret, p.WorstRegret = regret, &place
	}
}

// find returns our log-probability of a token, or the least of those we have, which it cannot exceed.
func find(ours minisgl.Token, token int32) (logprob float64, listed bool) {
	for _, t := range ours.Top {
		if t.Token == token {
			return float64(t.Logprob), true
		}
	}
	if ours.ID == token {
		return float64(ours.Logprob), true
	}
	return float64(ours.Top[len(ours.Top)-1].Logprob), false
}

// compareBits notes where scores first differ from those of the first pass.
func (p *Pass) compareBits(g *Goldens, got, first scores) {
	same := func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) }
	p.Identical = true
	note := func(i, k int, token int32, our, was float32) {
		if p.Identical {
			p.Identical = false
			p.Differs = &Place{Sequence: i, Position: g.Sequences[i].First + k, Token: token, Ours: float64(our), Golden: float64(was)}
		}
	}
	for i := range got {
		for k, x := range got[i] {
			y := first[i][k]
			if !same(x.Logprob, y.Logprob) {
				note(i, k, x.ID, x.Logprob, y.Logprob)
			}
			for n, top := range x.Top {
				if was := y.Top[n]; top.Token != was.Token || !same(top.Logprob, was.Logprob) {
					note(i, k, top.Token, top.Logprob, was.Logprob)
				}
			}
		}
	}
}
