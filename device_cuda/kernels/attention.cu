// Attention of all rows of a step over the paged KV cache of a layer: one kernel for decoding and for prompts.
//
// The host's items and page tables are uploaded before the first kernel of a step begins, so they may be read before wait().
#if defined(ELEMENT_F32)
#include "attention_plain.cuh"
constexpr int RESIDENT = 4, TILE_BYTES = 0;
#else
#include "attention_tiles.cuh"
constexpr int RESIDENT = DIMS <= 64 ? 3 : DIMS <= 128 ? 2 : 1;
constexpr int KEPT_BYTES = THREADS * CHUNKS * 16;
constexpr int FEW_BYTES = FEW_ARRAYS * TILE_ELEMENTS * 2, MANY_BYTES = MANY_ARRAYS * TILE_ELEMENTS * 2 + KEPT_BYTES;
constexpr int TILE_BYTES = FEW_BYTES > MANY_BYTES ? FEW_BYTES : MANY_BYTES;
#endif

// The next item for this block, where there are more items than blocks: who is done first goes on first. `flag` is shared memory.
__device__ __forceinline__ int next_item(const AttentionParams& p, int* flag) {
    __syncthreads();
    if (threadIdx.x == 0) *flag = gridDim.x + atomicAdd(p.queue + blockIdx.y, 1);
    __syncthreads();
    return *flag;
}

// Blocks (x, h) begin with item x for KV head h.
KERNEL_RESIDENT(attention, AttentionParams, THREADS, RESIDENT) {
    SHARED(u8, shared);
    float2* sums = (float2*)(shared + TILE_BYTES); // (WARPS, 16)
    int* flag = (int*)(sums + WARPS * 16);
    dependents();
    const int items = p.step->items, head = blockIdx.y;
    const bool queued = items > gridDim.x;
    bool first = true;
    for (int i = blockIdx.x; i < items; i = queued ? next_item(p, flag) : items) {
        const Item item = p.items[i];
        attend(p, item, head, shared, sums, first);
        first = false;
        pad(p, item, head);
        if (item.partial >= 0) finish(p, item, head, flag);
    }
    if (first && blockIdx.x == 0) wait(); // of the blocks without work one waits, so that this kernel never ends before the one before it
    if (queued && threadIdx.x == 0 && atomicAdd(p.queue + KV_HEADS + head, 1) == gridDim.x - 1)
        p.queue[head] = p.queue[KV_HEADS + head] = 0; // the last block leaves it as it was
}
