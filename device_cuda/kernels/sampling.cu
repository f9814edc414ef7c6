// Sampling on the card: reset_history, row_maximum, sample. See sampling.go.
#include "sampling_draw.cuh"

struct ResetHistoryParams { // kernels.resetHistoryParams
    const Step* step;
    const ResetParams* resets;
    const int* lists;
    u32* history;
};

const u32 in_prompt = 0x80000000u;

// reset_history sets the history of slots from lists of tokens. Each block does its own piece of the vocabulary for all resets, in
// order.
KERNEL(reset_history, ResetHistoryParams, 512) {
    dependents();
    wait();
    const int width = (VOCAB + (int)gridDim.x - 1) / (int)gridDim.x;
    const int begin = (int)blockIdx.x * width, end = min(begin + width, VOCAB);
    for (int i = 0; i < p.step->resets; i++) {
        const ResetParams& r = p.resets[i];
        u32* seen = p.history + (u64)r.slot * VOCAB;
        for (int id = begin + (int)threadIdx.x; id < end; id += (int)blockDim.x) seen[id] = 0;
        __syncthreads();
        for (int t = (int)threadIdx.x; t < r.prompt + r.output; t += (int)blockDim.x) {
            int id = p.lists[r.list + t];
            if (id < begin || id >= end) continue;
            if (t < r.prompt) atomicOr(seen + id, in_prompt);
            else atomicAdd(seen + id, 1u);
        }
        __syncthreads();
    }
}

// penalise applies the penalties to the logit of a token; each result is rounded to float32.
__device__ __forceinline__ float penalise(float l, u32 seen, float repetition, float frequency, float presence) {
    if (seen == 0) return l;
    if (repetition != 1.f) l = l > 0.f ? __fdiv_rn(l, repetition) : __fmul_rn(l, repetition);
    if (u32 count = seen & ~in_prompt) {
        l = __fsub_rn(l, __fmul_rn(frequency, (float)count));
        l = __fsub_rn(l, presence);
    }
    return l;
}

const int maximum_threads = 256, maximum_warps = maximum_threads / 32;
const int pieces = (part_width / 4 + maximum_threads - 1) / maximum_threads; // of four logits each, of a thread

struct MaximumScratch {
    u64 best[maximum_warps];
    double sum[maximum_warps];
};
static_assert(sizeof(MaximumScratch) <= 128 && sizeof(Part) == 32, "maximumShared, partBytes in sampling.go");

// Piece k of a thread is the ids begin + 4·(k·threads + thread) to + 3.
__device__ __forceinline__ int piece_id(int begin, int k) { return begin + 4 * (k * maximum_threads + (int)threadIdx.x); }

// likeliest returns the largest rank of the block's part of a row.
__device__ u64 likeliest(MaximumScratch& scratch, const float* row, int begin, int end) {
    float l[pieces][4]; // all of them at once are on their way
#pragma unroll
    for (int k = 0; k < pieces; k++) load4(l[k], row, piece_id(begin, k), end);
    float largest = -infinity();
    int id = begin;
    bool sound = true;
#pragma unroll
    for (int k = 0; k < pieces; k++)
#pragma unroll
        for (int j = 0; j < 4; j++) {
            if (l[k][j] > largest) largest = l[k][j], id = piece_id(begin, k) + j;
            sound = sound && l[k][j] == l[k][j];
        }
    u64 best = warp_best(rank_of(sound ? largest : infinity(), id));
    __syncthreads();
    if (threadIdx.x % 32 == 0) scratch.best[threadIdx.x / 32] = best;
    __syncthreads();
    for (int w = 0; w < maximum_warps; w++) best = max(best, scratch.best[w]);
    return best;
}

// sum_weights returns the sum of the weights of the block's part, which does not depend on timing.
__device__ double sum_weights(MaximumScratch& scratch, const float* row, int begin, int end, Weights weight) {
    double sum = 0;
#pragma unroll 1
    for (int k = 0; k < pieces; k++) {
        float l[4];
        load4(l, row, piece_id(begin, k), end);
#pragma unroll
        for (int j = 0; j < 4; j++) sum += weight(l[j]);
    }
    sum = warp_add(sum);
    __syncthreads();
    if (threadIdx.x % 32 == 0) scratch.sum[threadIdx.x / 32] = sum;
    __syncthreads();
    sum = 0;
    for (int w = 0; w < maximum_warps; w++) sum += scratch.sum[w];
    return sum;
}

