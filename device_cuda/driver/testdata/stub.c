// A driver and an NVRTC for tests of what goes wrong: what kernels and copies do is done at once, and their time is only kept
// account of, so that waiting takes as long as it should. Its kernels are add, slow and broken. The environment says how
// many cards there are (STUB_CARDS) and how much memory (STUB_MEMORY); WITHOUT_LAUNCH leaves out a function.
#include "../driver.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int64_t setting(const char *name, int64_t otherwise) {
    const char *value = getenv(name);
    return value ? atoll(value) : otherwise;
}
static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int broken;      // the error that every call returns after a broken kernel
static int64_t busy;    // when the card has done all that is queued, in ns
static int64_t taken;   // bytes of memory
static __thread void *current;
#define HEALTHY                                                                                                              \
    if (!current) return 201;                                                                                                \
    if (__atomic_load_n(&broken, __ATOMIC_SEQ_CST)) return broken

static int until(int64_t t) {
    for (int64_t left; (left = t - now()) > 0;) nanosleep(&(struct timespec){left / 1000000000, left % 1000000000}, NULL);
    return __atomic_load_n(&broken, __ATOMIC_SEQ_CST);
}

int cuInit(unsigned flags) { return setting("STUB_CARDS", 1) ? setting("STUB_INIT", 0) : 100; }
int cuDriverGetVersion(int *version) { return *version = setting("STUB_VERSION", 12040), 0; }
int cuGetErrorName(int code, const char **name) {
    *name = code == 719 ? "CUDA_ERROR_LAUNCH_FAILED" : code == 500 ? "CUDA_ERROR_NOT_FOUND" : "CUDA_ERROR_OTHER";
    return 0;
}
int cuGetErrorString(int code, const char **text) {
    *text = code == 719 ? "unspecified launch failure" : code == 500 ? "named symbol not found" : "another error";
    return 0;
}
int cuDeviceGetCount(int *count) { return *count = setting("STUB_CARDS", 1), 0; }
int cuDeviceGet(device_id *device, int ordinal) { return *device = ordinal, 0; }
int cuDeviceGetName(char *name, int size, device_id device) { return snprintf(name, size, "Stub %d", device), 0; }
int cuDeviceTotalMem_v2(size_t *bytes, device_id device) { return *bytes = setting("STUB_MEMORY", 1 << 30), 0; }
int cuDeviceGetAttribute(int *value, int attribute, device_id device) {
    switch (attribute) {
    case DEVICE_MAJOR: *value = setting("STUB_MAJOR", 9); break;
    case DEVICE_MINOR: *value = setting("STUB_MINOR", 0); break;
    case DEVICE_MULTIPROCESSORS: *value = 132; break;
    case DEVICE_L2: *value = 50 << 20; break;
    case DEVICE_SHARED_PER_BLOCK: *value = 232448; break;
    default: return 1;
    }
    return 0;
}
int cuDevicePrimaryCtxRetain(void **context, device_id device) { return broken = 0, *context = &current, 0; }
int cuDevicePrimaryCtxRelease_v2(device_id device) { return taken = 0; }
int cuCtxSetCurrent(void *context) { return current = context, 0; }

int cuMemGetInfo_v2(size_t *free, size_t *total) {
    HEALTHY;
    *total = setting("STUB_MEMORY", 1 << 30);
    *free = *total - taken;
    return 0;
}
int cuMemAlloc_v2(device_pointer *p, size_t bytes) {
    HEALTHY;
    if ((int64_t)bytes > setting("STUB_MEMORY", 1 << 30) - taken) return 2;
    size_t *memory = malloc(bytes + 256);
    *memory = bytes;
    taken += bytes;
    *p = (device_pointer)memory + 256;
    return 0;
}
int cuMemFree_v2(device_pointer p) {
    HEALTHY;
    taken -= *(size_t *)(p - 256);
    free((void *)(p - 256));
    return 0;
}
int cuMemHostAlloc(void **p, size_t bytes, unsigned flags) {
    HEALTHY;
    return *p = malloc(bytes), 0;
}
int cuMemFreeHost(void *p) { return free(p), 0; }
int cuMemHostGetDevicePointer_v2(device_pointer *d, void *p, unsigned flags) { return *d = (device_pointer)p, 0; }
int cuMemcpyHtoDAsync_v2(device_pointer to, const void *from, size_t bytes, void *stream) {
    HEALTHY;
    return memcpy((void *)to, from, bytes), 0;
}
int cuMemcpyDtoHAsync_v2(void *to, device_pointer from, size_t bytes, void *stream) {
    HEALTHY;
    return memcpy(to, (void *)from, bytes), 0;
}
int cuMemsetD8Async(device_pointer p, unsigned char value, size_t bytes, void *stream) {
    HEALTHY;
    return memset((void *)p, value, bytes), 0;
}

typedef struct { uint32_t *to; uint32_t value, count; } argument;
typedef struct { void *function; argument argument; } node;
typedef struct { int count; node nodes[64]; } graph;
static graph *capturing;

