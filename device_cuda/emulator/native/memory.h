// A card's memory: allocations that end at a page which nothing may touch, with a pattern around them that tells of writes
// beside them. New memory is all 0xff, which is NaN in every format. Freed memory stays untouchable, so that its users are found.
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <map>
#include <vector>

namespace emulated {

struct Allocation {
    uint8_t *address, *mapping;
    size_t bytes, mapped; // mapped: without the untouchable pages on both sides
    bool freed;
};

class Memory {
    static constexpr size_t page = 4096, alignment = 256, watched = 512, lazy = 1 << 20;
    static constexpr uint8_t pattern = 0xa5;
    std::map<uintptr_t, Allocation> allocations; // by end of their pages
    int poison = -1;                             // a file of 0xff bytes, which large allocations begin as
    static constexpr size_t poison_bytes = 16 << 20;

  public:
    size_t used = 0; // bytes, as cards count them

    ~Memory() {
        for (auto& [end, a] : allocations) munmap(a.mapping - page, a.mapped + 2 * page);
        if (poison >= 0) close(poison);
    }

    static size_t rounded(size_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

    // allocate returns null if the system has no memory.
    void* allocate(size_t bytes) {
        size_t size = rounded(bytes), mapped = (size + page - 1) / page * page;
        auto* base = (uint8_t*)mmap(nullptr, mapped + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (base == MAP_FAILED) return nullptr;
        uint8_t* mapping = base + page;
        if (mprotect(mapping, mapped, PROT_READ | PROT_WRITE)) return munmap(base, mapped + 2 * page), nullptr;
        uint8_t* address = mapping + mapped - size;
        fill(address, 0xff, bytes);
        memset(mapping, pattern, (size_t)(address - mapping));
        memset(address + bytes, pattern, size - bytes);
        allocations[(uintptr_t)(mapping + mapped)] = {address, mapping, bytes, mapped, false};
        used += size;
        return address;
    }

    bool release(void* address) {
        Allocation* a = find(address);
        if (!a || a->freed || a->address != address) return false;
        mmap(a->mapping, a->mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
        a->freed = true;
        used -= rounded(a->bytes);
        return true;
    }

    // find returns the allocation that the address lies in or next to; null if there is none.
    Allocation* find(const void* address) {
        auto it = allocations.upper_bound((uintptr_t)address - page);
        if (it == allocations.end() || (uintptr_t)address < (uintptr_t)it->second.mapping - page) return nullptr;
        if (it->first <= (uintptr_t)address) { // behind this one, which may be before the next
            auto behind = std::next(it);
            if (behind != allocations.end() && (uintptr_t)address >= (uintptr_t)behind->second.mapping) it = behind;
        }
        return &it->second;
    }

    bool contains(const void* address, size_t bytes) {
        const Allocation* a = find(address);
        return a && !a->freed && address >= a->address && (const uint8_t*)address + bytes <= a->address + a->bytes;
    }

    // fill is memset that takes no memory for what is only ever 0xff or 0.
    void fill(uint8_t* p, uint8_t value, size_t bytes) {
        auto up = [](uint8_t* x) { return (uint8_t*)(((uintptr_t)x + page - 1) & ~(page - 1)); };
        uint8_t *first = up(p), *last = up(p + bytes + 1) - page;
        if (bytes < lazy || (value != 0xff && value != 0) || (value == 0xff && !has_poison())) {
            memset(p, value, bytes);
            return;
        }
        memset(p, value, (size_t)(first - p));
        memset(last, value, (size_t)(p + bytes - last));
        for (size_t n; first < last; first += n) {
            n = (size_t)(last - first);
            if (value == 0xff && n > poison_bytes) n = poison_bytes;
            void* m = value ? mmap(first, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED, poison, 0)
                            : mmap(first, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
            if (m == MAP_FAILED) memset(first, value, n);
        }
    }

    // overrun says where something was written beside an allocation, and mends it; false if nothing was.
    bool overrun(char* report, size_t size) {
        static const std::vector<uint8_t> untouched(watched + alignment, pattern);
        for (auto& [end, a] : allocations) {
            if (a.freed) continue;
            uint8_t *from = (size_t)(a.address - a.mapping) > watched ? a.address - watched : a.mapping, *behind = a.address + a.bytes;
            size_t before = (size_t)(a.address - from), after = (size_t)((uint8_t*)end - behind);
            if (!memcmp(from, untouched.data(), before) && !memcmp(behind, untouched.data(), after)) continue;
            uint8_t* p = from;
            while (*p == pattern) p = p + 1 == a.address ? behind : p + 1;
            snprintf(report, size, "wrote byte %td of an allocation of %zu bytes at %p", p - a.address, a.bytes, (void*)a.address);
            memset(from, pattern, before);
            memset(behind, pattern, after);
            return true;
        }
        return false;
    }

    // describe writes what an address is; nothing if it is none of ours.
    void describe(const void* address, char* text, size_t size) {
        const Allocation* a = find(address);
        if (!a) return;
        snprintf(text, size, "byte %td of %s of %zu bytes at %p", (const uint8_t*)address - a->address, a->freed ? "freed memory" : "an allocation", a->bytes, (void*)a->address);
    }

  private:
    bool has_poison() {
        if (poison >= 0) return true;
        poison = memfd_create("poison", MFD_CLOEXEC);
        static uint8_t ones[1 << 16];
        memset(ones, 0xff, sizeof ones);
        for (size_t n = 0; poison >= 0 && n < poison_bytes; n += sizeof ones)
            if (write(poison, ones, sizeof ones) != (ssize_t)sizeof ones) close(poison), poison = -1;
        return poison >= 0;
    }
};

} // namespace emulated
