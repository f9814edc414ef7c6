// Launching a kernel: what the fake driver calls in a module, and what a C++ test calls directly.
#pragma once

#include <link.h>
#include <signal.h>
#include <time.h>

#include "builtins.h"
#include "memory.h"

namespace emulated {

constexpr size_t most_shared = 256 << 10, page = 4096;

// The one thread-local variable that is not shared memory of some kernel: it tells where those are.
static thread_local char anchor __attribute__((unused));

inline int find_module(dl_phdr_info* info, size_t, void* data) {
    Machine& m = *(Machine*)data;
    bool ours = false;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const auto& h = info->dlpi_phdr[i];
        uintptr_t at = (uintptr_t)&kernels_of_module;
        uintptr_t from = info->dlpi_addr + h.p_vaddr;
        if (h.p_type == PT_LOAD) ours |= at >= from && at < from + h.p_memsz;
        if (h.p_type == PT_LOAD && h.p_flags & PF_X) m.code = from, m.code_end = from + h.p_memsz;
        if (h.p_type == PT_TLS) m.static_shared = (u8*)info->dlpi_tls_data, m.static_shared_size = h.p_memsz;
    }
    if (!ours) m.static_shared = nullptr, m.static_shared_size = 0;
    return ours;
}

struct Fault {
    const void* address;
    int signal, code;
};
__attribute__((visibility("hidden"))) inline Fault fault_of_module;
__attribute__((visibility("hidden"))) inline struct sigaction outer_actions[65];
__attribute__((visibility("hidden"))) inline pid_t launching_thread;

inline int time_limit() { // seconds of processor time
    const char* text = getenv("EMULATED_TIMEOUT");
    int seconds = text ? atoi(text) : 0;
    return seconds > 0 ? seconds : 300;
}

inline void report_fault() {
    Machine& m = machine();
    const Fault& f = fault_of_module;
    if (f.signal == SIGILL) fail(MisalignedAddress, "a misaligned address, an index out of its array's bounds or a shift by more than the type has");
    if (f.signal == SIGVTALRM) fail(LaunchTimeout, "the kernel runs for more than %d s: does it wait for another block?", time_limit());
    if (f.signal == SIGFPE) fail(IllegalInstruction, "division of an integer by zero");
    if (f.code == SI_KERNEL) fail(MisalignedAddress, "a misaligned address, or one that no machine has");
    if (m.stacks.overflowed(f.address)) fail(LaunchFailed, "its stack overflows: more than %zu KiB of local variables", Stacks::size >> 10);
    const u8* a = (const u8*)f.address;
    if (a >= m.shared_end && a < m.shared_end + page) fail(IllegalAddress, "%u bytes of dynamic shared memory, but byte %td is used", m.launch->shared, a - m.shared);
    char what[120] = "";
    if (m.launch->describe) m.launch->describe(m.launch->memory, f.address, what, sizeof what);
    fail(IllegalAddress, "illegal address %p%s%s", f.address, *what ? ": " : "", what);
}

#ifdef __x86_64__
inline void on_signal(int signal, siginfo_t* info, void* context) {
    static char emergency_stack[64 << 10] __attribute__((aligned(64)));
    if (gettid() != launching_thread || !machine().running) {
        struct sigaction& outer = outer_actions[signal];
        if (outer.sa_flags & SA_SIGINFO) return outer.sa_sigaction(signal, info, context);
        if (outer.sa_handler != SIG_DFL && outer.sa_handler != SIG_IGN) return outer.sa_handler(signal);
        sigaction(signal, &outer, nullptr); // it happens again, and then as if we were not here
        return;
    }
    auto* registers = ((ucontext_t*)context)->uc_mcontext.gregs;
    uintptr_t at = (uintptr_t)registers[REG_RIP];
    if (signal == SIGVTALRM && (at < machine().code || at >= machine().code_end)) return; // inside a library: the next alarm will do
    fault_of_module = {info->si_addr, signal, info->si_code};
    registers[REG_RIP] = (greg_t)report_fault;
    registers[REG_RSP] = (greg_t)(emergency_stack + sizeof emergency_stack - 64 - 8);
}
#endif

// Signals turns a kernel's illegal accesses, and running for too long, into failures while it lives.
class Signals {
#if defined(__x86_64__) && !defined(EMULATED_ASAN)
    static constexpr int caught[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGVTALRM};
    bool own_stack = false;
    timer_t alarm = {};
    bool has_alarm = false;

  public:
    Signals() {
        launching_thread = gettid();
        static char signal_stack[64 << 10]; // Go's threads have one of their own
        stack_t stack = {};
        if (!sigaltstack(nullptr, &stack) && stack.ss_flags & SS_DISABLE) {
            stack = {signal_stack, 0, sizeof signal_stack};
            own_stack = !sigaltstack(&stack, nullptr);
        }
        struct sigaction action = {};
        action.sa_sigaction = on_signal;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        sigfillset(&action.sa_mask);
        for (int s : caught) sigaction(s, &action, &outer_actions[s]);
        sigevent event = {};
        event.sigev_notify = SIGEV_THREAD_ID, event.sigev_signo = SIGVTALRM;
        event._sigev_un._tid = launching_thread;
        has_alarm = !timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &alarm);
        itimerspec limit = {{0, 50'000'000}, {time_limit(), 0}}; // and again every 50 ms
        if (has_alarm) timer_settime(alarm, 0, &limit, nullptr);
    }
    ~Signals() {
        if (has_alarm) timer_delete(alarm);
        for (int s : caught) sigaction(s, &outer_actions[s], nullptr);
        launching_thread = 0;
        stack_t none = {};
        none.ss_flags = SS_DISABLE;
        if (own_stack) sigaltstack(&none, nullptr);
    }
