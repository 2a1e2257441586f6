/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/line_diff.h"

#include <assert.h>

#include "base/bits.h"
#include "base/bytes.h"

#define LINE_WORDS 8

/* Two words at once on every processor of the architecture; wider ones gain nothing from memory. */
typedef uint64_t word_pair __attribute__((vector_size(16), aligned(8), may_alias));

static inline int is_different(const word_pair *line, const word_pair *twin)
{
	word_pair rest = (line[0] ^ twin[0]) | (line[1] ^ twin[1]) | (line[2] ^ twin[2]) |
			 (line[3] ^ twin[3]);

	return (rest[0] | rest[1]) != 0;
}

uint64_t line_diff_twin(const void *page, const void *twin)
{
	const word_pair *lines = page, *twins = twin;
	uint64_t mask = 0;

	for (uint32_t line = 0; line < PAGE_LINES; line++)
		mask |= (uint64_t)is_different(lines + line * LINE_WORDS / 2,
					       twins + line * LINE_WORDS / 2)
			<< line;
	return mask;
}

static inline __attribute__((always_inline)) void digest_blocks(const struct line_digest_key *key,
								const uint64_t *words,
								uint32_t block_lines,
								uint64_t *ret_digests)
{
	for (uint32_t block = 0; block < PAGE_LINES / block_lines; block++)
		ret_digests[block] =
			line_digest(key, words + block * block_lines * LINE_WORDS, block_lines);
}

static inline __attribute__((always_inline)) uint64_t diff_blocks(const struct line_digest_key *key,
								  const uint64_t *words,
								  uint32_t block_lines,
								  const uint64_t *digests)
{
	uint64_t mask = 0, lines = bits_mask(0, block_lines);

	for (uint32_t block = 0; block < PAGE_LINES / block_lines; block++) {
		uint64_t digest =
			line_digest(key, words + block * block_lines * LINE_WORDS, block_lines);

		mask |= (digest != digests[block] ? lines : 0) << block * block_lines;
	}
	return mask;
}

/* The constants let the compiler unroll each size of block. */
void line_digest_page(const struct line_digest_key *key, const void *page, uint32_t block_lines,
		      uint64_t *ret_digests)
{
	switch (block_lines) {
	case 1:
		digest_blocks(key, page, 1, ret_digests);
		return;
	case 2:
		digest_blocks(key, page, 2, ret_digests);
		return;
	default:
		assert(block_lines == LINE_DIGEST_BLOCK_LINES_MAX);
		digest_blocks(key, page, LINE_DIGEST_BLOCK_LINES_MAX, ret_digests);
	}
}

uint64_t line_diff_digests(const struct line_digest_key *key, const void *page,
			   uint32_t block_lines, const uint64_t *digests)
{
	switch (block_lines) {
	case 1:
		return diff_blocks(key, page, 1, digests);
	case 2:
		return diff_blocks(key, page, 2, digests);
	default:
		assert(block_lines == LINE_DIGEST_BLOCK_LINES_MAX);
		return diff_blocks(key, page, LINE_DIGEST_BLOCK_LINES_MAX, digests);
	}
}
