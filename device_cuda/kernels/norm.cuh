// RMSNorm, y = x / sqrt(mean(x²) + eps) · weight, in the one rounding that every kernel uses.
#pragma once
#include "common.cuh"

// The factor 1/sqrt(mean(x²) + eps) of a row, from each lane's sum of squares.
__device__ __forceinline__ float rms_scale_of(float sum, int width, float eps) { return 1.f / sqrtf(warp_sum(sum) / (float)width + eps); }

// The factor of a row, for a whole warp: lane l adds the squares of values l, l+32, … in order, then the
// butterfly. BATCH loads go out at a time: many from the L2 cache, because nothing else can begin before the row's sum; few from
// shared memory.
template <int BATCH = 32> __device__ __forceinline__ float rms_scale(const float* row, int width, float eps) {
    float sum = 0.f;
    for (int base = threadIdx.x % 32; base < width; base += 32 * BATCH) {
        float x[BATCH];
#pragma unroll
        for (int i = 0; i < BATCH; i++) x[i] = base + 32 * i < width ? row[base + 32 * i] : 0.f;
#pragma unroll
        for (int i = 0; i < BATCH; i++) sum = __fmaf_rn(x[i], x[i], sum);
    }
    return rms_scale_of(sum, width, eps);
}

__device__ __forceinline__ float normalised(float x, float scale, float weight) { return __fmul_rn(__fmul_rn(x, scale), weight); }
