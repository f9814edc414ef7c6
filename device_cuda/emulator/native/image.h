// What the fake NVRTC returns as a cubin: a header, then a shared object.
#pragma once

#include <stdint.h>

struct Image {
    char magic[8]; // "EMULATED"
    uint64_t build; // of the emulator: another one's modules do not fit
    uint64_t bytes; // of the shared object that follows
};

#ifndef EMULATED_BUILD
#define EMULATED_BUILD 0
#endif
