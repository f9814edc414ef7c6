// Attention with tensor cores. A warp multiplies 16 rows with a tile of 64 positions: S = Q·Kᵀ, then O = P·V, both as products
// of 16×16 with 16×8. Q and P stay in registers; keys and values come through shared memory.
//
// Few rows (a decoding sequence) share one set of 16, and the warps take the tiles of a split side by side. Many rows (a piece of a
// prompt) are dealt out to the warps, which walk through the tiles together while the next tile is on its way.
#pragma once
#include "attention.cuh"

constexpr int DIMS = (HEAD_DIM + 15) / 16 * 16;     // of a head, padded with zeros
constexpr int CHUNKS = DIMS / 8;                    // of 16 bytes, in a row of a tile
constexpr int STRIDE = DIMS + 8;                    // an odd number of chunks: eight rows lie in different banks
constexpr int TILE_ELEMENTS = TILE * STRIDE;        // attentionShared in attention.go counts with these
constexpr int FEW_TILES = DIMS <= 64 ? WARPS : 2;   // that a block with few rows holds at once
constexpr int FEW_ARRAYS = 2 * FEW_TILES, MANY_ARRAYS = 4;
constexpr int ROWS = 16, MANY_ROWS = ROWS * WARPS;

// Accumulators of 16 rows × DIMS: a lane holds dimensions 8j + 2·(lane%4), +1 of row lane/4 in o[j][0..1] and of row
// lane/4 + 8 in o[j][2..3].
typedef float Sums[CHUNKS][4];

__device__ __forceinline__ void load_queries(u32 (&q)[DIMS / 16][4], const AttentionParams& p, const Item& item, int head, int flat) {
    const int dim = 2 * (threadIdx.x % 4);
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int row = flat + threadIdx.x % 32 / 4 + 8 * half;
        const bool valid = row < flat_rows(item);
        const float* from = query(p, item, head, valid ? row : 0);
#pragma unroll
        for (int k = 0; k < DIMS / 8; k++) {
            const int d = 8 * k + dim;
            const float2 x = valid && d < HEAD_DIM ? *(const float2*)(from + d) : make_float2(0.f, 0.f);
            q[k / 2][half + 2 * (k % 2)] = pack(x.x, x.y);
        }
    }
}

// Scores of 16 rows at 64 positions: a lane holds positions 8n + 2·(lane%4), +1.
__device__ __forceinline__ void score(float (&s)[8][4], const u32 (&q)[DIMS / 16][4], const Element* keys) {
    const int lane = threadIdx.x % 32;
    const Element* from = keys + (lane / 16 * 8 + lane % 8) * STRIDE + lane / 8 % 2 * 8;
#pragma unroll
    for (int n = 0; n < 8; n++) s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0.f;
#pragma unroll
    for (int k = 0; k < DIMS / 16; k++) {
#pragma unroll
        for (int n = 0; n < 8; n += 2) {
            u32 b[4];
            load_matrices(b, from + 8 * n * STRIDE + 16 * k);
            const u32 low[2] = {b[0], b[1]}, high[2] = {b[2], b[3]};
            mma(s[n], q[k], low);
            mma(s[n + 1], q[k], high);
        }
    }
}

// Turns scores into weights p, and gives m and l of the lane's two rows, which see the first visible[0] and visible[1] positions.
__device__ __forceinline__ void weigh(float (&s)[8][4], const int (&visible)[2], float scale, float (&m)[2], float (&l)[2]) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int end = visible[half] - 2 * (int)(threadIdx.x % 4);
        if (visible[half] < TILE) {
#pragma unroll
            for (int n = 0; n < 8; n++)
#pragma unroll
                for (int i = 0; i < 2; i++)
                    if (8 * n + i >= end) s[n][2 * half + i] = -infinity();
        }
        float top = -infinity();
#pragma unroll
        for (int n = 0; n < 8; n++) top = fmaxf(top, fmaxf(s[n][2 * half], s[n][2 * half + 1]));
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
        m[half] = visible[half] > 0 ? __fmul_rn(top, scale) : 0.f; // never fused with what becomes of m
        float sum = 0.f;
