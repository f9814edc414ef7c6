// Where the values of a packed weight lie.
#pragma once
#include "common.cuh"

// The index of (output n, input k) in a packed weight with `blocks` blocks of 32 inputs. A block of 8 outputs × 32 inputs has 256
// values, output by output. For 16-bit Elements the 32 inputs of an output stand in four chunks of 16 bytes, in the order in which
// two products mma.m16n8k16 take them: a lane with q = lane%4 brings inputs 8q … 8q+7, which lie side by side in a row of X, and of
// these inputs 8q + 2c, 8q + 2c + 1 belong to chunk c: chunks 0 and 1 to the first product, 2 and 3 to the second. So ldmatrix of the four
// chunks yields what mma wants. Chunk c of output n stands at place c ^ (n%8/2), which lets ldmatrix read without bank conflicts; it
// is also the 64-byte swizzle that wgmma knows.
__device__ __forceinline__ i64 packed_index(int n, int k, int blocks) {
    const i64 block = ((i64)(n / 8) * blocks + k / 32) * 256 + n % 8 * 32;
#ifdef ELEMENT_F32
    return block + k % 32;
#else
    return block + ((k % 8 / 2) ^ (n % 8 / 2)) * 8 + k % 32 / 8 * 2 + k % 2;
#endif
}
