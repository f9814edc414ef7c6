//go:build amxtrap

#include "tiles.h"

#include <immintrin.h>
#include <string.h>

// Bytes of what LDTILECFG reads.
enum { PALETTE = 0, START_ROW = 1, ROW_BYTES = 16, ROWS = 48 };

static bool all_zero(const uint8_t *memory, int from, int to) {
	for (int i = from; i < to; i++) {
		if (memory[i] != 0) return false;
	}
	return true;
}

static bool valid(const uint8_t *memory) {
	if (memory[PALETTE] != 1 || !all_zero(memory, START_ROW + 1, ROW_BYTES) ||
		!all_zero(memory, ROW_BYTES + 2 * TILES, ROWS) || !all_zero(memory, ROWS + TILES, CONFIG_BYTES)) return false;
	for (int i = 0; i < TILES; i++) {
		int bytes = memory[ROW_BYTES + 2 * i] | memory[ROW_BYTES + 2 * i + 1] << 8, rows = memory[ROWS + i];
		if (bytes > TILE_BYTES || rows > TILE_ROWS || (bytes == 0) != (rows == 0)) return false;
	}
	return true;
}

bool tiles_load_config(struct state *s, const uint8_t *memory) {
	if (memory[PALETTE] == 0) return tiles_release(s);
	if (!valid(memory)) return false;
	tiles_release(s);
	s->palette = memory[PALETTE];
	s->start_row = memory[START_ROW];
	memcpy(s->bytes, memory + ROW_BYTES, sizeof s->bytes);
	memcpy(s->rows, memory + ROWS, sizeof s->rows);
	return true;
}

bool tiles_store_config(const struct state *s, uint8_t *memory) {
	memset(memory, 0, CONFIG_BYTES);
	memory[PALETTE] = s->palette;
	memory[START_ROW] = s->start_row;
	memcpy(memory + ROW_BYTES, s->bytes, sizeof s->bytes);
	memcpy(memory + ROWS, s->rows, sizeof s->rows);
	return true;
}

bool tiles_release(struct state *s) {
	memset(s, 0, sizeof *s);
	return true;
}

static bool configured(const struct state *s, int tile) {
	return s->palette != 0 && tile < TILES && s->rows[tile] > 0 && s->bytes[tile] % 4 == 0;
}

bool tiles_zero(struct state *s, int tile) {
	if (!configured(s, tile)) return false;
	memset(s->data[tile], 0, sizeof s->data[tile]);
	s->start_row = 0;
	return true;
}

bool tiles_load(struct state *s, int tile, const uint8_t *memory, uint64_t stride) {
	if (!configured(s, tile) || s->start_row >= s->rows[tile]) return false;
	if (s->start_row == 0) memset(s->data[tile], 0, sizeof s->data[tile]);
	for (int row = s->start_row; row < s->rows[tile]; row++) {
		memcpy(s->data[tile][row], memory + row * stride, s->bytes[tile]);
	}
	s->start_row = 0;
	return true;
}

bool tiles_store(struct state *s, int tile, uint8_t *memory, uint64_t stride) {
	if (!configured(s, tile) || s->start_row >= s->rows[tile]) return false;
	for (int row = s->start_row; row < s->rows[tile]; row++) {
		memcpy(memory + row * stride, s->data[tile][row], s->bytes[tile]);
	}
	s->start_row = 0;
	return true;
}

static bool can_multiply(const struct state *s, int sums, int left, int right) {
	return sums != left && sums != right && left != right &&
		configured(s, sums) && configured(s, left) && configured(s, right) &&
		s->rows[sums] == s->rows[left] && s->bytes[sums] == s->bytes[right] && s->bytes[left] / 4 == s->rows[right];
}

static __mmask16 columns(const struct state *s, int tile) { return (1u << s->bytes[tile] / 4) - 1; }

// The sums' rows that are not configured are zero already: nothing writes to them.

__attribute__((target("avx512f"))) bool tiles_dot_bf16(struct state *s, int sums, int left, int right) {
	if (!can_multiply(s, sums, left, right)) return false;
	const __m512i upper = _mm512_set1_epi32((int)0xffff0000);
	for (int row = 0; row < s->rows[sums]; row++) {
		__m512 even = _mm512_setzero_ps(), odd = even;
		for (int k = 0; k < s->rows[right]; k++) {
			__m512i a = _mm512_set1_epi32(*(const int32_t *)&s->data[left][row][4 * k]);
			__m512i b = _mm512_load_si512(s->data[right][k]);
			even = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_slli_epi32(a, 16)), _mm512_castsi512_ps(_mm512_slli_epi32(b, 16)), even);
			odd = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_and_si512(a, upper)), _mm512_castsi512_ps(_mm512_and_si512(b, upper)), odd);
		}
		float *sum = (float *)s->data[sums][row];
		_mm512_store_ps(sum, _mm512_maskz_add_ps(columns(s, sums), _mm512_load_ps(sum), _mm512_add_ps(even, odd)));
	}
	s->start_row = 0;
	return true;
}

// byte extends byte i of each number.
__attribute__((target("avx512f"))) static inline __m512i byte(__m512i numbers, int i, bool is_signed) {
	__m512i top = _mm512_sll_epi32(numbers, _mm_cvtsi32_si128(24 - 8 * i));
	return is_signed ? _mm512_srai_epi32(top, 24) : _mm512_srli_epi32(top, 24);
}

__attribute__((target("avx512f"))) bool tiles_dot_bytes(struct state *s, int sums, int left, int right, bool left_signed, bool right_signed) {
	if (!can_multiply(s, sums, left, right)) return false;
	for (int k = 0; k < s->rows[right]; k++) {
		__m512i b = _mm512_load_si512(s->data[right][k]), parts[4];
		for (int i = 0; i < 4; i++) parts[i] = byte(b, i, right_signed);
		for (int row = 0; row < s->rows[sums]; row++) {
			__m512i a = _mm512_set1_epi32(*(const int32_t *)&s->data[left][row][4 * k]);
			__m512i sum = _mm512_load_si512(s->data[sums][row]);
			for (int i = 0; i < 4; i++) sum = _mm512_add_epi32(sum, _mm512_mullo_epi32(byte(a, i, left_signed), parts[i]));
			_mm512_store_si512(s->data[sums][row], _mm512_maskz_mov_epi32(columns(s, sums), sum));
		}
	}
	s->start_row = 0;
	return true;
}
