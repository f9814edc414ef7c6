package fake

import (
	"slices"

	"minisgl/device"
)

// Continue returns the n tokens that a request with this prompt must get, however it is batched, chunked, cached or paged.
func Continue(prompt []int32, n, vocab int, p *device.Sampling) []int32 {
	return ContinueMin(prompt, n, 0, vocab, p)
}

// ContinueMin is Continue where p.Suppress holds for the first minTokens tokens.
func ContinueMin(prompt []int32, n, minTokens, vocab int, p *device.Sampling) []int32 {
	s := NewSequence(vocab, prompt)
	output := make([]int32, n)
	for i := range output {
		output[i] = s.Draw(p, i < minTokens).Token
		s.Append(output[i])
	}
	return output
}

// A Sequence computes what the device must answer for one request, without pages, slots or batches.
type Sequence struct {
	vocab  int
	digest uint64
	length int32
	counts history
}

// NewSequence starts a sequence with a prompt.
func NewSequence(vocab int, prompt []int32) *Sequence {
	s := &Sequence{vocab: vocab, counts: newHistory(prompt, nil)}
	for _, token := range prompt {
		s.push(token)
	}
	return s
}

// Append adds a token that was drawn.
func (s *Sequence) Append(token int32) {
	s.push(token)
	s.counts.output += mix(uint64(token))
}

func (s *Sequence) push(token int32) {
	s.digest += entry(token, s.length, s.digest)
	s.length++
}

// Draw returns the result of sampling the next token.
func (s *Sequence) Draw(p *device.Sampling, suppress bool) device.Result {
	return s.answer(device.Output{Target: device.Sample, Position: s.length, Suppress: suppress, Params: p})
}

// Score returns the result of scoring a token as the next one.
func (s *Sequence) Score(target int32, p *device.Sampling) device.Result {
	return s.answer(device.Output{Target: target, Position: s.length, Params: p})
}

func (s *Sequence) answer(o device.Output) (r device.Result) {
	answer(&r, &o, s.digest, s.vocab, &s.counts)
	return r
}

// history stands for the tokens that a request has seen: sums of hashes, so that their order does not matter.
type history struct{ prompt, output uint64 }

func newHistory(prompt, output []int32) (h history) {
	for _, token := range prompt {
		h.prompt += mix(uint64(token))
	}
	for _, token := range output {
		h.output += mix(uint64(token))
	}
	return h
}

// entry stands for the keys and values of a token: they depend on its position and on all KV that it attended to. The digest
// of a sequence is the sum of its entries.
func entry(token, position int32, digest uint64) uint64 {
	return mix(digest ^ mix(uint64(uint32(token))<<32|uint64(uint32(position))))
}

// answer fills r with what output o must get from a row that has read KV with this digest.
func answer(r *device.Result, o *device.Output, digest uint64, vocab int, seen *history) {
	p := o.Params
	logits := mix(digest ^ 0x10617) // what the model says, before sampling
	likeliest := int32(logits % uint64(vocab))
	r.Logprob, r.Top = 0, r.Top[:0]
	if r.Token = o.Target; r.Token == device.Sample {
		r.Token = draw(logits, o, vocab, seen)
	}
	if p.Logprobs < 0 {
		return
	}
	r.Logprob = logprob(logits, distance(r.Token, likeliest, vocab))
	for i := range min(int(p.Logprobs), vocab) {
		token := int32((int(likeliest) + i) % vocab)
		r.Top = append(r.Top, device.TokenLogprob{Token: token, Logprob: logprob(logits, i)})
	}
}

func draw(logits uint64, o *device.Output, vocab int, seen *history) int32 {
	p, h := o.Params, logits
	if p.Penalised() {
		h = mix(h ^ mix(seen.prompt) ^ 3*mix(seen.output))
	}
	if p.Temperature > 0 {
		h = mix(h ^ mix(p.Seed) ^ mix(uint64(o.Position)))
	}
	token := int32(h % uint64(vocab))
	if !o.Suppress {
		return token
	}
	for range vocab {
		if !slices.Contains(p.Suppress, token) {
			return token
		}
		token = (token + 1) % int32(vocab)
	}
	return device.NoToken
}

func distance(token, from int32, vocab int) int {
	return (int(token) - int(from) + vocab) % vocab
}

// logprob falls with the distance from the likeliest token; its fraction depends on the logits.
func logprob(logits uint64, distance int) float32 {
	return -float32(distance)/2 - float32(logits>>54)/4096 - 1.0/16
}

// mix is the finaliser of SplitMix64 (Steele, Lea and Flood 2014): a bijection that scatters nearby values.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
