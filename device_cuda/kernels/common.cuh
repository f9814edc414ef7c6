// What every kernel shares: types, the step's layout, and thin wrappers around the instructions that CUDA C++ has no word for.
// Nothing is included from the toolkit, so that NVRTC needs no headers. The emulator (package emulator) compiles the same
// sources with a C++ compiler: it defines EMULATED and gives the wrappers below their meaning in plain C++.
//
// Macros that the host defines for a model (kernels.Shape): ELEMENT_F32, ELEMENT_F16 or ELEMENT_BF16 (type of weights,
// matrix inputs and KV), HEADS, KV_HEADS, HEAD_DIM, PAGE_SIZE, VOCAB.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

#ifdef EMULATED
#include "emulated.h"
#else

// KERNEL(name, Params, threads) { ... p ... }: a kernel of at most so many threads a block, whose one argument is p.
#define KERNEL(name, Params, threads) extern "C" __global__ void __launch_bounds__(threads) name(const __grid_constant__ Params p)
// The same, compiled so that `blocks` of them fit a multiprocessor.
#define KERNEL_RESIDENT(name, Params, threads, blocks) \
    extern "C" __global__ void __launch_bounds__(threads, blocks) name(const __grid_constant__ Params p)
// Dynamic shared memory, 128-byte aligned.
#define SHARED(type, name) extern __shared__ __align__(128) u8 name##_bytes[]; type* name = (type*)name##_bytes

// Programmatic dependent launch. A kernel calls dependents() as early as it likes: the next kernel's blocks may then start
// wherever there is room. It must call wait() before it touches anything that an earlier kernel writes or reads, and every
// thread that writes must have called it; what comes before may only read constants (weights, tables).
__device__ __forceinline__ void dependents() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
__device__ __forceinline__ void wait() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// d += a·b for a 16×16 (row-major) and b 16×8 (column-major) of ELEMENT, d 16×8 of float: mma.m16n8k16. With g = lane/4 and
// q = lane%4: a[0] holds row g, columns 2q, 2q+1; a[1] row g+8; a[2] row g, columns 2q+8, 2q+9; a[3] row g+8 of these; b[0]
// holds rows 2q, 2q+1 of column g; b[1] rows 2q+8, 2q+9; d[0], d[1] row g, columns 2q, 2q+1; d[2], d[3] row g+8.
__device__ __forceinline__ void mma(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
#if defined(ELEMENT_BF16)
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
#else
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
#endif
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }

// ldmatrix: four 8×8 matrices of 16-bit values; lane 8i+j gives the address of row j of matrix i. Lane 4r+c receives columns 2c,
// 2c+1 of row r of matrix i in d[i]; transposed: rows 2c, 2c+1 of column r.
__device__ __forceinline__ void load_matrices(u32 (&d)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3]) : "r"(shared_address(row)) : "memory");
}
__device__ __forceinline__ void load_matrices_transposed(u32 (&d)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3]) : "r"(shared_address(row)) : "memory");
}

// Asynchronous copies of 16 bytes from global to shared memory. copy16_or_zero writes zeros instead if `valid` is false.
__device__ __forceinline__ void copy16(void* shared, const void* global) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(shared)), "l"(global) : "memory");
}
__device__ __forceinline__ void copy16_or_zero(void* shared, const void* global, bool valid) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(valid ? 16 : 0) : "memory");
}
__device__ __forceinline__ void copies_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most `pending` of this thread's groups are on their way.
template <int pending> __device__ __forceinline__ void copies_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory"); }

// Two floats as a pair of 16-bit values, the first in the low half, rounded to nearest even. f16 saturates at ±65504.
__device__ __forceinline__ u32 pack_bf16(float low, float high) {
    u32 r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}
__device__ __forceinline__ u32 pack_f16(float low, float high) {
    u32 r;
    low = fminf(fmaxf(low, -65504.f), 65504.f) + (low != low ? low : 0.f);
    high = fminf(fmaxf(high, -65504.f), 65504.f) + (high != high ? high : 0.f);
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}
__device__ __forceinline__ float from_f16(u16 x) {
    float r;
    asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(x));
    return r;
}
#endif

__device__ __forceinline__ float from_bf16(u16 x) { return __uint_as_float((u32)x << 16); }

// Element is the type of weights, of the inputs of matrix products and of the KV cache.
#if defined(ELEMENT_F32)
typedef float Element;
__device__ __forceinline__ float widen(Element x) { return x; }
__device__ __forceinline__ Element narrow(float x) { return x; }
#elif defined(ELEMENT_F16)
typedef u16 Element;
__device__ __forceinline__ float widen(Element x) { return from_f16(x); }
__device__ __forceinline__ Element narrow(float x) { return (u16)pack_f16(x, 0.f); }
__device__ __forceinline__ u32 pack(float low, float high) { return pack_f16(low, high); }
#else
typedef u16 Element;
__device__ __forceinline__ float widen(Element x) { return from_bf16(x); }
__device__ __forceinline__ Element narrow(float x) { return (u16)pack_bf16(x, 0.f); }
__device__ __forceinline__ u32 pack(float low, float high) { return pack_bf16(low, high); }
#endif

// Step is the head of what the host uploads for each step (kernels.StepHeader in Go). Kernels read how much there is to do from
// here, so that a captured graph serves every step of its bucket: blocks beyond the work leave at once.
struct Step {
    int rows;       // tokens of the step; padding rows behind them are never touched
    int outputs;    // rows that are sampled or scored
    int items;      // attention work items
    int copies;     // page copies
    int resets;     // slots whose history is set
    int reserved[3];
};

__device__ __forceinline__ float warp_sum(float x) { // the same order for every lane, so the same bits
    for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
    return x;
}
__device__ __forceinline__ float warp_max(float x) {
    for (int offset = 16; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, offset));
    return x;
}
