// Attention's law, which every path through attention.cu obeys, so that a row has the same bits however its step is composed:
//
//   - The context is cut into tiles of 64 absolute positions and splits of four tiles. A row sees those up to its own position.
//   - In a tile, m is the largest score, p = 2^(score - m), l = Σp, o = Σp·v, each summed in an order that only the tile knows.
//   - join adds a later (m, l, o) to an earlier one. A split is its tiles joined in order, the result is the splits joined in
//     order, and out = o/l.
//
// Scores are in units of log 2: q·k times Scale·log2(e).
#pragma once
#include "common.cuh"
#include "rotate.cuh"

constexpr int GROUP = HEADS / KV_HEADS;
constexpr int TILE = 64, SPLIT = 256;
constexpr int THREADS = 128, WARPS = THREADS / 32;

struct Item { // AttentionItem in attention.go
    int row, rows, position, stored, table, split, splits, partial, parts;
};

struct AttentionParams {
    const Step* step;
    const Item* items;
    const int* tables;
    const float* qkv;
    const Element *keys, *values;
    Element* out;
    int* queue;      // (2, KV_HEADS) items handed out, blocks that have left
    int* counters;   // (units, KV_HEADS) items that have finished
    float2* sums;    // (units, HEADS) m and l of a split
    float* partials; // (units, HEADS, HEAD_DIM) o of a split
    int qkv_stride, out_stride;
    float scale;
};

__device__ __forceinline__ float infinity() { return __uint_as_float(0x7f800000u); }

// 2^x. Below 2^-126 it is 0.
__device__ __forceinline__ float power(float x) {
#ifdef EMULATED
    return exp2f(x);
#else
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#endif
}

// The factors by which join multiplies what came earlier and what comes later.
struct Factors {
    float earlier, later;
};

__device__ __forceinline__ Factors join(float& m, float& l, float later_m, float later_l) {
    const float top = fmaxf(m, later_m);
    const Factors f = {power(m - top), power(later_m - top)};
    l = __fmaf_rn(l, f.earlier, __fmul_rn(later_l, f.later));
    m = top;
    return f;
}

__device__ __forceinline__ void join(float& o, float later, Factors f) { o = __fmaf_rn(o, f.earlier, __fmul_rn(later, f.later)); }

__device__ __forceinline__ void store_pair(Element* out, float x, float y) {
#if defined(ELEMENT_F32)
    out[0] = x, out[1] = y;
#else
    *(u32*)out = pack(x, y);
#endif
}

// A thread's share of the sums of a row, of which LANES threads have pairs of dimensions each.
template <int LANES> struct Row {
    static constexpr int PAIRS = (HEAD_DIM + 2 * LANES - 1) / (2 * LANES);
    float m, l;
    float2 o[PAIRS];

    static __device__ __forceinline__ int dim(int i) { return 2 * (threadIdx.x % LANES + LANES * i); }

    __device__ __forceinline__ void add(bool initial, float2 sums, const float2 (&later)[PAIRS]) {
        Factors f = {0.f, 1.f};
        if (initial) m = sums.x, l = sums.y;
        else f = join(m, l, sums.x, sums.y);
#pragma unroll
        for (int i = 0; i < PAIRS; i++) {
            if (initial) o[i] = later[i];
            else join(o[i].x, later[i].x, f), join(o[i].y, later[i].y, f);
        }
    }

    __device__ __forceinline__ void store_partial(float2* sums, float* partials) const {
        if (dim(0) == 0) *sums = make_float2(m, l);
#pragma unroll
        for (int i = 0; i < PAIRS; i++)
            if (dim(i) < HEAD_DIM) *(float2*)(partials + dim(i)) = o[i];
    }

    __device__ __forceinline__ void store(Element* to) const {
        const float inverse = 1.f / l;
#pragma unroll
        for (int i = 0; i < PAIRS; i++)
            if (dim(i) < HEAD_DIM) store_pair(to + dim(i), o[i].x * inverse, o[i].y * inverse);
    }
};

// Flat is one of an item's rows × query heads of the group.
__device__ __forceinline__ int flat_rows(const Item& item) { return item.rows * GROUP; }
__device__ __forceinline__ int flat_position(const Item& item, int flat) { return item.position + flat / GROUP; }
__device__ __forceinline__ int flat_head(int head, int flat) { return head * GROUP + flat % GROUP; }

__device__ __forceinline__ const float* query(const AttentionParams& p, const Item& item, int head, int flat) {
    return p.qkv + (i64)(item.row + flat / GROUP) * p.qkv_stride + flat_head(head, flat) * HEAD_DIM;
}

__device__ __forceinline__ Element* result(const AttentionParams& p, const Item& item, int head, int flat) {
    return p.out + (i64)(item.row + flat / GROUP) * p.out_stride + flat_head(head, flat) * HEAD_DIM;
}

// Which of the partial results is that of a split of a row.
__device__ __forceinline__ i64 partial(const Item& item, int head, int flat, int split) {
    return (i64)(item.partial + split * item.rows + flat / GROUP) * HEADS + flat_head(head, flat);
}

// The block is done with its part of the rows. The last of the blocks that share them joins their splits and writes the result.
// `flag` is shared memory.
__device__ void finish(const AttentionParams& p, const Item& item, int head, int* flag) {
    int* counter = p.counters + item.partial * KV_HEADS + head;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        *flag = atomicAdd(counter, 1) == item.parts - 1;
        if (*flag) *counter = 0;
    }
    __syncthreads();
    if (!*flag) return;
    __threadfence();
    // Sixteen threads have a row. They fetch several splits at a time, which come from other multiprocessors by way of the L2 cache.
    constexpr int LANES = 16, PAIRS = Row<LANES>::PAIRS, BATCH = PAIRS <= 2 ? 8 : 16 / PAIRS; // splits that are fetched at once
    for (int flat = threadIdx.x / LANES; flat < flat_rows(item); flat += THREADS / LANES) {
        const int splits = flat_position(item, flat) / SPLIT + 1;
        Row<LANES> row;
        for (int first = 0; first < splits; first += BATCH) {
            float2 sums[BATCH], later[BATCH][PAIRS];
#pragma unroll
            for (int s = 0; s < BATCH; s++) {
                const i64 from = partial(item, head, flat, min(first + s, splits - 1));
                sums[s] = __ldcg(p.sums + from);
#pragma unroll
                for (int i = 0; i < PAIRS; i++)
                    later[s][i] = __ldcg((const float2*)(p.partials + from * HEAD_DIM + min(row.dim(i), HEAD_DIM - 2)));
            }
#pragma unroll
            for (int s = 0; s < BATCH; s++)
                if (first + s < splits) row.add(first + s == 0, sums[s], later[s]);
        }
        row.store(result(p, item, head, flat));
    }
}

// Zeros behind the last head: the matrix product behind reads whole blocks of inputs.
__device__ __forceinline__ void pad(const AttentionParams& p, const Item& item, int head) {
    const int padding = p.out_stride - HEADS * HEAD_DIM;
    if (head != KV_HEADS - 1 || item.split != 0 || padding <= 0) return;
    for (int i = threadIdx.x; i < item.rows * padding; i += THREADS)
        p.out[(i64)(item.row + i / padding) * p.out_stride + HEADS * HEAD_DIM + i % padding] = narrow(0.f);
}
