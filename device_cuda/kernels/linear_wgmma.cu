// Matrix products of many rows on Hopper: linear_tile.cu with the instruction that Hopper's tensor cores were made for, wgmma, which
// adds in the same order and gives the same bits (tested on the card). The first four warps of a block only copy; two groups of four
// warps compute 64 rows × 128 outputs each. X goes through registers, weights straight from shared memory, where they lie as packed.
// A block stays on its multiprocessor and takes tile after tile, so that the copies for the next tile run while this one is finished.
#include "linear_tile.cuh"

#if !defined(ELEMENT_F32) && defined(__CUDA_ARCH_FEAT_SM90_ALL)

#ifdef ELEMENT_BF16
#define WGMMA "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
#else
#define WGMMA "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 "
#endif

// d (64×128, as mma has it for each warp's 16 rows) = a·b, plus d if `add`. b is the descriptor of 128 packed outputs, 16 inputs.
__device__ __forceinline__ void wgmma(float (&d)[64], const u32 (&a)[4], u64 b, int add) {
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
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add));
}
// Has the operands in their registers before the first product begins.
__device__ __forceinline__ void settle(u32 (&a)[4]) { asm volatile("" : "+r"(a[0]), "+r"(a[1]), "+r"(a[2]), "+r"(a[3])::"memory"); }
__device__ __forceinline__ void wgmma_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int pending> __device__ __forceinline__ void wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory"); }
// Lets wgmma see what this thread's ordinary copies have written.
__device__ __forceinline__ void fence_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// Groups of 8 outputs × 32 inputs stand 512 bytes apart, swizzled over 64 bytes.
__device__ __forceinline__ u64 weights_descriptor(const void* shared) {
    return (u64)(shared_address(shared) >> 4 & 0x3fff) | (u64)1 << 16 | (u64)(512 >> 4) << 32 | (u64)2 << 62;
}

// Barriers in shared memory: `arrivals` arrivals end a phase; phases have parity 0, 1, 0, ….
__device__ __forceinline__ void barrier_init(u64* barrier, int arrivals) { asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory"); }
__device__ __forceinline__ void barrier_arrive(u64* barrier) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory"); }
__device__ __forceinline__ void barrier_wait(u64* barrier, int parity) {
    u32 over;
    do {
        asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}" : "=r"(over) : "r"(shared_address(barrier)), "r"(parity) : "memory");
    } while (!over);
}
// Registers of a thread, for all of a group of four warps.
template <int count> __device__ __forceinline__ void give_registers() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count)); }
template <int count> __device__ __forceinline__ void take_registers() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count)); }
// The ring of STAGES stages; `slot` and `parity` go round.
template <int STAGES> struct Turn {
    int slot = 0, parity = 0;
    __device__ __forceinline__ void next() {
        if (++slot == STAGES) slot = 0, parity ^= 1;
    }
};

template <int STEP, int STAGES> __device__ __forceinline__ void wide_tiles(const LinearParams& p) {
    constexpr int TM = 128, TN = 128, COPYING = 128, NT = TN / 8, LAG = STAGES / 2;
    typedef TileCopies<TM, TN, COPYING, STEP> Copies;
    SHARED(u8, shared);
    u64 *full = (u64*)(shared + STAGES * Copies::STAGE_BYTES), *empty = full + STAGES;
    dependents();
    if (threadIdx.x == 0) {
        for (int i = 0; i < STAGES; i++) {
            barrier_init(full + i, COPYING);
            barrier_init(empty + i, 8);
        }
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    __syncthreads();
    wait();
    const int rows = rows_of(p), stages = (p.blocks + STEP - 1) / STEP;
    const int columns = (p.out + TN - 1) / TN, tiles = columns * ((rows + TM - 1) / TM);

    if (threadIdx.x < COPYING) {
        give_registers<40>();
        Copies copies;
        Turn<STAGES> now, done;
        int begun = 0;
        for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
            copies.begin(p, tile / columns * TM, tile % columns * NT, rows);
            for (int stage = 0; stage < stages; stage++) {
                barrier_wait(empty + now.slot, now.parity ^ 1);
                copies.stage(p, shared + now.slot * Copies::STAGE_BYTES, stage * STEP);
                copies_commit();
                now.next();
                if (++begun <= LAG) continue;
                copies_wait<LAG>();
                fence_async();
                barrier_arrive(full + done.slot);
                done.next();
            }
        }
        copies_wait<0>();
        fence_async();
        for (int i = min(begun, LAG); i > 0; i--) {
            barrier_arrive(full + done.slot);
            done.next();
        }
        return;
    }

    take_registers<232>();
    const int warp = threadIdx.x / 32 - COPYING / 32, lane = threadIdx.x % 32, g = lane / 4, q = lane % 4;
    const int x_at = (warp * 16 + g) * 64 + q * 16;
    Turn<STAGES> now;
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        float sums[64], totals[64];
#pragma unroll
        for (int i = 0; i < 64; i++) totals[i] = 0.f;
        int in_split = 0;
        // Two groups of warps, each of which waits for its own products only: while one reads X or adds up, the other multiplies.
        for (int stage = 0; stage < stages; stage++) {
            const u8* from = shared + now.slot * Copies::STAGE_BYTES;
            barrier_wait(full + now.slot, now.parity);
            u32 x[STEP][2][4];
#pragma unroll
            for (int s = 0; s < STEP; s++) {
                const uint4 low = *(const uint4*)(from + s * Copies::BLOCK_BYTES + x_at), high = *(const uint4*)(from + s * Copies::BLOCK_BYTES + x_at + 512);
                x[s][0][0] = low.x, x[s][0][1] = high.x, x[s][0][2] = low.y, x[s][0][3] = high.y;
                x[s][1][0] = low.z, x[s][1][1] = high.z, x[s][1][2] = low.w, x[s][1][3] = high.w;
            }
            const u64 weights = weights_descriptor(from + Copies::X_BYTES);
#pragma unroll
            for (int s = 0; s < STEP; s++) settle(x[s][0]), settle(x[s][1]);
#pragma unroll
            for (int s = 0; s < STEP; s++) {
                const int block = stage * STEP + s;
                if (s > 0 && block >= p.blocks) break;
                wgmma_begin();
                wgmma(sums, x[s][0], weights + s * (Copies::BLOCK_BYTES >> 4), in_split);
                wgmma(sums, x[s][1], weights + s * (Copies::BLOCK_BYTES >> 4) + 2, 1);
                wgmma_commit();
                if (++in_split == p.split || block + 1 == p.blocks) {
                    in_split = 0;
                    wgmma_wait<0>();
#pragma unroll
                    for (int i = 0; i < 64; i++) totals[i] += sums[i];
                }
            }
            wgmma_wait<0>();
            if (lane == 0) barrier_arrive(empty + now.slot);
            now.next();
        }
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

KERNEL_RESIDENT(linear_wgmma_128x128, LinearParams, 384, 1) { wide_tiles<2, 6>(p); }

#endif
