//go:build amxtrap

#define _GNU_SOURCE
#include "trap.h"
#include "tiles.h"

#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <ucontext.h>
#include <xmmintrin.h>

static __thread struct state tiles;
static struct sigaction before;

// An instruction of AMX or AVX-VNNI: VEX with three bytes, map 0F38, W0 (volume 2, section 2.3).
struct instruction {
	int prefix; // 0, or 1 to 3 for 66, F3, F2
	bool wide;  // 256 bits instead of 128
	uint8_t opcode;
	bool memory;
	int reg, rm, v; // fields; rm of registers only
	uint64_t address, stride;
	int length;
	bool indexed; // has a SIB
};

static const int registers[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
	REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

static int32_t displacement(const uint8_t *code, int bytes) {
	if (bytes == 0) return 0;
	if (bytes == 1) return (int8_t)code[0];
	return (int32_t)(code[0] | code[1] << 8 | code[2] << 16 | (uint32_t)code[3] << 24);
}

static bool decode(struct instruction *in, const greg_t *g) {
	const uint8_t *start = (const uint8_t *)g[REG_RIP], *code = start;
	if (code[0] != 0xc4 || (code[1] & 0x1f) != 2 || (code[2] & 0x80) != 0) return false;
	int r = ~code[1] >> 4 & 8, x = ~code[1] >> 3 & 8, b = ~code[1] >> 2 & 8;
	in->v = ~code[2] >> 3 & 15;
	in->prefix = code[2] & 3;
	in->wide = (code[2] & 4) != 0;
	in->opcode = code[3];
	uint8_t modrm = code[4];
	code += 5;
	in->reg = (modrm >> 3 & 7) | r;
	in->rm = (modrm & 7) | b;
	in->memory = modrm >> 6 != 3;
	in->indexed = in->memory && (modrm & 7) == 4;
	in->address = in->stride = 0;
	if (in->memory) {
		int size = (int[]){0, 1, 4}[modrm >> 6];
		int base = modrm & 7;
		if (in->indexed) {
			int index = (*code >> 3 & 7) | x;
			if (index != 4) in->stride = (uint64_t)g[registers[index]] << (*code >> 6);
			base = *code++ & 7;
		}
		bool relative = !in->indexed && modrm >> 6 == 0 && base == 5;
		if (modrm >> 6 == 0 && base == 5) {
			size = 4; // and no base
		} else {
			in->address = g[registers[base | b]];
		}
		in->address += displacement(code, size);
		code += size;
		if (relative) in->address += (uint64_t)code;
	}
	in->length = code - start;
	return true;
}

enum { NONE, P66, PF3, PF2 };

// execute returns false for what is not AMX, or is refused by it.
static bool execute(const struct instruction *in) {
	uint8_t *place = (uint8_t *)(in->address + (in->opcode == 0x49 ? in->stride : 0));
	switch (in->opcode) {
	case 0x49:
		if (in->v != 0) return false;
		if (in->prefix == PF2) return !in->memory && in->rm == 0 && tiles_zero(&tiles, in->reg);
		if (in->reg != 0) return false;
		if (in->prefix == NONE && in->memory) return tiles_load_config(&tiles, place);
		if (in->prefix == NONE) return in->rm == 0 && tiles_release(&tiles);
		return in->prefix == P66 && in->memory && tiles_store_config(&tiles, place);
	case 0x4b:
		if (in->v != 0 || !in->indexed) return false;
		if (in->prefix == PF3) return tiles_store(&tiles, in->reg, place, in->stride);
		return in->prefix != NONE && tiles_load(&tiles, in->reg, place, in->stride);
	case 0x5c:
		return in->prefix == PF3 && !in->memory && tiles_dot_bf16(&tiles, in->reg, in->rm, in->v);
	case 0x5e: {
		bool left_signed = in->prefix == PF2 || in->prefix == PF3, right_signed = in->prefix == PF2 || in->prefix == P66;
		return !in->memory && tiles_dot_bytes(&tiles, in->reg, in->rm, in->v, left_signed, right_signed);
	}
	}
	return false;
}

// A signal's frame has the registers as XSAVE wrote them (volume 1, section 13.4), 256-bit ones in two parts.
enum { FEATURES = 512, UPPER_HALVES = 1 << 2, LOWER = 160, UPPER = 576 };

// add_products is VPDPWSSD on 256-bit registers.
static bool add_products(uint8_t *frame, int sums, int left, int right) {
	uint64_t *features = (uint64_t *)(frame + FEATURES);
	if ((*features & UPPER_HALVES) == 0) { // all zero, and not written
		memset(frame + UPPER, 0, 16 * 16);
		*features |= UPPER_HALVES;
	}
	for (int half = LOWER; half == LOWER || half == UPPER; half += UPPER - LOWER) {
		uint32_t *sum = (uint32_t *)(frame + half + 16 * sums);
		const int16_t *a = (const int16_t *)(frame + half + 16 * left), *b = (const int16_t *)(frame + half + 16 * right);
		for (int i = 0; i < 4; i++) sum[i] += (uint32_t)(a[2 * i] * b[2 * i]) + (uint32_t)(a[2 * i + 1] * b[2 * i + 1]);
	}
	return true;
}

// execute_wide returns false for what is not VPDPWSSD on registers.
static bool execute_wide(const struct instruction *in, uint8_t *frame) {
	return in->opcode == 0x52 && in->prefix == P66 && !in->memory && add_products(frame, in->reg, in->v, in->rm);
}

static void handle(int number, siginfo_t *info, void *context) {
	greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
	struct instruction in;
	_mm_setcsr(FLUSHING); // the system restores the thread's own
	uint8_t *frame = (uint8_t *)((ucontext_t *)context)->uc_mcontext.fpregs;
	if (decode(&in, g) && (in.wide ? execute_wide(&in, frame) : execute(&in))) {
		g[REG_RIP] += in.length;
		return;
	}
	if (before.sa_flags & SA_SIGINFO) {
		before.sa_sigaction(number, info, context);
		return;
	}
	signal(number, SIG_DFL); // the instruction faults again
}

bool trap_install(void) {
	struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
	sigfillset(&action.sa_mask);
	sigdelset(&action.sa_mask, SIGSEGV); // of a tile's address
	sigdelset(&action.sa_mask, SIGBUS);
	return sigaction(SIGILL, &action, &before) == 0;
}

void trap_run(const void *code, void *first, void *second, uint64_t third) {
	((void (*)(void *, void *, uint64_t))code)(first, second, third);
}
