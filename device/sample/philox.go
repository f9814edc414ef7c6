package sample

import "math/bits"

// Uniform returns the random number in [0, 1) of a seed and a position: Philox4x32-10 (Salmon et al. 2011, "Parallel random
// numbers: as easy as 1, 2, 3") with the seed as key, low word first, and the position as the counter's first word. The
// first two words of the result, the first one high, give the number's 53 bits.
func Uniform(seed uint64, position int32) float64 {
	x := philox4x32([4]uint32{uint32(position)}, [2]uint32{uint32(seed), uint32(seed >> 32)})
	return float64((uint64(x[0])<<32|uint64(x[1]))>>11) / (1 << 53)
}

// philox4x32 is the bijection with ten rounds.
func philox4x32(counter [4]uint32, key [2]uint32) [4]uint32 {
	for range 10 {
		high0, low0 := bits.Mul32(0xD2511F53, counter[0])
		high1, low1 := bits.Mul32(0xCD9E8D57, counter[2])
		counter = [4]uint32{high1 ^ counter[1] ^ key[0], low1, high0 ^ counter[3] ^ key[1], low0}
		key[0] += 0x9E3779B9 // the golden ratio
		key[1] += 0xBB67AE85 // the square root of 3, less 1
	}
	return counter
}
