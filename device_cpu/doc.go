// Package cpu runs programs on the processor, with SIMD kernels in assembly where it has them and in plain Go where it does
// not. It registers itself as device "cpu"; "cpu+generic", "cpu+avx2", "cpu+avxvnni", "cpu+avx512", "cpu+avx512vnni", "cpu+amx"
// and, on arm64, "cpu+neon", "cpu+neondotprod", "cpu+neoni8mm" force a path.
//
// Weights are packed once, at Load, into panels of 32 outputs that all kernels read (pack.go). Every matrix product, attention
// included, goes through one kernel that computes a tile of a few rows by 32 outputs, in which an output's sum runs over its
// inputs in ascending order in one lane (kernels.go). So a row's sums have one order, whatever the batch, and all that is
// decided at run time (how rows are cut into tiles, inputs into blocks, work among threads) changes no bit of a result.
//
// Quantised weights keep their bits (internal/layout): their inputs become 16-bit numbers, so that a block's products add up to a
// whole number in any order, and blocks follow in ascending order (kernels_quantised.go). Whoever loads a program may ask for
// bfloat16 inputs of bfloat16 weights (kernels_pairs.go). Path amx multiplies bfloat16 weights in tiles, in an order of sums of
// its own that depends on rows as little (amx.go), and many rows of quantised ones in tiles of bytes, with the bits of the other
// paths (amx_bytes.go). Attention over a bfloat16 cache multiplies in bfloat16 on path amx, and elsewhere where that is faster and
// bfloat16 inputs were asked for (rounded.go).
//
// A step runs in pieces of at most slabRows rows through the whole program (step.go), which bounds the memory for activations.
// Each operation is cut into units that threads take one by one (pool.go). Many rows' gates are computed with their product (gated.go). The LM head and sampling are one (head.go).
package cpu