#pragma unroll
        for (int n = 0; n < 8; n++) {
#pragma unroll
            for (int i = 0; i < 2; i++) {
                float& x = s[n][2 * half + i];
                x = power(__fmaf_rn(x, scale, -m[half]));
                sum += x;
            }
        }
        sum += __shfl_xor_sync(0xffffffffu, sum, 1);
        sum += __shfl_xor_sync(0xffffffffu, sum, 2);
        l[half] = sum;
    }
}

__device__ __forceinline__ void sum_values(Sums& o, const float (&s)[8][4], const Element* values) {
    const int lane = threadIdx.x % 32;
    const Element* from = values + lane % 16 * STRIDE + lane / 16 * 8;
#pragma unroll
    for (int j = 0; j < CHUNKS; j++) o[j][0] = o[j][1] = o[j][2] = o[j][3] = 0.f;
#pragma unroll
    for (int k = 0; k < TILE / 16; k++) {
        const u32 a[4] = {pack(s[2 * k][0], s[2 * k][1]), pack(s[2 * k][2], s[2 * k][3]), pack(s[2 * k + 1][0], s[2 * k + 1][1]),
                          pack(s[2 * k + 1][2], s[2 * k + 1][3])};
#pragma unroll
        for (int j = 0; j < CHUNKS; j += 2) {
            u32 b[4];
            load_matrices_transposed(b, from + 16 * k * STRIDE + 8 * j);
            const u32 low[2] = {b[0], b[1]}, high[2] = {b[2], b[3]};
            mma(o[j], a, low);
            mma(o[j + 1], a, high);
        }
    }
}

// Joins later sums to earlier ones, for those of the lane's two rows that see any of the later.
__device__ __forceinline__ void join_rows(Sums& o, float (&m)[2], float (&l)[2], const Sums& later_o, const float (&later_m)[2],
                                          const float (&later_l)[2], const int (&visible)[2]) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        if (visible[half] <= 0) continue;
        const Factors f = join(m[half], l[half], later_m[half], later_l[half]);
#pragma unroll
        for (int j = 0; j < CHUNKS; j++) {
            join(o[j][2 * half], later_o[j][2 * half], f);
            join(o[j][2 * half + 1], later_o[j][2 * half + 1], f);
        }
    }
}

__device__ __forceinline__ void store_partial(const AttentionParams& p, const Item& item, int head, int split, const int (&flat)[2],
                                              const int (&visible)[2], const Sums& o, const float (&m)[2], const float (&l)[2]) {
    const int dim = 2 * (threadIdx.x % 4);
#pragma unroll
    for (int half = 0; half < 2; half++) {
        if (visible[half] <= 0) continue;
        const i64 to = partial(item, head, flat[half], split);
        if (dim == 0) p.sums[to] = make_float2(m[half], l[half]);
#pragma unroll
        for (int j = 0; j < CHUNKS; j++)
            if (8 * j + dim < HEAD_DIM)
                *(float2*)(p.partials + to * HEAD_DIM + 8 * j + dim) = make_float2(o[j][2 * half], o[j][2 * half + 1]);
    }
}

// Where keys and values of a sequence come from, and how far it goes.
struct Context {
    const Element *keys, *values;
    const int* table;
    int head, last;

    // The row of HEAD_DIM values of a position in keys and in values.
    __device__ __forceinline__ int row(int position) const {
        position = min(position, last);
        return (table[position / PAGE_SIZE] * KV_HEADS + head) * PAGE_SIZE + position % PAGE_SIZE;
    }
};

// Copies chunk `dim/8` of a row into shared memory, asynchronously where a head is whole chunks; if it is not present, zeros.
__device__ __forceinline__ void copy_chunk(Element* to, const Element* cache, int row, int dim, bool present) {
    const Element* from = cache + (i64)row * HEAD_DIM + dim;
    if (HEAD_DIM % 8 == 0) {
        if (dim >= HEAD_DIM) present = false;
        copy16_or_zero(to, present ? from : cache, present);
    } else {
#pragma unroll
        for (int d = 0; d < 8; d += 2) *(u32*)(to + d) = present && dim + d < HEAD_DIM ? *(const u32*)(from + d) : 0;
    }
}

