/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_PATTERN_H
#define BENCH_PATTERN_H

/*
 * What the bench programs write into a page and expect to find again. Every line of every page is
 * filled, with data that compresses as real heaps do, so that a compressing backing gets neither a
 * present nor an insult; and every word takes part in a check, so that a wrong byte is found by the
 * stream phase, a wrong page by any touch.
 *
 * A page: the XOR of the eight words of line L of page P is pattern_line_check(P, L). One line of
 * each page, pattern_tag_line(P), begins with the tag, which names the page and its generation (how
 * often it was written) and is what the touch phases read and write.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

#define PATTERN_LINE_WORDS (LINE_BYTES / 8)
#define PATTERN_PAGE_LINES (PAGE_BYTES / LINE_BYTES)
#define PATTERN_PAGE_WORDS (PAGE_BYTES / 8)

enum pattern_data {
	PATTERN_WORDS,	/* small integers, pointers and text, as a heap has them: the default */
	PATTERN_TEXT,	/* words of a small vocabulary */
	PATTERN_RANDOM, /* does not compress */
};

/* 0 or -1 when `name` is no kind of data. */
int pattern_parse(const char *name, enum pattern_data *ret_data);

/* Makes the templates that pattern_fill() copies; once, before any other call. */
void pattern_prepare(enum pattern_data data, uint64_t seed);

static inline uint64_t pattern_mix(uint64_t x)
{
	x ^= x >> 31;
	x *= 0x9e3779b97f4a7c15u;
	x ^= x >> 29;
	x *= 0xd6e8feb86659fd93u;
	return x ^ x >> 32;
}

/* Spread over the lines, so that touches of page starts do not all fall into one set of a cache. */
static inline unsigned int pattern_tag_line(uint64_t page)
{
	return (unsigned int)(page * 0x9e3779b1u >> 7) % PATTERN_PAGE_LINES;
}

static inline uint64_t pattern_tag(uint64_t page, uint8_t generation)
{
	return page << 16 | (uint64_t)generation << 8 | 0x5a;
}

static inline uint64_t pattern_line_check(uint64_t page, unsigned int line)
{
	return (page << 6 | line) * 0x9e3779b97f4a7c15u;
}

/* Writes the whole page, with generation 0. */
void pattern_fill(uint64_t *words, uint64_t page);

/* Reads the whole page: true when every word is as it must be. */
bool pattern_is_right(const uint64_t *words, uint64_t page, uint8_t generation);

static inline volatile uint64_t *pattern_tag_word(uint64_t *words, uint64_t page)
{
	return words + pattern_tag_line(page) * PATTERN_LINE_WORDS;
}

#endif
