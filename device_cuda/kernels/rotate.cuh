// Rotary positions and the place of a key or value in the cache, in the one form that every kernel uses.
#pragma once
#include "common.cuh"

// Rotates dimensions i and i + HEAD_DIM/2 of a head: (low, high) becomes (low·cos − high·sin, high·cos + low·sin).
__device__ __forceinline__ void rotate(float& low, float& high, float cosine, float sine) {
    const float turned = __fmaf_rn(low, cosine, -__fmul_rn(high, sine));
    high = __fmaf_rn(high, cosine, __fmul_rn(low, sine));
    low = turned;
}

// Where the HEAD_DIM values of a KV head lie in a layer's Keys or Values, (pages, KV_HEADS, PAGE_SIZE, HEAD_DIM), for the cell
// page·PAGE_SIZE + offset.
__device__ __forceinline__ i64 cache_row(int cell, int head) {
    return (((i64)(cell / PAGE_SIZE) * KV_HEADS + head) * PAGE_SIZE + cell % PAGE_SIZE) * HEAD_DIM;
}

// A value as the cache keeps it. What is no number becomes 0, because attention multiplies values that a row does not see by 0, and
// 0 · NaN is not 0. The key of such a row is broken, too, and breaks the rows that see it.
__device__ __forceinline__ Element stored_value(float x) { return narrow(x - x == 0.f ? x : 0.f); }
