// Matrix products of many rows on Hopper: linear_tile.cu with the instruction that Hopper's tensor cores were made for, wgmma, which
// adds in the same order and gives the same bits (tested on the card). Two groups of four warps compute 64 rows × 128 outputs each;
// X goes through registers, weights straight from shared memory, where they lie as packed. A block stays on its multiprocessor and takes
// tile after tile, so that the copies for the next tile run while this one is finished.
#include "linear_tile.cuh"

#if !defined(ELEMENT_F32) && defined(__CUDA_ARCH_FEAT_SM90_ALL)

#ifdef ELEMENT_BF16
#define WGMMA "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
#else
#define WGMMA "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 "
#endif

// d (64×128, as mma has it for each warp's 16 rows) = a·b, plus d if `add`. b is the descriptor of 128 packed outputs, 16 inputs.
__device__ __forceinline__ void wgmma(float (&d)[64], u32 a0, u32 a1, u32 a2, u32 a3, u64 b, int add) {
    asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, %69, 0;\n" WGMMA "{"
        "%0, %1, %2, %3, %4, %5, %6, %7, "
        "%8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, "
        "%24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, "
        "%40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, "
        "%56, %57, %58, %59, %60, %61, %62, %63"
        "}, {%64, %65, %66, %67}, %68, add, 1, 1, 0;\n}"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
          "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
          "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),
          "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]),
          "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]),
          "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]),
          "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]),
          "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "l"(b), "r"(add));
}
__device__ __forceinline__ void wgmma_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int pending> __device__ __forceinline__ void wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory"); }
// Lets wgmma see what this thread's ordinary copies have written.
__device__ __forceinline__ void fence_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// Groups of 8 outputs × 32 inputs stand 512 bytes apart, swizzled over 64 bytes.
__device__ __forceinline__ u64 weights_descriptor(const void* shared) {
    return (u64)(shared_address(shared) >> 4 & 0x3fff) | (u64)1 << 16 | (u64)(512 >> 4) << 32 | (u64)2 << 62;
}

template <int STEP, int STAGES> __device__ __forceinline__ void wide_tiles(const LinearParams& p) {
    constexpr int TM = 128, TN = 128, THREADS = 256, NT = TN / 8, AHEAD = STAGES - 2;
    typedef TileCopies<TM, TN, THREADS, STEP> Copies;
    SHARED(u8, shared);
    dependents();
    wait();
    const int rows = rows_of(p), stages = (p.blocks + STEP - 1) / STEP;
    const int columns = (p.out + TN - 1) / TN, tiles = columns * ((rows + TM - 1) / TM);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, q = lane % 4;

    // Copies go on from tile to tile.
    Copies copies;
    int copy_tile = blockIdx.x, copy_stage = 0, copy_slot = 0;
    auto copy_next = [&]() {
        if (copy_tile < tiles) {
            if (copy_stage == 0) copies.begin(p, copy_tile / columns * TM, copy_tile % columns * NT, rows);
            copies.stage(p, shared + copy_slot * Copies::STAGE_BYTES, copy_stage * STEP);
            copy_slot = copy_slot + 1 == STAGES ? 0 : copy_slot + 1;
            if (++copy_stage == stages) {
                copy_stage = 0;
                copy_tile += gridDim.x;
            }
        }
        copies_commit();
    };
#pragma unroll
    for (int i = 0; i < AHEAD; i++) copy_next();

    const int x_at = (warp * 16 + g) * 64 + q * 16;
    int slot = 0;
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        float sums[64], totals[64];
#pragma unroll
        for (int i = 0; i < 64; i++) totals[i] = 0.f;
        int in_split = 0;
        // A stage's products are on their way while the next stage's X is read: two sets of registers, by turns.
        auto multiply = [&](int stage, uint4 (&x)[STEP][2]) {
            copies_wait<AHEAD - 1>();
            fence_async();
            __syncthreads();
            copy_next(); // into the slot of the stage before the last, which all warps have left
            const u8* from = shared + slot * Copies::STAGE_BYTES;
            slot = slot + 1 == STAGES ? 0 : slot + 1;
#pragma unroll
            for (int s = 0; s < STEP; s++) {
                x[s][0] = *(const uint4*)(from + s * Copies::BLOCK_BYTES + x_at);
                x[s][1] = *(const uint4*)(from + s * Copies::BLOCK_BYTES + x_at + 512);
            }
            wgmma_begin();
#pragma unroll
            for (int s = 0; s < STEP; s++) {
                const int block = stage * STEP + s;
                if (s > 0 && block >= p.blocks) break;
                const u64 weights = weights_descriptor(from + s * Copies::BLOCK_BYTES + Copies::X_BYTES);
                wgmma(sums, x[s][0].x, x[s][1].x, x[s][0].y, x[s][1].y, weights, in_split);
                wgmma(sums, x[s][0].z, x[s][1].z, x[s][0].w, x[s][1].w, weights + 2, 1);
                if (++in_split == p.split || block + 1 == p.blocks) {
                    in_split = 0;
                    wgmma_commit();
                    wgmma_wait<0>();
#pragma unroll
                    for (int i = 0; i < 64; i++) totals[i] += sums[i];
                    wgmma_begin();
                }
            }
            wgmma_commit();
            wgmma_wait<1>();
        };
        uint4 even[STEP][2], odd[STEP][2];
        for (int stage = 0; stage < stages; stage += 2) {
            multiply(stage, even);
            if (stage + 1 < stages) multiply(stage + 1, odd);
        }
        wgmma_wait<0>();
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float2 sums_of_row[NT];
#pragma unroll
            for (int j = 0; j < NT; j++) sums_of_row[j] = make_float2(totals[4 * j + 2 * half], totals[4 * j + 2 * half + 1]);
            const int row = tile / columns * TM + warp * 16 + half * 8 + g;
            finish_row(p, row < rows, row, tile % columns * TN + 2 * q, sums_of_row);
        }
    }
}

KERNEL_RESIDENT(linear_wgmma_128x128, LinearParams, 256, 1) { wide_tiles<2, 6>(p); }

#endif
