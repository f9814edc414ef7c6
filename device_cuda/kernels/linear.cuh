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
    int resident; // linear_stream: blocks of a split that shared memory holds
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

    static __device__ __forceinline__ Element silu(float gate, float up) { return narrow(__fmul_rn(gate / __fadd_rn(1.f, expf(-gate)), up)); }

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
            v[0] = narrow(a);
            v[1] = narrow(b);
        }
    }
};

// What a lane of a tile has of one row: the sums of outputs n + 8j and n + 8j + 1 (n even) for j < COUNT, as mma leaves them. The
// four lanes of a row call it together, with or without a row to store.
template <int COUNT> __device__ __forceinline__ void finish_row(const LinearParams& p, bool valid, int row, int n, const float2 (&sums)[COUNT]) {
    Ending endings[COUNT];
    if (valid) {
#pragma unroll
        for (int j = 0; j < COUNT; j++) {
            endings[j].fetch_constants(p, row, n + 8 * j);
            endings[j].fetch(p, row, n + 8 * j);
        }
    }
#ifndef ELEMENT_F32
    if (p.epilogue == SILU && p.wide && COUNT % 4 == 0) {
        // The columns of four j are 16 neighbours, of which each lane has every fourth: transposed, it stores four in a row.
        const int q = threadIdx.x % 4;
        Element* result = (Element*)p.result + (i64)row * p.stride;
#pragma unroll
        for (int j = 0; j < COUNT; j += 4) {
            u32 own[4];
#pragma unroll
            for (int i = 0; i < 4; i++) own[i] = Ending::silu(sums[j + i].x + (p.bias ? endings[j + i].bias[0] : 0.f), sums[j + i].y + (p.bias ? endings[j + i].bias[1] : 0.f));
            const u32 other = __shfl_xor_sync(0xffffffffu, q % 2 ? own[0] | own[2] << 16 : own[1] | own[3] << 16, 1);
            const u32 low = q % 2 ? (other & 0xffff) | own[1] << 16 : own[0] | other << 16;
            const u32 high = q % 2 ? other >> 16 | own[3] << 16 : own[2] | (other & 0xffff0000);
            const u32 half = __shfl_xor_sync(0xffffffffu, q < 2 ? high : low, 2);
            const int first = n - 2 * q + 8 * (j + q); // output of the lane's first column
            if (valid && first < p.out) *(uint2*)(result + first / 2) = q < 2 ? make_uint2(low, half) : make_uint2(half, high);
        }
        return;
    }
#endif
    if (!valid) return;
#pragma unroll
    for (int j = 0; j < COUNT; j++) endings[j].finish(p, row, n + 8 * j, sums[j].x, sums[j].y);
}
