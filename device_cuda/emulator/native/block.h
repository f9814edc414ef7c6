// How a block of threads runs: each thread is a fiber, and they are switched only where CUDA lets one thread wait for others:
// at barriers and at what a warp does together (shuffles, votes, mma, ldmatrix). Blocks run one after another. A launch that
// does what CUDA forbids ends with a report that names the kernel, the block and the thread.
#pragma once

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vector>

#include "fiber.h"

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

struct uint3 {
    u32 x, y, z;
};
struct dim3 {
    u32 x, y, z;
    dim3(u32 x = 1, u32 y = 1, u32 z = 1) : x(x), y(y), z(z) {}
};

namespace emulated {

constexpr u32 max_threads = 1024, warp_lanes = 32;

// What a launch can end with; the numbers are CUresult's.
enum Status { Good = 0, InvalidValue = 1, IllegalAddress = 700, LaunchTimeout = 702, Assert = 710, IllegalInstruction = 715, MisalignedAddress = 716, LaunchFailed = 719 };

// Meeting is why a thread waits for others of its warp.
enum Meeting : u8 { Syncwarp, Shuffle, ShuffleXor, ShuffleUp, ShuffleDown, Ballot, ReduceAdd, ReduceMin, ReduceMax, ReduceMinSigned, ReduceMaxSigned, ReduceAnd, ReduceOr, ReduceXor, MatchAny, Multiply, LoadMatrices };
inline const char* name_of(Meeting m) {
    static const char* const names[] = {"__syncwarp", "__shfl_sync", "__shfl_xor_sync", "__shfl_up_sync", "__shfl_down_sync", "__ballot_sync, __any_sync or __all_sync", "__reduce_add_sync", "__reduce_min_sync", "__reduce_max_sync", "__reduce_min_sync", "__reduce_max_sync", "__reduce_and_sync", "__reduce_or_sync", "__reduce_xor_sync", "__match_any_sync", "mma", "load_matrices"};
    return names[m];
}

struct Copy {
    void* to;
    const void* from;
    bool valid;
};

struct Thread {
    Fiber fiber;
    uint3 index;
    u32 lane, warp;
    bool at_barrier;
    bool vote;
    // The meeting that it waits at, and what it brings and takes.
    Meeting meeting;
    u32 mask, argument, width;
    u64 brought, taken;
    const void *a, *b;
    void* d;
    // Asynchronous copies: those of the group that is not committed yet come last.
    std::vector<Copy> copies;
    std::vector<size_t> groups; // how many copies each committed group has
};

struct Warp {
    u32 alive, ready, meeting; // lanes: not exited, able to run, waiting for others
};

typedef void (*Entry)(const void* params);

// A Kernel registers itself when its module is loaded.
struct Kernel {
    const char* name;
    Entry entry;
    u32 params, threads; // bytes of its argument, most threads of a block
    Kernel* next;
};

struct Launch {
    u32 grid[3], block[3], shared, shared_limit; // bytes of dynamic shared memory, and how many may be asked for
    const void* params;
    u64 order;          // 0: threads and blocks in order; else the seed of a permutation
    bool dependent;     // of another kernel, so somebody has to wait()
    char* report;       // of report_size bytes, written when the status is not Good
    size_t report_size;
    void (*describe)(void* memory, const void* address, char* text, size_t size); // says what an address is
    void* memory;
};

// Machine is the one block that runs at a time, and the launch that it belongs to.
struct Machine {
    const Kernel* kernel = nullptr;
    const Launch* launch = nullptr;
    Thread* running = nullptr;
    Fiber outside;
    Status status = Good;
    bool waited = false;
    u64 random = 0;

    uint3 block_index = {};
    dim3 block_dim, grid_dim;
    u32 threads = 0, warps = 0, alive = 0, at_barrier = 0;
    bool barrier_any = false, barrier_all = true;
    u32 barrier_count = 0;
    bool vote_any = false, vote_all = false;
    u32 vote_count = 0;
    Warp warp[max_threads / warp_lanes];
    Thread thread[max_threads];

    u8* shared = nullptr; // dynamic shared memory of the block
    u8 *shared_memory = nullptr, *shared_end = nullptr;
    u8 *static_shared = nullptr; // all variables that are __shared__
    size_t static_shared_size = 0;
    uintptr_t code = 0, code_end = 0; // of the module
    Stacks stacks;
};

// One a module: hidden, so that the modules of a process do not share it.
__attribute__((visibility("hidden"))) inline Machine* machine_of_module = nullptr;
__attribute__((visibility("hidden"))) inline Kernel* kernels_of_module = nullptr;
static inline Machine& machine() { return *machine_of_module; }

// fail ends the launch. It is called on a thread's fiber.
[[noreturn]] __attribute__((format(printf, 2, 3), noinline, visibility("hidden"))) inline void fail(Status status, const char* format, ...) {
    Machine& m = machine();
    m.status = status;
    const Thread& t = *m.running;
    char* to = m.launch->report;
    int n = snprintf(to, m.launch->report_size, "kernel %s, block (%u,%u,%u), thread (%u,%u,%u): ", m.kernel->name, m.block_index.x, m.block_index.y, m.block_index.z, t.index.x, t.index.y, t.index.z);
    if (n > 0 && (size_t)n < m.launch->report_size) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(to + n, m.launch->report_size - n, format, arguments);
        va_end(arguments);
    }
    Fiber nowhere;
    switch_fiber(m.running ? m.running->fiber : nowhere, m.outside);
    __builtin_unreachable();
}

