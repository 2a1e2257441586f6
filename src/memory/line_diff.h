/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEMORY_LINE_DIFF_H
#define MEMORY_LINE_DIFF_H

/*
 * Which 64-byte lines of a page were changed, found out afterwards: against a twin (a copy of the
 * page as it was), or against digests of it. These are the live source of what the line map keeps
 * (method M3 in PATENTS.md), where no bus tells of single lines.
 *
 * A digest is of a block of 1, 2 or 4 lines. It is keyed and has 64 bits, made as those of pages
 * are (memory/page_digest.h): NH over the block's words, folded by a multilinear step. For two
 * blocks that were chosen without knowledge of the key the probability that their digests are equal
 * is at most 2^-64 (NH) + 2^-64 (fold) = 2^-63, whatever the blocks are: so often a changed block
 * is taken for unchanged. One key serves all blocks, as a digest is compared only with another of
 * the same place. Why 64 bits, and what each size of block costs:
 * docs/decisions/0060-line-digests.md.
 *
 * Pure. Pages, twins and digests are aligned to 8 bytes at least.
 */

#include <stdint.h>

#define LINE_DIGEST_BLOCK_LINES_MAX 4
#define LINE_DIGESTS_MAX 64 /* of a page, with blocks of one line */

struct line_digest_key {
	uint64_t words[8 * LINE_DIGEST_BLOCK_LINES_MAX];
	unsigned __int128 fold[3];
};

/* A bit for each line, bit 0 for the first: 1 where the two differ. */
uint64_t line_diff_twin(const void *page, const void *twin);

/* The digest of one block of 8 * block_lines words. */
static inline uint64_t line_digest(const struct line_digest_key *key, const uint64_t *words,
				   uint32_t block_lines)
{
	unsigned __int128 sum = 0;

#pragma GCC unroll 16
	for (uint32_t i = 0; i < 8 * block_lines; i += 2)
		sum += (unsigned __int128)(words[i] + key->words[i]) *
		       (words[i + 1] + key->words[i + 1]);
	sum = key->fold[0] + (uint64_t)sum * key->fold[1] + (uint64_t)(sum >> 64) * key->fold[2];
	return (uint64_t)(sum >> 64);
}

/* The page's 64 / block_lines digests, in order. */
void line_digest_page(const struct line_digest_key *key, const void *page, uint32_t block_lines,
		      uint64_t *ret_digests);

/* A bit for each line: 1 for all lines of each block whose digest is not the one given. */
uint64_t line_diff_digests(const struct line_digest_key *key, const void *page,
			   uint32_t block_lines, const uint64_t *digests);

#endif
