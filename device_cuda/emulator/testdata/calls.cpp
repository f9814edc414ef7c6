// Calls the emulated driver as device_cuda/driver would not, and prints what it answers otherwise than CUDA does. The arguments
// are the libraries' paths.
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include <string>
#include <thread>
#include <vector>

static void *cuda, *nvrtc;
static int wrong;

template <typename... Arguments> static int call(const char* name, Arguments... arguments) {
    auto* f = (int (*)(Arguments...))dlsym(strncmp(name, "nvrtc", 5) ? cuda : nvrtc, name);
    return f ? f(arguments...) : (printf("%s is missing\n", name), wrong++, -1);
}

static void expect(const char* what, int got, int want) {
    if (got != want) printf("%s: %d, want %d\n", what, got, want), wrong++;
}

typedef unsigned long long u64;

struct Configuration {
    unsigned grid[3], block[3], shared;
    void *stream, *attributes;
    unsigned attribute_count;
};

static std::vector<char> compile(const char* source) {
    void* program;
    size_t bytes = 0;
    expect("nvrtcCreateProgram", call("nvrtcCreateProgram", &program, source, "calls.cu", 0, (const char**)0, (const char**)0), 0);
    const char* bad[] = {"--nonsense"};
    expect("unknown option", call("nvrtcCompileProgram", program, 1, bad), 5);
    const char* options[] = {"--gpu-architecture=sm_90a", "-DBY=2"};
    expect("nvrtcCompileProgram", call("nvrtcCompileProgram", program, 2, options), 0);
    call("nvrtcGetCUBINSize", program, &bytes);
    std::vector<char> image(bytes);
    call("nvrtcGetCUBIN", program, image.data());
    expect("nvrtcDestroyProgram", call("nvrtcDestroyProgram", &program), 0);
    return image;
}

