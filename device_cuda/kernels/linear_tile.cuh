// What linear_tile.cu and linear_wgmma.cu share: how a tile's inputs get into shared memory.
#pragma once
#include "linear.cuh"

#ifndef ELEMENT_F32

// The copies of TM rows of X and TN packed outputs by a block of THREADS threads. A stage of shared memory holds, for each of STEP
// blocks of 32 inputs, the rows of X, 64 bytes each, then the weights, 512 bytes a group of 8 outputs.
template <int TM, int TN, int THREADS, int STEP> struct TileCopies {
    static constexpr int X_BYTES = TM * 64, W_BYTES = TN * 64, BLOCK_BYTES = X_BYTES + W_BYTES, STAGE_BYTES = STEP * BLOCK_BYTES;
    static constexpr int X_EACH = TM * 4 / THREADS, W_EACH = TN * 4 / THREADS; // chunks of 16 bytes a thread and block of inputs
    static_assert(X_EACH * THREADS == TM * 4 && W_EACH * THREADS == TN * 4, "threads share a tile evenly");
    const u8 *x[X_EACH], *w[W_EACH]; // what this thread copies of the first block of inputs
    bool valid[X_EACH];              // rows beyond the last are zeros

    __device__ __forceinline__ void begin(const LinearParams& p, int first_row, int first_group, int rows) {
        const int last_group = (p.out + 7) / 8 - 1;
#pragma unroll
        for (int i = 0; i < X_EACH; i++) {
            const int chunk = threadIdx.x + i * THREADS, row = first_row + chunk / 4;
            valid[i] = row < rows;
            x[i] = (const u8*)p.x + (i64)min(row, rows - 1) * p.x_stride * (int)sizeof(Element) + chunk % 4 * 16;
        }
#pragma unroll
        for (int i = 0; i < W_EACH; i++) {
            const int chunk = threadIdx.x + i * THREADS;
            w[i] = (const u8*)p.weight + (i64)min(first_group + chunk / 32, last_group) * p.blocks * 512 + chunk % 32 * 16;
        }
    }
    // Copies blocks `block` … block+STEP, as far as there are any.
    __device__ __forceinline__ void stage(const LinearParams& p, u8* to, int block) const {
#pragma unroll
        for (int s = 0; s < STEP; s++, block++, to += BLOCK_BYTES) {
            if (s > 0 && block >= p.blocks) break;
#pragma unroll
            for (int i = 0; i < X_EACH; i++) copy16_or_zero(to + (threadIdx.x + i * THREADS) * 16, x[i] + block * 64, valid[i]);
#pragma unroll
            for (int i = 0; i < W_EACH; i++) copy16(to + X_BYTES + (threadIdx.x + i * THREADS) * 16, w[i] + block * 512);
        }
    }
};

#endif
