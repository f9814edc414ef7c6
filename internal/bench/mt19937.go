package bench

import "math"

// random draws what Python's random module draws from the same seed, so that a Python script can make the same prompts and
// workloads that are defined by a Python program keep their published sizes.
//
// The generator is MT19937 (Matsumoto and Nishimura, 1998), seeded as CPython's Modules/_randommodule.c does.
type random struct {
	state [624]uint32
	next  int // index into state; len(state): used up
}

func newRandom(seed uint64) *random {
	key := []uint32{uint32(seed)}
	if high := uint32(seed >> 32); high != 0 {
		key = append(key, high)
	}
	r := &random{next: 624}
	s := &r.state
	s[0] = 19650218
	for i := 1; i < len(s); i++ {
		s[i] = 1812433253*(s[i-1]^s[i-1]>>30) + uint32(i)
	}
	i, j := 1, 0
	advance := func() {
		if i++; i == len(s) {
			s[0], i = s[len(s)-1], 1
		}
	}
	for range max(len(s), len(key)) {
		s[i] = (s[i] ^ (s[i-1]^s[i-1]>>30)*1664525) + key[j] + uint32(j)
		j = (j + 1) % len(key)
		advance()
	}
	for range len(s) - 1 {
		s[i] = (s[i] ^ (s[i-1]^s[i-1]>>30)*1566083941) - uint32(i)
		advance()
	}
	s[0] = 0x80000000
	return r
}

func (r *random) uint32() uint32 {
	s := &r.state
	if r.next == len(s) {
		for i := range s {
			y := s[i]&0x80000000 | s[(i+1)%len(s)]&0x7fffffff
			s[i] = s[(i+397)%len(s)] ^ y>>1 ^ y&1*0x9908b0df
		}
		r.next = 0
	}
	y := s[r.next]
	r.next++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

// between is random.randint: a whole number in [low, high], which must not be further apart than 2³²-2.
func (r *random) between(low, high int) int {
	n := uint32(high - low + 1)
	bits := 0
	for n>>bits != 0 {
		bits++
	}
	for {
		if v := r.uint32() >> (32 - bits); v < n {
			return low + int(v)
		}
	}
}

// float64 is random.random: in [0, 1).
func (r *random) float64() float64 {
	a, b := r.uint32()>>5, r.uint32()>>6
	return (float64(a)*(1<<26) + float64(b)) / (1 << 53)
}

// exponential is random.expovariate: the time between two events of a Poisson process with this rate.
func (r *random) exponential(rate float64) float64 { return -math.Log(1-r.float64()) / rate }
