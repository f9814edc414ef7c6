// RMSNorm, y = x / sqrt(mean(x²) + eps) · weight, in the one rounding that every kernel uses.
#pragma once
#include "common.cuh"

__device__ __forceinline__ float rms_of_sum(float sum, int width, float eps) { return 1.f / sqrtf(sum / (float)width + eps); }

// A row of at most WIDTH values in a warp's registers: lane l has values l, l+32, …. All loads go out before the first addition,
// because nothing else can begin before the row's sum.
struct NormRow {
    static constexpr int EACH = 32, WIDTH = 32 * EACH;
    float x[EACH];

    __device__ __forceinline__ void load(const float* row, int width) {
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int i = 0; i < EACH; i++) x[i] = lane + 32 * i < width ? row[lane + 32 * i] : 0.f;
    }
    // Adds the lane's squares to sum, in order.
    __device__ __forceinline__ float squares(float sum) const {
#pragma unroll
        for (int i = 0; i < EACH; i++) sum = __fmaf_rn(x[i], x[i], sum);
        return sum;
    }
    __device__ __forceinline__ float scale(int width, float eps) const { return rms_of_sum(warp_sum(squares(0.f)), width, eps); }
};

// The factor 1/sqrt(mean(x²) + eps) of a row of any width, for a whole warp: lane l adds the squares of values l, l+32, … in
// order, then the butterfly.
__device__ __forceinline__ float rms_scale(const float* row, int width, float eps) {
    float sum = 0.f;
    for (int base = 0; base < width; base += NormRow::WIDTH) {
        NormRow part;
        part.load(row + base, width - base);
        sum = part.squares(sum);
    }
    return rms_of_sum(warp_sum(sum), width, eps);
}

__device__ __forceinline__ float normalised(float x, float scale, float weight) { return __fmul_rn(__fmul_rn(x, scale), weight); }
