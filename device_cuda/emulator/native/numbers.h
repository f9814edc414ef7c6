// Conversions between float and 16-bit formats, rounding to nearest even.
#pragma once

#include <string.h>

typedef unsigned short u16;
typedef unsigned int u32;

namespace emulated {

inline u32 bits_of(float x) {
    u32 r;
    memcpy(&r, &x, 4);
    return r;
}
inline float float_of(u32 x) {
    float r;
    memcpy(&r, &x, 4);
    return r;
}

inline float bf16_to_float(u16 x) { return float_of((u32)x << 16); }
inline u16 float_to_bf16(float x) {
    u32 u = bits_of(x);
    if (x != x) return 0x7fff; // as cvt.rn.bf16 does
    return (u16)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

inline float f16_to_float(u16 x) {
    u32 sign = (u32)(x & 0x8000) << 16, magnitude = x & 0x7fff;
    if (magnitude >= 0x7c00) return float_of(sign | 0x7f800000 | (magnitude & 0x3ff) << 13);
    if (magnitude < 0x400) return float_of(sign | bits_of((float)magnitude * 0x1p-24f)); // subnormal
    return float_of(sign | ((magnitude << 13) + (112u << 23)));
}
inline u16 float_to_f16(float x) {
    u32 u = bits_of(x), sign = u >> 16 & 0x8000, magnitude = u & 0x7fffffff;
    if (magnitude > 0x7f800000) return 0x7fff; // as cvt.rn.f16 does
    if (magnitude >= 0x47800000) return (u16)(sign | 0x7c00);
    if (magnitude < 0x38800000) return (u16)(sign | (bits_of(float_of(magnitude) + 0.5f) - 0x3f000000)); // the sum's last bit is 2^-24
    return (u16)(sign | ((magnitude - (112u << 23) + 0xfff + (magnitude >> 13 & 1)) >> 13));
}

} // namespace emulated
