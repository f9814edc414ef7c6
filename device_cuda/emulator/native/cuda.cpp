// A libcuda whose cards are emulated. It does what the driver layer needs (device_cuda/driver/driver.h lists the calls; cuda.h of
// CUDA 13 defines them) and checks what the real one checks. Work runs when it is submitted, or as late as CUDA allows
// if EMULATED_CUDA_LATE=1: then a stream's work waits until somebody waits for it. One lock serialises everything.
#include <string.h>

#include "call.h"

API cuInit(unsigned) {
    Driver& d = driver();
    std::lock_guard<std::mutex> lock(d.mutex);
    if (d.faults.has("init")) return UNKNOWN;
    if (d.faults.has("nodevice") || !setting("EMULATED_CUDA_DEVICES", 1)) return NO_DEVICE;
    d.initialized = true;
    return OK;
}

API cuDriverGetVersion(int* version) {
    std::lock_guard<std::mutex> lock(driver().mutex);
#ifdef EMULATED_OLD_DRIVER
    *version = 11000;
#else
    *version = driver().faults.has("old-driver") ? 11000 : 13000;
#endif
    return OK;
}

static int device_count() { return driver().initialized ? (int)setting("EMULATED_CUDA_DEVICES", 1) : 0; }
#define ENTER_DEVICE(ordinal) \
    std::lock_guard<std::mutex> lock(driver().mutex); \
    if (!driver().initialized) return NOT_INITIALIZED; \
    if ((ordinal) < 0 || (ordinal) >= device_count()) return INVALID_DEVICE

API cuDeviceGetCount(int* count) {
    ENTER_DEVICE(0);
    if (driver().faults.has("nodevice")) return NO_DEVICE;
    *count = device_count();
    return OK;
}

API cuDeviceGet(int* device, int ordinal) {
    ENTER_DEVICE(ordinal);
    *device = ordinal;
    return OK;
}

API cuDeviceGetName(char* name, int size, int device) {
    ENTER_DEVICE(device);
    snprintf(name, (size_t)size, "Emulated H100");
    return OK;
}

// The figures of an H100 SXM, but for the number of multiprocessors.
API cuDeviceGetAttribute(int* value, int attribute, int device) {
    ENTER_DEVICE(device);
    static const std::map<int, int> values = {
        {1, 1024}, {2, 1024}, {3, 1024}, {4, 64}, {5, 0x7fffffff}, {6, 65535}, {7, 65535}, // threads of a block, blocks of a grid
        {8, 48 << 10}, {81, 228 << 10}, {97, 227 << 10},                                   // shared memory: of a block, of a multiprocessor, if asked for
        {10, 32}, {12, 65536}, {82, 65536}, {39, 2048}, {106, 32},                         // warp, registers, threads and blocks of a multiprocessor
        {13, 1980000}, {36, 2619000}, {37, 5120}, {38, 50 << 20},                          // clocks in kHz, bits of the memory bus, bytes of L2
        {41, 1}, {75, 9}, {76, 0}, {95, 1},                                                // unified addressing, compute capability, cooperative launch
    };
    if (attribute == 16) return *value = (int)setting("EMULATED_CUDA_MULTIPROCESSORS", 8), OK;
    auto it = values.find(attribute);
    if (it == values.end()) return explain(INVALID_VALUE, "the emulator does not know device attribute " + std::to_string(attribute));
    *value = it->second;
    return OK;
}

static size_t total_memory() { return setting("EMULATED_CUDA_MEMORY", 4ull << 30); }

API cuDeviceTotalMem_v2(size_t* bytes, int device) {
    ENTER_DEVICE(device);
    *bytes = total_memory();
    return OK;
}

API cuDevicePrimaryCtxRetain(void** context, int device) {
    ENTER_DEVICE(device);
    auto& c = driver().contexts[device];
    if (!c) c = std::make_unique<Context>(device);
    c->users++;
    *context = c.get();
    return OK;
}

API cuDevicePrimaryCtxRelease_v2(int device) {
    ENTER_DEVICE(device);
    auto it = driver().contexts.find(device);
    if (it == driver().contexts.end()) return INVALID_CONTEXT;
    if (--it->second->users == 0) {
        flush_all(*it->second);
        for (Module* m : it->second->modules.all()) m->unload(), dlclose(m->library);
        driver().contexts.erase(it);
    }
    return OK;
}

API cuCtxSetCurrent(void* context) {
    std::lock_guard<std::mutex> lock(driver().mutex);
    if (!driver().initialized) return NOT_INITIALIZED;
    if (context && !Call::is_live((Context*)context)) return INVALID_CONTEXT;
    current = (Context*)context;
    return OK;
}

