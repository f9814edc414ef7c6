// Attention without tensor cores, for float32: a warp takes a row, lanes take positions for scores and dimensions for sums.
#pragma once
#include "attention.cuh"

__device__ __forceinline__ void attend(const AttentionParams& p, const Item& item, int head, u8*, float2*, bool first) {
    if (first) wait();
    constexpr int DIMS = (HEAD_DIM + 31) / 32; // of each lane
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int* table = p.tables + item.table;
    auto row_of = [&](int position) { return cache_row(table[position / PAGE_SIZE] * PAGE_SIZE + position % PAGE_SIZE, head); };
    for (int flat = warp; flat < flat_rows(item); flat += WARPS) {
        const int own = flat_position(item, flat);
        const float* q = query(p, item, head, flat);
        float m = 0.f, l = 0.f, o[DIMS];
        for (int split = item.split; split < item.split + item.splits && split * SPLIT <= own; split++) {
            float split_m = 0.f, split_l = 0.f, split_o[DIMS];
            for (int start = split * SPLIT; start < (split + 1) * SPLIT && start <= own; start += TILE) {
                float score[2], sum = 0.f;
                for (int i = 0; i < 2; i++) {
                    const int position = start + 32 * i + lane;
                    score[i] = -infinity();
                    if (position > own) continue;
                    const Element* key = p.keys + row_of(position);
                    float dot = 0.f;
                    for (int d = 0; d < HEAD_DIM; d++) dot = __fmaf_rn(q[d], key[d], dot);
                    score[i] = __fmul_rn(dot, p.scale);
                }
                const float top = warp_max(fmaxf(score[0], score[1]));
                for (int i = 0; i < 2; i++) {
                    score[i] = power(score[i] - top);
                    sum += score[i];
                }
                sum = warp_sum(sum);
                float tile_o[DIMS] = {};
                for (int i = 0; i < TILE && start + i <= own; i++) {
                    const float weight = __shfl_sync(0xffffffffu, i < 32 ? score[0] : score[1], i % 32);
                    const Element* value = p.values + row_of(start + i);
                    for (int d = 0; d < DIMS; d++)
                        if (lane + 32 * d < HEAD_DIM) tile_o[d] = __fmaf_rn(weight, value[lane + 32 * d], tile_o[d]);
                }
                const bool initial = start % SPLIT == 0;
                Factors f = {0.f, 1.f};
                if (initial) split_m = top, split_l = sum;
                else f = join(split_m, split_l, top, sum);
                for (int d = 0; d < DIMS; d++) {
                    if (initial) split_o[d] = tile_o[d];
                    else join(split_o[d], tile_o[d], f);
                }
            }
            if (item.partial >= 0) {
                const i64 to = partial(item, head, flat, split);
                if (lane == 0) p.sums[to] = make_float2(split_m, split_l);
                for (int d = lane; d < HEAD_DIM; d += 32) p.partials[to * HEAD_DIM + d] = split_o[d / 32];
                continue;
            }
            Factors f = {0.f, 1.f};
            if (split == 0) m = split_m, l = split_l;
            else f = join(m, l, split_m, split_l);
            for (int d = 0; d < DIMS; d++) {
                if (split == 0) o[d] = split_o[d];
                else join(o[d], split_o[d], f);
            }
        }
        if (item.partial >= 0) continue;
        const float inverse = 1.f / l;
        for (int d = lane; d < HEAD_DIM; d += 32) result(p, item, head, flat)[d] = o[d / 32] * inverse;
    }
}
