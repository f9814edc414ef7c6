// Kernels that do what CUDA forbids; TestFaults says how each ends.
#include "common.cuh"

struct Params {
    const u8* in;
    u8* out;
    int n, m;
};

KERNEL(barrier_of_some, Params, 128) {
    if (threadIdx.x < 40) __syncthreads();
    else __syncwarp(~0u);
}

KERNEL(shuffle_of_some, Params, 32) {
    if (threadIdx.x != 3) p.out[threadIdx.x] = (u8)__shfl_sync(~0u, threadIdx.x, 0);
    else __syncthreads();
}

KERNEL(two_masks, Params, 32) {
    u32 mask = threadIdx.x < 16 ? 0x0000ffffu : ~0u;
    p.out[threadIdx.x] = (u8)__shfl_xor_sync(mask, threadIdx.x, 1);
    __syncthreads();
}

KERNEL(two_calls, Params, 32) {
    if (threadIdx.x % 2) p.out[threadIdx.x] = (u8)__ballot_sync(~0u, 1);
    else __syncwarp();
}

KERNEL(not_in_mask, Params, 32) { __syncwarp(0xfu); }
KERNEL(foreign_lane, Params, 32) {
    if (threadIdx.x < 4) p.out[0] = (u8)__shfl_sync(0xfu, threadIdx.x, 9);
}
KERNEL(half_a_warp, Params, 32) {
    float d[4] = {};
    u32 a[4] = {}, b[2] = {};
    if (threadIdx.x >= 16) return;
    mma(d, a, b);
    p.out[0] = (u8)d[0];
}

KERNEL(write_at, Params, 32) { p.out[p.n] = 1; }
KERNEL(read_at, Params, 32) { p.out[0] = p.in[p.n]; }
KERNEL(misaligned, Params, 32) { p.out[0] = (u8)((const uint4*)(p.in + p.n))->x; }
KERNEL(out_of_bounds, Params, 64) {
    __shared__ u32 values[32];
    values[threadIdx.x] = 1;
    __syncthreads();
    p.out[0] = (u8)values[0];
}
KERNEL(shared_at, Params, 32) {
    SHARED(u8, values);
    if (threadIdx.x == 7) values[p.n] = 1;
}
KERNEL(copy_to_global, Params, 32) { copy16(p.out, p.in); }
KERNEL(shift, Params, 32) { p.out[0] = (u8)(1u << p.n); }
KERNEL(divide, Params, 32) { p.out[0] = (u8)(7 / p.n); }
KERNEL(trap, Params, 32) {
    if (threadIdx.x == 31) __trap();
}
KERNEL(deep, Params, 32) {
    volatile u8 much[300 << 10];
    much[p.n] = 1;
    p.out[0] = much[p.n];
}
KERNEL(sleeper, Params, 2) {
    while (*(volatile u8*)p.out != 1) __nanosleep(100);
}
KERNEL(spin, Params, 2) {
    while (*(volatile u8*)p.out != 1) {}
}
KERNEL(eager, Params, 32) { p.out[threadIdx.x] = 1; }