static int execute(node *n) {
    if (now() > busy) busy = now();
    if (!strcmp(n->function, "broken")) __atomic_store_n(&broken, 719, __ATOMIC_SEQ_CST);
    if (!strcmp(n->function, "slow")) busy += 5000000;
    if (!strcmp(n->function, "add") && !broken)
        for (uint32_t i = 0; i < n->argument.count; i++) n->argument.to[i] += n->argument.value;
    return 0;
}
#ifndef WITHOUT_LAUNCH
int cuLaunchKernelEx(const launch_config *config, void *function, void **arguments, void **extra) {
    HEALTHY;
    if (config->attribute_count && (config->attributes[0].id != 6 || config->attributes[0].value.allowed != 1)) return 1;
    node n = {.function = function};
    memcpy(&n.argument, arguments[0], sizeof n.argument);
    if (!capturing) return execute(&n);
    capturing->nodes[capturing->count++] = n;
    return 0;
}
#endif
int cuStreamCreate(void **stream, unsigned flags) { return *stream = &busy, 0; }
int cuStreamDestroy_v2(void *stream) { return 0; }
int cuStreamSynchronize(void *stream) {
    HEALTHY;
    return until(busy);
}
int cuStreamBeginCapture_v2(void *stream, int mode) { return capturing = calloc(1, sizeof(graph)), mode == 1 ? 0 : 1; }
int cuStreamEndCapture(void *stream, void **result) { return *result = capturing, capturing = NULL, 0; }
int cuGraphInstantiateWithFlags(void **exec, void *from, unsigned long long flags) {
    return *exec = memcpy(malloc(sizeof(graph)), from, sizeof(graph)), 0;
}
int cuGraphUpload(void *exec, void *stream) { return 0; }
int cuGraphLaunch(void *exec, void *stream) {
    HEALTHY;
    graph *g = exec;
    for (int i = 0; i < g->count; i++) execute(&g->nodes[i]);
    return 0;
}
int cuGraphExecDestroy(void *exec) { return free(exec), 0; }
int cuGraphDestroy(void *from) { return free(from), 0; }

int cuEventCreate(void **event, unsigned flags) { return *event = calloc(1, sizeof(int64_t)), 0; }
int cuEventDestroy_v2(void *event) { return free(event), 0; }
int cuEventRecord(void *event, void *stream) {
    HEALTHY;
    __atomic_store_n((int64_t *)event, busy > now() ? busy : now(), __ATOMIC_SEQ_CST);
    return 0;
}
int cuEventSynchronize(void *event) {
    HEALTHY;
    return until(__atomic_load_n((int64_t *)event, __ATOMIC_SEQ_CST));
}
int cuEventElapsedTime(float *milliseconds, void *start, void *end) {
    return *milliseconds = (*(int64_t *)end - *(int64_t *)start) / 1e6f, 0;
}

int cuModuleLoadData(void **module, const void *image) {
    HEALTHY;
    return *module = (void *)&busy, memcmp(image, "compiled", 8) ? 200 : 0;
}
int cuModuleUnload(void *module) { return 0; }
int cuModuleGetFunction(void **function, void *module, const char *name) {
    static char *kernels[] = {"add", "slow", "broken"};
    for (int i = 0; i < 3; i++)
        if (!strcmp(name, kernels[i])) return *function = kernels[i], 0;
    return 500;
}
int cuFuncGetAttribute(int *value, int attribute, void *function) {
    *value = attribute == FUNCTION_MAX_THREADS ? 256 : attribute == FUNCTION_REGISTERS ? 40 : attribute == FUNCTION_STATIC_SHARED ? 48 : 0;
    return 0;
}
int cuFuncSetAttribute(void *function, int attribute, int value) {
    return attribute == FUNCTION_MAX_DYNAMIC_SHARED && value == 232448 - 48 ? 0 : 1;
}

// NVRTC: a source that holds "error" does not compile. The result is "compiled", the options and the source.
typedef struct { char *source, *image; } program;
int nvrtcVersion(int *major, int *minor) { return *major = 12, *minor = 4, 0; }
int nvrtcGetNumSupportedArchs(int *count) { return *count = 3, 0; }
int nvrtcGetSupportedArchs(int *architectures) { return memcpy(architectures, (int[]){80, 90, 100}, 12), 0; }
int nvrtcCreateProgram(void **p, const char *source, const char *name, int headers, const char *const *texts, const char *const *names) {
    program *new = calloc(1, sizeof(program));
    new->source = strdup(source);
    return *p = new, 0;
}
int nvrtcCompileProgram(void *p, int count, const char *const *options) {
    program *q = p;
    if (strstr(q->source, "error")) return 6;
    size_t bytes = strlen(q->source) + 16;
    for (int i = 0; i < count; i++) bytes += strlen(options[i]) + 1;
    q->image = strcpy(malloc(bytes), "compiled");
    for (int i = 0; i < count; i++) strcat(strcat(q->image, " "), options[i]);
    strcat(strcat(q->image, "\n"), q->source);
    char *log = getenv("STUB_COMPILED"); // a file that gets a byte for each compilation
    FILE *f = log ? fopen(log, "a") : NULL;
    if (f) fputc('.', f), fclose(f);
    return 0;
}
#define LOG "linear.cu(3): error: identifier \"wram\" is undefined\n"
int nvrtcGetProgramLogSize(void *p, size_t *bytes) { return *bytes = sizeof LOG, 0; }
int nvrtcGetProgramLog(void *p, char *log) { return memcpy(log, LOG, sizeof LOG), 0; }
int nvrtcGetCUBINSize(void *p, size_t *bytes) { return *bytes = strlen(((program *)p)->image) + 1, 0; }
int nvrtcGetCUBIN(void *p, char *cubin) { return strcpy(cubin, ((program *)p)->image), 0; }
int nvrtcGetPTXSize(void *p, size_t *bytes) { return nvrtcGetCUBINSize(p, bytes); }
int nvrtcGetPTX(void *p, char *ptx) { return nvrtcGetCUBIN(p, ptx); }
int nvrtcDestroyProgram(void **p) {
    program *q = *p;
    free(q->source), free(q->image), free(q);
    return 0;
}
const char *nvrtcGetErrorString(int code) { return code == 6 ? "NVRTC_ERROR_COMPILATION" : "NVRTC_ERROR_OTHER"; }
