// What the kernels of sampling share: the upload's structs, keys that order tokens, weights, and the cut of the vocabulary into
// parts. The definition of sampling is package device/sample.
#pragma once
#include "common.cuh"

__device__ __forceinline__ float infinity() { return __uint_as_float(0x7f800000u); }
const float largest_float = 3.402823466e+38f;

const int no_token = -1, to_sample = -1; // device.NoToken, device.Sample

struct TokenLogprob { // device.TokenLogprob
    int token;
    float logprob;
};
struct OutputParams { // kernels.OutputParams
    int slot, target, position, penalised;
    u64 seed;
    float temperature, top_p, min_p;
    int top_k;
    float repetition, presence, frequency;
    int logprobs;
    int list, biases, suppressed, reserved;
    TokenLogprob* result;
    TokenLogprob* top;
};
struct ResetParams { // kernels.ResetParams
    int slot, list, prompt, output;
};

static_assert(sizeof(OutputParams) == 88 && sizeof(ResetParams) == 16 && sizeof(TokenLogprob) == 8, "as in Go");

// The vocabulary in parts: the same cut for every row, so that sums have one order.
const int parts = 32;
const int part_width = ((VOCAB + parts - 1) / parts + 3) / 4 * 4;
const int padded_vocab = (VOCAB + 3) / 4 * 4;

// Part is what row_maximum finds in a part of a row.
struct Part {
    u64 raw;        // rank of the likeliest token by the model's logits
    u64 best;       // and by the logits that are drawn from
    double raw_sum; // of exp(logit - the part's largest logit), where log-probabilities are wanted
    double sum;     // of exp((logit - the part's largest) / temperature), where all of them may be drawn or top-p counts them
};

struct SamplingParams { // kernels.samplingParams
    const Step* step;
    const OutputParams* outputs;
    const int* lists;
    const float* logits;
    int* last;
    u32* history;
    Part* part;      // (outputs, parts)
    float* adjusted; // (outputs, padded_vocab): logits with penalties, bias and suppression, of the outputs that have any
    int stride, first_output;

    __device__ bool has(int output) const { return first_output + output < step->outputs; }
};

__device__ __forceinline__ bool is_adjusted(const OutputParams& o) { return o.penalised + o.biases + o.suppressed > 0; }
__device__ __forceinline__ bool cuts_by_rank(const OutputParams& o) { return o.top_k > 0 && o.top_k < VOCAB; }

// A token's rank orders tokens by likelihood: larger logits first, the smaller id among equals, NaN before everything.
__device__ __forceinline__ u32 key_of(float logit) {
    u32 bits = __float_as_uint(logit + 0.f); // -0 equals 0
    if (logit != logit) return 0xffffffffu;
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}
__device__ __forceinline__ float logit_of(u32 key) { return __uint_as_float(key >> 31 ? key ^ 0x80000000u : ~key); }
__device__ __forceinline__ u64 rank_of(float logit, int id) { return (u64)key_of(logit) << 32 | (u32)~id; }
__device__ __forceinline__ int token_of(u64 rank) { return (int)~(u32)rank; }
__device__ __forceinline__ float logit_of(u64 rank) { return logit_of((u32)(rank >> 32)); }

// Whether a row whose likeliest token has this rank can be drawn from: no NaN, no +Inf, not all -Inf.
__device__ __forceinline__ bool is_sound(u64 rank) {
    u32 key = (u32)(rank >> 32);
    return key < 0xff800000u && key > 0x007fffffu;
}

// Weights are exp((logit - max) / temperature).
struct Weights {
    double max, scale;
    __device__ Weights(float max, float temperature) : max(max), scale(1 / (double)temperature) {}
    __device__ double operator()(float logit) const { return exp(((double)logit - max) * scale); }
};

// Four logits from id on, a multiple of 4; -Inf from end on. Rows are aligned to 16 bytes and may be read up to a multiple of 4.
__device__ __forceinline__ void load4(float (&l)[4], const float* row, int id, int end) {
    float4 v = {-infinity(), -infinity(), -infinity(), -infinity()};
    if (id < end) v = *(const float4*)(row + id);
    l[0] = v.x, l[1] = v.y, l[2] = v.z, l[3] = v.w;
    for (int j = 1; j < 4; j++)
        if (VOCAB % 4 > 0 && id + j >= end) l[j] = -infinity();
}

__device__ __forceinline__ double warp_add(double x) { // the same order for every lane
    for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
    return x;
}
__device__ __forceinline__ u64 warp_best(u64 x) {
    for (int offset = 16; offset > 0; offset /= 2) {
        u64 other = __shfl_xor_sync(0xffffffffu, x, offset);
        x = other > x ? other : x;
    }
    return x;
}

// uniform is sample.Uniform: Philox4x32-10 with the seed as key and the position as counter, 53 bits in [0, 1).
__device__ __forceinline__ double uniform(u64 seed, int position) {
    u32 c0 = (u32)position, c1 = 0, c2 = 0, c3 = 0, k0 = (u32)seed, k1 = (u32)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        u32 high0 = __umulhi(0xD2511F53u, c0), low0 = 0xD2511F53u * c0, high1 = __umulhi(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
        c0 = high1 ^ c1 ^ k0, c1 = low1, c2 = high0 ^ c3 ^ k1, c3 = low0;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    return (double)(((u64)c0 << 32 | c1) >> 11) / 9007199254740992.0;
}
