/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_LINE_MAP_FIXTURE_H
#define TESTS_UNIT_LINE_MAP_FIXTURE_H

/* The map that the tests of the line map work on, and what holds when no call is under way. */

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "memory/line_map.h"

static struct line_map map;

static inline void *zeroed(size_t bytes)
{
	void *memory = NULL;

	bytes += LINE_MAP_ALIGNMENT;
	ck_assert(!posix_memalign(&memory, LINE_MAP_ALIGNMENT, bytes));
	memset(memory, 0, bytes);
	return memory;
}

static inline struct line_map make(uint64_t page_count)
{
	struct line_map made;

	line_map_init(&made, zeroed(line_map_summary_bytes(page_count)),
		      zeroed(line_map_lines_bytes(page_count)), page_count);
	return made;
}

static inline void destroy(struct line_map *which)
{
	free(which->words[LINE_MAP_PAGES]);
	free(which->words[LINE_MAP_LINES]);
}

static inline bool bit_of(enum line_map_level level, uint64_t index)
{
	return map.words[level][index / 64] >> index % 64 & 1;
}

/* L1: with no call under way each level is exactly the OR of the one below. */
static inline bool levels_agree(void)
{
	uint64_t groups = (map.page_count + LINE_MAP_GROUP_PAGES - 1) / LINE_MAP_GROUP_PAGES;

	for (uint64_t group = 0; group < groups; group++) {
		bool is_changed = false;

		for (uint64_t i = 0; i < LINE_MAP_GROUP_PAGES; i++) {
			uint64_t page = group * LINE_MAP_GROUP_PAGES + i;
			bool lines = page < map.page_count && map.words[LINE_MAP_LINES][page];

			if (bit_of(LINE_MAP_PAGES, page) != lines)
				return false;
			is_changed |= lines;
		}
		if (bit_of(LINE_MAP_GROUPS, group) != is_changed)
			return false;
	}
	return true;
}

#endif