#else
  public:
    Signals() {}
    ~Signals() {}
#endif
};

inline void describe_deadlock(Machine& m) {
    const Thread* first = nullptr;
    for (u32 i = 0; i < m.threads && !first; i++)
        if (m.warp[i / warp_lanes].alive >> i % warp_lanes & 1) first = &m.thread[i];
    char text[600];
    int n = 0;
    u32 described = 0;
    auto state = [&m](const Thread& t) -> u64 {
        if (!(m.warp[t.warp].alive >> t.lane & 1)) return 1;
        return t.at_barrier ? 2 : 3 + ((u64)t.mask << 8) + ((u64)t.meeting << 48);
    };
    for (u32 i = 0, end; i < m.threads && described < 8; i = end, described++) {
        u64 same = state(m.thread[i]);
        for (end = i + 1; end < m.threads && state(m.thread[end]) == same;) end++;
        n += snprintf(text + n, sizeof text - n, "%sthreads %u to %u ", n ? "; " : "", i, end - 1);
        if (same == 1) n += snprintf(text + n, sizeof text - n, "have ended");
        else if (same == 2) n += snprintf(text + n, sizeof text - n, "wait at __syncthreads");
        else n += snprintf(text + n, sizeof text - n, "wait at %s with mask %#x", name_of(m.thread[i].meeting), m.thread[i].mask);
    }
    const uint3 t = first ? first->index : uint3{};
    m.status = LaunchTimeout;
    snprintf(m.launch->report, m.launch->report_size, "kernel %s, block (%u,%u,%u), thread (%u,%u,%u): deadlock: %s", m.kernel->name, m.block_index.x, m.block_index.y, m.block_index.z, t.x, t.y, t.z, text);
}

inline void run_block(Machine& m) {
    constexpr size_t before = 256; // bytes that are watched too
    memset(m.shared - before, 0xff, (size_t)(m.shared_end - m.shared) + before);
    if (m.static_shared) memset(m.static_shared, 0xff, m.static_shared_size);
    m.alive = m.threads, m.at_barrier = 0;
    m.barrier_any = false, m.barrier_all = true, m.barrier_count = 0;
    for (u32 i = 0; i < m.threads; i++) {
        Thread& t = m.thread[i];
        t.lane = i % warp_lanes, t.warp = i / warp_lanes;
        t.index = {i % m.block_dim.x, i / m.block_dim.x % m.block_dim.y, i / m.block_dim.x / m.block_dim.y};
        t.at_barrier = false;
        t.copies.clear(), t.groups.clear();
        m.stacks.assign(t.fiber, i, max_threads);
        prepare(t.fiber, thread_entry);
    }
    for (u32 w = 0; w < m.warps; w++) {
        u32 lanes = m.threads - w * warp_lanes;
        u32 all = lanes >= warp_lanes ? ~0u : (1u << lanes) - 1;
        m.warp[w] = {all, all, 0};
    }
    m.running = &m.thread[0];
    m.running = next(m);
    switch_fiber(m.outside, m.running->fiber);
    m.running = nullptr;
    if (m.status == Good && m.alive) describe_deadlock(m);
    for (u8* p = m.shared - before; m.status == Good && p < m.shared_end; p++) {
        if (p == m.shared) p += m.launch->shared;
        if (p < m.shared_end && *p != 0xff) {
            m.status = IllegalAddress;
            snprintf(m.launch->report, m.launch->report_size, "kernel %s, block (%u,%u,%u): %u bytes of dynamic shared memory, but byte %td was written", m.kernel->name, m.block_index.x, m.block_index.y, m.block_index.z, m.launch->shared, p - m.shared);
        }
    }
}

