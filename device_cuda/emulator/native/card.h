// What the fake driver knows: cards with their primary contexts, and in each the memory, streams, events, modules and graphs.
#pragma once

#include <dlfcn.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "block.h"
#include "image.h"
#include "memory.h"

enum Code { // CUresult, as far as it occurs here
    OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_DEVICE = 101, INVALID_IMAGE = 200, INVALID_CONTEXT = 201,
    NO_BINARY = 209, INVALID_HANDLE = 400, ILLEGAL_STATE = 401, NOT_FOUND = 500, NOT_READY = 600, ILLEGAL_ADDRESS = 700, LAUNCH_TIMEOUT = 702, ASSERT = 710,
    ILLEGAL_INSTRUCTION = 715, MISALIGNED_ADDRESS = 716, LAUNCH_FAILED = 719, NOT_SUPPORTED = 801, CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901,
    CAPTURE_IMPLICIT = 906, UNKNOWN = 999,
};

struct Context;
struct Stream;

typedef std::function<int()> Work;

struct Module {
    Context* context;
    void* library;
    const emulated::Kernel* (*find)(const char*);
    int (*run)(const emulated::Kernel*, const emulated::Launch*);
    const char* (*refusal)(const emulated::Kernel*, const emulated::Launch*);
    void (*unload)();
};

struct Function {
    Context* context;
    Module* module;
    const emulated::Kernel* kernel;
    u32 shared_limit = 48 << 10; // bytes of dynamic shared memory
};

struct Event {
    Context* context;
    bool timed, recorded = false;
    int queued = 0;           // records that have not run yet
    Stream* stream = nullptr; // of the last of them
    std::chrono::steady_clock::time_point time;
};

struct Graph { // also an instantiated one
    Context* context;
    std::vector<Work> work;
};

struct Stream {
    Context* context;
    bool blocking = true; // with the default stream
    std::deque<Work> queue;
    bool capturing = false, capture_broken = false;
    int capture_mode = 0;
    std::thread::id capturer;
    std::vector<Work> captured;
};

// Objects of one kind, by the handles that the host has of them.
template <typename T> class Handles {
    std::set<T*> live;

  public:
    ~Handles() { clear(); }
    T* add(T object) {
        T* p = new T(std::move(object));
        live.insert(p);
        return p;
    }
    T* find(void* handle) const {
        auto it = live.find((T*)handle);
        return it == live.end() ? nullptr : *it;
    }
    void remove(T* p) {
        live.erase(p);
        delete p;
    }
    void clear() {
        for (T* p : live) delete p;
        live.clear();
    }
    const std::set<T*>& all() const { return live; }
};

struct Context {
    int device = 0;
    int users = 0;
    int failed = 0; // the error that everything answers from now on
    emulated::Memory memory, pinned;
    Stream default_stream;
    Handles<Stream> streams;
    Handles<Event> events;
    Handles<Module> modules;
    Handles<Function> functions;
    Handles<Graph> graphs, executables;

    explicit Context(int device) : device(device) { default_stream.context = this; }
};

// Faults are what EMULATED_CUDA_FAULT asks for: a list, separated by commas, of "nodevice", "init", "old-driver", "alloc:n" (the
// n-th allocation of memory fails) and "KERNEL:n" (the n-th launch of that kernel does), counted from when it was set.
class Faults {
    std::string text;
    std::map<std::string, int> left;

    void read() {
        const char* now = getenv("EMULATED_CUDA_FAULT");
        if (text == (now ? now : "")) return;
        text = now ? now : "";
        left.clear();
        for (size_t from = 0; from < text.size();) {
            size_t to = std::min(text.find(',', from), text.size());
            std::string one = text.substr(from, to - from);
            size_t colon = one.rfind(':');
            left[one.substr(0, colon)] = colon == std::string::npos ? 1 : atoi(one.c_str() + colon + 1);
            from = to + 1;
        }
    }

  public:
    bool has(const char* name) { return read(), left.count(name) > 0; }
    // strikes counts one of what the name says, and tells whether it is the one to fail.
    bool strikes(const char* name) { return has(name) && --left[name] == 0; }
};

inline u64 setting(const char* name, u64 otherwise) {
    const char* text = getenv(name);
    return text && *text ? strtoull(text, nullptr, 0) : otherwise;
}

struct Driver {
    std::mutex mutex;
    bool initialized = false;
    std::map<int, std::unique_ptr<Context>> contexts;
    Faults faults;
    u64 launches = 0;
    int explained = 0; // the code that explanation is about
    std::string explanation;
    std::set<std::string> texts; // given out, so kept
};
