// How every call of the fake driver begins, and how work gets into streams and out of them.
#pragma once

#include <thread>

#include "card.h"

#define API extern "C" __attribute__((visibility("default"))) int

inline Driver& driver() {
    static Driver* d = new Driver; // for the life of the process
    return *d;
}
inline thread_local Context* current;

inline int explain(int code, std::string why) {
    driver().explained = code, driver().explanation = std::move(why);
    return code;
}

// A Call holds the lock; code is why the call cannot be done.
struct Call {
    std::lock_guard<std::mutex> lock;
    Context* context;
    int code = OK;

    Call() : lock(driver().mutex), context(current) {
        Driver& d = driver();
        if (!d.initialized) code = NOT_INITIALIZED;
        else if (!context || !is_live(context)) code = explain(INVALID_CONTEXT, "no context is current on this thread");
        else code = context->failed;
    }
    static bool is_live(Context* c) {
        for (auto& [ordinal, live] : driver().contexts)
            if (live.get() == c) return true;
        return false;
    }
};
#define ENTER \
    Call call; \
    if (call.code) return call.code; \
    Context& c = *call.context; \
    (void)c
#define NEED(condition, code, why) \
    if (!(condition)) return explain(code, why)

inline bool late() { return setting("EMULATED_CUDA_LATE", 0) != 0; }

inline int run_one(Context& c, const Work& work) {
    if (!c.failed) c.failed = work();
    return c.failed;
}

inline void flush(Stream& s) {
    while (!s.queue.empty()) {
        Work w = std::move(s.queue.front());
        s.queue.pop_front();
        run_one(*s.context, w);
    }
}

inline int flush_all(Context& c) {
    flush(c.default_stream);
    for (Stream* s : c.streams.all()) flush(*s);
    return c.failed;
}

// complete runs what an event waits for, in as many steps as given.
inline void complete(Event& e, long steps = -1) {
    for (; e.queued && e.stream && !e.stream->queue.empty() && steps; steps--) {
        Work w = std::move(e.stream->queue.front());
        e.stream->queue.pop_front();
        run_one(*e.context, w);
    }
}

inline Stream* stream_of(Context& c, void* handle) { return handle ? c.streams.find(handle) : &c.default_stream; }

inline int submit(Context& c, Stream& s, Work work) {
    if (s.capturing) return s.captured.push_back(std::move(work)), OK;
    if (&s == &c.default_stream)
        for (Stream* other : c.streams.all())
            if (other->capturing && other->blocking) return other->capture_broken = true, explain(CAPTURE_IMPLICIT, "the default stream is used while a blocking stream is captured");
    s.queue.push_back(std::move(work));
    if (!late()) flush(s); // a failure shows in the next call, as on a card
    return OK;
}

// forbidden_in_capture breaks the captures that a call like an allocation must not happen in.
inline int forbidden_in_capture(Context& c) {
    bool broken = false;
    for (Stream* s : c.streams.all())
        if (s->capturing && (s->capture_mode == 0 || (s->capture_mode == 1 && s->capturer == std::this_thread::get_id()))) s->capture_broken = broken = true;
    return broken ? explain(CAPTURE_UNSUPPORTED, "this call is not allowed while a stream is captured") : OK;
}

#define STREAM(handle) \
    Stream* s = stream_of(c, handle); \
    NEED(s, INVALID_HANDLE, "no stream of the current context")
#define EVENT(handle) \
    Event* e = c.events.find(handle); \
    NEED(e, INVALID_HANDLE, "no event of the current context")
