// The fake driver's modules, functions, launches and error texts.
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "call.h"

// folder is where this library lies; a module is put there for the moment in which it is loaded.
static std::string folder() {
    Dl_info info;
    if (!dladdr((void*)folder, &info) || !info.dli_fname) return ".";
    std::string path = info.dli_fname;
    size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : path.substr(0, slash);
}

static void* load(const char* object, size_t bytes) {
    std::string path = folder() + "/module-XXXXXX";
    int file = mkostemp(path.data(), O_CLOEXEC);
    if (file < 0) return nullptr;
    bool written = true;
    for (size_t n = 0; n < bytes && written;) {
        ssize_t k = write(file, object + n, bytes - n);
        written = k > 0;
        n += written ? (size_t)k : 0;
    }
    close(file);
    void* library = written ? dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL) : nullptr;
    unlink(path.c_str());
    return library;
}

API cuModuleLoadData(void** module, const void* image) {
    ENTER;
    if (int code = forbidden_in_capture(c)) return code;
    Image head;
    memcpy(&head, image, sizeof head.magic);
    NEED(!memcmp(head.magic, "EMULATED", sizeof head.magic), INVALID_IMAGE, "not compiled by the emulator's NVRTC");
    memcpy(&head, image, sizeof head);
    NEED(head.build == EMULATED_BUILD, NO_BINARY, "compiled by another build of the emulator: empty the cache of kernels");
    Module m = {&c, load((const char*)image + sizeof head, head.bytes), nullptr, nullptr, nullptr, nullptr};
    if (!m.library) {
        const char* why = dlerror();
        return explain(INVALID_IMAGE, why ? why : "the module cannot be written beside libcuda");
    }
    *(void**)&m.find = dlsym(m.library, "emulated_find");
    *(void**)&m.run = dlsym(m.library, "emulated_run");
    *(void**)&m.refusal = dlsym(m.library, "emulated_refusal");
    *(void**)&m.unload = dlsym(m.library, "emulated_unload");
    if (!m.find || !m.run || !m.refusal || !m.unload) return dlclose(m.library), explain(INVALID_IMAGE, "the source does not include emulated.h");
    *module = c.modules.add(m);
    return OK;
}

API cuModuleUnload(void* module) {
    ENTER;
    Module* m = c.modules.find(module);
    NEED(m, INVALID_HANDLE, "no module of the current context");
    flush_all(c);
    std::vector<Function*> functions;
    for (Function* f : c.functions.all())
        if (f->module == m) functions.push_back(f);
    for (Function* f : functions) c.functions.remove(f);
    m->unload();
    dlclose(m->library);
    c.modules.remove(m);
    return c.failed;
}

API cuModuleGetFunction(void** function, void* module, const char* name) {
    ENTER;
    Module* m = c.modules.find(module);
    NEED(m, INVALID_HANDLE, "no module of the current context");
    const emulated::Kernel* kernel = m->find(name);
    NEED(kernel, NOT_FOUND, std::string("the module has no kernel ") + name);
    for (Function* f : c.functions.all())
        if (f->kernel == kernel) return *function = f, OK;
    *function = c.functions.add({&c, m, kernel});
    return OK;
}

#define FUNCTION(handle) \
    Function* f = c.functions.find(handle); \
    NEED(f, INVALID_HANDLE, "no function of the current context")

// Registers and shared variables are nothing that the emulator counts a kernel's own share of: they read as 32 and 0.
API cuFuncGetAttribute(int* value, int attribute, void* function) {
    ENTER;
    FUNCTION(function);
    switch (attribute) {
    case 0: return *value = (int)f->kernel->threads, OK;
    case 1: case 2: case 3: return *value = 0, OK; // shared, constant, local
    case 4: return *value = 32, OK;
    case 5: case 6: return *value = 90, OK;
    case 8: return *value = (int)f->shared_limit, OK;
    }
    return explain(INVALID_VALUE, "the emulator does not know function attribute " + std::to_string(attribute));
}

API cuFuncSetAttribute(void* function, int attribute, int value) {
    ENTER;
    FUNCTION(function);
    if (attribute == 9) return OK; // preferred share of shared memory
    NEED(attribute == 8 && value >= 0 && value <= 227 << 10, INVALID_VALUE, "a block has at most 227 KiB of shared memory");
    f->shared_limit = (u32)value;
    return OK;
}

struct Attribute { // CUlaunchAttribute
    int id, unused;
    union {
        int value;
        char bytes[64];
    };
};

