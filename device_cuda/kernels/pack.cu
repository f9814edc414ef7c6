// Packing of weights (pack.go): reads row-major weights of any float type and writes Elements where packed_index wants them.
#include "pack.cuh"

struct PackParams { // packParams in pack.go
    Element* dst;
    const void* src;
    int* overflow;
    const int* order;  // source row of each packed row, or null
    const int* places; // packed row of each source row, or null
    int rows, packed, in;
    int wide;
};

struct SourceF32 {
    typedef float Type;
    static __device__ float widen(float x) { return x; }
};
struct SourceF16 {
    typedef u16 Type;
    static __device__ float widen(u16 x) { return from_f16(x); }
};
struct SourceBF16 {
    typedef u16 Type;
    static __device__ float widen(u16 x) { return from_bf16(x); }
};

// A thread packs 32 inputs of one output.
template <class Source> __device__ void pack_weights(const PackParams& p) {
    typedef typename Source::Type Type;
    dependents();
    wait();
    const int blocks = (p.in + 31) / 32;
    const i64 index = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    const int row = (int)(index / blocks), k = (int)(index % blocks) * 32;
    if (row >= p.packed) return;
    const int source = p.order && row < p.rows ? p.order[row] : row;
    const int place = p.places ? p.places[row] : row;
    const Type* from = (const Type*)p.src + (i64)source * p.in + k;

    alignas(16) Type values[32];
    const int count = row < p.rows ? min(32, p.in - k) : 0;
    if (p.wide && count == 32) {
        for (int i = 0; i < (int)sizeof(values) / 16; i++) ((uint4*)values)[i] = ((const uint4*)from)[i];
    } else {
        for (int i = 0; i < 32; i++) values[i] = i < count ? from[i] : (Type)0;
    }

    alignas(16) Element packed[32];
    bool overflow = false;
    const i64 begin = packed_index(place, k, blocks) / 32 * 32;
#pragma unroll
    for (int i = 0; i < 32; i++) {
        const float x = Source::widen(values[i]);
        overflow |= fabsf(x) > 65504.f;
        packed[packed_index(0, i, 1)] = narrow(x);
    }
#pragma unroll
    for (int chunk = 0; chunk < (int)sizeof(packed) / 16; chunk++) {
#ifdef ELEMENT_F32
        const int at = chunk;
#else
        const int at = chunk ^ (place % 8 / 2);
#endif
        ((uint4*)(p.dst + begin))[at] = ((uint4*)packed)[chunk];
    }
#ifdef ELEMENT_F16
    if (overflow && p.overflow) *p.overflow = 1;
#endif
}

KERNEL(pack_f32, PackParams, 256) { pack_weights<SourceF32>(p); }
KERNEL(pack_f16, PackParams, 256) { pack_weights<SourceF16>(p); }
KERNEL(pack_bf16, PackParams, 256) { pack_weights<SourceBF16>(p); }
