// What the lanes of a warp do together. The lane that comes last does it for all.
#pragma once

#include "block.h"
#include "numbers.h"

namespace emulated {

// multiply is mma.m16n8k16. The emulator's order: d and the sixteen products of its row and column, in the order of k, are
// added in double, and the sum is rounded to float once.
template <typename Widen> inline void multiply(Thread* lanes, Widen widen) {
    typedef double Half __attribute__((vector_size(32))); // of a row of b or d
    double a[16][16];
    alignas(64) double b[16][8], d[16][8];
    for (int lane = 0; lane < 32; lane++) {
        int g = lane / 4, q = lane % 4 * 2;
        const u32 *pa = (const u32*)lanes[lane].a, *pb = (const u32*)lanes[lane].b;
        const float* pd = (const float*)lanes[lane].d;
        for (int half = 0; half < 2; half++) {
            auto value = [=](u32 pair) { return (double)widen((u16)(pair >> 16 * half)); };
            a[g][q + half] = value(pa[0]);
            a[g + 8][q + half] = value(pa[1]);
            a[g][q + 8 + half] = value(pa[2]);
            a[g + 8][q + 8 + half] = value(pa[3]);
            b[q + half][g] = value(pb[0]);
            b[q + 8 + half][g] = value(pb[1]);
            d[g][q + half] = pd[half];
            d[g + 8][q + half] = pd[2 + half];
        }
    }
    for (int row = 0; row < 16; row++) {
        Half left = *(Half*)d[row], right = *(Half*)(d[row] + 4);
        for (int k = 0; k < 16; k++) left += a[row][k] * *(Half*)b[k], right += a[row][k] * *(Half*)(b[k] + 4);
        *(Half*)d[row] = left, *(Half*)(d[row] + 4) = right;
    }
    for (int lane = 0; lane < 32; lane++) {
        int g = lane / 4, q = lane % 4 * 2;
        float* pd = (float*)lanes[lane].d;
        pd[0] = (float)d[g][q], pd[1] = (float)d[g][q + 1], pd[2] = (float)d[g + 8][q], pd[3] = (float)d[g + 8][q + 1];
    }
}

inline void load_matrices(Thread* lanes, bool transposed) {
    u16 matrix[4][8][8];
    for (int lane = 0; lane < 32; lane++) memcpy(matrix[lane / 8][lane % 8], lanes[lane].a, 16);
    for (int lane = 0; lane < 32; lane++) {
        int r = lane / 4, c = lane % 4 * 2;
        for (int i = 0; i < 4; i++) {
            auto& m = matrix[i];
            ((u32*)lanes[lane].d)[i] = transposed ? m[c][r] | (u32)m[c + 1][r] << 16 : m[r][c] | (u32)m[r][c + 1] << 16;
        }
    }
}

// shuffle gives each lane of the group what the lane that it asks for brought, and its own where there is no such lane.
inline void shuffle(Thread* lanes, u32 group, u32 mask) {
    for (u32 rest = group; rest; rest &= rest - 1) {
        Thread& t = lanes[__builtin_ctz(rest)];
        u32 width = t.width, first = t.lane & ~(width - 1), last = first + width - 1;
        i64 source = 0;
        switch (t.meeting) {
        case ShuffleXor: source = (i64)(t.lane ^ t.argument), source = source > last ? t.lane : source; break;
        case ShuffleUp: source = (i64)t.lane - t.argument, source = source < (i64)first ? t.lane : source; break;
        case ShuffleDown: source = (i64)t.lane + t.argument, source = source > last ? t.lane : source; break;
        default: source = first + (t.argument & (width - 1));
        }
        t.taken = lanes[source].brought;
        if (!(group >> source & 1)) { // real cards give an undefined value
            if (!(mask >> source & 1)) {
                machine().running = &t;
                fail(LaunchFailed, "%s reads lane %d, which its mask %#x lacks", name_of(t.meeting), (int)source, mask);
            }
            t.taken = ~0ull;
        }
    }
}

inline u64 reduce(Thread* lanes, u32 group, Meeting meeting) {
    bool first = true;
    u32 r = 0;
    for (u32 rest = group; rest; rest &= rest - 1, first = false) {
        u32 x = (u32)lanes[__builtin_ctz(rest)].brought;
        if (first) {
            r = x;
            continue;
        }
        switch (meeting) {
        case ReduceAdd: r += x; break;
        case ReduceMin: r = x < r ? x : r; break;
        case ReduceMax: r = x > r ? x : r; break;
        case ReduceMinSigned: r = (int)x < (int)r ? x : r; break;
        case ReduceMaxSigned: r = (int)x > (int)r ? x : r; break;
        case ReduceAnd: r &= x; break;
        case ReduceOr: r |= x; break;
        default: r ^= x;
        }
    }
    return r;
}

__attribute__((noinline, visibility("hidden"))) inline void finish_meeting(Machine& m, u32 warp, u32 group) {
    Thread* lanes = m.thread + warp * warp_lanes;
    Thread& one = lanes[__builtin_ctz(group)];
    for (u32 rest = group; rest; rest &= rest - 1) {
        Thread& t = lanes[__builtin_ctz(rest)];
        if (t.meeting == one.meeting && t.mask == one.mask) continue;
        m.running = &t;
        fail(LaunchFailed, "%s with mask %#x meets %s with mask %#x of lane %u: the lanes of a mask must come to the same call", name_of(t.meeting), t.mask, name_of(one.meeting), one.mask, one.lane);
    }
    if (one.meeting >= Multiply && group != ~0u) {
        m.running = &one;
        fail(LaunchFailed, "%s needs all 32 lanes, but only those of %#x are there", name_of(one.meeting), group);
    }
    switch (one.meeting) {
    case Syncwarp: break;
    case Shuffle:
    case ShuffleXor:
    case ShuffleUp:
    case ShuffleDown: shuffle(lanes, group, one.mask); break;
    case Multiply:
        if (one.vote) multiply(lanes, [](u16 x) { return bf16_to_float(x); });
        else multiply(lanes, [](u16 x) { return f16_to_float(x); });
        break;
    case LoadMatrices: load_matrices(lanes, one.vote); break;
    case Ballot: {
        u32 votes = 0;
        for (u32 l = 0; l < warp_lanes; l++)
            if (group >> l & 1) votes |= (u32)lanes[l].vote << l;
        for (u32 l = 0; l < warp_lanes; l++)
            if (group >> l & 1) lanes[l].taken = (u64)group << 32 | votes;
        break;
    }
    case MatchAny:
        for (u32 l = 0; l < warp_lanes; l++) {
            u32 same = 0;
            for (u32 k = 0; k < warp_lanes; k++) same |= (u32)((group >> k & 1) && lanes[k].brought == lanes[l].brought) << k;
            if (group >> l & 1) lanes[l].taken = same;
        }
        break;
    default: {
        u64 r = reduce(lanes, group, one.meeting);
        for (u32 rest = group; rest; rest &= rest - 1) lanes[__builtin_ctz(rest)].taken = r;
    }
    }
    m.warp[warp].meeting &= ~group;
    make_ready(m, warp, group);
}

} // namespace emulated
