// The words of CUDA C++ that kernels use, for a host compiler.
#pragma once

#include <math.h>
#include <time.h>

#include "meeting.h"

#define __device__
#define __host__
#define __global__
#define __constant__
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)
// All of a module's thread-local variables are its shared variables, which is how the machine finds and poisons them.
#define __shared__ static thread_local __attribute__((unused))

#if !defined(__clang__)
#define __builtin_assume(x) ((void)((x) ? 0 : (__builtin_unreachable(), 0)))
#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#endif

#define threadIdx (emulated::machine().running->index)
#define blockIdx (emulated::machine().block_index)
#define blockDim (emulated::machine().block_dim)
#define gridDim (emulated::machine().grid_dim)
#define warpSize 32

#define EMULATED_VECTORS(scalar, name, size)                                                                       \
    struct alignas(size * 2) name##2 { scalar x, y; };                                                              \
    struct name##3 { scalar x, y, z; };                                                                             \
    struct alignas(size * 4 > 16 ? 16 : size * 4) name##4 { scalar x, y, z, w; };                                   \
    inline name##2 make_##name##2(scalar x, scalar y) { return {x, y}; }                                            \
    inline name##3 make_##name##3(scalar x, scalar y, scalar z) { return {x, y, z}; }                               \
    inline name##4 make_##name##4(scalar x, scalar y, scalar z, scalar w) { return {x, y, z, w}; }
#define uint3 emulated_uint3 // block.h has it
EMULATED_VECTORS(unsigned, uint, 4)
#undef uint3
EMULATED_VECTORS(int, int, 4)
EMULATED_VECTORS(float, float, 4)
EMULATED_VECTORS(short, short, 2)
EMULATED_VECTORS(unsigned short, ushort, 2)
EMULATED_VECTORS(signed char, char, 1)
EMULATED_VECTORS(unsigned char, uchar, 1)
EMULATED_VECTORS(long long, longlong, 8)
EMULATED_VECTORS(unsigned long long, ulonglong, 8)
EMULATED_VECTORS(double, double, 8)
#undef EMULATED_VECTORS

namespace emulated {

// Static if the type differs, so that a call with the wrong one does not compile.
template <typename To, typename From> inline To same_bits(From x) {
    static_assert(sizeof(To) == sizeof(From), "a change of the bits' name needs as many bits");
    To r;
    memcpy(&r, &x, sizeof r);
    return r;
}

template <typename T> inline T exchange(Meeting meeting, u32 mask, T x, u32 argument, int width) {
    static_assert(sizeof(T) <= 8, "a shuffle moves 4 or 8 bytes");
    Thread& t = *machine().running;
    if (width < 1 || width > 32 || (width & (width - 1))) fail(LaunchFailed, "%s with width %d", name_of(meeting), width);
    t.brought = 0;
    memcpy(&t.brought, &x, sizeof x);
    t.argument = argument, t.width = (u32)width;
    meet(t, meeting, mask);
    memcpy(&x, &t.taken, sizeof x);
    return x;
}

inline u32 reduction(Meeting meeting, u32 mask, u32 x) {
    Thread& t = *machine().running;
    t.brought = x;
    meet(t, meeting, mask);
    return (u32)t.taken;
}

inline u64 votes(u32 mask, bool vote) { // who was there, and who said yes
    Thread& t = *machine().running;
    t.vote = vote;
    meet(t, Ballot, mask);
    return t.taken;
}

// Between any two instructions others may run; in an order drawn from a seed they do at atomic operations and at fences.
inline void maybe_let_others_run() {
    Machine& m = machine();
    if (m.launch->order && random_below(m, 2)) let_others_run();
}

template <typename T, typename F> inline T atomically(T* p, F f) {
    maybe_let_others_run();
    if ((uintptr_t)p % sizeof(T)) fail(MisalignedAddress, "an atomic operation on the misaligned address %p", (void*)p);
    T old = *(volatile T*)p;
    *(volatile T*)p = f(old);
    return old;
}

} // namespace emulated

