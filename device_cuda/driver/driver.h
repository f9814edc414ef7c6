// The few types and functions of the CUDA driver API and of NVRTC that minisgl needs, declared here so that building takes no
// CUDA header and no CUDA library: both are opened at run time. Names and numbers are those of cuda.h and nvrtc.h (CUDA 12
// and 13). Every function returns 0, or the error code of the call that failed.
#pragma once
#include <stddef.h>

typedef unsigned long long device_pointer; // CUdeviceptr
typedef int device_id;                     // CUdevice

typedef struct { // CUlaunchAttribute
    int id;
    int unused;
    union {
        int allowed; // value.programmaticStreamSerializationAllowed
        unsigned long long words[8];
    } value;
} launch_attribute;

typedef struct { // CUlaunchConfig
    unsigned grid[3], block[3], shared;
    void *stream;
    launch_attribute *attributes;
    unsigned attribute_count;
} launch_config;

enum {
    STREAM_NON_BLOCKING = 1,          // CU_STREAM_NON_BLOCKING
    EVENT_DISABLE_TIMING = 2,         // CU_EVENT_DISABLE_TIMING
    HOST_PORTABLE = 1,                // CU_MEMHOSTALLOC_PORTABLE
    HOST_MAPPED = 2,                  // CU_MEMHOSTALLOC_DEVICEMAP
    CAPTURE_THREAD_LOCAL = 1,         // CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
    LAUNCH_PROGRAMMATIC = 6,          // CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION
    DEVICE_MULTIPROCESSORS = 16,      // CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT
    DEVICE_L2 = 38,                   // CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE
    DEVICE_MAJOR = 75,                // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
    DEVICE_MINOR = 76,                // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR
    DEVICE_SHARED_PER_BLOCK = 97,     // CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
    FUNCTION_MAX_THREADS = 0,         // CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK
    FUNCTION_STATIC_SHARED = 1,       // CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES
    FUNCTION_LOCAL = 3,               // CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES
    FUNCTION_REGISTERS = 4,           // CU_FUNC_ATTRIBUTE_NUM_REGS
    FUNCTION_MAX_DYNAMIC_SHARED = 8,  // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
};

// X(name, CUDA version that first had it, parameters, their names)
#define CUDA_FUNCTIONS(X)                                                                                                    \
    X(cuInit, 2000, (unsigned flags), (flags))                                                                               \
    X(cuDriverGetVersion, 2020, (int *version), (version))                                                                   \
    X(cuGetErrorName, 6000, (int code, const char **name), (code, name))                                                     \
    X(cuGetErrorString, 6000, (int code, const char **text), (code, text))                                                   \
    X(cuDeviceGetCount, 2000, (int *count), (count))                                                                         \
    X(cuDeviceGet, 2000, (device_id *device, int ordinal), (device, ordinal))                                                \
    X(cuDeviceGetName, 2000, (char *name, int size, device_id device), (name, size, device))                                 \
    X(cuDeviceGetAttribute, 2000, (int *value, int attribute, device_id device), (value, attribute, device))                 \
    X(cuDeviceTotalMem_v2, 3020, (size_t *bytes, device_id device), (bytes, device))                                         \
    X(cuDevicePrimaryCtxRetain, 7000, (void **context, device_id device), (context, device))                                 \
    X(cuDevicePrimaryCtxRelease_v2, 11000, (device_id device), (device))                                                     \
    X(cuCtxSetCurrent, 4000, (void *context), (context))                                                                     \
    X(cuMemGetInfo_v2, 3020, (size_t *free, size_t *total), (free, total))                                                   \
    X(cuMemAlloc_v2, 3020, (device_pointer *p, size_t bytes), (p, bytes))                                                    \
    X(cuMemFree_v2, 3020, (device_pointer p), (p))                                                                           \
    X(cuMemHostAlloc, 2020, (void **p, size_t bytes, unsigned flags), (p, bytes, flags))                                     \
    X(cuMemFreeHost, 2000, (void *p), (p))                                                                                   \
    X(cuMemHostGetDevicePointer_v2, 3020, (device_pointer *d, void *p, unsigned flags), (d, p, flags))                       \
    X(cuMemcpyHtoDAsync_v2, 3020, (device_pointer to, const void *from, size_t bytes, void *stream), (to, from, bytes, stream)) \
    X(cuMemcpyDtoHAsync_v2, 3020, (void *to, device_pointer from, size_t bytes, void *stream), (to, from, bytes, stream))    \
    X(cuMemsetD8Async, 3020, (device_pointer p, unsigned char value, size_t bytes, void *stream), (p, value, bytes, stream)) \
    X(cuStreamCreate, 2000, (void **stream, unsigned flags), (stream, flags))                                                \
    X(cuStreamDestroy_v2, 4000, (void *stream), (stream))                                                                    \
    X(cuStreamSynchronize, 2000, (void *stream), (stream))                                                                   \
    X(cuStreamBeginCapture_v2, 10010, (void *stream, int mode), (stream, mode))                                              \
    X(cuStreamEndCapture, 10000, (void *stream, void **graph), (stream, graph))                                              \
    X(cuGraphInstantiateWithFlags, 11040, (void **exec, void *graph, unsigned long long flags), (exec, graph, flags))        \
    X(cuGraphUpload, 11010, (void *exec, void *stream), (exec, stream))                                                      \
    X(cuGraphLaunch, 10000, (void *exec, void *stream), (exec, stream))                                                      \
    X(cuGraphExecDestroy, 10000, (void *exec), (exec))                                                                       \
    X(cuGraphDestroy, 10000, (void *graph), (graph))                                                                         \
    X(cuEventCreate, 2000, (void **event, unsigned flags), (event, flags))                                                   \
    X(cuEventRecord, 2000, (void *event, void *stream), (event, stream))                                                     \
    X(cuEventSynchronize, 2000, (void *event), (event))                                                                      \
    X(cuEventElapsedTime, 2000, (float *milliseconds, void *start, void *end), (milliseconds, start, end))                   \
    X(cuEventDestroy_v2, 4000, (void *event), (event))                                                                       \
    X(cuModuleLoadData, 2000, (void **module, const void *image), (module, image))                                           \
    X(cuModuleUnload, 2000, (void *module), (module))                                                                        \
    X(cuModuleGetFunction, 2000, (void **function, void *module, const char *name), (function, module, name))                \
    X(cuFuncGetAttribute, 2020, (int *value, int attribute, void *function), (value, attribute, function))                   \
    X(cuFuncSetAttribute, 9000, (void *function, int attribute, int value), (function, attribute, value))                    \
    X(cuLaunchKernelEx, 11080, (const launch_config *config, void *function, void **arguments, void **extra),                \
      (config, function, arguments, extra))

