/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEMORY_LINE_MAP_H
#define MEMORY_LINE_MAP_H

/*
 * Which 64-byte lines of which pages were changed: a bitmap under two levels of summary (method M3,
 * US 11,880,309 in PATENTS.md).
 *
 *   GROUPS  a bit for 512 pages: at least one of its pages is changed
 *   PAGES   a bit a page: at least one of its lines is changed
 *   LINES   one 64-bit word a page, a bit a line
 *
 * A set costs one bit of each level, and only what is not set yet is written. A scan descends the
 * levels: its cost follows what is changed; with nothing changed it reads a word for 128 MiB, which
 * is 8 words of 1 GiB and 64 KiB of words for 1 TiB. That is why there is no third summary.
 *
 * Threads: any number of setters; line_map_next() is called by one thread at a time, the scanner;
 * line_map_take() by any thread. All lock-free. What holds when is numbered in
 * docs/design/line-map.md (L1 to L7).
 *
 * The map makes no system call and allocates nothing: its memory is handed in, zeroed. The two
 * levels of summary are one piece, small enough for a small fast memory; the bitmap is another.
 *
 * Each operation has a form that ends in _by and takes an observer, which is told every access to
 * a word of a level: the modelled device counts them by it, and the tests. Given a constant NULL,
 * as all callers on the memory path do, it costs nothing.
 */

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/cpu.h"

#define LINE_MAP_WORD_PAGES 64	 /* pages of a word of PAGES */
#define LINE_MAP_GROUP_PAGES 512 /* pages of a bit of GROUPS: one cache line of PAGES */
#define LINE_MAP_GROUP_WORDS (LINE_MAP_GROUP_PAGES / LINE_MAP_WORD_PAGES)
#define LINE_MAP_PAGES_MAX (1ull << 36) /* as much as 48 bits address */
#define LINE_MAP_NONE UINT64_MAX
#define LINE_MAP_ALIGNMENT 64 /* of the memory handed in */

enum line_map_level { LINE_MAP_LINES, LINE_MAP_PAGES, LINE_MAP_GROUPS, LINE_MAP_LEVELS };
enum line_map_access { LINE_MAP_READ, LINE_MAP_WRITE };

/* `word` is the index in its level. A write reads as well, and is told once. */
typedef void line_map_observe(void *context, enum line_map_level level, uint64_t word,
			      enum line_map_access access);

struct line_map {
	_Atomic uint64_t *words[LINE_MAP_LEVELS];
	uint64_t page_count;
};

/* Bytes of the two pieces of memory for so many pages. */
size_t line_map_summary_bytes(uint64_t page_count);
size_t line_map_lines_bytes(uint64_t page_count);

/* Upwards: where the one piece may begin behind the other. */
static inline size_t line_map_align(size_t bytes)
{
	return (bytes + LINE_MAP_ALIGNMENT - 1) / LINE_MAP_ALIGNMENT * LINE_MAP_ALIGNMENT;
}

/* Both pieces are zeroed, aligned to LINE_MAP_ALIGNMENT, and stay the caller's. */
void line_map_init(struct line_map *map, void *summary, void *lines, uint64_t page_count);

/* Changed lines in all. While other threads set or take: a figure of some moment, not exact. */
uint64_t line_map_count(const struct line_map *map);

/* Sets in `into` what is set in `from`, which has as many pages and keeps it. */
void line_map_merge(struct line_map *into, const struct line_map *from);

static inline uint64_t line_map_read_by(const struct line_map *map, enum line_map_level level,
					uint64_t word, line_map_observe *observe, void *context)
{
	if (observe)
		observe(context, level, word, LINE_MAP_READ);
	return atomic_load_explicit(&map->words[level][word], memory_order_seq_cst);
}

/* Sets those of `bits` that are not set in `old`, what was read before. Returns those it changed.
 */
static inline uint64_t line_map_raise_by(struct line_map *map, enum line_map_level level,
					 uint64_t word, uint64_t bits, uint64_t old,
					 line_map_observe *observe, void *context)
{
	if (!(bits & ~old))
		return 0;
	if (observe)
		observe(context, level, word, LINE_MAP_WRITE);
	return bits &
	       ~atomic_fetch_or_explicit(&map->words[level][word], bits, memory_order_seq_cst);
}

