// How one block draws from a row, with top-k, top-p and min-p, and finds the likeliest tokens.
//
// All cuts keep the first tokens of the order of ranks. If these are few, they are listed in shared memory and sorted
// (draw_listed). Otherwise the last rank that is kept is found by digits (nth), and the row is read again (pick_wide).
// Nothing depends on timing: weights are added in a fixed order, or as integers.
#pragma once
#include "sampling.cuh"

const int draw_threads = 32 * parts; // warp w reads part w
const int bins = draw_threads, most_listed = 2 * draw_threads;

struct Workspace {
    u64 list[most_listed]; // ranks
    u32 counts[bins], low_sums[bins], high_sums[bins];
    double warp_sum[32], found[3];
    int warp_first[32];
    u32 listed;
};
__device__ __forceinline__ Workspace& workspace() {
    SHARED(Workspace, shared);
    return *shared;
}
static_assert(sizeof(Workspace) <= 29 * 1024, "drawShared in sampling.go");

__device__ __forceinline__ int thread() { return (int)threadIdx.x; }
__device__ __forceinline__ int lane() { return (int)threadIdx.x % 32; }
__device__ __forceinline__ int warp() { return (int)threadIdx.x / 32; }

// warp_running returns the sum of x over the lanes up to this one.
__device__ __forceinline__ double warp_running(double x) {
    for (int offset = 1; offset < 32; offset *= 2) {
        double other = __shfl_up_sync(0xffffffffu, x, offset);
        if (lane() >= offset) x += other;
    }
    return x;
}

// running returns the sum of x over the threads up to this one.
__device__ double running(double x) {
    x = warp_running(x);
    __syncthreads();
    if (lane() == 31) workspace().warp_sum[warp()] = x;
    __syncthreads();
    double warps = __shfl_sync(0xffffffffu, warp_running(workspace().warp_sum[lane()]), (warp() + 31) % 32);
    return warp() > 0 ? warps + x : x;
}

// first returns the smallest index of the block's threads.
const int nowhere = 0x7fffffff;
__device__ int first(int index) {
    index = __reduce_min_sync(0xffffffffu, index);
    __syncthreads();
    if (lane() == 0) workspace().warp_first[warp()] = index;
    __syncthreads();
    return __reduce_min_sync(0xffffffffu, workspace().warp_first[lane()]);
}

// each calls f(logit, id) for a row's tokens: a warp for each part.
template <typename F> __device__ __forceinline__ void each(const float* row, F f) {
    const int begin = warp() * part_width, end = min(begin + part_width, VOCAB);
    for (int at = begin + 4 * lane(); at < end; at += 256) {
        float l[2][4];
        load4(l[0], row, at, end);
        load4(l[1], row, at + 128, end);
#pragma unroll
        for (int k = 0; k < 8; k++) {
            int id = at + k / 4 * 128 + k % 4;
            if (id < end) f(l[k / 4][k % 4], id);
        }
    }
}

// Depth cuts logits into bins by their distance from the largest one. The last bin has no bottom.
struct Depth {
    float max, scale;
    __device__ Depth(float max, float width) : max(max), scale(fminf(1.f / width, 1e30f)) {}
    __device__ __forceinline__ int operator()(float logit) const { return (int)fminf((max - logit) * scale, (float)(bins - 1)); }
};
const float bin_width = 1.f / 32; // in logits, or times the temperature where weights are added

// Range is tokens of some bins and ranks.
struct Range {
    int first_bin, last_bin;
    u64 least, most;
    __device__ __forceinline__ bool has(int bin, u64 rank) const { return bin >= first_bin && bin <= last_bin && rank >= least && rank <= most; }
};
__device__ __forceinline__ Range all_from(u64 least) { return {0, bins - 1, least, ~0ull}; }

// Weights are added as integers, so that their sum does not depend on the order. unit is their size in a bin, chosen so that
// the vocabulary's sum stays below 2⁶⁴ and that a weight keeps some 45 bits in every bin but the last.
__device__ constexpr int bits(int n) { return n > 0 ? 1 + bits(n / 2) : 0; }
__device__ __forceinline__ double units(int bin) { // in 1
    return (double)(1ull << (63 - bits(VOCAB))) * (double)(1ull << (int)((float)bin * (1.4426950f * bin_width)));
}

