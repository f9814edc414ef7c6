// Matrix products of few rows, where reading the weights is all the work. A block computes ROWS rows × 8·GROUPS outputs; each of its
// 8 warps has one split of the inputs. The block's weights are on their way to shared memory before wait(), so that the memory
// bus stays busy while earlier kernels finish.
#include "linear.cuh"

enum { SPLITS = 8, THREADS = 32 * SPLITS };

// Adds up the splits of every output, in order, and stores the results. partials: (split, group, row, 8).
template <int ROWS, int GROUPS> struct Results {
    static constexpr int PAIRS = ROWS * GROUPS * 4, EACH = (PAIRS + THREADS - 1) / THREADS;
    Ending endings[EACH];

    // The last warp has the first pairs: at one row the first warp is busy with the norm, and the last split may be empty.
    __device__ __forceinline__ static int pair_of(int i) { return (threadIdx.x ^ (THREADS - 32)) + i * THREADS; }
    __device__ __forceinline__ static bool place(int i, int& row, int& n) {
        const int pair = pair_of(i);
        row = pair / 4 % ROWS;
        n = (blockIdx.x * GROUPS + pair / (4 * ROWS)) * 8 + pair % 4 * 2;
        return PAIRS % THREADS == 0 || pair < PAIRS;
    }
    __device__ __forceinline__ void fetch_constants(const LinearParams& p, int first_row, int rows) {
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            int row, n;
            if (place(i, row, n) && first_row + row < rows) endings[i].fetch_constants(p, first_row + row, n);
        }
    }
    __device__ __forceinline__ void fetch(const LinearParams& p, int first_row, int rows) {
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            int row, n;
            if (place(i, row, n) && first_row + row < rows) endings[i].fetch(p, first_row + row, n);
        }
    }
    __device__ __forceinline__ void finish(const LinearParams& p, int first_row, int rows, const float* partials) const {
        const int splits = (p.blocks + p.split - 1) / p.split;
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            int row, n;
            if (!place(i, row, n) || first_row + row >= rows) continue;
            const float2* parts = (const float2*)partials + pair_of(i);
            float2 sum = parts[0];
            for (int s = 1; s < splits; s++) {
                const float2 part = parts[s * PAIRS];
                sum.x += part.x;
                sum.y += part.y;
            }
            endings[i].finish(p, first_row + row, n, sum.x, sum.y);
        }
    }
};

#ifndef ELEMENT_F32

// A warp's weights: GROUPS × `resident` blocks of its split, in shared memory.
template <int GROUPS> struct Weights {
    u8* shared;
    int first_block, count; // of the split

    __device__ __forceinline__ Weights(const LinearParams& p, u8* of_block) {
        const int warp = threadIdx.x / 32;
        first_block = warp * p.split;
        count = max(0, min(p.split, p.blocks - first_block));
        shared = of_block + warp * (GROUPS * p.resident * 512);
    }
    // The last split may have fewer blocks, but its groups lie as far apart as those of the others.
    static __device__ __forceinline__ int bytes(const LinearParams& p) { return (p.blocks + p.split - 1) / p.split * p.resident * GROUPS * 512; }
    // Begins to copy blocks begin … begin+resident of the split.
    __device__ __forceinline__ void copy(const LinearParams& p, int begin) const {
        const int n = min(p.resident, count - begin), lane = threadIdx.x % 32, last_group = (p.out + 7) / 8 - 1;
#pragma unroll
        for (int j = 0; j < GROUPS; j++) {
            const i64 group = min((int)blockIdx.x * GROUPS + j, last_group);
            const u8* from = (const u8*)p.weight + (group * p.blocks + first_block + begin) * 512 + lane * 16;
            u8* to = shared + j * p.resident * 512 + lane * 16;
            for (int b = 0; b < n; b++) copy16(to + b * 512, from + b * 512);
        }
        copies_commit();
    }
    // Blocks begin … have been used up: gets the next ones. Only where shared memory is too small for all.
    __device__ __forceinline__ void next(const LinearParams& p, int begin) const {
        __syncwarp();
        copy(p, begin);
        copies_wait<0>();
        __syncwarp();
    }
    // Reads a block, counted from the first in shared memory, of group j: the operands of its two products.
    __device__ __forceinline__ void load(const LinearParams& p, int j, int block, u32 (&w0)[2], u32 (&w1)[2]) const {
        const int lane = threadIdx.x % 32, chunk = lane / 8, line = lane % 8;
        u32 w[4];
        load_matrices(w, shared + (j * p.resident + block) * 512 + line * 64 + (chunk ^ (line / 2)) * 16);
        w0[0] = w[0], w0[1] = w[1], w1[0] = w[2], w1[1] = w[3];
    }
};