// adjust writes the block's part of a row as the output asks for it.
__device__ void adjust(const SamplingParams& p, const OutputParams& o, const float* logits, float* adjusted, int begin, int end) {
    const u32* seen = p.history + (u64)o.slot * VOCAB;
    const bool penalised = o.penalised > 0;
    const float repetition = o.repetition, frequency = o.frequency, presence = o.presence;
    for (int k = 0; k < pieces; k++) {
        const int id = piece_id(begin, k);
        float l[4];
        load4(l, logits, id, end);
#pragma unroll
        for (int j = 0; j < 4; j++)
            if (penalised && id + j < end) l[j] = penalise(l[j], seen[id + j], repetition, frequency, presence);
        if (id < end) *(float4*)(adjusted + id) = {l[0], l[1], l[2], l[3]};
    }

    const int *biases = p.lists + o.list, *suppressed = biases + 2 * o.biases;
    for (int i = 0; i < o.biases; i++) { // by the thread that wrote the token, in the list's order
        int id = biases[2 * i];
        bool ours = id >= begin && id < end && (id - begin) / 4 % maximum_threads == (int)threadIdx.x;
        if (ours) adjusted[id] = __fadd_rn(adjusted[id], __int_as_float(biases[2 * i + 1]));
    }
    __syncthreads();
    for (int i = (int)threadIdx.x; i < o.suppressed; i += maximum_threads)
        if (suppressed[i] >= begin && suppressed[i] < end) adjusted[suppressed[i]] = -infinity();
    __syncthreads();
}

// row_maximum looks at one part of one row: block (part, output).
KERNEL(row_maximum, SamplingParams, maximum_threads) {
    dependents();
    wait();
    SHARED(MaximumScratch, scratch);
    const int output = (int)blockIdx.y, begin = (int)blockIdx.x * part_width, end = min(begin + part_width, VOCAB);
    if (!p.has(output)) return;
    const OutputParams& o = p.outputs[p.first_output + output];
    const float* row = p.logits + (u64)output * p.stride;

    Part part = {};
    part.raw = part.best = likeliest(*scratch, row, begin, end);
    if (o.logprobs >= 0 && is_sound(part.raw)) part.raw_sum = sum_weights(*scratch, row, begin, end, Weights(logit_of(part.raw), 1.f));
    if (is_adjusted(o)) {
        float* adjusted = p.adjusted + (u64)output * padded_vocab;
        adjust(p, o, row, adjusted, begin, end);
        row = adjusted;
        part.best = likeliest(*scratch, row, begin, end);
    }
    // The sum of all weights matters if all may be drawn, and to top-p.
    bool summed = o.target == to_sample && o.temperature > 0 && !cuts_by_rank(o) && (o.top_p < 1 || !(o.min_p > 0));
    if (summed && is_sound(part.best)) part.sum = sum_weights(*scratch, row, begin, end, Weights(logit_of(part.best), o.temperature));
    if (threadIdx.x == 0) p.part[output * parts + (int)blockIdx.x] = part;
}

// sample reads one output: block (output).
KERNEL(sample, SamplingParams, draw_threads) {
    dependents();
    wait();
    const int output = (int)blockIdx.x;
    if (!p.has(output)) return;
    const OutputParams& o = p.outputs[p.first_output + output];
    const Part part = p.part[output * parts + (int)threadIdx.x % 32];
    const int target = o.target, slot = o.slot, penalised = o.penalised, logprobs = o.logprobs; // all on their way at once
    const float temperature = o.temperature;
    TokenLogprob* const result = o.result;
    const float* logits = p.logits + (u64)output * p.stride;

    const u64 raw = warp_best(part.raw), best = warp_best(part.best);
    int token = no_token;
    if (is_sound(raw) && target != to_sample) token = target;
    if (is_sound(raw) && target == to_sample && is_sound(best)) {
        token = token_of(best);
        if (temperature > 0) {
            const float* row = is_adjusted(o) ? p.adjusted + (u64)output * padded_vocab : logits;
            token = draw(row, o, logit_of(best), logit_of(part.best), part.sum);
        }
    }

    float logprob = 0;
    if (logprobs >= 0 && token != no_token) {
        double largest = logit_of(raw), log_sum = log(warp_add(part.raw_sum * exp(logit_of(part.raw) - largest)));
        logprob = (float)((double)logits[token] - largest - log_sum);
        report_likeliest(logits, o, largest, log_sum);
    }
    if (threadIdx.x == 0) {
        if (target == to_sample) p.last[slot] = token;
        if (target == to_sample && penalised && token != no_token) p.history[(u64)slot * VOCAB + token]++;
        *result = {token, logprob};
    }
}
