//go:build amxtrap

#include <stdbool.h>
#include <stdint.h>

enum { TILES = 8, TILE_ROWS = 16, TILE_BYTES = 64, CONFIG_BYTES = 64 };

// A state is what AMX adds to a thread (Intel's manual, volume 1, chapter 18).
struct state {
	uint8_t palette; // 0: tiles are not configured
	uint8_t start_row;
	uint16_t bytes[TILES]; // of a row
	uint8_t rows[TILES];
	_Alignas(64) uint8_t data[TILES][TILE_ROWS][TILE_BYTES];
};

// What each instruction does, by its page in Intel's manual, volume 2. They return false where the processor raises #UD or #GP.

bool tiles_load_config(struct state *s, const uint8_t *memory);
bool tiles_store_config(const struct state *s, uint8_t *memory);
bool tiles_release(struct state *s);
bool tiles_zero(struct state *s, int tile);
bool tiles_load(struct state *s, int tile, const uint8_t *memory, uint64_t stride);
bool tiles_store(struct state *s, int tile, uint8_t *memory, uint64_t stride);

// tiles_dot_bf16 wants an MXCSR of FLUSHING.
bool tiles_dot_bf16(struct state *s, int sums, int left, int right);
bool tiles_dot_bytes(struct state *s, int sums, int left, int right, bool left_signed, bool right_signed);

// Denormal inputs and results are 0, to the nearest even, no exceptions.
enum { FLUSHING = 0x9fc0 };
