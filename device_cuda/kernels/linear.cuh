// What the kernels of matrix products share: their argument and what becomes of a sum. Design and layout: kernels.go, pack.cuh.
#pragma once
#include "common.cuh"
#include "norm.cuh"
#include "rotate.cuh"

struct LinearParams { // linearParams in linear.go
    const Element* weight; // packed
    const float* bias;
    const void* x; // Elements; float with norm
    void* result;
    const int* rows;
    const float* norm;
    const int* selected;
    const int *positions, *cells;
    const float* cos_sin; // (positions, HEAD_DIM)
    Element *keys, *values;
    int out, in;
    int x_stride, stride;
    int first_row;
    int epilogue;
    int wide;     // pairs (SILU: four columns) of a row of result may be stored at once
    int blocks;   // of 32 inputs
    int split;    // blocks of a split
    int resident; // linear.cu: blocks of a split that shared memory holds
    float eps;
};

enum { STORE, RESIDUAL, SILU, ROTATE }; // Epilogue in linear.go

// The rows to be computed. Like positions, cells and the rows selected, their number comes with the step's upload, which is there
// before the step's first kernel begins: so they may be read before wait().
__device__ __forceinline__ int rows_of(const LinearParams& p) { return *p.rows - p.first_row; }

// An Ending is all that becomes of the sums of outputs n and n+1 (n even) of one row. What it needs beside the sums is fetched
// ahead, so that these reads are on their way during the product.
struct Ending {
    float bias[2];
    float extra[2]; // RESIDUAL: what is added to; ROTATE: cosine and sine
    int cell;

    // What no kernel writes: may come before wait(). row must exist.
    __device__ __forceinline__ void fetch_constants(const LinearParams& p, int row, int n) {
        bias[0] = p.bias && n < p.out ? p.bias[n] : 0.f;
        bias[1] = p.bias && n + 1 < p.out ? p.bias[n + 1] : 0.f;
        if (p.epilogue != ROTATE || n >= p.out) return;
        cell = n < HEADS * HEAD_DIM ? 0 : p.cells[p.first_row + row];
        if (n >= (HEADS + KV_HEADS) * HEAD_DIM) return;
        const float* turn = p.cos_sin + (i64)p.positions[p.first_row + row] * HEAD_DIM + n % HEAD_DIM / 2;
        extra[0] = turn[0];
        extra[1] = turn[HEAD_DIM / 2];
    }

    __device__ __forceinline__ void fetch(const LinearParams& p, int row, int n) {
        if (p.epilogue != RESIDUAL || n >= p.out) return;
        const float* result = (const float*)p.result + (i64)row * p.stride + n;
        if (p.wide) {
            const float2 pair = *(const float2*)result;
            extra[0] = pair.x, extra[1] = pair.y;
        } else {
            extra[0] = result[0];
            if (n + 1 < p.out) extra[1] = result[1];
        }
    }

    __device__ __forceinline__ void finish(const LinearParams& p, int row, int n, float a, float b) const {
        if (n >= p.out) return;
        if (p.bias) {
            a += bias[0];
            b += bias[1];
        }
        if (p.epilogue == STORE || p.epilogue == RESIDUAL) {
            if (p.epilogue == RESIDUAL) {
                a += extra[0];
                b += extra[1];
            }
            float* result = (float*)p.result + (i64)row * p.stride + n;
            if (p.wide) {
                *(float2*)result = make_float2(a, b);
            } else {
                result[0] = a;
                if (n + 1 < p.out) result[1] = b;
            }
        } else if (p.epilogue == SILU) {
            ((Element*)p.result)[(i64)row * p.stride + n / 2] = silu(a, b);
        } else {
            finish_rotation(p, row, n, a, b);
        }
    }

    // 16-bit Elements round away the last bits anyway, so the quick exponential and division do.
    static __device__ __forceinline__ Element silu(float gate, float up) {
#ifdef ELEMENT_F32
        return __fmul_rn(gate / __fadd_rn(1.f, expf(-gate)), up);
#else
        return narrow(__fmul_rn(__fdividef(gate, __fadd_rn(1.f, __expf(-gate))), up));
#endif
    }

    __device__ __forceinline__ void finish_rotation(const LinearParams& p, int row, int n, float a, float b) const {
        const int head = n / HEAD_DIM, i = n % HEAD_DIM / 2;
        if (head < HEADS + KV_HEADS) rotate(a, b, extra[0], extra[1]);
        if (head < HEADS) {
            float* q = (float*)p.result + (i64)row * p.stride + head * HEAD_DIM + i;
            q[0] = a;
            q[HEAD_DIM / 2] = b;
        } else if (head < HEADS + KV_HEADS) {
            Element* k = p.keys + cache_row(cell, head - HEADS) + i;
            k[0] = narrow(a);
            k[HEAD_DIM / 2] = narrow(b);
        } else {
            Element* v = p.values + cache_row(cell, head - HEADS - KV_HEADS) + 2 * i;
            v[0] = stored_value(a);
            v[1] = stored_value(b);
        }
    }
};

__device__ __noinline__ void finish_alone(const LinearParams& p, int row, int n, float a, float b) {
    Ending ending;
    if (n >= p.out) return;
    ending.fetch_constants(p, row, n);
    ending.fetch(p, row, n);
    ending.finish(p, row, n, a, b);
}