template <bool weighed> __device__ __forceinline__ void add(int digit, u32 count, u64 sum) {
    Workspace& w = workspace();
    atomicAdd(&w.counts[digit], count);
    if (!weighed) return;
    u32 low = (u32)sum, before = atomicAdd(&w.low_sums[digit], low); // cards add 64 bits of shared memory in a slow loop
    atomicAdd(&w.high_sums[digit], (u32)(sum >> 32) + (before + low < low));
}

// histogram counts the tokens of a range, or adds their weights, by digit: the bin if shift < 0, else the rank's bits from shift on.
template <bool weighed> __device__ __noinline__ void histogram(const float* row, Depth depth, Weights weight, Range range, int shift) {
    __syncthreads();
    Workspace& w = workspace();
    w.counts[thread()] = w.low_sums[thread()] = w.high_sums[thread()] = 0;
    __syncthreads();
    int held = 0; // digit of the tokens before, which are added at once
    u32 count = 0;
    u64 sum = 0;
    each(row, [&](float l, int id) {
        u64 rank = rank_of(l, id);
        int bin = depth(l);
        if (!range.has(bin, rank)) return;
        int digit = shift < 0 ? bin : (int)((rank - range.least) >> shift);
        if (digit != held && count > 0) add<weighed>(held, count, sum), count = 0, sum = 0;
        held = digit, count++;
        if (weighed) sum += (u64)(weight(l) * units(bin) + 0.5);
    });
    if (count > 0) add<weighed>(held, count, sum);
    __syncthreads();
}

// Digit is where a running sum over the histogram, the likeliest first, reaches its goal; if it does not, the last one with tokens.
struct Digit {
    bool reached;
    int position;  // of the digit, the likeliest being 0
    double before; // sum before it
    int count;     // tokens of the digit
    int up_to;     // and of all up to it
};
template <bool weighed> __device__ Digit reach(double goal, Range range, int shift) {
    int digit = shift < 0 ? thread() : bins - 1 - thread();
    const Workspace& w = workspace();
    double count = w.counts[digit], value = count;
    if (weighed) value = (double)((u64)w.high_sums[digit] << 32 | w.low_sums[digit]) / units(shift < 0 ? digit : range.first_bin);
    double counted = running(count), sum = weighed ? running(value) : counted;
    Digit d;
    d.position = first(count > 0 && sum >= goal ? thread() : nowhere);
    d.reached = d.position != nowhere;
    if (!d.reached) d.position = -first(count > 0 ? -thread() : 0);
    double(&found)[3] = workspace().found;
    if (thread() == d.position) found[0] = sum - value, found[1] = count, found[2] = counted;
    __syncthreads();
    d.before = found[0], d.count = (int)found[1], d.up_to = (int)found[2];
    return d;
}

// sort brings the list's n entries into descending order: a bitonic network.
__device__ __noinline__ void sort(int n) {
    u64* list = workspace().list;
    int size = 2;
    while (size < n) size *= 2;
    __syncthreads();
    for (int i = n + thread(); i < size; i += draw_threads) list[i] = 0;
    for (int length = 2; length <= size; length *= 2)
        for (int step = length / 2; step > 0; step /= 2) {
            __syncthreads();
            int i = 2 * thread() - (thread() & (step - 1)), j = i + step;
            if (j >= size) continue;
            u64 a = list[i], b = list[j];
            bool descending = (i & length) == 0;
            if (descending ? a < b : a > b) list[i] = b, list[j] = a;
        }
    __syncthreads();
}

// list_sorted lists the tokens of a range, at most most_listed, by rank, and returns their number.
__device__ __noinline__ int list_sorted(const float* row, Depth depth, Range range) {
    Workspace& w = workspace();
    __syncthreads();
    if (thread() == 0) w.listed = 0;
    __syncthreads();
    each(row, [&](float l, int id) {
        u64 rank = rank_of(l, id);
        if (range.has(depth(l), rank)) w.list[atomicAdd(&w.listed, 1u)] = rank;
    });
    __syncthreads();
    int n = (int)w.listed;
    sort(n);
    return n;
}

