// A libnvrtc that compiles kernels for the emulated cards: with the host's C++ compiler, into a shared object that plays the
// cubin. It takes the options that the driver layer gives; nvrtc.h of CUDA 13 defines the calls. Results are kept beside this
// library, in the folder "modules".
//
// EMULATED_CUDA_DEBUG=1 compiles for a debugger, EMULATED_CUDA_FLAGS adds flags.
#include <dlfcn.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "image.h"

#define API extern "C" __attribute__((visibility("default")))
#ifndef EMULATED_COMPILER
#define EMULATED_COMPILER "c++"
#endif

extern char** environ;

namespace files = std::filesystem;

enum Result { SUCCESS, OUT_OF_MEMORY, CREATION_FAILURE, INVALID_INPUT, INVALID_PROGRAM, INVALID_OPTION, COMPILATION };

struct Program {
    std::string source, name;
    std::vector<std::pair<std::string, std::string>> headers; // name, text
    std::string log, image;
};

static files::path folder() {
    Dl_info info;
    return dladdr((void*)folder, &info) && info.dli_fname ? files::absolute(files::path(info.dli_fname)).parent_path() : files::current_path();
}

static std::string read(const files::path& path) {
    std::ifstream in(path, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
}

static bool write(const files::path& path, const std::string& text) {
    std::error_code error;
    files::create_directories(path.parent_path(), error);
    std::ofstream out(path, std::ios::binary);
    out << text;
    return out.good();
}

// hash is FNV-1a of texts, told apart.
static uint64_t hash(uint64_t h, const std::string& text) {
    for (unsigned char byte : text) h = (h ^ byte) * 0x100000001b3;
    return (h ^ text.size() ^ 0xff) * 0x100000001b3;
}

// run runs the compiler in a folder; what it says goes into the log.
static bool run(const std::vector<std::string>& command, const files::path& where, std::string& log) {
    std::vector<char*> arguments;
    for (auto& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    files::path said = where / "log";
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, said.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    sigset_t none, all; // the threads of the caller may block signals and catch them
    sigemptyset(&none), sigfillset(&all);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    pid_t child;
    int status = -1, failed = posix_spawnp(&child, arguments[0], &actions, &attributes, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (!failed)
        while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    log = failed ? command[0] + ": " + strerror(failed) : read(said);
    return !failed && WIFEXITED(status) && !WEXITSTATUS(status);
}

// translate turns NVRTC's options into the compiler's, or names one that NVRTC does not have.
static std::string translate(int count, const char* const* options, std::vector<std::string>& command) {
    static const char* const ignored[] = {"--gpu-architecture=", "-arch=", "-arch", "-lineinfo", "--generate-line-info", "--std=c++17", "-std=c++17", "--std=c++20", "-std=c++20", "--fmad=", "-fmad=", "--maxrregcount=", "-maxrregcount=", "--device-debug", "-G", "--dopt=", "-default-device", "--device-as-default-execution-space", "--restrict", "--extra-device-vectorization", "--diag-suppress=", "--ptxas-options=", "--minimal", "--no-cache"};
    for (int i = 0; i < count; i++) {
        std::string o = options[i];
        bool known = false;
        if (o.rfind("-D", 0) == 0 && o.size() > 2) command.push_back(o), known = true;
        if (o.rfind("--define-macro=", 0) == 0) command.push_back("-D" + o.substr(15)), known = true;
        if (o.rfind("-I", 0) == 0 && o.size() > 2) command.push_back(o), known = true;
        for (std::string name : ignored) known |= name.back() == '=' ? o.rfind(name, 0) == 0 : o == name;
        if (!known) return o;
    }
    return "";
}

static Result compile(Program& p, int count, const char* const* options) {
    bool debug = getenv("EMULATED_CUDA_DEBUG") && *getenv("EMULATED_CUDA_DEBUG") == '1';
    std::vector<std::string> command = {
        EMULATED_COMPILER, "-x", "c++", "-std=c++17", debug ? "-O0" : "-O2", debug ? "-g" : "-g0", "-w", "-fPIC", "-shared", "-fvisibility=hidden", "-fno-strict-aliasing", "-fwrapv",
        "-ffp-contract=off", // a kernel says fmaf where it wants one
        "-fsanitize=alignment,bounds,shift-exponent", "-fsanitize-undefined-trap-on-error", "-fstack-clash-protection", "-DEMULATED", "-I", folder().string(), "-I", "."};
#if defined(__x86_64__) && defined(__GNUC__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) command.insert(command.end(), {"-mavx2", "-mfma", "-mf16c"});
#endif
#ifndef __clang__
    command.push_back("-fno-gnu-unique"); // or modules would share variables
#endif
    std::string unknown = translate(count, options, command);
    if (!unknown.empty()) return p.log = "nvrtc: error: unrecognized option " + unknown, INVALID_OPTION;
    if (const char* flags = getenv("EMULATED_CUDA_FLAGS")) {
        std::istringstream words(flags);
        for (std::string word; words >> word;) command.push_back(word);
    }

    uint64_t key = hash(0xcbf29ce484222325, p.source);
    for (auto& [name, text] : p.headers) key = hash(hash(key, name), text);
    for (auto& word : command) key = hash(key, word);
    char id[17];
    snprintf(id, sizeof id, "%016llx", (unsigned long long)hash(key, p.name));
    files::path kept = folder() / "modules" / id;
    std::string object = read(kept);

    if (object.empty()) {
        std::string pattern = (files::temp_directory_path() / "emulated-XXXXXX").string();
        if (!mkdtemp(pattern.data())) return p.log = "no temporary folder: " + pattern, CREATION_FAILURE;
        files::path work = pattern;
        struct Remove {
            files::path path;
            ~Remove() {
                std::error_code error;
                files::remove_all(path, error);
            }
        } remove{work};
        std::string name = p.name.empty() ? "default_program" : files::path(p.name).filename().string();
        bool written = write(work / name, "#line 1 \"" + name + "\"\n" + p.source);
        for (auto& [header, text] : p.headers) {
            if (files::path(header).is_absolute() || header.find("..") != std::string::npos) return p.log = "header outside: " + header, INVALID_INPUT;
            written &= write(work / header, text);
        }
        if (!written) return p.log = "cannot write to " + pattern, CREATION_FAILURE;
        command.insert(command.end(), {"-I", work.string(), "-ffile-prefix-map=" + work.string() + "/=", "-o", (work / "module.so").string(), (work / name).string()});
        if (!run(command, work, p.log)) return COMPILATION;
        object = read(work / "module.so");
        files::path beside = kept;
        beside += "." + work.filename().string();
        std::error_code error;
        if (write(beside, object)) files::rename(beside, kept, error);
    }
    Image head = {{'E', 'M', 'U', 'L', 'A', 'T', 'E', 'D'}, EMULATED_BUILD, object.size()};
    p.image.assign((const char*)&head, sizeof head);
    p.image += object;
    return SUCCESS;
}

// The minor version tells builds of the emulator apart, so that no cache of compiled kernels mixes them.
API int nvrtcVersion(int* major, int* minor) { return *major = 13, *minor = (int)(EMULATED_BUILD % 1000000), SUCCESS; }

static const int architectures[] = {75, 80, 86, 87, 88, 89, 90, 100, 103, 110, 120, 121};
API int nvrtcGetNumSupportedArchs(int* count) { return *count = sizeof architectures / sizeof *architectures, SUCCESS; }
API int nvrtcGetSupportedArchs(int* to) { return memcpy(to, architectures, sizeof architectures), SUCCESS; }

API int nvrtcCreateProgram(Program** program, const char* source, const char* name, int count, const char* const* texts, const char* const* names) {
    if (!program || !source || count < 0 || (count && (!texts || !names))) return INVALID_INPUT;
    *program = new Program{source, name ? name : "", {}, "", ""};
    for (int i = 0; i < count; i++) (*program)->headers.emplace_back(names[i], texts[i]);
    return SUCCESS;
}

API int nvrtcDestroyProgram(Program** program) {
    if (!program || !*program) return INVALID_PROGRAM;
    delete *program;
    *program = nullptr;
    return SUCCESS;
}

API int nvrtcCompileProgram(Program* p, int count, const char* const* options) { return p ? compile(*p, count, options) : INVALID_PROGRAM; }

static int size_of(const std::string* text, size_t* bytes, bool terminated) { return *bytes = text->size() + terminated, SUCCESS; }
static int copy_of(const std::string* text, char* to, bool terminated) { return memcpy(to, text->c_str(), text->size() + terminated), SUCCESS; }

API int nvrtcGetProgramLogSize(Program* p, size_t* bytes) { return p ? size_of(&p->log, bytes, true) : INVALID_PROGRAM; }
API int nvrtcGetProgramLog(Program* p, char* log) { return p ? copy_of(&p->log, log, true) : INVALID_PROGRAM; }
API int nvrtcGetCUBINSize(Program* p, size_t* bytes) { return p ? size_of(&p->image, bytes, false) : INVALID_PROGRAM; }
API int nvrtcGetCUBIN(Program* p, char* cubin) { return p ? copy_of(&p->image, cubin, false) : INVALID_PROGRAM; }
API int nvrtcGetPTXSize(Program* p, size_t* bytes) { return p ? size_of(&p->image, bytes, true) : INVALID_PROGRAM; }
API int nvrtcGetPTX(Program* p, char* ptx) { return p ? copy_of(&p->image, ptx, true) : INVALID_PROGRAM; }

API const char* nvrtcGetErrorString(int code) {
    static const char* const names[] = {"NVRTC_SUCCESS", "NVRTC_ERROR_OUT_OF_MEMORY", "NVRTC_ERROR_PROGRAM_CREATION_FAILURE", "NVRTC_ERROR_INVALID_INPUT", "NVRTC_ERROR_INVALID_PROGRAM", "NVRTC_ERROR_INVALID_OPTION", "NVRTC_ERROR_COMPILATION"};
    return code >= 0 && code < (int)(sizeof names / sizeof *names) ? names[code] : "NVRTC_ERROR unknown";
}