/* Clears those of `bits` that are set; returns what is left of the word. */
static inline uint64_t line_map_lower_by(struct line_map *map, enum line_map_level level,
					 uint64_t word, uint64_t bits, line_map_observe *observe,
					 void *context)
{
	uint64_t old = line_map_read_by(map, level, word, observe, context);

	if (!(old & bits))
		return old;
	if (observe)
		observe(context, level, word, LINE_MAP_WRITE);
	return atomic_fetch_and_explicit(&map->words[level][word], ~bits, memory_order_seq_cst) &
	       ~bits;
}

static inline void line_map_raise_group_by(struct line_map *map, uint64_t group,
					   line_map_observe *observe, void *context)
{
	uint64_t old = line_map_read_by(map, LINE_MAP_GROUPS, group / 64, observe, context);

	line_map_raise_by(map, LINE_MAP_GROUPS, group / 64, 1ull << group % 64, old, observe,
			  context);
}

/*
 * The lines of `mask` (a bit a line, not 0) of the page were changed: called after the change was
 * stored. Returns those that were not set before; for the others nothing is written.
 *
 * From below upwards, while line_map_take() clears from above downwards: so no order of the two
 * leaves a line set under a summary that is clear (L3). The summaries are looked at also when the
 * lines were set: another setter may be on its way there, and this call's change must be found by a
 * scan that begins after it returns (L2).
 */
static inline uint64_t line_map_set_by(struct line_map *map, uint64_t page, uint64_t mask,
				       line_map_observe *observe, void *context)
{
	uint64_t old, changed;

	assert(page < map->page_count && mask);
	old = line_map_read_by(map, LINE_MAP_LINES, page, observe, context);
	if (!(mask & ~old)) {
		/*
		 * Nothing will be written, so nothing orders the caller's store before this look
		 * yet: a taker between the two would take the bit and miss the change (L5).
		 */
		cpu_fence();
		old = atomic_load_explicit(&map->words[LINE_MAP_LINES][page], memory_order_seq_cst);
	}
	changed = line_map_raise_by(map, LINE_MAP_LINES, page, mask, old, observe, context);
	old = line_map_read_by(map, LINE_MAP_PAGES, page / LINE_MAP_WORD_PAGES, observe, context);
	line_map_raise_by(map, LINE_MAP_PAGES, page / LINE_MAP_WORD_PAGES,
			  1ull << page % LINE_MAP_WORD_PAGES, old, observe, context);
	line_map_raise_group_by(map, page / LINE_MAP_GROUP_PAGES, observe, context);
	return changed;
}

static inline bool line_map_group_is_empty_by(const struct line_map *map, uint64_t group,
					      line_map_observe *observe, void *context)
{
	for (uint64_t i = 0; i < LINE_MAP_GROUP_WORDS; i++)
		if (line_map_read_by(map, LINE_MAP_PAGES, group * LINE_MAP_GROUP_WORDS + i, observe,
				     context))
			return false;
	return true;
}

/* Clears the bit of a group without changed pages; looks again, as a setter may have seen it set.
 */
static inline void line_map_settle_group_by(struct line_map *map, uint64_t group,
					    line_map_observe *observe, void *context)
{
	if (!line_map_group_is_empty_by(map, group, observe, context))
		return;
	line_map_lower_by(map, LINE_MAP_GROUPS, group / 64, 1ull << group % 64, observe, context);
	if (!line_map_group_is_empty_by(map, group, observe, context))
		line_map_raise_group_by(map, group, observe, context);
}

/*
 * Takes the page's changed lines out of the map: each is returned to one caller, and what is
 * changed from now on is set anew (L4). Whoever reads the page after this call sees the changes
 * that the lines stand for (L5).
 */
static inline uint64_t line_map_take_by(struct line_map *map, uint64_t page,
					line_map_observe *observe, void *context)
{
	uint64_t left, mask;

	assert(page < map->page_count);
	left = line_map_lower_by(map, LINE_MAP_PAGES, page / LINE_MAP_WORD_PAGES,
				 1ull << page % LINE_MAP_WORD_PAGES, observe, context);
	mask = line_map_read_by(map, LINE_MAP_LINES, page, observe, context);
	if (mask) {
		if (observe)
			observe(context, LINE_MAP_LINES, page, LINE_MAP_WRITE);
		mask = atomic_exchange_explicit(&map->words[LINE_MAP_LINES][page], 0,
						memory_order_seq_cst);
		cpu_fence_after_exchange();
	}
	if (!left)
		line_map_settle_group_by(map, page / LINE_MAP_GROUP_PAGES, observe, context);
	return mask;
}

