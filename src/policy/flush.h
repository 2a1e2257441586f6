/* SPDX-License-Identifier: Apache-2.0 */
#ifndef POLICY_FLUSH_H
#define POLICY_FLUSH_H

/*
 * Which dirty page to flush next: the one least likely to be written again first (method M5). A
 * flush of a page that is written again at once was in vain; the longer it stays clean, the more
 * room was won. So each page has a byte of heat that remembers how soon it came back:
 *
 *	level (3 bits)	how soon, on a scale of powers of two: 7 in the pass of its flush, 0 after
 *			FLUSH_PASSES_MAX passes or never; raised and lowered by halves, when it is
 *			dirtied
 *	rest (5 bits)	passes that are left of FLUSH_PASSES_MAX since it was dirtied or flushed:
 *			cooled by one each pass, to 0
 *
 * A zero byte is a page of which nothing is known. A page is written to as often as it likes while
 * it is dirty: that is not seen, and costs nothing.
 *
 * The mover goes over the dirty pages in passes. Without need it takes those that are not hot and
 * had a pass to settle, and those that were dirty for FLUSH_PASSES_MAX passes. When more is
 * unflushed than there should be it takes as many as are too many, of the lowest ranks: how many
 * each rank has is known of the pass before. Where a pass begins is the mover's to vary: of one
 * rank, what it meets first is taken. How long it takes at least, too: that is the unit of heat.
 *
 * Pure. The bytes are the caller's, one a page; they are a guess, so one that is lost to a race
 * (a handler's raise beside the mover's cooling) does not matter.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define FLUSH_PASSES_MAX 31
#define FLUSH_HOT 4 /* the level from which a page is left alone: it came back within 8 passes */
#define FLUSH_RANKS 9

/* The byte after the page was dirtied, by a writer that finds it clean. */
uint8_t flush_dirtied(uint8_t heat);

/* The byte after it was flushed. */
uint8_t flush_flushed(uint8_t heat);

/* Cools the bytes of so many pages, clean and dirty: once a pass. About a byte a nanosecond. */
void flush_cool(_Atomic uint8_t *heat, uint64_t page_count);

/* Of a dirty page: 0, dirty for FLUSH_PASSES_MAX passes, to 8, the hottest. */
uint32_t flush_rank(uint8_t heat);

struct flush_pass {
	uint64_t need;	/* pages to be taken at least */
	uint64_t taken; /* pages that were */
	uint32_t limit; /* the highest rank that may be taken while fewer than `need` were */
	uint64_t seen[FLUSH_RANKS];
};

/* Once, for a mover. */
void flush_init(struct flush_pass *pass);

/*
 * A pass begins with so many pages unflushed, of which `target` are no trouble: the throttle's
 * first threshold, say, less what is dirtied while a pass is on its way.
 */
void flush_begin(struct flush_pass *pass, uint64_t unflushed_pages, uint64_t target_pages);

/* Whether this dirty page is to be flushed now. For each page once a pass, in any order. */
bool flush_takes(struct flush_pass *pass, uint8_t heat);

#endif
