// What kernels/common.cuh wraps, in plain C++: included in its place when EMULATED is defined, so that the same kernels run on
// the CPU, thread for thread. See package emulator.
//
// Stricter than a card, so that a test sees what a card might only do some day: shared memory begins as NaN, asynchronous copies
// arrive at the last moment (until then their target is NaN too), __activemask() names the calling lane alone.
//
// mma adds in double and rounds once. Real tensor cores truncate, and each generation adds in an order of its own, so
// compare with them, or with another formula, within a tolerance; two kernels that claim the same order are compared bit for bit.
#pragma once

#include <algorithm>
#include <string>
#include <utility>

#include "launch.h"

#define KERNEL(name, Params, threads) EMULATED_KERNEL(name, Params, threads)
#define KERNEL_RESIDENT(name, Params, threads, blocks) EMULATED_KERNEL(name, Params, threads)
#define EMULATED_KERNEL(name, Params, threads)                                                          \
    static void name(const Params& p);                                                                  \
    static emulated::Kernel emulated_kernel_##name = {                                                  \
        #name, [](const void* params) { name(*(const Params*)params); }, sizeof(Params), threads,       \
        std::exchange(emulated::kernels_of_module, &emulated_kernel_##name)};                           \
    static void name(const Params& p)

#define SHARED(type, name) type* name = (type*)emulated::machine().shared

inline void dependents() {}
inline void wait() { emulated::machine().waited = true; }

namespace emulated {

inline bool is_shared(const void* p, size_t bytes) {
    const Machine& m = machine();
    const u8* b = (const u8*)p;
    return (b >= m.shared && b + bytes <= m.shared + m.launch->shared) || (b >= m.static_shared && b + bytes <= m.static_shared + m.static_shared_size);
}

inline void load_matrices(u32 (&d)[4], const void* row, bool transposed) {
    if (!is_shared(row, 16)) fail(IllegalAddress, "load_matrices of %p, which is not shared memory", row);
    if ((uintptr_t)row % 16) fail(MisalignedAddress, "load_matrices of a row that is not 16-byte aligned");
    Thread& t = *machine().running;
    t.a = row, t.d = d, t.vote = transposed;
    meet(t, LoadMatrices, ~0u);
}

inline void copy(void* shared, const void* global, bool valid) {
    if (!is_shared(shared, 16)) fail(IllegalAddress, "copy16 to %p, which is not shared memory", shared);
    if (is_shared(global, 1)) fail(IllegalAddress, "copy16 from shared memory");
    if ((uintptr_t)shared % 16 || (uintptr_t)global % 16) fail(MisalignedAddress, "copy16 from %p to %p: not 16-byte aligned", global, shared);
    machine().running->copies.push_back({shared, global, valid});
    memset(shared, 0xff, 16);
}

} // namespace emulated

inline void mma(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
    emulated::Thread& t = *emulated::machine().running;
    t.a = a, t.b = b, t.d = d;
#if defined(ELEMENT_BF16)
    t.vote = true;
#else
    t.vote = false;
#endif
    emulated::meet(t, emulated::Multiply, ~0u);
}

inline u32 shared_address(const void* p) { return (u32)(size_t)p; }
inline void load_matrices(u32 (&d)[4], const void* row) { emulated::load_matrices(d, row, false); }
inline void load_matrices_transposed(u32 (&d)[4], const void* row) { emulated::load_matrices(d, row, true); }

inline void copy16(void* shared, const void* global) { emulated::copy(shared, global, true); }
inline void copy16_or_zero(void* shared, const void* global, bool valid) { emulated::copy(shared, global, valid); }
inline void copies_commit() {
    emulated::Thread& t = *emulated::machine().running;
    size_t committed = 0;
    for (size_t n : t.groups) committed += n;
    t.groups.push_back(t.copies.size() - committed);
}
template <int pending> inline void copies_wait() {
    emulated::Thread& t = *emulated::machine().running;
    size_t arriving = 0;
    if (t.groups.size() <= pending) return;
    size_t groups = t.groups.size() - pending;
    for (size_t g = 0; g < groups; g++) arriving += t.groups[g];
    for (size_t i = 0; i < arriving; i++) {
        const emulated::Copy& c = t.copies[i];
        if (c.valid) memcpy(c.to, c.from, 16);
        else memset(c.to, 0, 16);
    }
    t.copies.erase(t.copies.begin(), t.copies.begin() + (std::ptrdiff_t)arriving);
    t.groups.erase(t.groups.begin(), t.groups.begin() + (std::ptrdiff_t)groups);
}

inline u32 pack_bf16(float low, float high) { return emulated::float_to_bf16(low) | (u32)emulated::float_to_bf16(high) << 16; }
inline u32 pack_f16(float low, float high) {
    low = fminf(fmaxf(low, -65504.f), 65504.f) + (low != low ? low : 0.f);
    high = fminf(fmaxf(high, -65504.f), 65504.f) + (high != high ? high : 0.f);
    return emulated::float_to_f16(low) | (u32)emulated::float_to_f16(high) << 16;
}
inline float from_f16(u16 x) { return emulated::f16_to_float(x); }