// A warp brings those of rows [first, first + COUNT) of a tile that are below `present`, and writes zeros into those from `rows` on,
// because 0 · NaN is not 0. Lane i has looked up where row first + i lies. Of several caches the tiles lie one behind the other.
template <int COUNT, typename... Caches>
__device__ __forceinline__ void copy_rows(Element* tile, int looked_up, int first, int present, int rows, Caches... caches) {
    static_assert(COUNT <= 32, "a lane looks up one row");
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < COUNT * CHUNKS; i += 32) {
        const int row = (i + lane) / CHUNKS, dim = (i + lane) % CHUNKS * 8;
        const int source = __shfl_sync(0xffffffffu, looked_up, row);
        if (first + row >= present && first + row < rows) continue;
        Element* to = tile + (first + row) * STRIDE + dim - TILE_ELEMENTS;
        (copy_chunk(to += TILE_ELEMENTS, caches, source, dim, first + row < present), ...);
    }
}

// A warp brings the few rows [from, to) of a tile, whose values lie behind its keys.
__device__ __forceinline__ void copy_late_rows(Element* tile, const Context& c, int start, int from, int to) {
#pragma unroll 1
    for (int i = from * CHUNKS + threadIdx.x % 32; i < to * CHUNKS; i += 32) {
        const int row = i / CHUNKS, dim = i % CHUNKS * 8, source = c.row(start + row);
        copy_chunk(tile + row * STRIDE + dim, c.keys, source, dim, true);
        copy_chunk(tile + row * STRIDE + dim + TILE_ELEMENTS, c.values, source, dim, true);
    }
}

// The tile that a warp fetches next for an item with few rows.
struct Tile {
    int rows = 0;              // that somebody sees; 0: there is nothing to fetch
    int looked_up[2] = {0, 0}; // where rows `lane` and `lane` + 32 lie

    // The warp's own of those tiles that begin at position `start`.
    __device__ __forceinline__ void look_up(const Context& c, int start) {
        const int warp = threadIdx.x / 32, tile = start + warp * TILE;
        if (warp >= FEW_TILES || tile > c.last) return;
        rows = min(TILE, c.last + 1 - tile);
        looked_up[0] = c.row(tile + threadIdx.x % 32), looked_up[1] = c.row(tile + 32 + threadIdx.x % 32);
    }

    // Brings the rows below `present` of keys or values, as a group of copies.
    __device__ __forceinline__ void fetch(Element* to, const Element* cache, int present) const {
        if (rows > 0) {
            copy_rows<32>(to, looked_up[0], 0, present, rows, cache);
            copy_rows<32>(to, looked_up[1], 32, present, rows, cache);
        }
        copies_commit();
    }
};

