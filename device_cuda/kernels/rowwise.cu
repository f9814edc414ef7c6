// Kernels that treat each row of a step by itself.
#include "norm.cuh"
#include "pack.cuh"
#include "rotate.cuh"

constexpr int THREADS = 256, WARPS = THREADS / 32;

struct EmbedParams {
    const Step* step;
    const int* tokens;
    const Element* table; // packed
    const int* last;
    float* out;
    int width, stride;
};

KERNEL(embed, EmbedParams, THREADS) {
    dependents();
    wait();
    const int row = blockIdx.x;
    if (row >= p.step->rows) return;
    int token = p.tokens[row];
    if (token < 0) token = max(p.last[-1 - token], 0);
    const int blocks = (p.width + 31) / 32;
    float* out = p.out + (i64)row * p.stride;
    for (int k = threadIdx.x; k < p.width; k += THREADS) out[k] = widen(p.table[packed_index(token, k, blocks)]);
}

struct NormParams {
    const int* rows;
    const int* selected; // 0: the same rows
    const float *x, *weight;
    Element* out;
    int first_row, x_stride, width, out_stride;
    float eps;
};

constexpr int HELD = 32; // values of a row that a lane holds in registers

// A warp has a row. It adds squares in the order of rms_scale.
KERNEL(rms_norm, NormParams, THREADS) {
    dependents();
    const int row = blockIdx.x * WARPS + threadIdx.x / 32, lane = threadIdx.x % 32;
    const bool valid = row + p.first_row < *p.rows;
    float weight[HELD], held[HELD];
#pragma unroll
    for (int i = 0; i < HELD; i++) weight[i] = lane + 32 * i < p.width ? p.weight[lane + 32 * i] : 0.f;
    wait();
    if (!valid) return;
    const float* x = p.x + (i64)(p.selected ? p.selected[row + p.first_row] : row) * p.x_stride;
    Element* out = p.out + (i64)row * p.out_stride;
#pragma unroll
    for (int i = 0; i < HELD; i++) held[i] = lane + 32 * i < p.width ? x[lane + 32 * i] : 0.f;
    float sum = 0.f;
#pragma unroll
    for (int i = 0; i < HELD; i++) sum = __fmaf_rn(held[i], held[i], sum);
    for (int k = lane + 32 * HELD; k < p.width; k += 32) sum = __fmaf_rn(x[k], x[k], sum);
    const float scale = rms_scale_of(sum, p.width, p.eps);
#pragma unroll
    for (int i = 0; i < HELD; i++)
        if (lane + 32 * i < p.out_stride) out[lane + 32 * i] = narrow(normalised(held[i], scale, weight[i]));
    for (int k = lane + 32 * HELD; k < p.out_stride; k += 32) out[k] = narrow(k < p.width ? normalised(x[k], scale, p.weight[k]) : 0.f);
}

struct SelectParams {
    const Step* step;
    const int* selected;
    const float* x;
    float* out;
    int first_row, x_stride, width, out_stride;
};

KERNEL(select_rows, SelectParams, THREADS) {
    dependents();
    wait();
    const int row = blockIdx.x;
    if (row + p.first_row >= p.step->outputs) return;
    const float* x = p.x + (i64)p.selected[row + p.first_row] * p.x_stride;
    float* out = p.out + (i64)row * p.out_stride;
    for (int k = threadIdx.x; k < p.width; k += THREADS) out[k] = x[k];
}

struct RotaryParams {
    const Step* step;
    const int *positions, *cells;
    float* qkv;
    const float *cos_sin, *q_norm, *k_norm; // norms may be 0
    Element *keys, *values;
    int stride;
    float eps;
};

// A warp has a head of a row: query heads first, then keys, then values.
KERNEL(rotary, RotaryParams, THREADS) {
    dependents();
    wait();
    const int row = blockIdx.x, head = blockIdx.y * WARPS + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= p.step->rows || head >= HEADS + 2 * KV_HEADS) return;
    float* x = p.qkv + (i64)row * p.stride + head * HEAD_DIM;
    const int kv_head = (head - HEADS) % KV_HEADS;
    if (head >= HEADS + KV_HEADS) {
        Element* value = p.values + cache_row(p.cells[row], kv_head);
        for (int d = lane; d < HEAD_DIM; d += 32) value[d] = stored_value(x[d]);
        return;
    }
    const float* weight = head < HEADS ? p.q_norm : p.k_norm;
    const float scale = weight ? rms_scale(x, HEAD_DIM, p.eps) : 1.f;
    const float* cosines = p.cos_sin + (i64)p.positions[row] * HEAD_DIM;
    Element* key = head < HEADS ? nullptr : p.keys + cache_row(p.cells[row], kv_head);
    constexpr int HALF = HEAD_DIM / 2;
    for (int i = lane; i < HALF; i += 32) {
        float low = x[i], high = x[i + HALF];
        if (weight) low = normalised(low, scale, weight[i]), high = normalised(high, scale, weight[i + HALF]);
        rotate(low, high, cosines[i], cosines[i + HALF]);
        x[i] = low, x[i + HALF] = high;
        if (key) key[i] = narrow(low), key[i + HALF] = narrow(high);
    }
}

struct SiluParams {
    const int* rows;
    const float* gate_up;
    Element* out;
    int stride, width, out_stride;
};

KERNEL(silu, SiluParams, THREADS) {
    dependents();
    wait();
    const int row = blockIdx.x;
    if (row >= *p.rows) return;
    const float *gate = p.gate_up + (i64)row * p.stride, *up = gate + p.width;
    Element* out = p.out + (i64)row * p.out_stride;
    for (int k = blockIdx.y * THREADS + threadIdx.x; k < p.out_stride; k += gridDim.y * THREADS)
        out[k] = narrow(k < p.width ? __fmul_rn(gate[k] / __fadd_rn(1.f, expf(-gate[k])), up[k]) : 0.f);
}

struct PageCopy { // device.PageCopy
    int source, target, tokens;
};

struct CopyParams {
    const Step* step;
    const PageCopy* copies;
    Element* cache;
    int pages, planes;
};

KERNEL(copy_pages, CopyParams, THREADS) {
    dependents();
    wait();
    constexpr int PAGE = PAGE_SIZE * HEAD_DIM; // of one head
    for (int i = blockIdx.x; i < p.step->copies; i += gridDim.x) {
        const PageCopy copy = p.copies[i];
        const int length = copy.tokens * HEAD_DIM;
        for (int plane = blockIdx.y; plane < p.planes; plane += gridDim.y) {
            Element* base = p.cache + (i64)plane * p.pages * KV_HEADS * PAGE;
            for (int k = threadIdx.x; k < KV_HEADS * length; k += THREADS) {
                const int at = k / length * PAGE + k % length;
                base[(i64)copy.target * KV_HEADS * PAGE + at] = base[(i64)copy.source * KV_HEADS * PAGE + at];
            }
        }
    }
}