inline Machine& make_machine() {
    if (!machine_of_module) {
        Machine& m = *(machine_of_module = new Machine);
        m.shared_memory = (u8*)mmap(nullptr, most_shared + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        m.shared_end = m.shared_memory + most_shared;
        mprotect(m.shared_end, page, PROT_NONE);
    }
    return *machine_of_module;
}

inline Kernel* find_kernel(const char* name) {
    for (Kernel* k = kernels_of_module; k; k = k->next)
        if (!strcmp(k->name, name)) return k;
    return nullptr;
}

// refusal says why a launch cannot begin; null if it can.
inline const char* refusal(const Kernel& kernel, const Launch& launch) {
    u64 threads = (u64)launch.block[0] * launch.block[1] * launch.block[2], blocks = (u64)launch.grid[0] * launch.grid[1] * launch.grid[2];
    if (!threads || threads > max_threads || launch.block[2] > 64) return "a block has 1 to 1024 threads";
    if (threads > kernel.threads) return "more threads than the kernel was declared with";
    if (!blocks) return "a grid has at least one block";
    if (launch.grid[0] > 0x7fffffff || launch.grid[1] > 65535 || launch.grid[2] > 65535) return "a grid has at most 2147483647, 65535 and 65535 blocks";
    if (launch.shared > launch.shared_limit) return "more dynamic shared memory than the function may have";
    return nullptr;
}

// run carries out a launch; the report says what went wrong.
inline Status run(const Kernel& kernel, const Launch& launch) {
    if (const char* why = refusal(kernel, launch)) return snprintf(launch.report, launch.report_size, "kernel %s: %s", kernel.name, why), InvalidValue;
    u64 blocks = (u64)launch.grid[0] * launch.grid[1] * launch.grid[2];
    Machine& m = make_machine();
    m.kernel = &kernel, m.launch = &launch;
    m.status = Good, m.waited = false, m.random = launch.order * 0x9e3779b97f4a7c15ull | 1;
    m.block_dim = {launch.block[0], launch.block[1], launch.block[2]}, m.grid_dim = {launch.grid[0], launch.grid[1], launch.grid[2]};
    m.threads = launch.block[0] * launch.block[1] * launch.block[2], m.warps = (m.threads + warp_lanes - 1) / warp_lanes;
    m.shared = m.shared_end - (launch.shared + 127) / 128 * 128;
    *(volatile char*)&anchor = 0; // or this thread may have no copy of them yet
    dl_iterate_phdr(find_module, &m);
    std::vector<u64> order;
    if (launch.order) {
        for (u64 b = 0; b < blocks; b++) order.push_back(b);
        for (u64 b = blocks; b > 1; b--) std::swap(order[b - 1], order[random_below(m, (u32)b)]);
    }
    Signals signals;
    for (u64 b = 0; b < blocks && m.status == Good; b++) {
        u64 i = launch.order ? order[b] : b;
        m.block_index = {(u32)(i % launch.grid[0]), (u32)(i / launch.grid[0] % launch.grid[1]), (u32)(i / launch.grid[0] / launch.grid[1])};
        run_block(m);
    }
    if (m.status == Good && launch.dependent && !m.waited) return snprintf(launch.report, launch.report_size, "kernel %s: launched as dependent, but no thread called wait()", kernel.name), LaunchFailed;
    return m.status;
}

} // namespace emulated

#define EMULATED_EXPORT extern "C" __attribute__((visibility("default"), used)) inline

// For the fake driver.
EMULATED_EXPORT const char* emulated_refusal(const emulated::Kernel* kernel, const emulated::Launch* launch) { return emulated::refusal(*kernel, *launch); }
EMULATED_EXPORT const emulated::Kernel* emulated_find(const char* name) { return emulated::find_kernel(name); }
EMULATED_EXPORT int emulated_run(const emulated::Kernel* kernel, const emulated::Launch* launch) { return emulated::run(*kernel, *launch); }
EMULATED_EXPORT void emulated_unload() {
    if (!emulated::machine_of_module) return;
    munmap(emulated::machine_of_module->shared_memory, emulated::most_shared + emulated::page);
    delete emulated::machine_of_module;
    emulated::machine_of_module = nullptr;
}

namespace emulated {

// For tests written in C++: launch runs the kernel of that name and returns its report, "" if all went well. Buffers are
// memory of the card. order is the seed of the order in which threads and blocks run; 0: EMULATED_ORDER, or their own.
inline Memory& memory_for_tests() {
    static Memory m;
    return m;
}
inline void describe_for_tests(void* memory, const void* address, char* text, size_t size) { ((Memory*)memory)->describe(address, text, size); }

template <typename Params> std::string launch(const char* name, const Params& params, dim3 grid, dim3 block, u32 shared = 0, u64 order = 0) {
    char report[1024] = "";
    if (const char* seed = getenv("EMULATED_ORDER"); seed && !order) order = strtoull(seed, nullptr, 10);
    Launch l = {{grid.x, grid.y, grid.z}, {block.x, block.y, block.z}, shared, 227 << 10, &params, order, false, report, sizeof report, describe_for_tests, &memory_for_tests()};
    const Kernel* k = find_kernel(name);
    if (!k) return std::string("no kernel ") + name;
    if (k->params != sizeof params) return std::string("kernel ") + name + " has another type of argument";
    if (run(*k, l) == Good && memory_for_tests().overrun(report, sizeof report)) return std::string("kernel ") + name + " " + report;
    return report;
}

template <typename T> class Buffer {
    T* values;
    size_t count;

  public:
    explicit Buffer(size_t n) : values((T*)memory_for_tests().allocate(n * sizeof(T))), count(n) {}
    Buffer(const Buffer&) = delete;
    ~Buffer() { memory_for_tests().release(values); }
    T* data() { return values; }
    T* begin() { return values; }
    T* end() { return values + count; }
    size_t size() const { return count; }
    T& operator[](size_t i) { return values[i]; }
};

} // namespace emulated
