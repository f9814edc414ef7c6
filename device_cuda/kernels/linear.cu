// Matrix products of few rows, where reading the weights is all the work. A block computes ROWS rows × 8·GROUPS outputs; each of its
// 8 warps has one split of the inputs. The block's weights are on their way to shared memory before wait(), so that the memory
// bus stays busy while earlier kernels finish; rows of X come straight from the L2 cache into registers, DEPTH blocks of 32
// inputs at a time.
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

// The factor of each row's norm, in shared memory; a barrier must follow.
template <int ROWS> __device__ __forceinline__ void norm_scales(const LinearParams& p, float* scales, int first_row, int rows) {
    for (int row = threadIdx.x / 32; row < ROWS && first_row + row < rows; row += SPLITS) {
        const int source = p.selected ? p.selected[p.first_row + first_row + row] : first_row + row;
        const float scale = rms_scale((const float*)p.x + (i64)source * p.x_stride, p.in, p.eps);
        if (threadIdx.x % 32 == 0) scales[row] = scale;
    }
}

#ifndef ELEMENT_F32

// Bytes of a row of normalised inputs in shared memory: an odd number of 64-byte blocks, so that reads meet no bank conflicts.
__device__ __forceinline__ int normed_stride(int blocks) { return (blocks | 1) * 64; }

// Normalises the block's rows into shared memory, a warp a row. weight is the norm's, in shared memory too.
template <int ROWS> __device__ __forceinline__ void normalise_rows(const LinearParams& p, u8* normed, const float* weight, int first_row, int rows) {
    const int lane = threadIdx.x % 32, width = p.blocks * 32;
    for (int row = threadIdx.x / 32; row < ROWS && first_row + row < rows; row += SPLITS) {
        const int source = p.selected ? p.selected[p.first_row + first_row + row] : first_row + row;
        const float* x = (const float*)p.x + (i64)source * p.x_stride;
        Element* to = (Element*)(normed + row * normed_stride(p.blocks));
        if (p.in <= NormRow::WIDTH) {
            NormRow norm;
            norm.load(x, p.in);
            const float scale = norm.scale(p.in, p.eps);
#pragma unroll
            for (int i = 0; i < NormRow::EACH; i++) {
                const int k = lane + 32 * i;
                if (k < width) to[k] = k < p.in ? narrow(normalised(norm.x[i], scale, weight[k])) : (Element)0;
            }
        } else {
            const float scale = rms_scale(x, p.in, p.eps);
            for (int k = lane; k < width; k += 32) to[k] = k < p.in ? narrow(normalised(x[k], scale, weight[k])) : (Element)0;
        }
    }
}

