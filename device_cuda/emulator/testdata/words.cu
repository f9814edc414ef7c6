// One kernel for each group of CUDA's words; TestWords says what they must give.
#include "common.cuh"

struct Params {
    const u8* in;
    u8* out;
    int n, m;
};

KERNEL(indices, Params, 1024) {
    u32* out = (u32*)p.out;
    u32 block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    out[block * blockDim.x + threadIdx.x] = block << 16 | threadIdx.x;
}

template <int WARPS> __device__ __forceinline__ float block_sum(float x) {
    __shared__ __align__(16) float parts[WARPS];
    x = warp_sum(x);
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
    __syncthreads();
    x = 0;
#pragma unroll
    for (int i = 0; i < WARPS; i++) x += parts[i];
    return x;
}

// Static, dynamic and templates' shared memory. out: the sum, then how many words of both kinds of shared memory began as 0xff.
KERNEL_RESIDENT(sums, Params, 128, 2) {
    SHARED(u32, dynamic);
    __shared__ u32 fixed[128];
    int untouched = __syncthreads_count(dynamic[threadIdx.x] == ~0u && fixed[threadIdx.x] == ~0u);
    dynamic[threadIdx.x] = fixed[threadIdx.x] = 0;
    float sum = block_sum<4>((float)(threadIdx.x + 1));
    if (threadIdx.x == 0) ((float2*)p.out)[blockIdx.x] = make_float2(sum, (float)untouched);
}

KERNEL(shuffles, Params, 32) {
    u32* out = (u32*)p.out + threadIdx.x * 8;
    u32 lane = threadIdx.x;
    out[0] = __shfl_sync(~0u, lane, 5);
    out[1] = __shfl_sync(~0u, lane, 3, 8);
    out[2] = __shfl_xor_sync(~0u, lane, 17);
    out[3] = __shfl_up_sync(~0u, lane, 2);
    out[4] = __shfl_down_sync(~0u, lane, 3, 16);
    out[5] = (u32)(__shfl_xor_sync(~0u, (u64)lane << 40, 1) >> 40);
    out[6] = (u32)__shfl_down_sync(~0u, 0.5f * lane, 30);
    out[7] = (u32)__shfl_sync(~0u, (int)lane, (int)lane + 33);
}

KERNEL(votes, Params, 64) {
    u32* out = (u32*)p.out + threadIdx.x * 8;
    u32 lane = threadIdx.x % 32;
    if (threadIdx.x >= 60) return; // absent from now on
    out[0] = __ballot_sync(~0u, lane % 3 == 0);
    out[1] = __any_sync(~0u, lane == 28) * 2 + __all_sync(~0u, lane < 28);
    out[2] = __reduce_add_sync(~0u, lane);
    out[3] = (u32)__reduce_min_sync(~0u, (int)lane - 7);
    out[4] = __reduce_max_sync(~0u, lane - 7);
    out[5] = __match_any_sync(~0u, lane / 10);
    // Two halves of a warp that each keep to themselves.
    if (lane < 16) {
        out[6] = __ballot_sync(0x0000ffffu, 1);
    } else {
        __syncwarp(0xffff0000u);
        out[6] = __reduce_max_sync(0xffff0000u, lane);
    }
    out[7] = __syncthreads_or(threadIdx.x == 59) + 2 * __syncthreads_and(threadIdx.x < 59);
}

KERNEL(atomics, Params, 256) {
    u32* out = (u32*)p.out;
    u32 i = threadIdx.x;
    atomicAdd(out, i);
    atomicAdd((float*)out + 1, 0.5f);
    atomicMax(out + 2, i);
    atomicMin((int*)out + 3, (int)i - 100);
    atomicOr(out + 4, 1u << i % 32);
    atomicInc(out + 5, 99);
    atomicAdd((u64*)(out + 6), (u64)i << 32);
    if (atomicCAS(out + 8, 0u, i + 1) == 0) out[9] = i + 1;
    __threadfence();
    if (atomicAdd(out + 10, 1u) == gridDim.x * blockDim.x - 1) out[11] = atomicExch(out + 10, 0u);
}

KERNEL(bits, Params, 1) {
    u32* out = (u32*)p.out;
    u32 x = (u32)p.n, y = (u32)p.m;
    const u32 results[] = {(u32)__clz((int)x), (u32)__ffs((int)x), (u32)__popc(x), (u32)__popcll((u64)x << 32 | y), __brev(x), __umulhi(x, y),
        (u32)(__umul64hi((u64)x << 32, (u64)y << 32)), __byte_perm(x, y, 0x6251), __funnelshift_l(x, y, 8), __float_as_uint(1.5f), (u32)__clz(0), (u32)__ffs(0),
        (u32)min(x, y), (u32)max((int)x, (int)y), (u32)__float2int_rn(2.5f), (u32)__float_as_int(__int_as_float(7)), (u32)(__double_as_longlong(1.0) >> 32)};
    for (u32 i = 0; i < sizeof results / 4; i++) out[i] = results[i];
}