template <int COUNT> __device__ __forceinline__ void finish_rotations(const LinearParams& p, int row, int n, const float2 (&sums)[COUNT]) {
    constexpr int BATCH = 8;
    const float* turns = p.cos_sin + (i64)p.positions[p.first_row + row] * HEAD_DIM;
    const int cell = p.cells[p.first_row + row];
    Ending endings[BATCH];
#pragma unroll
    for (int begin = 0; begin < COUNT; begin += BATCH) {
#pragma unroll
        for (int i = 0; i < BATCH && begin + i < COUNT; i++) {
            const int m = n + 8 * (begin + i), d = m % HEAD_DIM / 2;
            const bool turned = m < (HEADS + KV_HEADS) * HEAD_DIM;
            endings[i].cell = cell;
            endings[i].extra[0] = turned ? turns[d] : 0.f;
            endings[i].extra[1] = turned ? turns[d + HEAD_DIM / 2] : 0.f;
            endings[i].bias[0] = p.bias && m < p.out ? p.bias[m] : 0.f;
            endings[i].bias[1] = p.bias && m < p.out ? p.bias[m + 1] : 0.f;
        }
#pragma unroll
        for (int i = 0; i < BATCH && begin + i < COUNT; i++) {
            const int m = n + 8 * (begin + i);
            const float a = sums[begin + i].x, b = sums[begin + i].y;
            if (m < p.out) endings[i].finish_rotation(p, row, m, p.bias ? a + endings[i].bias[0] : a, p.bias ? b + endings[i].bias[1] : b);
        }
    }
}

// The columns of four j are 16 neighbours, of which each lane has every fourth: transposed, it stores four in a row.
template <int COUNT> __device__ __forceinline__ void finish_silu(const LinearParams& p, bool valid, int row, int n, const float2 (&sums)[COUNT]) {
#ifndef ELEMENT_F32
    if (COUNT % 4 == 0) {
        const int q = threadIdx.x % 4;
        Element* result = (Element*)p.result + (i64)row * p.stride + (n - 2 * q) / 2 + 4 * q;
#pragma unroll
        for (int j = 0; j < COUNT; j += 4) {
            const u32 x0 = Ending::silu(sums[j].x, sums[j].y), x1 = Ending::silu(sums[j + 1].x, sums[j + 1].y);
            const u32 x2 = Ending::silu(sums[j + 2].x, sums[j + 2].y), x3 = Ending::silu(sums[j + 3].x, sums[j + 3].y);
            const u32 other = __shfl_xor_sync(0xffffffffu, q % 2 ? x0 | x2 << 16 : x1 | x3 << 16, 1);
            const u32 low = q % 2 ? (other & 0xffff) | x1 << 16 : x0 | other << 16;
            const u32 high = q % 2 ? other >> 16 | x3 << 16 : x2 | (other & 0xffff0000);
            const u32 half = __shfl_xor_sync(0xffffffffu, q < 2 ? high : low, 2);
            if (valid) *(uint2*)(result + 4 * j) = q < 2 ? make_uint2(low, half) : make_uint2(half, high);
        }
        return;
    }
#endif
    if (!valid) return;
#pragma unroll
    for (int j = 0; j < COUNT; j++) ((Element*)p.result)[(i64)row * p.stride + n / 2 + 4 * j] = Ending::silu(sums[j].x, sums[j].y);
}

// What a lane of a tile has of one row: the sums of outputs n + 8j and n + 8j + 1 (n even) for j < COUNT, as mma leaves them. The
// four lanes of a row call it together, with or without a row to store. What is to be read is read for all j at once.
template <int COUNT> __device__ __forceinline__ void finish_row(const LinearParams& p, bool valid, int row, int n, float2 (&sums)[COUNT]) {
    const int q = threadIdx.x % 4;
    const bool whole = n - 2 * q + 8 * COUNT <= p.out;
    if (p.epilogue == ROTATE) {
        if (valid) finish_rotations(p, row, n, sums);
        return;
    }
    if (!whole || !p.wide) { // seldom, so short rather than quick
        if (!valid) return;
#pragma unroll
        for (int j = 0; j < COUNT; j++) finish_alone(p, row, n + 8 * j, sums[j].x, sums[j].y);
        return;
    }
    if (p.bias) {
        const float* bias = p.bias + n;
        float2 values[COUNT];
#pragma unroll
        for (int j = 0; j < COUNT; j++) values[j] = make_float2(bias[8 * j], bias[8 * j + 1]);
#pragma unroll
        for (int j = 0; j < COUNT; j++) {
            sums[j].x += values[j].x;
            sums[j].y += values[j].y;
        }
    }
    if (p.epilogue == SILU) {
        finish_silu(p, valid, row, n, sums);
        return;
    }
    if (!valid) return;
    float* result = (float*)p.result + (i64)row * p.stride + n;
    if (p.epilogue == RESIDUAL) {
        float2 values[COUNT];
#pragma unroll
        for (int j = 0; j < COUNT; j++) values[j] = *(const float2*)(result + 8 * j);
#pragma unroll
        for (int j = 0; j < COUNT; j++) {
            sums[j].x += values[j].x;
            sums[j].y += values[j].y;
        }
    }
#pragma unroll
    for (int j = 0; j < COUNT; j++) *(float2*)(result + 8 * j) = sums[j];
}
