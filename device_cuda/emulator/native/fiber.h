// Fibers: threads that the program itself switches between. Each has a stack of its own; a switch saves what the calling
// convention lets a function rely on, and nothing else. x86-64 takes a few nanoseconds; elsewhere ucontext does it.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#if !defined(__x86_64__) && !defined(EMULATED_UCONTEXT)
#define EMULATED_UCONTEXT
#endif
#ifdef EMULATED_UCONTEXT
#include <ucontext.h>
#endif
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EMULATED_ASAN
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define EMULATED_ASAN
#endif
#ifdef EMULATED_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

namespace emulated {

struct Fiber {
#ifdef EMULATED_UCONTEXT
    ucontext_t context;
#else
    void* stack_pointer = nullptr;
#endif
    char* stack = nullptr; // its lowest byte; null for the operating system's thread
    size_t stack_size = 0;
};

#ifndef EMULATED_UCONTEXT
static __attribute__((naked, noinline, unused)) void switch_stacks(void**, void*) {
    asm("pushq %rbp\n\tpushq %rbx\n\tpushq %r12\n\tpushq %r13\n\tpushq %r14\n\tpushq %r15\n\t"
        "movq %rsp, (%rdi)\n\tmovq %rsi, %rsp\n\t"
        "popq %r15\n\tpopq %r14\n\tpopq %r13\n\tpopq %r12\n\tpopq %rbx\n\tpopq %rbp\n\tret");
}
#endif

// prepare makes the next switch to f call entry, which must never return.
inline void prepare(Fiber& f, void (*entry)()) {
#ifdef EMULATED_UCONTEXT
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack;
    f.context.uc_stack.ss_size = f.stack_size;
    f.context.uc_link = nullptr;
    makecontext(&f.context, entry, 0);
#else
    void** top = (void**)(f.stack + f.stack_size) - 1; // where a call would have left its return address
    *top = nullptr;
    *--top = (void*)entry;
    for (int i = 0; i < 6; i++) *--top = nullptr;
    f.stack_pointer = top;
#endif
}

inline void switch_fiber(Fiber& from, Fiber& to) {
#ifdef EMULATED_ASAN
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, to.stack, to.stack_size);
#endif
#ifdef EMULATED_UCONTEXT
    swapcontext(&from.context, &to.context);
#else
    switch_stacks(&from.stack_pointer, to.stack_pointer);
#endif
#ifdef EMULATED_ASAN
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

// Stacks gives out stacks with a page behind each that nothing may touch.
class Stacks {
  public:
    static constexpr size_t guard = 4096, size = 128 << 10;

    ~Stacks() {
        if (memory) munmap(memory, bytes);
    }
    void assign(Fiber& f, unsigned i, unsigned most) {
        if (!memory) {
            bytes = (size_t)most * (size + guard);
            memory = (char*)mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
            for (unsigned s = 0; s < most; s++) mprotect(memory + s * (size + guard), guard, PROT_NONE);
        }
        f.stack = memory + i * (size + guard) + guard;
        f.stack_size = size - i * 5 % 64 * 64; // tops that differ, or all would share one set of the cache
    }
    // overflowed says whether the address lies in a guard page.
    bool overflowed(const void* address) const {
        size_t offset = (size_t)((const char*)address - memory);
        return memory && (const char*)address >= memory && offset < bytes && offset % (size + guard) < guard;
    }

  private:
    char* memory = nullptr;
    size_t bytes = 0;
};

} // namespace emulated