// nth returns the rank, at least floor, with which the count or the weights of the tokens from the likeliest on reach the goal.
template <bool weighed> __device__ __noinline__ u64 nth(const float* row, Depth depth, Weights weight, double goal, u64 floor) {
    Range range = all_from(floor);
    for (int shift = -1;;) {
        histogram<weighed>(row, depth, weight, range, shift);
        Digit d = reach<weighed>(goal, range, shift);
        goal -= d.before;
        if (shift < 0) {
            range.first_bin = range.last_bin = d.position;
            shift = 54;
        } else {
            range.least += (u64)(bins - 1 - d.position) << shift;
            if (range.most - range.least >> shift > 0) range.most = range.least + ((1ull << shift) - 1);
            shift = max(shift - 10, 0);
        }
        if (d.count <= most_listed) break;
    }
    int n = list_sorted(row, depth, range);
    double sums[2], sum = 0;
    for (int j = 0; j < 2; j++) {
        int i = 2 * thread() + j;
        sums[j] = sum += i >= n ? 0 : weighed ? weight(logit_of(workspace().list[i])) : 1;
    }
    double before = running(sum) - sum;
    int i = 2 * thread();
    int last = first(before + sums[0] >= goal ? i : before + sums[1] >= goal ? i + 1 : nowhere);
    return workspace().list[min(last, n - 1)];
}

// pick_listed returns the token at which the sum of weights, in the order of ids, exceeds u of the total, of the list's first n.
__device__ int pick_listed(Weights weight, int n, double u) {
    u64* list = workspace().list;
    __syncthreads();
    for (int i = thread(); i < n; i += draw_threads) list[i] = list[i] << 32 | list[i] >> 32; // ids before logits
    sort(n);
    double weights[2];
    for (int j = 0; j < 2; j++) weights[j] = 2 * thread() + j < n ? weight(logit_of((u32)list[2 * thread() + j])) : 0;
    double sum = weights[0] + weights[1], up_to = running(sum);
    if (thread() == draw_threads - 1) workspace().found[0] = up_to;
    __syncthreads();
    double at = up_to - sum, goal = u * workspace().found[0];
    int drawn = nowhere;
    for (int j = 0; j < 2; j++) {
        at += weights[j];
        if (drawn == nowhere && weights[j] > 0 && at > goal) drawn = 2 * thread() + j;
    }
    return token_of(list[min(first(drawn), n - 1)] >> 32);
}

// pick_wide does the same for the tokens of a row whose rank is at least floor. Each warp's lanes bring the sums of the parts.
__device__ int pick_wide(const float* row, Weights weight, double part_sum, u64 floor, double u) {
    const double up_to = warp_running(part_sum), goal = u * __shfl_sync(0xffffffffu, up_to, 31);
    const u32 weighty = __ballot_sync(0xffffffffu, part_sum > 0), beyond = __ballot_sync(0xffffffffu, part_sum > 0 && up_to > goal);
    const int part = beyond ? __ffs(beyond) - 1 : 31 - __clz(weighty);
    double at = __shfl_sync(0xffffffffu, up_to, (part + 31) % 32);
    if (part == 0) at = 0;

    constexpr int width = (part_width + draw_threads - 1) / draw_threads; // ids of a thread
    const int begin = part * part_width + thread() * width, end = min((part + 1) * part_width, VOCAB);
    double weights[width], sum = 0;
    for (int j = 0; j < width; j++) {
        float l = begin + j < end ? row[begin + j] : -infinity();
        weights[j] = rank_of(l, begin + j) >= floor ? weight(l) : 0;
        sum += weights[j];
    }
    at += running(sum) - sum;
    int drawn = nowhere, last = -1; // last: with a weight
    for (int j = 0; j < width; j++) {
        at += weights[j];
        if (weights[j] > 0) last = begin + j;
        if (weights[j] > 0 && at > goal && drawn == nowhere) drawn = last;
    }
    drawn = first(drawn);
    return drawn != nowhere ? drawn : -first(-last); // the sums of part and tokens may differ in the last digit
}