API cuMemGetInfo_v2(size_t* free, size_t* total) {
    ENTER;
    *total = total_memory();
    *free = *total - std::min(*total, c.memory.used);
    return OK;
}

API cuMemAlloc_v2(u64* p, size_t bytes) {
    ENTER;
    NEED(p && bytes, INVALID_VALUE, "an allocation of no bytes");
    if (int code = forbidden_in_capture(c)) return code;
    if (driver().faults.strikes("alloc")) return explain(OUT_OF_MEMORY, "as EMULATED_CUDA_FAULT asked for");
    if (bytes > total_memory() || c.memory.used + emulated::Memory::rounded(bytes) > total_memory()) return explain(OUT_OF_MEMORY, "the card has " + std::to_string(total_memory()) + " bytes, of which " + std::to_string(c.memory.used) + " are used");
    void* memory = c.memory.allocate(bytes);
    *p = (u64)memory;
    NEED(memory, OUT_OF_MEMORY, "the host has no memory for it");
    return OK;
}

API cuMemFree_v2(u64 p) {
    ENTER;
    if (!p) return OK;
    if (int code = forbidden_in_capture(c)) return code;
    if (int code = flush_all(c)) return code;
    NEED(c.memory.release((void*)p), INVALID_VALUE, "free of what is no allocation");
    return OK;
}

API cuMemHostAlloc(void** p, size_t bytes, unsigned) {
    ENTER;
    NEED(p && bytes, INVALID_VALUE, "an allocation of no bytes");
    if (int code = forbidden_in_capture(c)) return code;
    *p = c.pinned.allocate(bytes);
    NEED(*p, OUT_OF_MEMORY, "the host has no memory for it");
    return OK;
}

API cuMemFreeHost(void* p) {
    ENTER;
    if (int code = forbidden_in_capture(c)) return code;
    if (int code = flush_all(c)) return code;
    NEED(c.pinned.release(p), INVALID_VALUE, "free of what is no pinned memory");
    return OK;
}

API cuMemHostGetDevicePointer_v2(u64* d, void* p, unsigned) {
    ENTER;
    NEED(c.pinned.contains(p, 1), INVALID_VALUE, "not pinned memory");
    *d = (u64)p;
    return OK;
}

static bool on_card(Context& c, u64 p, size_t bytes) { return c.memory.contains((void*)p, bytes) || c.pinned.contains((void*)p, bytes); }

API cuMemcpyHtoDAsync_v2(u64 to, const void* from, size_t bytes, void* stream) {
    ENTER;
    STREAM(stream);
    if (!bytes) return OK;
    NEED(from && on_card(c, to, bytes), INVALID_VALUE, "the copy's target is not within an allocation");
    if (s->capturing || !late() || c.pinned.contains(from, bytes)) return submit(c, *s, [=] { return memcpy((void*)to, from, bytes), OK; });
    auto staged = std::make_shared<std::string>((const char*)from, bytes); // as CUDA does with memory that is not pinned
    return submit(c, *s, [=] { return memcpy((void*)to, staged->data(), bytes), OK; });
}

API cuMemcpyDtoHAsync_v2(void* to, u64 from, size_t bytes, void* stream) {
    ENTER;
    STREAM(stream);
    if (!bytes) return OK;
    NEED(to && on_card(c, from, bytes), INVALID_VALUE, "the copy's source is not within an allocation");
    int code = submit(c, *s, [=] { return memcpy(to, (void*)from, bytes), OK; });
    if (!c.pinned.contains(to, bytes) && !s->capturing) flush(*s);
    return code;
}

API cuMemsetD8Async(u64 p, unsigned char value, size_t bytes, void* stream) {
    ENTER;
    STREAM(stream);
    if (!bytes) return OK;
    NEED(on_card(c, p, bytes), INVALID_VALUE, "what is to be filled is not within an allocation");
    return submit(c, *s, [=, &c] { return c.memory.fill((u8*)p, value, bytes), OK; });
}

API cuStreamCreate(void** stream, unsigned flags) {
    ENTER;
    NEED(stream && flags <= 1, INVALID_VALUE, "unknown flags of a stream");
    Stream* s = c.streams.add(Stream{});
    s->context = &c, s->blocking = !flags;
    *stream = s;
    return OK;
}

API cuStreamDestroy_v2(void* stream) {
    ENTER;
    Stream* s = c.streams.find(stream);
    NEED(s, INVALID_HANDLE, "no stream of the current context");
    flush(*s);
    for (Event* e : c.events.all())
        if (e->stream == s) e->stream = nullptr;
    c.streams.remove(s);
    return c.failed;
}