inline void __syncthreads() { emulated::barrier(true); }
inline int __syncthreads_or(int x) { return emulated::barrier(x != 0), emulated::machine().vote_any; }
inline int __syncthreads_and(int x) { return emulated::barrier(x != 0), emulated::machine().vote_all; }
inline int __syncthreads_count(int x) { return emulated::barrier(x != 0), (int)emulated::machine().vote_count; }
inline void __syncwarp(u32 mask = ~0u) { emulated::meet(*emulated::machine().running, emulated::Syncwarp, mask); }

template <typename T> inline T __shfl_sync(u32 mask, T x, int lane, int width = 32) { return emulated::exchange(emulated::Shuffle, mask, x, (u32)lane, width); }
template <typename T> inline T __shfl_xor_sync(u32 mask, T x, int lanes, int width = 32) { return emulated::exchange(emulated::ShuffleXor, mask, x, (u32)lanes, width); }
template <typename T> inline T __shfl_up_sync(u32 mask, T x, unsigned delta, int width = 32) { return emulated::exchange(emulated::ShuffleUp, mask, x, delta, width); }
template <typename T> inline T __shfl_down_sync(u32 mask, T x, unsigned delta, int width = 32) { return emulated::exchange(emulated::ShuffleDown, mask, x, delta, width); }
inline u32 __ballot_sync(u32 mask, int x) { return (u32)emulated::votes(mask, x != 0); }
inline int __any_sync(u32 mask, int x) { return (u32)emulated::votes(mask, x != 0) != 0; }
inline int __all_sync(u32 mask, int x) {
    u64 votes = emulated::votes(mask, x != 0);
    return (u32)votes == (u32)(votes >> 32);
}
inline u32 __reduce_add_sync(u32 mask, u32 x) { return emulated::reduction(emulated::ReduceAdd, mask, x); }
inline u32 __reduce_min_sync(u32 mask, u32 x) { return emulated::reduction(emulated::ReduceMin, mask, x); }
inline u32 __reduce_max_sync(u32 mask, u32 x) { return emulated::reduction(emulated::ReduceMax, mask, x); }
inline u32 __reduce_and_sync(u32 mask, u32 x) { return emulated::reduction(emulated::ReduceAnd, mask, x); }
inline u32 __reduce_or_sync(u32 mask, u32 x) { return emulated::reduction(emulated::ReduceOr, mask, x); }
inline u32 __reduce_xor_sync(u32 mask, u32 x) { return emulated::reduction(emulated::ReduceXor, mask, x); }
inline int __reduce_add_sync(u32 mask, int x) { return (int)emulated::reduction(emulated::ReduceAdd, mask, (u32)x); }
inline int __reduce_min_sync(u32 mask, int x) { return (int)emulated::reduction(emulated::ReduceMinSigned, mask, (u32)x); }
inline int __reduce_max_sync(u32 mask, int x) { return (int)emulated::reduction(emulated::ReduceMaxSigned, mask, (u32)x); }
template <typename T> inline u32 __match_any_sync(u32 mask, T x) {
    emulated::Thread& t = *emulated::machine().running;
    t.brought = 0;
    memcpy(&t.brought, &x, sizeof x);
    emulated::meet(t, emulated::MatchAny, mask);
    return (u32)t.taken;
}
// CUDA promises no more than that the calling lane is among them.
inline u32 __activemask() { return 1u << emulated::machine().running->lane; }

#define EMULATED_ATOMIC(name, T, expression) \
    inline T name(T* p, T x) { return emulated::atomically(p, [x](T old) -> T { return expression; }); }
#define EMULATED_ATOMIC_INTEGERS(name, expression) \
    EMULATED_ATOMIC(name, int, expression) EMULATED_ATOMIC(name, u32, expression) EMULATED_ATOMIC(name, u64, expression)
