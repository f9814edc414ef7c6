// Matrix products of many rows: tiles of TM rows × TN outputs, X and weights in a ring of STAGES stages of shared memory, each of
// STEP blocks of 32 inputs. A warp computes WM × WN. At the end of each split its accumulators are added to the running
// total and begin anew, which gives the sums of linear.cu.
#include "linear_tile.cuh"

#ifndef ELEMENT_F32

template <int TM, int TN, int WM, int WN, int STEP, int STAGES> __device__ __forceinline__ void tile(const LinearParams& p) {
    constexpr int THREADS = TM / WM * (TN / WN) * 32, MT = WM / 16, NT = WN / 8;
    typedef TileCopies<TM, TN, THREADS, STEP> Copies;
    SHARED(u8, shared);
    dependents();
    wait();
    const int rows = rows_of(p), first_row = blockIdx.y * TM;
    if (first_row >= rows) return;
    const int first_group = blockIdx.x * (TN / 8);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, q = lane % 4;
    const int warp_row = warp / (TN / WN) * WM, warp_group = warp % (TN / WN) * NT;

    Copies copies;
    copies.begin(p, first_row, first_group, rows);
    const int stages = (p.blocks + STEP - 1) / STEP;
#pragma unroll
    for (int s = 0; s < STAGES - 1; s++) {
        if (s < stages) copies.stage(p, shared + s * Copies::STAGE_BYTES, s * STEP);
        copies_commit();
    }

    float sums[MT][NT][4] = {}, totals[MT][NT][4] = {};
    const int chunk = lane / 8, line = lane % 8;
    const int x_at = (warp_row + g) * 64 + q * 16, w_at = Copies::X_BYTES + warp_group * 512 + line * 64 + (chunk ^ (line / 2)) * 16;
    int in_split = 0;
    for (int stage = 0; stage < stages; stage++) {
        copies_wait<STAGES - 2>();
        __syncthreads();
        const int ahead = stage + STAGES - 1;
        if (ahead < stages) copies.stage(p, shared + ahead % STAGES * Copies::STAGE_BYTES, ahead * STEP);
        copies_commit();
        const u8* from = shared + stage % STAGES * Copies::STAGE_BYTES;
#pragma unroll
        for (int s = 0; s < STEP; s++, from += Copies::BLOCK_BYTES) {
            if (s > 0 && stage * STEP + s >= p.blocks) break;
            uint4 low[MT], high[MT];
#pragma unroll
            for (int t = 0; t < MT; t++) {
                low[t] = *(const uint4*)(from + x_at + t * 1024);
                high[t] = *(const uint4*)(from + x_at + t * 1024 + 512);
            }
            u32 w[NT][4];
#pragma unroll
            for (int j = 0; j < NT; j++) load_matrices(w[j], from + w_at + j * 512);
#pragma unroll
            for (int j = 0; j < NT; j++)
#pragma unroll
                for (int t = 0; t < MT; t++) {
                    const u32 x0[4] = {low[t].x, high[t].x, low[t].y, high[t].y}, w0[2] = {w[j][0], w[j][1]};
                    mma(sums[t][j], x0, w0);
                }
#pragma unroll
            for (int j = 0; j < NT; j++)
#pragma unroll
                for (int t = 0; t < MT; t++) {
                    const u32 x1[4] = {low[t].z, high[t].z, low[t].w, high[t].w}, w1[2] = {w[j][2], w[j][3]};
                    mma(sums[t][j], x1, w1);
                }
            if (++in_split == p.split || stage * STEP + s + 1 == p.blocks) {
                in_split = 0;
#pragma unroll
                for (int t = 0; t < MT; t++)
#pragma unroll
                    for (int j = 0; j < NT; j++)
#pragma unroll
                        for (int i = 0; i < 4; i++) {
                            totals[t][j][i] += sums[t][j][i];
                            sums[t][j][i] = 0.f;
                        }
            }
        }
    }
#pragma unroll
    for (int t = 0; t < MT; t++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float2 sums_of_row[NT];
#pragma unroll
            for (int j = 0; j < NT; j++) sums_of_row[j] = make_float2(totals[t][j][2 * half], totals[t][j][2 * half + 1]);
            const int row = first_row + warp_row + t * 16 + half * 8 + g;
            finish_row(p, row < rows, row, (first_group + warp_group) * 8 + 2 * q, sums_of_row);
        }
    }
}

// The names say rows and outputs of a tile; linear.go lists them.
#define TILE(tm, tn, wm, wn, step, stages) \
    KERNEL(linear_tile_##tm##x##tn, LinearParams, tm / wm * (tn / wn) * 32) { tile<tm, tn, wm, wn, step, stages>(p); }

TILE(64, 128, 32, 32, 2, 4)
TILE(64, 64, 32, 32, 2, 4)
TILE(64, 32, 32, 16, 4, 4)

#endif