// Products of at most 8 rows that are normalised first. X comes into shared memory as floats, in one go; a lane normalises them on their
// way to the product, DEPTH blocks at a time.
template <int GROUPS> __device__ __forceinline__ void normed(const LinearParams& p) {
    enum { ROWS = 8, DEPTH = 2 };
    SHARED(u8, shared);
    dependents();

    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, q = lane % 4, width = p.blocks * 32;
    const int stride = width + 4; // a row begins 16 bytes further on in the banks, so that reads meet no conflicts
    const Weights<GROUPS> weights(p, shared);
    float* partials = (float*)(shared + weights.bytes(p));
    float *scales = partials + SPLITS * GROUPS * ROWS * 8, *norm = scales + ROWS, *floats = norm + width;

    weights.copy(p, 0);
    const int rows = rows_of(p), first_row = blockIdx.y * ROWS, count = min((int)ROWS, rows - first_row);
    const bool by_chunks = p.in % 4 == 0 && p.x_stride % 4 == 0;
    auto copy_row = [&](float* to, const float* from) {
        if (by_chunks) {
            for (int i = threadIdx.x; i < p.in / 4; i += THREADS) copy16(to + 4 * i, from + 4 * i);
        } else {
            for (int i = threadIdx.x; i < p.in; i += THREADS) to[i] = from[i];
        }
        for (int i = p.in + threadIdx.x; i < width; i += THREADS) to[i] = 0.f;
    };
    copy_row(norm, p.norm);
    Results<ROWS, GROUPS> results;
    results.fetch_constants(p, first_row, rows);
    wait();
    if (count <= 0) {
        copies_wait<0>();
        return;
    }
    for (int r = 0; r < count; r++) {
        const int source = p.selected ? p.selected[p.first_row + first_row + r] : first_row + r;
        copy_row(floats + r * stride, (const float*)p.x + (i64)source * p.x_stride);
    }
    copies_commit();
    results.fetch(p, first_row, rows);
    copies_wait<0>();
    __syncthreads();
    if (warp < count) {
        const float scale = rms_scale<8>(floats + warp * stride, p.in, p.eps);
        if (lane == 0) scales[warp] = scale;
    }
    __syncthreads();

    float sums[GROUPS][4] = {};
    const bool valid = g < count;
    const float scale = valid ? scales[g] : 0.f;
    const float *x = floats + g * stride + weights.first_block * 32 + q * 8, *y = norm + weights.first_block * 32 + q * 8;
    for (int begin = 0, loaded = 0; begin < weights.count; begin += DEPTH) {
        if (begin == loaded + p.resident) weights.next(p, loaded = begin);
        uint4 input[DEPTH];
#pragma unroll
        for (int i = 0; i < DEPTH; i++) {
            input[i] = make_uint4(0, 0, 0, 0);
            if (!valid || begin + i >= weights.count) continue;
            const int at = (begin + i) * 32;
            const float4 x0 = *(const float4*)(x + at), x1 = *(const float4*)(x + at + 4), y0 = *(const float4*)(y + at), y1 = *(const float4*)(y + at + 4);
            input[i].x = pack(normalised(x0.x, scale, y0.x), normalised(x0.y, scale, y0.y));
            input[i].y = pack(normalised(x0.z, scale, y0.z), normalised(x0.w, scale, y0.w));
            input[i].z = pack(normalised(x1.x, scale, y1.x), normalised(x1.y, scale, y1.y));
            input[i].w = pack(normalised(x1.z, scale, y1.z), normalised(x1.w, scale, y1.w));
        }
#pragma unroll
        for (int i = 0; i < DEPTH; i++) {
            if (begin + i >= weights.count) break;
            const u32 x0[4] = {input[i].x, 0, input[i].y, 0}, x1[4] = {input[i].z, 0, input[i].w, 0};
            u32 w0[GROUPS][2], w1[GROUPS][2];
#pragma unroll
            for (int j = 0; j < GROUPS; j++) weights.load(p, j, begin + i - loaded, w0[j], w1[j]);
#pragma unroll
            for (int j = 0; j < GROUPS; j++) mma(sums[j], x0, w0[j]);
#pragma unroll
            for (int j = 0; j < GROUPS; j++) mma(sums[j], x1, w1[j]);
        }
    }
    if (weights.count > 0) {
#pragma unroll
        for (int j = 0; j < GROUPS; j++) *(float2*)(partials + ((warp * GROUPS + j) * ROWS + g) * 8 + 2 * q) = make_float2(sums[j][0], sums[j][1]);
    }
    __syncthreads();
    results.finish(p, first_row, rows, partials);
}