struct Configuration { // CUlaunchConfig
    unsigned grid[3], block[3], shared;
    void* stream;
    Attribute* attributes;
    unsigned attribute_count;
};

static void describe(void* context, const void* address, char* text, size_t size) {
    Context& c = *(Context*)context;
    c.memory.describe(address, text, size);
    if (!*text) c.pinned.describe(address, text, size);
}

// launch runs a kernel and looks for what it wrote beside its memory.
static int launch(Function& f, emulated::Launch l) {
    Context& c = *f.context;
    Driver& d = driver();
    char report[1024] = "", overrun[200];
    if (d.faults.strikes(f.kernel->name)) return explain(ILLEGAL_ADDRESS, std::string("kernel ") + f.kernel->name + ": as EMULATED_CUDA_FAULT asked for");
    if (u64 seed = setting("EMULATED_ORDER", 0)) l.order = seed + ++d.launches * 0x9e3779b97f4a7c15ull;
    l.report = report, l.report_size = sizeof report;
    l.describe = describe, l.memory = &c;
    if (int code = f.module->run(f.kernel, &l)) return explain(code, report);
    if (!c.memory.overrun(overrun, sizeof overrun) && !c.pinned.overrun(overrun, sizeof overrun)) return OK;
    return explain(ILLEGAL_ADDRESS, std::string("kernel ") + f.kernel->name + ": " + overrun);
}

#ifndef EMULATED_OLD_DRIVER // it came with CUDA 11.8
API cuLaunchKernelEx(const Configuration* config, void* function, void** params, void** extra) {
    ENTER;
    NEED(config && params && !extra, INVALID_VALUE, "the emulator needs kernelParams");
    FUNCTION(function);
    STREAM(config->stream);
    emulated::Launch l = {};
    for (int i = 0; i < 3; i++) l.grid[i] = config->grid[i], l.block[i] = config->block[i];
    l.shared = config->shared, l.shared_limit = f->shared_limit;
    for (unsigned i = 0; i < config->attribute_count; i++) {
        const Attribute& a = config->attributes[i];
        NEED(a.id == 6 || a.id == 0, INVALID_VALUE, "the emulator does not know launch attribute " + std::to_string(a.id));
        l.dependent |= a.id == 6 && a.value;
    }
    if (const char* why = f->module->refusal(f->kernel, &l)) return explain(INVALID_VALUE, std::string("kernel ") + f->kernel->name + ": " + why);
    auto argument = std::make_shared<std::vector<max_align_t>>(f->kernel->params / sizeof(max_align_t) + 1);
    memcpy(argument->data(), params[0], f->kernel->params);
    return submit(c, *s, [=]() mutable {
        l.params = argument->data();
        return launch(*f, l);
    });
}
#endif

static const struct {
    int code;
    const char *name, *text;
} errors[] = {
    {OK, "CUDA_SUCCESS", "no error"},
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {NO_BINARY, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
    {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {ILLEGAL_STATE, "CUDA_ERROR_ILLEGAL_STATE", "the operation cannot be performed in the present state"},
    {NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {LAUNCH_TIMEOUT, "CUDA_ERROR_LAUNCH_TIMEOUT", "the launch timed out and was terminated"},
    {ASSERT, "CUDA_ERROR_ASSERT", "device-side assert triggered"},
    {ILLEGAL_INSTRUCTION, "CUDA_ERROR_ILLEGAL_INSTRUCTION", "an illegal instruction was encountered"},
    {MISALIGNED_ADDRESS, "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"},
    {LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
    {CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"},
    {CAPTURE_IMPLICIT, "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT", "operation would make the legacy stream depend on a capturing blocking stream"},
    {UNKNOWN, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

API cuGetErrorName(int code, const char** name) {
    for (auto& e : errors)
        if (e.code == code) return *name = e.name, OK;
    return *name = nullptr, INVALID_VALUE;
}

// The text ends with what the emulator knows about the last error of that code: kernel, block, thread.
API cuGetErrorString(int code, const char** text) {
    std::lock_guard<std::mutex> lock(driver().mutex);
    Driver& d = driver();
    for (auto& e : errors)
        if (e.code == code) {
            std::string all = e.text;
            if (code && d.explained == code) all += ": " + d.explanation;
            *text = d.texts.insert(all).first->c_str();
            return OK;
        }
    return *text = nullptr, INVALID_VALUE;
}