// The rows of an item that has at most 16: the warps take the tiles of a split, FEW_TILES at a time, and then eight threads a row join
// them. The keys of a warp's next tile are on their way as soon as the present ones have been read, its values as soon as the present
// sums, which take the values' place, have been joined: at a wait, the younger of two groups of copies may be pending.
__device__ __forceinline__ void attend_few(const AttentionParams& p, const Item& item, int head, Element* shared, float2* sums, bool first) {
    const int warp = threadIdx.x / 32, row = threadIdx.x % 32 / 4;
    const int begin = item.split * SPLIT, last = item.position + item.rows - 1, end = min((item.split + item.splits) * SPLIT, last + 1);
    const Context context = {p.keys, p.values, p.tables + item.table, head, last};
    Element *keys = shared + 2 * warp * TILE_ELEMENTS, *values = keys + TILE_ELEMENTS;
    u32 q[DIMS / 16][4];

    Tile initial;
    initial.look_up(context, begin);
    int present = initial.rows;
    if (first) // what earlier steps stored need not wait for the kernel before this one, unless pages are still being copied
        present = p.step->copies == 0 ? max(0, min(initial.rows, item.stored - begin - warp * TILE)) : 0;
    initial.fetch(keys, p.keys, present);
    initial.fetch(values, p.values, present);
    if (first) wait();
    const bool late = present < initial.rows;
    if (late) {
        copy_late_rows(keys, context, begin + warp * TILE, present, initial.rows);
        copies_commit();
    }
    load_queries(q, p, item, head, 0);
    if (late) copies_wait<0>();

    typedef Row<THREADS / ROWS> Sharing;
    const int flat = threadIdx.x / (THREADS / ROWS), own = flat < flat_rows(item) ? flat_position(item, flat) : -1;
    Sharing whole, part;

    for (int start = begin; start < end; start += FEW_TILES * TILE) {
        Tile ahead;
        const int next = start + FEW_TILES * TILE, tile = start + warp * TILE;
        if (next < end) ahead.look_up(context, next);
        const bool busy = warp < FEW_TILES && tile <= last;
        float s[8][4];
        if (busy) {
            copies_wait<1>();
            __syncwarp();
            score(s, q, keys);
        }
        __syncwarp();
        ahead.fetch(keys, p.keys, ahead.rows);
        if (busy) {
            float tile_m[2], tile_l[2];
            Sums tile_o;
            const int visible[2] = {flat_position(item, row) + 1 - tile, flat_position(item, row + 8) + 1 - tile};
            weigh(s, visible, p.scale, tile_m, tile_l);
            copies_wait<1>();
            __syncwarp();
            sum_values(tile_o, s, values);
            __syncwarp();
            float* to = (float*)values + row * DIMS + 2 * (threadIdx.x % 4); // the values have been read
#pragma unroll
            for (int half = 0; half < 2; half++) {
                if (row + 8 * half >= flat_rows(item)) continue;
#pragma unroll
                for (int j = 0; j < CHUNKS; j++)
                    *(float2*)(to + 8 * j + 8 * half * DIMS) = make_float2(tile_o[j][2 * half], tile_o[j][2 * half + 1]);
                if (threadIdx.x % 4 == 0) sums[warp * ROWS + row + 8 * half] = make_float2(tile_m[half], tile_l[half]);
            }
        }
        __syncthreads();
#pragma unroll
        for (int t = 0; t < FEW_TILES; t++) {
            const int at = start + t * TILE;
            if (at > own) break;
            const float* from = (const float*)(shared + (2 * t + 1) * TILE_ELEMENTS) + flat * DIMS;
            float2 later[Sharing::PAIRS];
#pragma unroll
            for (int i = 0; i < Sharing::PAIRS; i++) later[i] = *(const float2*)(from + part.dim(i));
            part.add(t == 0 && (FEW_TILES * TILE == SPLIT || at % SPLIT == 0), sums[t * ROWS + flat], later);
        }
        __syncthreads();
        ahead.fetch(values, p.values, ahead.rows);
        const int split = start / SPLIT;
        if (split * SPLIT > own || (next % SPLIT != 0 && next <= last)) continue; // not seen, or not complete
        if (item.partial < 0) {
            whole.add(split == 0, make_float2(part.m, part.l), part.o);
        } else {
            const i64 to = partial(item, head, flat, split);
            part.store_partial(p.sums + to, p.partials + to * HEAD_DIM);
        }
    }
    if (item.partial < 0 && own >= 0) whole.store(result(p, item, head, flat));
}