// Products without a norm: rows of X come straight from the L2 cache into registers, DEPTH blocks of 32 inputs at a time.
template <int ROWS, int GROUPS, int DEPTH> __device__ __forceinline__ void stream(const LinearParams& p) {
    constexpr int HALVES = ROWS / 8, TILES = (ROWS + 15) / 16;
    constexpr bool OVERLAY = ROWS > 16; // partial sums take the place of the weights
    SHARED(u8, shared);
    dependents();

    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, q = lane % 4;
    const Weights<GROUPS> weights(p, shared);
    float* partials = (float*)(OVERLAY ? shared : shared + weights.bytes(p));

    weights.copy(p, 0);
    const int rows = rows_of(p), first_row = blockIdx.y * ROWS;
    Results<ROWS, GROUPS> results;
    results.fetch_constants(p, first_row, rows);
    wait();
    if (first_row >= rows) {
        copies_wait<0>();
        return;
    }
    // A lane's part of X: rows g, g+8, … of the block, inputs 8q … 8q+7 of each block of 32.
    const u8* x[HALVES];
#pragma unroll
    for (int h = 0; h < HALVES; h++) {
        const int row = first_row + h * 8 + g;
        x[h] = row < rows ? (const u8*)((const Element*)p.x + (i64)row * p.x_stride) + weights.first_block * 64 + q * 16 : nullptr;
    }
    uint4 input[DEPTH][HALVES];
    auto load_inputs = [&](int begin) {
#pragma unroll
        for (int i = 0; i < DEPTH; i++) {
#pragma unroll
            for (int h = 0; h < HALVES; h++)
                input[i][h] = begin + i < weights.count && x[h] ? *(const uint4*)(x[h] + (begin + i) * 64) : make_uint4(0, 0, 0, 0);
        }
    };
    load_inputs(0);
    results.fetch(p, first_row, rows);
    copies_wait<0>();
    __syncwarp();

    float sums[TILES][GROUPS][4] = {};
    for (int begin = 0, loaded = 0; begin < weights.count;) {
#pragma unroll
        for (int i = 0; i < DEPTH; i++) {
            if (begin + i >= weights.count) break;
#pragma unroll
            for (int j = 0; j < GROUPS; j++) {
                u32 w0[2], w1[2];
                weights.load(p, j, begin + i - loaded, w0, w1);
#pragma unroll
                for (int second = 0; second < 2; second++) {
#pragma unroll
                    for (int t = 0; t < TILES; t++) {
                        const uint4 low = input[i][2 * t], high = ROWS > 8 ? input[i][(2 * t + 1) % HALVES] : make_uint4(0, 0, 0, 0);
                        const u32 x0[4] = {low.x, high.x, low.y, high.y}, x1[4] = {low.z, high.z, low.w, high.w};
                        mma(sums[t][j], second ? x1 : x0, second ? w1 : w0);
                    }
                }
            }
        }
        begin += DEPTH;
        if (begin >= weights.count) break;
        load_inputs(begin);
        if (begin >= loaded + p.resident) weights.next(p, loaded = begin); // resident is a multiple of DEPTH then
    }

    if (OVERLAY) __syncthreads();
    if (weights.count > 0) {
#pragma unroll
        for (int j = 0; j < GROUPS; j++) {
#pragma unroll
            for (int h = 0; h < HALVES; h++)
                *(float2*)(partials + ((warp * GROUPS + j) * ROWS + h * 8 + g) * 8 + 2 * q) = make_float2(sums[h / 2][j][h % 2 * 2], sums[h / 2][j][h % 2 * 2 + 1]);
        }
    }
    __syncthreads();
    results.finish(p, first_row, rows, partials);
}