KERNEL(floats, Params, 1) {
    float* out = (float*)p.out;
    const float results[] = {rsqrtf(16), __frcp_rn(8), fmaf(3, 4, 5), __fmaf_rn(1 + 0x1p-12f, 1 + 0x1p-12f, -1 - 0x1p-11f), __fadd_rn(1, 2), __fmul_rn(3, 4), exp2f(10),
        __expf(0), fminf(1, NAN), fmaxf(-1, 2), min(1.5f, 2.5f), __uint_as_float(0x3fc00000)};
    for (u32 i = 0; i < sizeof results / 4; i++) out[i] = results[i];
}

// in: n floats; out: each as bf16, as f16, then both back as floats.
KERNEL(halves, Params, 256) {
    const float* in = (const float*)p.in;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < p.n; i += gridDim.x * blockDim.x) {
        u32 bf16 = pack_bf16(in[i], 0), f16 = pack_f16(0, in[i]) >> 16;
        ((uint2*)p.out)[i * 2] = make_uint2(bf16, f16);
        ((float2*)p.out)[i * 2 + 1] = make_float2(from_bf16((u16)bf16), from_f16((u16)f16));
    }
}

// in: a (16, 16) and the transpose of b (8, 16), elements; then d (16, 8) floats. out: d + a·b, a and b read by ldmatrix.
KERNEL(product, Params, 32) {
    SHARED(u16, tile);
    for (int i = threadIdx.x; i < 48; i += 32) copy16(tile + i * 8, p.in + i * 16); // rows of 16 values, two copies each
    copies_commit();
    copies_wait<0>();
    __syncwarp();
    u32 a[4], b4[4];
    int lane = threadIdx.x, matrix = lane / 8, row = lane % 8;
    load_matrices(a, tile + (row + matrix % 2 * 8) * 16 + matrix / 2 * 8);
    load_matrices(b4, tile + 256 + row * 16 + matrix % 2 * 8);
    const u32 b[2] = {b4[0], b4[1]};
    float d[4];
    const float* in = (const float*)(p.in + 768);
    int g = lane / 4, q = lane % 4;
    for (int i = 0; i < 4; i++) d[i] = in[(g + i / 2 * 8) * 8 + 2 * q + i % 2];
    mma(d, a, b);
    for (int i = 0; i < 4; i++) ((float*)p.out)[(g + i / 2 * 8) * 8 + 2 * q + i % 2] = d[i];
}

// in: an 8×8 matrix of 16-bit values, four times. out: lane 4r+c gives values 2c, 2c+1 of row r of the transpose.
KERNEL(transpose, Params, 32) {
    SHARED(u16, tile);
    copy16(tile + threadIdx.x * 8, p.in + threadIdx.x * 16);
    copies_commit();
    copies_wait<0>();
    __syncwarp();
    u32 d[4];
    load_matrices_transposed(d, tile + threadIdx.x * 8);
    ((u32*)p.out)[threadIdx.x] = d[3];
}

// Stages of copies: n groups are under way; out sees each when it has arrived. The last is cut off: zeros.
KERNEL(pipeline, Params, 32) {
    SHARED(uint4, ring); // (4, 32)
    dependents();
    wait();
    u32* out = (u32*)p.out;
    for (int i = 0; i < 3; i++) copy16(ring + i * 32 + threadIdx.x, (const uint4*)p.in + i * 32 + threadIdx.x), copies_commit();
    copies_wait<1>();
    __syncthreads();
    out[threadIdx.x] = ring[32 + (threadIdx.x + 1) % 32].w;
    out[32 + threadIdx.x] = ring[64 + threadIdx.x].w; // not there yet
    copy16_or_zero(ring + 96 + threadIdx.x, p.in, false);
    copies_commit();
    copies_wait<0>();
    out[64 + threadIdx.x] = ring[64 + threadIdx.x].w + ring[96 + threadIdx.x].w;
}

// A race: thread 0 reads what the others write, without a barrier.
KERNEL(race, Params, 128) {
    __shared__ u32 values[128];
    values[threadIdx.x] = threadIdx.x;
    __syncwarp();
    u32 sum = 0;
    if (threadIdx.x == 64)
        for (int i = 0; i < 128; i++) sum += values[i] != ~0u;
    if (threadIdx.x == 64) ((u32*)p.out)[0] = sum;
}

__device__ int launches;
__constant__ const int step = 1;
KERNEL(remember, Params, 1) { ((int*)p.out)[0] = launches += step; }