// X(name, NVRTC version that first had it, parameters, their names)
#define NVRTC_FUNCTIONS(X)                                                                                                   \
    X(nvrtcVersion, 7000, (int *major, int *minor), (major, minor))                                                          \
    X(nvrtcGetNumSupportedArchs, 11020, (int *count), (count))                                                               \
    X(nvrtcGetSupportedArchs, 11020, (int *architectures), (architectures))                                                  \
    X(nvrtcCreateProgram, 7000,                                                                                              \
      (void **program, const char *source, const char *name, int headers, const char *const *texts, const char *const *names), \
      (program, source, name, headers, texts, names))                                                                        \
    X(nvrtcCompileProgram, 7000, (void *program, int count, const char *const *options), (program, count, options))          \
    X(nvrtcGetProgramLogSize, 7000, (void *program, size_t *bytes), (program, bytes))                                        \
    X(nvrtcGetProgramLog, 7000, (void *program, char *log), (program, log))                                                  \
    X(nvrtcGetCUBINSize, 11010, (void *program, size_t *bytes), (program, bytes))                                            \
    X(nvrtcGetCUBIN, 11010, (void *program, char *cubin), (program, cubin))                                                  \
    X(nvrtcGetPTXSize, 7000, (void *program, size_t *bytes), (program, bytes))                                               \
    X(nvrtcGetPTX, 7000, (void *program, char *ptx), (program, ptx))                                                         \
    X(nvrtcDestroyProgram, 7000, (void **program), (program))

#define EACH(...) __VA_ARGS__
#define POINTER(name, since, parameters, names) int(*name) parameters;

// cuda and nvrtc are the functions of an opened library. cuInit(c, flags) in Go is C.do_cuInit(c, flags), and so on.
typedef struct { CUDA_FUNCTIONS(POINTER) } cuda;
typedef struct { NVRTC_FUNCTIONS(POINTER) const char *(*nvrtcGetErrorString)(int code); } nvrtc;

#define DO_CUDA(name, since, parameters, names) static inline int do_##name(const cuda *c, EACH parameters) { return c->name names; }
#define DO_NVRTC(name, since, parameters, names) static inline int do_##name(const nvrtc *n, EACH parameters) { return n->name names; }
CUDA_FUNCTIONS(DO_CUDA)
NVRTC_FUNCTIONS(DO_NVRTC)
static inline const char *do_nvrtcGetErrorString(const nvrtc *n, int code) { return n->nvrtcGetErrorString(code); }

// open_library returns a handle, or NULL and what the loader said about it, to be freed.
void *open_library(const char *path, char **complaint);
// Fill in the functions of a library. Return 0, or the version that a function first came with, and the function's name.
int find_cuda(void *library, cuda *c, const char **missing);
int find_nvrtc(void *library, nvrtc *n, const char **missing);

// A plan is a list of launches, ready to run: as a graph if there is one, else one by one. It is one piece of memory, to be
// freed. Where running it fails, `failed` is the launch that did, or -1 if that is not known.
typedef struct {
    launch_config config;
    launch_attribute dependent;
    void *function;
    void *argument[1];
} launch;
typedef struct {
    void *graph; // CUgraphExec
    int count;
    int failed;
    launch launches[];
} plan;

plan *plan_new(int count, size_t argument_bytes);
// plan_set sets launch i. Its argument, of which the plan keeps a copy, lies `offset` bytes into the plan's arguments.
void plan_set(plan *p, int i, void *function, const unsigned *grid, unsigned block, unsigned shared, void *stream, int dependent,
              size_t offset, const void *argument, size_t bytes);
int plan_capture(const cuda *c, plan *p, void *stream);
// plan_run queues the plan; with `check` it waits after each launch.
int plan_run(const cuda *c, plan *p, void *stream, int check);
// plan_time queues the launches between count+1 events.
int plan_time(const cuda *c, plan *p, void *stream, void **events);

// plan_step queues the copy of an upload, if there is one, then a plan, then an event; wait_event waits for one. Both may be
// called on any thread: they make the context current there.
int plan_step(const cuda *c, void *context, plan *p, void *stream, device_pointer to, const void *from, size_t bytes, void *event, int check);
int wait_event(const cuda *c, void *context, void *event);
int copy_to_card(const cuda *c, void *stream, device_pointer to, const void *from, size_t bytes);
int copy_from_card(const cuda *c, void *stream, void *to, device_pointer from, size_t bytes);