int main(int, char** paths) {
    cuda = dlopen(paths[1], RTLD_NOW), nvrtc = dlopen(paths[2], RTLD_NOW);
    if (!cuda || !nvrtc) return puts(dlerror()), 1;
    int count = 0, device = -1, value = 0;
    void *context, *stream, *blocking, *graph = nullptr, *executable, *event, *timed, *module, *function;
    u64 p = 0, q = 0;
    expect("count before cuInit", call("cuDeviceGetCount", &count), 3);
    expect("cuInit", call("cuInit", 0), 0);
    expect("cuDeviceGetCount", call("cuDeviceGetCount", &count), 0);
    expect("cards", count, 1);
    expect("second card", call("cuDeviceGet", &device, 1), 101);
    expect("cuDeviceGet", call("cuDeviceGet", &device, 0), 0);
    expect("compute capability", (call("cuDeviceGetAttribute", &value, 75, device), value), 9);
    expect("shared memory", (call("cuDeviceGetAttribute", &value, 97, device), value), 232448);

    expect("allocation without a context", call("cuMemAlloc_v2", &p, (size_t)100), 201);
    expect("retain", call("cuDevicePrimaryCtxRetain", &context, device), 0);
    expect("wrong context", call("cuCtxSetCurrent", &p), 201);
    expect("cuCtxSetCurrent", call("cuCtxSetCurrent", context), 0);
    std::thread([] { u64 p; expect("allocation on another thread", call("cuMemAlloc_v2", &p, (size_t)100), 201); }).join();

    expect("allocation of nothing", call("cuMemAlloc_v2", &p, (size_t)0), 1);
    expect("allocation of too much", call("cuMemAlloc_v2", &p, (size_t)5 << 30), 2);
    expect("cuMemAlloc", call("cuMemAlloc_v2", &p, (size_t)1000), 0);
    expect("alignment", (int)(p % 256), 0);
    size_t free = 0, total = 0;
    call("cuMemGetInfo_v2", &free, &total);
    expect("memory in use", (int)(total - free), 1024);
    int host[4] = {1, 2, 3, 4}, back[4] = {};
    expect("copy past the end", call("cuMemcpyHtoDAsync_v2", p + 990, host, sizeof host, (void*)0), 1);
    expect("fill past the end", call("cuMemsetD8Async", p, (unsigned char)0, (size_t)1001, (void*)0), 1);
    expect("copy", call("cuMemcpyHtoDAsync_v2", p, host, sizeof host, (void*)0), 0);
    expect("copy back", call("cuMemcpyDtoHAsync_v2", back, p, sizeof back, (void*)0), 0);
    expect("copied", back[3], 4);
    expect("copy back of new memory", call("cuMemcpyDtoHAsync_v2", back, p + 16, sizeof back, (void*)0), 0);
    expect("new memory", back[0], -1);
    expect("copy on no stream", call("cuMemcpyHtoDAsync_v2", p, host, sizeof host, (void*)host), 400);
    expect("free of the middle", call("cuMemFree_v2", p + 256), 1);
    call("cuMemAlloc_v2", &q, (size_t)1);
    expect("free", call("cuMemFree_v2", q), 0);
    expect("second free", call("cuMemFree_v2", q), 1);

    expect("garbage as a module", call("cuModuleLoadData", &module, "not a module"), 200);
    auto image = compile("#include \"emulated.h\"\nstruct P { int* x; };\nKERNEL(add, P, 64) { atomicAdd(p.x, BY); }\nKERNEL(crash, P, 64) { p.x[1 << 28] = 1; }\n");
    expect("cuModuleLoadData", call("cuModuleLoadData", &module, image.data()), 0);
    expect("unknown kernel", call("cuModuleGetFunction", &function, module, "sub"), 500);
    expect("cuModuleGetFunction", call("cuModuleGetFunction", &function, module, "add"), 0);
    expect("shared memory beyond the card's", call("cuFuncSetAttribute", function, 8, 232449), 1);
    expect("cuStreamCreate", call("cuStreamCreate", &stream, 1), 0);
    expect("cuStreamCreate", call("cuStreamCreate", &blocking, 0), 0);
    expect("cuEventCreate", call("cuEventCreate", &event, 2), 0);
    expect("cuEventCreate", call("cuEventCreate", &timed, 0), 0);

    void* arguments[] = {&p};
    Configuration c = {{2, 1, 1}, {64, 1, 1}, 0, stream, nullptr, 0};
    auto launch = [&](Configuration c, void* f) { return call("cuLaunchKernelEx", &c, f, arguments, (void**)0); };
    auto with = [&](auto change) { Configuration d = c; change(d); return d; };
    call("cuMemsetD8Async", p, (unsigned char)0, (size_t)1000, stream);
    expect("launch", launch(c, function), 0);
    expect("launch of no function", launch(c, stream), 400);
    expect("too many threads", launch(with([](auto& d) { d.block[0] = 1025; }), function), 1);
    expect("more threads than declared", launch(with([](auto& d) { d.block[0] = 65; }), function), 1);
    expect("no blocks", launch(with([](auto& d) { d.grid[1] = 0; }), function), 1);
    expect("too many blocks", launch(with([](auto& d) { d.grid[2] = 65536; }), function), 1);
    expect("48 KiB of shared memory", launch(with([](auto& d) { d.shared = 49152; }), function), 0);
    expect("more shared memory without asking", launch(with([](auto& d) { d.shared = 49153; }), function), 1);
    expect("cuFuncSetAttribute", call("cuFuncSetAttribute", function, 8, 232448), 0);
    expect("227 KiB of shared memory", launch(with([](auto& d) { d.shared = 232448; }), function), 0);
    auto value_of = [&] { return call("cuMemcpyDtoHAsync_v2", back, p, (size_t)4, stream), call("cuStreamSynchronize", stream), back[0]; };
    expect("after three launches", value_of(), 3 * 2 * 64 * 2);

    expect("capture of the default stream", call("cuStreamBeginCapture_v2", (void*)0, 1), 900);
    expect("end without begin", call("cuStreamEndCapture", stream, &graph), 401);
    expect("begin", call("cuStreamBeginCapture_v2", stream, 1), 0);
    expect("begin again", call("cuStreamBeginCapture_v2", stream, 1), 401);
    expect("launch in capture", launch(c, function), 0);
    expect("end", call("cuStreamEndCapture", stream, &graph), 0);
    expect("captured, not run", value_of(), 768);
    expect("instantiate", call("cuGraphInstantiateWithFlags", &executable, graph, 0ull), 0);
    expect("cuGraphDestroy", call("cuGraphDestroy", graph), 0);
    expect("destroyed graph", call("cuGraphInstantiateWithFlags", &executable, graph, 0ull), 1);
    expect("upload", call("cuGraphUpload", executable, stream), 0);
    expect("cuGraphLaunch", call("cuGraphLaunch", executable, stream), 0);
    expect("cuGraphLaunch", call("cuGraphLaunch", executable, stream), 0);
    expect("after two replays", value_of(), 768 + 512);

    call("cuStreamBeginCapture_v2", stream, 1);
    expect("allocation in capture", call("cuMemAlloc_v2", &q, (size_t)1), 900);
    expect("end of a broken capture", call("cuStreamEndCapture", stream, &graph), 901);
    call("cuStreamBeginCapture_v2", stream, 1);
    expect("waiting in capture", call("cuStreamSynchronize", stream), 900);
    expect("end of a broken capture", call("cuStreamEndCapture", stream, &graph), 901);
    call("cuStreamBeginCapture_v2", blocking, 1);
    expect("default stream during capture", call("cuMemsetD8Async", p, (unsigned char)0, (size_t)4, (void*)0), 906);
    call("cuStreamEndCapture", blocking, &graph);

    float milliseconds = -1;
    expect("time of events without timing", (call("cuEventRecord", event, stream), call("cuEventElapsedTime", &milliseconds, event, event)), 400);
    expect("time of an event not recorded", call("cuEventElapsedTime", &milliseconds, timed, timed), 400);
    call("cuEventRecord", timed, stream);
    expect("query", call("cuEventQuery", timed), 0);
    expect("cuEventElapsedTime", call("cuEventElapsedTime", &milliseconds, timed, timed), 0);
    expect("wait", call("cuStreamWaitEvent", blocking, timed, 0u), 0);
    expect("destroyed event", (call("cuEventDestroy_v2", event), call("cuEventRecord", event, stream)), 400);

    setenv("EMULATED_CUDA_LATE", "1", 1);
    expect("late launch", launch(c, function), 0);
    expect("not run yet", *(int*)p, 1280);
    call("cuEventRecord", timed, stream);
    expect("first query", call("cuEventQuery", timed), 600);
    expect("run by the query", *(int*)p, 1536);
    expect("second query", call("cuEventQuery", timed), 0);
    unsetenv("EMULATED_CUDA_LATE");

    void* crash;
    expect("cuModuleGetFunction", call("cuModuleGetFunction", &crash, module, "crash"), 0);
    expect("a launch that fails later", launch(c, crash), 0);
    expect("next call", call("cuStreamSynchronize", stream), 700);
    expect("the call after", call("cuMemAlloc_v2", &q, (size_t)1), 700);
    const char* text;
    call("cuGetErrorString", 700, &text);
    if (!strstr(text, "kernel crash, block (0,0,0), thread (0,0,0)")) printf("error text: %s\n", text), wrong++;
    expect("release", call("cuDevicePrimaryCtxRelease_v2", device), 0);
    expect("after release", call("cuMemAlloc_v2", &q, (size_t)1), 201);
    expect("retain again", (call("cuDevicePrimaryCtxRetain", &context, device), call("cuCtxSetCurrent", context)), 0);
    expect("a new context works", call("cuMemAlloc_v2", &q, (size_t)1), 0);
    return wrong != 0;
}