// The rows of an item that has more: sets of 64, 16 for each warp.
__device__ __forceinline__ void attend_many(const AttentionParams& p, const Item& item, int head, Element* shared) {
    const int warp = threadIdx.x / 32, dim = 2 * (threadIdx.x % 4);
    float4* kept = (float4*)(shared + MANY_ARRAYS * TILE_ELEMENTS) + threadIdx.x; // the result so far, THREADS apart
    for (int base = 0; base < flat_rows(item); base += MANY_ROWS) {
        const int last = flat_position(item, min(base + MANY_ROWS, flat_rows(item)) - 1);
        const int begin = item.split * SPLIT, end = min((item.split + item.splits) * SPLIT, last + 1);
        const int flat[2] = {base + ROWS * warp + (int)threadIdx.x % 32 / 4, base + ROWS * warp + (int)threadIdx.x % 32 / 4 + 8};
        int own[2];
#pragma unroll
        for (int half = 0; half < 2; half++) own[half] = flat[half] < flat_rows(item) ? flat_position(item, flat[half]) : -1;
        const int warp_rows = min(ROWS, flat_rows(item) - base - ROWS * warp);
        const int warp_last = warp_rows > 0 ? flat_position(item, base + ROWS * warp + warp_rows - 1) : -1;

        u32 q[DIMS / 16][4];
        load_queries(q, p, item, head, base + ROWS * warp);
        float m[2], l[2], split_m[2], split_l[2];
        Sums o;
        const Context context = {p.keys, p.values, p.tables + item.table, head, last};
        auto fetch_quarter = [&](int tile) { // each warp a quarter of the tile's rows
            Element* to = shared + tile / TILE % 2 * 2 * TILE_ELEMENTS;
            constexpr int QUARTER = TILE / WARPS;
            const int first = QUARTER * warp, rows = last + 1 - tile, looked_up = context.row(tile + first + threadIdx.x % 32);
            copy_rows<QUARTER>(to, looked_up, first, rows, rows, p.keys, p.values);
            copies_commit();
        };
        __syncthreads(); // before: the rows, or the item, before these
        if (begin < end) fetch_quarter(begin);
        for (int tile = begin; tile < end; tile += TILE) {
            copies_wait<0>();
            __syncthreads();
            if (tile + TILE < end) fetch_quarter(tile + TILE);
            if (tile > warp_last) continue;
            const Element* keys = shared + tile / TILE % 2 * 2 * TILE_ELEMENTS;
            const int visible[2] = {own[0] + 1 - tile, own[1] + 1 - tile};
            float s[8][4], tile_m[2], tile_l[2];
            score(s, q, keys);
            weigh(s, visible, p.scale, tile_m, tile_l);
            if (tile % SPLIT == 0) {
                sum_values(o, s, keys + TILE_ELEMENTS);
#pragma unroll
                for (int half = 0; half < 2; half++) split_m[half] = tile_m[half], split_l[half] = tile_l[half];
            } else {
                Sums tile_o;
                sum_values(tile_o, s, keys + TILE_ELEMENTS);
                join_rows(o, split_m, split_l, tile_o, tile_m, tile_l, visible);
            }
            const bool final = tile + TILE > warp_last;
            if (!final && (tile + TILE) % SPLIT != 0) continue;
            const int split = tile / SPLIT;
            const int seen[2] = {own[0] + 1 - split * SPLIT, own[1] + 1 - split * SPLIT};
            if (item.partial >= 0) {
                store_partial(p, item, head, split, flat, seen, o, split_m, split_l);
                continue;
            }
            if (split == 0) {
#pragma unroll
                for (int half = 0; half < 2; half++) m[half] = split_m[half], l[half] = split_l[half];
            } else {
                Sums earlier;
#pragma unroll
                for (int j = 0; j < CHUNKS; j++) {
                    const float4 x = kept[j * THREADS];
                    earlier[j][0] = x.x, earlier[j][1] = x.y, earlier[j][2] = x.z, earlier[j][3] = x.w;
                }
                join_rows(earlier, m, l, o, split_m, split_l, seen);
#pragma unroll
                for (int j = 0; j < CHUNKS; j++)
#pragma unroll
                    for (int i = 0; i < 4; i++) o[j][i] = earlier[j][i];
            }
            if (!final) {
#pragma unroll
                for (int j = 0; j < CHUNKS; j++) kept[j * THREADS] = make_float4(o[j][0], o[j][1], o[j][2], o[j][3]);
                continue;
            }
#pragma unroll
            for (int half = 0; half < 2; half++) {
                if (own[half] < 0) continue;
                const float inverse = 1.f / l[half];
                Element* to = result(p, item, head, flat[half]) + dim;
#pragma unroll
                for (int j = 0; j < CHUNKS; j++)
                    if (8 * j + dim < HEAD_DIM) store_pair(to + 8 * j, o[j][2 * half] * inverse, o[j][2 * half + 1] * inverse);
            }
        }
    }
    __syncthreads();
}

__device__ __forceinline__ void attend(const AttentionParams& p, const Item& item, int head, u8* shared, float2* sums, bool first) {
    if (flat_rows(item) <= ROWS) {
        attend_few(p, item, head, (Element*)shared, sums, first);
    } else {
        if (first) wait();
        attend_many(p, item, head, (Element*)shared);
    }
}
