/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/line_map.h"

/* Words of each level, the summaries in whole groups: no loop has to look at the end. */
static uint64_t group_count(uint64_t page_count)
{
	return (page_count + LINE_MAP_GROUP_PAGES - 1) / LINE_MAP_GROUP_PAGES;
}

static uint64_t page_words(uint64_t page_count)
{
	return group_count(page_count) * LINE_MAP_GROUP_WORDS;
}

static uint64_t group_words(uint64_t page_count)
{
	return (group_count(page_count) + 63) / 64;
}

size_t line_map_summary_bytes(uint64_t page_count)
{
	assert(page_count <= LINE_MAP_PAGES_MAX);
	return (page_words(page_count) + group_words(page_count)) * sizeof(uint64_t);
}

size_t line_map_lines_bytes(uint64_t page_count)
{
	assert(page_count <= LINE_MAP_PAGES_MAX);
	return page_count * sizeof(uint64_t);
}

/* PAGES stands first: each group's words are then one cache line. */
void line_map_init(struct line_map *map, void *summary, void *lines, uint64_t page_count)
{
	_Atomic uint64_t *words = summary;

	assert((uintptr_t)summary % LINE_MAP_ALIGNMENT == 0);
	assert((uintptr_t)lines % LINE_MAP_ALIGNMENT == 0);
	assert(page_count <= LINE_MAP_PAGES_MAX);
	map->words[LINE_MAP_LINES] = lines;
	map->words[LINE_MAP_PAGES] = words;
	map->words[LINE_MAP_GROUPS] = words + page_words(page_count);
	map->page_count = page_count;
}

/* Adds up, or sets in `into`, the lines of a group's pages. */
static uint64_t walk_group(const struct line_map *map, uint64_t group, struct line_map *into)
{
	uint64_t page = group * LINE_MAP_GROUP_PAGES, count = 0;
	uint64_t end = page + LINE_MAP_GROUP_PAGES;

	while (page < end) {
		uint64_t mask;

		page = line_map_next_in_group_by(map, page, NULL, NULL);
		if (page == LINE_MAP_NONE)
			break;
		mask = line_map_peek(map, page);
		if (into && mask)
			line_map_set(into, page, mask);
		count += (uint64_t)__builtin_popcountll(mask);
		page++;
	}
	return count;
}

/* Unlike the scanner this leaves the summaries alone, so that any thread may do it. */
static uint64_t walk(const struct line_map *map, struct line_map *into)
{
	uint64_t group = line_map_next_group_by(map, 0, NULL, NULL), count = 0;

	while (group != LINE_MAP_NONE) {
		count += walk_group(map, group, into);
		group = line_map_next_group_by(map, group + 1, NULL, NULL);
	}
	return count;
}

uint64_t line_map_count(const struct line_map *map)
{
	return walk(map, NULL);
}

void line_map_merge(struct line_map *into, const struct line_map *from)
{
	assert(into->page_count == from->page_count && into != from);
	walk(from, into);
}