inline int atomicAdd(int* p, int x) { return emulated::atomically(p, [x](int old) { return (int)((u32)old + (u32)x); }); }
EMULATED_ATOMIC(atomicAdd, u32, old + x)
EMULATED_ATOMIC(atomicAdd, u64, old + x)
EMULATED_ATOMIC(atomicAdd, float, old + x)
EMULATED_ATOMIC(atomicAdd, double, old + x)
EMULATED_ATOMIC(atomicSub, int, old - x)
EMULATED_ATOMIC(atomicSub, u32, old - x)
EMULATED_ATOMIC_INTEGERS(atomicMax, x > old ? x : old)
EMULATED_ATOMIC(atomicMax, i64, x > old ? x : old)
EMULATED_ATOMIC_INTEGERS(atomicMin, x < old ? x : old)
EMULATED_ATOMIC(atomicMin, i64, x < old ? x : old)
EMULATED_ATOMIC_INTEGERS(atomicExch, ((void)old, x))
EMULATED_ATOMIC(atomicExch, float, ((void)old, x))
EMULATED_ATOMIC_INTEGERS(atomicOr, old | x)
EMULATED_ATOMIC_INTEGERS(atomicAnd, old & x)
EMULATED_ATOMIC_INTEGERS(atomicXor, old ^ x)
EMULATED_ATOMIC(atomicInc, u32, old >= x ? 0 : old + 1)
EMULATED_ATOMIC(atomicDec, u32, old == 0 || old > x ? x : old - 1)
#undef EMULATED_ATOMIC_INTEGERS
#undef EMULATED_ATOMIC
template <typename T> inline T atomicCAS(T* p, T expected, T x) {
    return emulated::atomically(p, [=](T old) { return old == expected ? x : old; });
}

inline void __threadfence() { emulated::maybe_let_others_run(); }
inline void __threadfence_block() { emulated::maybe_let_others_run(); }
inline void __threadfence_system() { emulated::maybe_let_others_run(); }

template <typename T> inline T __ldg(const T* p) { return *p; }
template <typename T> inline T __ldca(const T* p) { return *p; }
template <typename T> inline T __ldcg(const T* p) { return *(const T*)p; }
template <typename T> inline T __ldcs(const T* p) { return *p; }
template <typename T> inline T __ldlu(const T* p) { return *p; }
template <typename T> inline T __ldcv(const T* p) { return *p; }
template <typename T> inline void __stcg(T* p, T x) { *p = x; }
template <typename T> inline void __stcs(T* p, T x) { *p = x; }
template <typename T> inline void __stwb(T* p, T x) { *p = x; }
template <typename T> inline void __stwt(T* p, T x) { *p = x; }

inline u32 __float_as_uint(float x) { return emulated::same_bits<u32>(x); }
inline int __float_as_int(float x) { return emulated::same_bits<int>(x); }
inline float __uint_as_float(u32 x) { return emulated::same_bits<float>(x); }
inline float __int_as_float(int x) { return emulated::same_bits<float>(x); }
inline i64 __double_as_longlong(double x) { return emulated::same_bits<i64>(x); }
inline double __longlong_as_double(i64 x) { return emulated::same_bits<double>(x); }