inline u32 random_below(Machine& m, u32 n) { // xorshift
    m.random ^= m.random << 13, m.random ^= m.random >> 7, m.random ^= m.random << 17;
    return (u32)((m.random >> 32) * n >> 32);
}

// next takes the thread that runs next; null if none can.
inline Thread* next(Machine& m, bool anybody = false) {
    u32 w = m.running->warp, skip = 0;
    if (m.launch->order || anybody) w = random_below(m, m.warps), skip = random_below(m, warp_lanes);
    for (u32 i = 0; i < m.warps; i++, w = w + 1 == m.warps ? 0 : w + 1) {
        u32 ready = m.warp[w].ready;
        if (!ready) continue;
        u32 lane = (u32)__builtin_ctz(ready);
        if (skip && ready >> skip) lane = skip + (u32)__builtin_ctz(ready >> skip);
        m.warp[w].ready &= ~(1u << lane);
        return &m.thread[w * warp_lanes + lane];
    }
    return nullptr;
}

// suspend runs other threads until somebody makes this one ready.
__attribute__((noinline, visibility("hidden"))) inline void suspend(bool anybody = false) {
    Machine& m = machine();
    Thread* from = m.running;
    Thread* to = next(m, anybody);
    if (to == from) return;
    if (to) m.running = to;
    switch_fiber(from->fiber, to ? to->fiber : m.outside);
}

// let_others_run lets any thread go on, maybe this one.
inline void let_others_run() {
    Machine& m = machine();
    m.warp[m.running->warp].ready |= 1u << m.running->lane;
    suspend(true);
}

inline void make_ready(Machine& m, u32 warp, u32 lanes) {
    for (u32 l = lanes; l; l &= l - 1) m.thread[warp * warp_lanes + (u32)__builtin_ctz(l)].at_barrier = false;
    m.warp[warp].ready |= lanes;
}

inline void open_barrier(Machine& m) {
    m.at_barrier = 0;
    m.vote_any = m.barrier_any, m.vote_all = m.barrier_all, m.vote_count = m.barrier_count;
    m.barrier_any = false, m.barrier_all = true, m.barrier_count = 0;
    for (u32 w = 0; w < m.warps; w++) make_ready(m, w, m.warp[w].alive);
}

__attribute__((noinline, visibility("hidden"))) inline void barrier(bool vote) {
    Machine& m = machine();
    Thread& t = *m.running;
    t.at_barrier = true;
    m.barrier_any |= vote, m.barrier_all &= vote, m.barrier_count += vote;
    if (++m.at_barrier == m.alive) open_barrier(m);
    suspend();
}

void finish_meeting(Machine& m, u32 warp, u32 group); // meeting.h

// meet waits for the other lanes of the mask, which must come to the same meeting.
inline void meet(Thread& t, Meeting meeting, u32 mask) {
    Machine& m = machine();
    Warp& w = m.warp[t.warp];
    t.meeting = meeting, t.mask = mask;
    if (!(mask >> t.lane & 1)) fail(LaunchFailed, "%s with mask %#x, in which the calling lane %u is missing", name_of(meeting), mask, t.lane);
    w.meeting |= 1u << t.lane;
    u32 group = mask & w.alive;
    if ((w.meeting & group) != group) return suspend();
    finish_meeting(m, t.warp, group);
    if (m.launch->order) return suspend();
    w.ready &= ~(1u << t.lane);
}

// leave is what a thread does last: those who waited for it need not any more.
[[noreturn]] inline void leave() {
    Machine& m = machine();
    Thread& t = *m.running;
    Warp& w = m.warp[t.warp];
    w.alive &= ~(1u << t.lane);
    m.alive--;
    for (u32 waiting = w.meeting; waiting;) {
        u32 group = m.thread[t.warp * warp_lanes + (u32)__builtin_ctz(waiting)].mask & w.alive;
        if ((group & w.meeting) == group) finish_meeting(m, t.warp, group);
        waiting &= ~group;
    }
    if (m.alive && m.at_barrier == m.alive) open_barrier(m);
    suspend();
    __builtin_unreachable();
}

inline void thread_entry() {
#ifdef EMULATED_ASAN
    __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
    Machine& m = machine();
    m.kernel->entry(m.launch->params);
    leave();
}

} // namespace emulated
