//go:build cuda

#include "driver.h"
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#define TRY(call)                                                                                                            \
    do {                                                                                                                     \
        int failure = (call);                                                                                                \
        if (failure) return failure;                                                                                         \
    } while (0)

void *open_library(const char *path, char **complaint) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) *complaint = strdup(dlerror());
    return library;
}

#define FIND(to, name, since)                                                                                                \
    if (!(*(void **)&(to)->name = dlsym(library, #name))) {                                                                  \
        *missing = #name;                                                                                                    \
        return since;                                                                                                        \
    }
#define FIND_CUDA(name, since, parameters, names) FIND(c, name, since)
#define FIND_NVRTC(name, since, parameters, names) FIND(n, name, since)

int find_cuda(void *library, cuda *c, const char **missing) {
    CUDA_FUNCTIONS(FIND_CUDA)
    return 0;
}

int find_nvrtc(void *library, nvrtc *n, const char **missing) {
    NVRTC_FUNCTIONS(FIND_NVRTC)
    FIND(n, nvrtcGetErrorString, 7000)
    return 0;
}

plan *plan_new(int count, size_t argument_bytes) {
    plan *p = calloc(1, sizeof(plan) + count * sizeof(launch) + argument_bytes);
    if (p) p->count = count;
    return p;
}

void plan_set(plan *p, int i, void *function, const unsigned *grid, unsigned block, unsigned shared, void *stream, int dependent,
              size_t offset, const void *argument, size_t bytes) {
    launch *l = &p->launches[i];
    l->function = function;
    l->config = (launch_config){
        .grid = {grid[0], grid[1], grid[2]}, .block = {block, 1, 1}, .shared = shared, .stream = stream,
        .attributes = &l->dependent, .attribute_count = dependent ? 1 : 0,
    };
    l->dependent = (launch_attribute){.id = LAUNCH_PROGRAMMATIC, .value.allowed = 1};
    l->argument[0] = (char *)&p->launches[p->count] + offset;
    memcpy(l->argument[0], argument, bytes);
}

static int start(const cuda *c, plan *p, int i) {
    launch *l = &p->launches[i];
    int code = c->cuLaunchKernelEx(&l->config, l->function, l->argument, NULL);
    if (code) p->failed = i;
    return code;
}

int plan_run(const cuda *c, plan *p, void *stream, int check) {
    p->failed = -1;
    if (p->graph) return c->cuGraphLaunch(p->graph, stream);
    for (int i = 0; i < p->count; i++) {
        TRY(start(c, p, i));
        if (!check) continue;
        int code = c->cuStreamSynchronize(stream);
        if (code) p->failed = i;
        TRY(code);
    }
    return 0;
}

int plan_capture(const cuda *c, plan *p, void *stream) {
    void *graph = NULL, *exec = NULL;
    TRY(c->cuStreamBeginCapture_v2(stream, CAPTURE_THREAD_LOCAL));
    int run = plan_run(c, p, stream, 0);
    int end = c->cuStreamEndCapture(stream, &graph); // also after a failed launch: it takes the stream out of capture
    int code = run ? run : end;
    if (!code) code = c->cuGraphInstantiateWithFlags(&exec, graph, 0);
    if (graph) c->cuGraphDestroy(graph);
    if (!code) code = c->cuGraphUpload(exec, stream);
    if (!code) p->graph = exec;
    else if (exec) c->cuGraphExecDestroy(exec);
    return code;
}

int plan_time(const cuda *c, plan *p, void *stream, void **events) {
    p->failed = -1;
    TRY(c->cuEventRecord(events[0], stream));
    for (int i = 0; i < p->count; i++) {
        TRY(start(c, p, i));
        TRY(c->cuEventRecord(events[i + 1], stream));
    }
    return c->cuStreamSynchronize(stream);
}

int plan_step(const cuda *c, void *context, plan *p, void *stream, device_pointer to, const void *from, size_t bytes, void *event, int check) {
    p->failed = -1;
    TRY(c->cuCtxSetCurrent(context));
    if (bytes) TRY(c->cuMemcpyHtoDAsync_v2(to, from, bytes, stream));
    TRY(plan_run(c, p, stream, check));
    return c->cuEventRecord(event, stream);
}

int wait_event(const cuda *c, void *context, void *event) {
    TRY(c->cuCtxSetCurrent(context));
    return c->cuEventSynchronize(event);
}

int copy_to_card(const cuda *c, void *stream, device_pointer to, const void *from, size_t bytes) {
    TRY(c->cuMemcpyHtoDAsync_v2(to, from, bytes, stream));
    return c->cuStreamSynchronize(stream);
}

int copy_from_card(const cuda *c, void *stream, void *to, device_pointer from, size_t bytes) {
    TRY(c->cuMemcpyDtoHAsync_v2(to, from, bytes, stream));
    return c->cuStreamSynchronize(stream);
}