// draw_listed draws from the tokens that the cuts keep if they are among the likeliest that can be listed, else returns no_token.
// total is the sum of all weights, for top-p without top-k.
__device__ int draw_listed(const float* row, const OutputParams& o, float largest, Weights weight, double total, double u) {
    const Depth depth(largest, bin_width);
    const bool by_rank = cuts_by_rank(o);
    Range range = all_from(0);
    histogram<false>(row, depth, weight, range, -1);
    bool enough = by_rank;
    if (by_rank) {
        Digit d = reach<false>(o.top_k, range, -1);
        if (d.up_to > most_listed) return no_token;
        range.last_bin = d.position;
    } else {
        Digit d = reach<false>(most_listed + 1, range, -1); // the first bin too many
        enough = !d.reached;
        if (d.reached) range.last_bin = d.position - 1;
        if (range.last_bin < 0) return no_token;
        if (o.min_p > 0) {
            int deepest = depth((float)(weight.max + log((double)o.min_p) / weight.scale)) + 1;
            if (deepest <= range.last_bin) range.last_bin = deepest, enough = true;
        }
    }
    const int n = list_sorted(row, depth, range);

    double weights[2], sums[2], sum = 0;
    for (int j = 0; j < 2; j++) {
        int i = 2 * thread() + j;
        weights[j] = i < n ? weight(logit_of(workspace().list[i])) : 0;
        sums[j] = sum += weights[j];
    }
    const double before = running(sum) - sum;
    int kept = by_rank ? min(o.top_k, n) : n;
    if (o.top_p < 1) {
        for (int j = 0; j < 2; j++)
            if (2 * thread() + j == kept - 1) workspace().found[0] = before + sums[j];
        __syncthreads();
        double goal = (double)o.top_p * (by_rank ? workspace().found[0] : total);
        int i = 2 * thread();
        int last = first(before + sums[0] >= goal ? i : before + sums[1] >= goal ? i + 1 : nowhere);
        if (last < kept) kept = last + 1, enough = true;
    }
    if (o.min_p > 0) {
        int i = 2 * thread();
        int below = first(i > 0 && i < n && weights[0] < o.min_p ? i : i + 1 < n && weights[1] < o.min_p ? i + 1 : nowhere);
        if (below < n) kept = min(kept, below), enough = true;
    }
    return enough ? pick_listed(weight, kept, u) : no_token;
}

// least_weight returns the smallest key whose weight is at least min_p.
__device__ u32 least_weight(Weights weight, float largest, float min_p) {
    u32 low = key_of(-largest_float), high = key_of(largest); // the weight of high is 1
    while (low < high) {
        u32 middle = low + (high - low) / 2;
        if (weight(logit_of(middle)) >= min_p) high = middle;
        else low = middle + 1;
    }
    return high;
}

// sum_parts returns the sum of the weights of the warp's part, of tokens whose rank is at least floor, to the lane of that number.
__device__ __noinline__ double sum_parts(const float* row, Weights weight, u64 floor) {
    double sum = 0;
    each(row, [&](float l, int id) {
        if (rank_of(l, id) >= floor) sum += weight(l);
    });
    sum = warp_add(sum);
    __syncthreads();
    if (lane() == 0) workspace().warp_sum[warp()] = sum;
    __syncthreads();
    return workspace().warp_sum[lane()];
}

// draw returns the token for an output with a temperature; largest is the row's largest logit. Every lane brings what row_maximum
// found in the part of its number.
__device__ __noinline__ int draw(const float* row, const OutputParams& o, float largest, float part_largest, double part_sum) {
    const Weights weight(largest, o.temperature);
    const double u = uniform(o.seed, o.position);
    const bool by_rank = cuts_by_rank(o), by_sum = o.top_p < 1, by_weight = o.min_p > 0;
    part_sum *= weight(part_largest);
    double total = warp_add(part_sum);
    if (!by_rank && !by_sum && !by_weight) return pick_wide(row, weight, part_sum, 0, u);
    if (!by_rank || o.top_k <= most_listed) {
        int token = draw_listed(row, o, largest, weight, total, u);
        if (token != no_token) return token;
    }
    u64 floor = 0;
    if (by_rank) floor = nth<false>(row, Depth(largest, bin_width), weight, o.top_k, 0);
    if (by_sum) {
        if (by_rank) total = warp_add(sum_parts(row, weight, floor));
        floor = nth<true>(row, Depth(largest, bin_width * o.temperature), weight, (double)o.top_p * total, floor);
    }
    if (by_weight) floor = max(floor, (u64)least_weight(weight, largest, o.min_p) << 32);
    return pick_wide(row, weight, sum_parts(row, weight, floor), floor, u);
}

// report_likeliest writes the log-probabilities of the likeliest tokens: a list at a time.
__device__ __noinline__ void report_likeliest(const float* row, const OutputParams& o, float largest, double log_sum) {
    const Depth depth(largest, bin_width);
    const Weights weight(largest, 1);
    for (int done = 0; done < o.logprobs;) {
        Range range = all_from(0);
        if (done > 0) range.most = workspace().list[most_listed - 1] - 1;
        int goal = min(o.logprobs - done, most_listed);
        range.least = nth<false>(row, depth, weight, done + goal, 0);
        int n = min(list_sorted(row, depth, range), goal);
        for (int i = thread(); i < n; i += draw_threads) {
            float l = logit_of(workspace().list[i]);
            o.top[done + i] = {token_of(workspace().list[i]), (float)((double)l - largest - log_sum)};
        }
        done += goal;
    }
}