// The C library declares some of these names for itself.
#define __expf emulated_expf
#define __exp10f emulated_exp10f
#define __logf emulated_logf
#define __log2f emulated_log2f
#define __sinf emulated_sinf
#define __cosf emulated_cosf
#define __powf emulated_powf
#define rsqrtf emulated_rsqrtf
#define rsqrt emulated_rsqrt
inline float __expf(float x) { return expf(x); }
inline float __exp10f(float x) { return powf(10, x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float rsqrtf(float x) { return (float)(1 / sqrt((double)x)); }
inline double rsqrt(double x) { return 1 / sqrt(x); }

inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __frcp_rn(float x) { return 1 / x; }
inline float __frsqrt_rn(float x) { return rsqrtf(x); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
inline float __int2float_rn(int x) { return (float)x; }
inline float __uint2float_rn(u32 x) { return (float)x; }
// Conversions of what does not fit saturate, and NaN gives 0.
inline int __float2int_rn(float x) { return x != x ? 0 : x >= 0x1p31f ? 0x7fffffff : x < -0x1p31f ? (int)0x80000000 : (int)rintf(x); }
inline int __float2int_rz(float x) { return x != x ? 0 : x >= 0x1p31f ? 0x7fffffff : x < -0x1p31f ? (int)0x80000000 : (int)x; }
inline u32 __float2uint_rn(float x) { return x != x || x <= 0 ? 0 : x >= 0x1p32f ? ~0u : (u32)rintf(x); }
inline u32 __float2uint_rz(float x) { return x != x || x <= 0 ? 0 : x >= 0x1p32f ? ~0u : (u32)x; }
inline float __saturatef(float x) { return x > 0 ? x < 1 ? x : 1 : 0; }

inline u32 __umulhi(u32 a, u32 b) { return (u32)((u64)a * b >> 32); }
inline int __mulhi(int a, int b) { return (int)((i64)a * b >> 32); }
inline u64 __umul64hi(u64 a, u64 b) { return (u64)((unsigned __int128)a * b >> 64); }
inline int __clz(int x) { return x ? __builtin_clz((u32)x) : 32; }
inline int __clzll(i64 x) { return x ? __builtin_clzll((u64)x) : 64; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(i64 x) { return __builtin_ffsll(x); }
inline int __popc(u32 x) { return __builtin_popcount(x); }
inline int __popcll(u64 x) { return __builtin_popcountll(x); }
inline u32 __brev(u32 x) {
    x = (x >> 1 & 0x55555555) | (x & 0x55555555) << 1;
    x = (x >> 2 & 0x33333333) | (x & 0x33333333) << 2;
    x = (x >> 4 & 0x0f0f0f0f) | (x & 0x0f0f0f0f) << 4;
    return __builtin_bswap32(x);
}
inline u32 __byte_perm(u32 a, u32 b, u32 selector) {
    u64 bytes = (u64)b << 32 | a;
    u32 r = 0;
    for (int i = 0; i < 4; i++) {
        u32 s = selector >> 4 * i, byte = (u32)(bytes >> 8 * (s & 7)) & 0xff;
        r |= (s & 8 ? (byte & 0x80 ? 0xff : 0) : byte) << 8 * i;
    }
    return r;
}
inline u32 __funnelshift_l(u32 low, u32 high, u32 shift) { return (u32)(((u64)high << 32 | low) << (shift & 31) >> 32); }
inline u32 __funnelshift_r(u32 low, u32 high, u32 shift) { return (u32)(((u64)high << 32 | low) >> (shift & 31)); }

#define EMULATED_MIN_MAX(T)                               \
    inline T min(T a, T b) { return b < a ? b : a; }      \
    inline T max(T a, T b) { return a < b ? b : a; }
EMULATED_MIN_MAX(int)
EMULATED_MIN_MAX(unsigned)
EMULATED_MIN_MAX(long)
EMULATED_MIN_MAX(unsigned long)
EMULATED_MIN_MAX(i64)
EMULATED_MIN_MAX(u64)
#undef EMULATED_MIN_MAX
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }

inline size_t __cvta_generic_to_shared(const void* p) { return (size_t)p; }
inline i64 clock64() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}
// Others run meanwhile. Only threads of the same block can: who waits for another block waits for ever.
inline void __nanosleep(unsigned) { emulated::let_others_run(); }
[[noreturn]] inline void __trap() { emulated::fail(emulated::IllegalInstruction, "__trap()"); }
#undef assert
#define assert(x) ((x) ? (void)0 : emulated::fail(emulated::Assert, "%s:%d: assertion failed: %s", __FILE__, __LINE__, #x))