template <int ROWS, int GROUPS, int DEPTH, bool NORM> __device__ __forceinline__ void stream(const LinearParams& p) {
    constexpr int HALVES = ROWS / 8, TILES = (ROWS + 15) / 16;
    constexpr bool OVERLAY = ROWS > 16; // partial sums take the place of the weights
    SHARED(u8, shared);
    dependents();

    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, q = lane % 4;
    const int first_block = warp * p.split, count = max(0, min(p.split, p.blocks - first_block));
    const int last_group = (p.out + 7) / 8 - 1;
    u8* weights = shared + warp * (GROUPS * p.resident * 512);
    float* partials = (float*)(OVERLAY ? shared : shared + SPLITS * GROUPS * p.resident * 512);
    float* norm = partials + SPLITS * GROUPS * ROWS * 8;
    u8* normed = (u8*)(norm + p.blocks * 32);

    // Copies blocks begin … begin+resident of the warp's split.
    auto copy_weights = [&](int begin) {
        const int n = min(p.resident, count - begin);
#pragma unroll
        for (int j = 0; j < GROUPS; j++) {
            const i64 group = min((int)blockIdx.x * GROUPS + j, last_group);
            const u8* from = (const u8*)p.weight + (group * p.blocks + first_block + begin) * 512 + lane * 16;
            u8* to = weights + j * p.resident * 512 + lane * 16;
            for (int b = 0; b < n; b++) copy16(to + b * 512, from + b * 512);
        }
        copies_commit();
    };
    copy_weights(0);
    const int rows = rows_of(p), first_row = blockIdx.y * ROWS;
    Results<ROWS, GROUPS> results;
    results.fetch_constants(p, first_row, rows);
    if (NORM)
        for (int k = threadIdx.x; k < p.in; k += THREADS) norm[k] = p.norm[k];
    wait();
    if (first_row >= rows) {
        copies_wait<0>();
        return;
    }
    results.fetch(p, first_row, rows);
    if (NORM) {
        __syncthreads();
        normalise_rows<ROWS>(p, normed, norm, first_row, rows);
        copies_wait<0>();
        __syncthreads();
    }

    // A lane's part of X: rows g, g+8, … of the block, inputs 8q … 8q+7 of each block of 32.
    const u8* x[HALVES];
#pragma unroll
    for (int h = 0; h < HALVES; h++) {
        const int row = h * 8 + g;
        x[h] = first_row + row >= rows ? nullptr
               : NORM                 ? normed + row * normed_stride(p.blocks) + first_block * 64 + q * 16
                                      : (const u8*)((const Element*)p.x + (i64)(first_row + row) * p.x_stride) + first_block * 64 + q * 16;
    }
    uint4 input[DEPTH][HALVES];
    auto load_inputs = [&](int begin) {
#pragma unroll
        for (int i = 0; i < DEPTH; i++) {
#pragma unroll
            for (int h = 0; h < HALVES; h++)
                input[i][h] = begin + i < count && x[h] ? *(const uint4*)(x[h] + (begin + i) * 64) : make_uint4(0, 0, 0, 0);
        }
    };
    load_inputs(0);
    if (!NORM) {
        copies_wait<0>();
        __syncwarp();
    }

    float sums[TILES][GROUPS][4] = {};
    const int chunk = lane / 8, line = lane % 8;
    const u8* mine = weights + line * 64 + (chunk ^ (line / 2)) * 16;
    for (int begin = 0, loaded = 0; begin < count;) {
#pragma unroll
        for (int i = 0; i < DEPTH; i++) {
            if (begin + i >= count) break;
#pragma unroll
            for (int j = 0; j < GROUPS; j++) {
                u32 w[4];
                load_matrices(w, mine + (j * p.resident + begin + i - loaded) * 512);
                const u32 w0[2] = {w[0], w[1]}, w1[2] = {w[2], w[3]};
#pragma unroll
                for (int t = 0; t < TILES; t++) {
                    const uint4 low = input[i][2 * t], high = ROWS > 8 ? input[i][(2 * t + 1) % HALVES] : make_uint4(0, 0, 0, 0);
                    const u32 x0[4] = {low.x, high.x, low.y, high.y}, x1[4] = {low.z, high.z, low.w, high.w};
                    mma(sums[t][j], x0, w0);
                    mma(sums[t][j], x1, w1);
                }
            }
        }
        begin += DEPTH;
        if (begin >= count) break;
        load_inputs(begin);
        if (begin >= loaded + p.resident) { // only where shared memory is too small: resident is a multiple of DEPTH then
            __syncwarp();
            loaded = begin;
            copy_weights(begin);
            copies_wait<0>();
            __syncwarp();
        }
    }

    if (OVERLAY) __syncthreads();
    if (count > 0) {
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

// The names say rows and outputs of a block and depth, as linear.go has them; `blocks` of these shall fit a multiprocessor.
#define STREAM(rows, outputs, depth, blocks) \
    KERNEL_RESIDENT(linear_stream_##rows##x##outputs##x##depth, LinearParams, THREADS, blocks) { stream<rows, outputs / 8, depth, false>(p); }
#define STREAM_NORM(rows, outputs, blocks) \
    KERNEL_RESIDENT(linear_norm_##rows##x##outputs, LinearParams, THREADS, blocks) { stream<rows, outputs / 8, 1, true>(p); }

STREAM(8, 8, 4, 4)
STREAM(8, 8, 10, 2)
STREAM(8, 24, 4, 3)
STREAM(16, 8, 4, 3)
STREAM(16, 8, 10, 2)
STREAM(16, 24, 2, 3)
STREAM(16, 48, 2, 2)
STREAM(32, 16, 2, 2)
STREAM(32, 32, 2, 1)
STREAM(64, 16, 1, 1)
STREAM(64, 32, 1, 1)
STREAM_NORM(8, 8, 4)
STREAM_NORM(8, 24, 4)
STREAM_NORM(8, 32, 3)
STREAM_NORM(16, 8, 4)
STREAM_NORM(16, 24, 4)
STREAM_NORM(16, 48, 2)

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
        norm_scales<ROWS>(p, scales, first_row, rows);
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