/* The first page from `page` to the end of its group whose bit is set, or LINE_MAP_NONE. */
static inline uint64_t line_map_next_in_group_by(const struct line_map *map, uint64_t page,
						 line_map_observe *observe, void *context)
{
	uint64_t word = page / LINE_MAP_WORD_PAGES;
	uint64_t end = (page / LINE_MAP_GROUP_PAGES + 1) * LINE_MAP_GROUP_WORDS;
	uint64_t wanted = ~0ull << page % LINE_MAP_WORD_PAGES;

	for (; word < end; word++) {
		uint64_t bits = line_map_read_by(map, LINE_MAP_PAGES, word, observe, context);

		bits &= wanted;
		wanted = ~0ull;
		if (bits)
			return word * LINE_MAP_WORD_PAGES + (uint64_t)__builtin_ctzll(bits);
	}
	return LINE_MAP_NONE;
}

/* The first group from `group` on whose bit is set, or LINE_MAP_NONE. */
static inline uint64_t line_map_next_group_by(const struct line_map *map, uint64_t group,
					      line_map_observe *observe, void *context)
{
	uint64_t end = (map->page_count + LINE_MAP_GROUP_PAGES - 1) / LINE_MAP_GROUP_PAGES;

	while (group < end) {
		uint64_t bits =
			line_map_read_by(map, LINE_MAP_GROUPS, group / 64, observe, context) >>
			group % 64;

		if (bits)
			return group + (uint64_t)__builtin_ctzll(bits);
		group = (group / 64 + 1) * 64;
	}
	return LINE_MAP_NONE;
}

/*
 * The first page from `page` on (which may be page_count) that has changed lines, or LINE_MAP_NONE.
 * A page may come whose lines were taken a moment ago: then line_map_take() returns 0 (L6). The
 * scanner only: it also clears the bits of groups that such moments left behind.
 */
static inline uint64_t line_map_next_by(struct line_map *map, uint64_t page,
					line_map_observe *observe, void *context)
{
	while (page < map->page_count) {
		uint64_t first = page / LINE_MAP_GROUP_PAGES, found;
		uint64_t group = line_map_next_group_by(map, first, observe, context);

		if (group == LINE_MAP_NONE)
			break;
		if (group != first)
			page = group * LINE_MAP_GROUP_PAGES;
		found = line_map_next_in_group_by(map, page, observe, context);
		if (found != LINE_MAP_NONE)
			return found;
		if (page % LINE_MAP_GROUP_PAGES == 0)
			line_map_settle_group_by(map, group, observe, context);
		page = (group + 1) * LINE_MAP_GROUP_PAGES;
	}
	return LINE_MAP_NONE;
}

static inline uint64_t line_map_set(struct line_map *map, uint64_t page, uint64_t mask)
{
	return line_map_set_by(map, page, mask, NULL, NULL);
}

/* `line` counts from the first line of page 0. True if it was not set before. */
static inline bool line_map_set_line(struct line_map *map, uint64_t line)
{
	return line_map_set(map, line / PAGE_LINES, 1ull << line % PAGE_LINES);
}

/* The page's changed lines as they are now; a hint while others set and take. */
static inline uint64_t line_map_peek(const struct line_map *map, uint64_t page)
{
	assert(page < map->page_count);
	return line_map_read_by(map, LINE_MAP_LINES, page, NULL, NULL);
}

static inline bool line_map_test_line(const struct line_map *map, uint64_t line)
{
	return line_map_peek(map, line / PAGE_LINES) >> line % PAGE_LINES & 1;
}

static inline uint64_t line_map_take(struct line_map *map, uint64_t page)
{
	return line_map_take_by(map, page, NULL, NULL);
}

static inline uint64_t line_map_next(struct line_map *map, uint64_t page)
{
	return line_map_next_by(map, page, NULL, NULL);
}

#endif