// The names say rows, outputs and depth, as linear.go has them; `blocks` of these shall fit a multiprocessor.
#define NORMED(outputs, blocks) KERNEL_RESIDENT(linear_normed_8x##outputs, LinearParams, THREADS, blocks) { normed<outputs / 8>(p); }
#define STREAM(rows, outputs, depth, blocks) \
    KERNEL_RESIDENT(linear_stream_##rows##x##outputs##x##depth, LinearParams, THREADS, blocks) { stream<rows, outputs / 8, depth>(p); }

NORMED(32, 3)
STREAM(8, 8, 10, 2)
STREAM(8, 16, 4, 4)
STREAM(8, 24, 4, 4)
STREAM(16, 8, 4, 3)
STREAM(16, 24, 2, 3)
STREAM(32, 16, 2, 2)
STREAM(64, 16, 1, 1)
STREAM(64, 32, 1, 1)

#else

// The variant of float32, a reference: lanes are outputs (8) × rows (4), four rows each.
template <bool NORM> __device__ void reference(const LinearParams& p) {
    enum { ROWS = 16 };
    SHARED(float, partials);
    float* scales = partials + SPLITS * ROWS * 8;
    dependents();
    const int rows = rows_of(p), first_row = blockIdx.y * ROWS;
    Results<ROWS, 1> results;
    results.fetch_constants(p, first_row, rows);
    wait();
    if (first_row >= rows) return;
    results.fetch(p, first_row, rows);
    if (NORM) {
        for (int row = threadIdx.x / 32; row < ROWS && first_row + row < rows; row += SPLITS) {
            const int source = p.selected ? p.selected[p.first_row + first_row + row] : first_row + row;
            const float scale = rms_scale((const float*)p.x + (i64)source * p.x_stride, p.in, p.eps);
            if (threadIdx.x % 32 == 0) scales[row] = scale;
        }
        __syncthreads();
    }

    const int warp = threadIdx.x / 32, n = threadIdx.x % 8, line = threadIdx.x % 32 / 8;
    const int first_block = warp * p.split, count = max(0, min(p.split, p.blocks - first_block));
    const float* weight = p.weight + ((i64)blockIdx.x * p.blocks + first_block) * 256 + n * 32;
    const float* x[4];
    float scale[4], sums[4] = {};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int row = min(first_row + 4 * i + line, rows - 1);
        const i64 source = NORM && p.selected ? p.selected[p.first_row + row] : row;
        x[i] = (const float*)p.x + source * p.x_stride;
        scale[i] = NORM ? scales[row - first_row] : 1.f;
    }
    for (int b = 0; b < count; b++, weight += 256) {
        const int k = (first_block + b) * 32, valid = min(32, p.in - k);
#pragma unroll 8
        for (int j = 0; j < valid; j++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const float value = NORM ? normalised(x[i][k + j], scale[i], p.norm[k + j]) : x[i][k + j];
                sums[i] = __fmaf_rn(value, weight[j], sums[i]);
            }
        }
    }
    if (count > 0) {
#pragma unroll
        for (int i = 0; i < 4; i++) partials[(warp * ROWS + 4 * i + line) * 8 + n] = sums[i];
    }
    __syncthreads();
    results.finish(p, first_row, rows, partials);
}

KERNEL(linear_reference, LinearParams, THREADS) { reference<false>(p); }
KERNEL(linear_reference_norm, LinearParams, THREADS) { reference<true>(p); }

#endif