API cuStreamSynchronize(void* stream) {
    ENTER;
    STREAM(stream);
    if (s->capturing) return s->capture_broken = true, explain(CAPTURE_UNSUPPORTED, "a captured stream cannot be waited for");
    flush(*s);
    return c.failed;
}

API cuStreamWaitEvent(void* stream, void* event, unsigned) {
    ENTER;
    STREAM(stream);
    Event* e = c.events.find(event);
    NEED(e, INVALID_HANDLE, "no event of the current context");
    if (!e->queued || e->stream == s) return OK;
    return submit(c, *s, [=] { return complete(*e), OK; });
}

API cuStreamBeginCapture_v2(void* stream, int mode) {
    ENTER;
    NEED(stream, CAPTURE_UNSUPPORTED, "the default stream cannot be captured");
    STREAM(stream);
    NEED(!s->capturing, ILLEGAL_STATE, "the stream is being captured already");
    NEED(mode >= 0 && mode <= 2, INVALID_VALUE, "unknown mode of capture");
    s->capturing = true, s->capture_broken = false, s->capture_mode = mode, s->capturer = std::this_thread::get_id();
    s->captured.clear();
    return OK;
}

API cuStreamEndCapture(void* stream, void** graph) {
    ENTER;
    *graph = nullptr;
    STREAM(stream);
    NEED(s->capturing, ILLEGAL_STATE, "the stream is not being captured");
    s->capturing = false;
    NEED(!s->capture_broken, CAPTURE_INVALIDATED, "something forbidden was called during the capture");
    *graph = c.graphs.add({&c, std::move(s->captured)});
    return OK;
}

API cuGraphInstantiateWithFlags(void** executable, void* graph, u64) {
    ENTER;
    Graph* g = c.graphs.find(graph);
    NEED(g, INVALID_VALUE, "no graph");
    *executable = c.executables.add(*g);
    return OK;
}

API cuGraphUpload(void* executable, void* stream) {
    ENTER;
    STREAM(stream);
    NEED(c.executables.find(executable), INVALID_VALUE, "no instantiated graph");
    return OK;
}

API cuGraphLaunch(void* executable, void* stream) {
    ENTER;
    STREAM(stream);
    Graph* g = c.executables.find(executable);
    NEED(g, INVALID_VALUE, "no instantiated graph");
    NEED(!s->capturing, NOT_SUPPORTED, "the emulator has no graphs in graphs");
    return submit(c, *s, [g] {
        for (Work& w : g->work)
            if (int code = w()) return code;
        return 0;
    });
}

API cuGraphExecDestroy(void* executable) {
    ENTER;
    Graph* g = c.executables.find(executable);
    NEED(g, INVALID_VALUE, "no instantiated graph");
    flush_all(c);
    c.executables.remove(g);
    return c.failed;
}

API cuGraphDestroy(void* graph) {
    ENTER;
    Graph* g = c.graphs.find(graph);
    NEED(g, INVALID_VALUE, "no graph");
    c.graphs.remove(g);
    return OK;
}

API cuEventCreate(void** event, unsigned flags) {
    ENTER;
    *event = c.events.add(Event{});
    ((Event*)*event)->context = &c, ((Event*)*event)->timed = !(flags & 2);
    return OK;
}

API cuEventRecord(void* event, void* stream) {
    ENTER;
    EVENT(event);
    STREAM(stream);
    bool counts = !s->capturing;
    if (counts) e->queued++, e->stream = s, e->recorded = true;
    return submit(c, *s, [=] {
        if (counts) e->queued--;
        e->recorded = true;
        e->time = std::chrono::steady_clock::now();
        return OK;
    });
}

API cuEventSynchronize(void* event) {
    ENTER;
    EVENT(event);
    complete(*e);
    return c.failed;
}

API cuEventQuery(void* event) {
    ENTER;
    EVENT(event);
    complete(*e, 1);
    return c.failed ? c.failed : e->queued ? NOT_READY : OK;
}

API cuEventElapsedTime(float* milliseconds, void* start, void* end) {
    ENTER;
    Event *from = c.events.find(start), *to = c.events.find(end);
    NEED(from && to && from->timed && to->timed && from->recorded && to->recorded, INVALID_HANDLE, "two recorded events with timing are needed");
    if (from->queued || to->queued) return NOT_READY;
    *milliseconds = std::chrono::duration<float, std::milli>(to->time - from->time).count();
    return OK;
}

API cuEventDestroy_v2(void* event) {
    ENTER;
    EVENT(event);
    complete(*e);
    c.events.remove(e);
    return OK;
}
