/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/range_map.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RANGE_CAPACITY_MIN 64

void range_map_init(struct range_map *map, uint64_t page_count)
{
	*map = (struct range_map){ .page_count = page_count };
}

void range_map_destroy(struct range_map *map)
{
	free(map->ranges);
	map->ranges = NULL;
	map->count = 0;
	map->capacity = 0;
	map->mapped_pages = 0;
}

/* Index of the first range that ends behind `page`. */
static uint32_t find(const struct range_map *map, uint64_t page)
{
	uint32_t low = 0, high = map->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (map->ranges[middle].end <= page)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool range_map_next(const struct range_map *map, uint64_t first, uint64_t end,
		    struct range *ret_piece)
{
	uint32_t i = find(map, first);

	if (i == map->count || map->ranges[i].first >= end || first >= end)
		return false;
	*ret_piece = map->ranges[i];
	if (ret_piece->first < first)
		ret_piece->first = first;
	if (ret_piece->end > end)
		ret_piece->end = end;
	return true;
}

int range_map_find_free(const struct range_map *map, uint64_t pages, uint64_t alignment,
			uint64_t *ret_first)
{
	uint64_t at = 0;

	for (uint32_t i = 0; i <= map->count; i++) {
		uint64_t gap_end = i < map->count ? map->ranges[i].first : map->page_count;
		uint64_t first = (at + alignment - 1) / alignment * alignment;

		if (first >= at && first <= gap_end && gap_end - first >= pages) {
			*ret_first = first;
			return 0;
		}
		if (i < map->count)
			at = map->ranges[i].end;
	}
	return -ENOMEM;
}

bool range_map_is_free(const struct range_map *map, uint64_t first, uint64_t pages)
{
	struct range piece;

	return !range_map_next(map, first, first + pages, &piece);
}

bool range_map_is_mapped(const struct range_map *map, uint64_t first, uint64_t pages)
{
	struct range piece;
	uint64_t at = first, end = first + pages;

	while (at < end) {
		if (!range_map_next(map, at, end, &piece) || piece.first != at)
			return false;
		at = piece.end;
	}
	return true;
}

/* Two more ranges than now are the most that one change can need. */
static int make_room(struct range_map *map)
{
	uint32_t capacity = map->capacity ? map->capacity * 2 : RANGE_CAPACITY_MIN;
	struct range *ranges;

	if (map->count + 2 <= map->capacity)
		return 0;
	ranges = realloc(map->ranges, capacity * sizeof(*ranges));
	if (!ranges)
		return -ENOMEM;
	map->ranges = ranges;
	map->capacity = capacity;
	return 0;
}

static void insert(struct range_map *map, uint32_t at, struct range range)
{
	memmove(&map->ranges[at + 1], &map->ranges[at], (map->count - at) * sizeof(range));
	map->ranges[at] = range;
	map->count++;
}

static void erase(struct range_map *map, uint32_t at, uint32_t count)
{
	memmove(&map->ranges[at], &map->ranges[at + count],
		(map->count - at - count) * sizeof(*map->ranges));
	map->count -= count;
}

int range_map_clear(struct range_map *map, uint64_t first, uint64_t pages)
{
	uint64_t end = first + pages;
	uint32_t i, spent;

	assert(first <= map->page_count && pages <= map->page_count - first);
	if (!pages)
		return 0;
	if (make_room(map))
		return -ENOMEM;
	i = find(map, first);
	if (i < map->count && map->ranges[i].first < first) {
		struct range tail = map->ranges[i];

		if (tail.end > end) { /* a hole in the middle of one range */
			map->ranges[i].end = first;
			tail.first = end;
			insert(map, i + 1, tail);
			map->mapped_pages -= pages;
			return 0;
		}
		map->mapped_pages -= map->ranges[i].end - first;
		map->ranges[i].end = first;
		i++;
	}
	for (spent = i; spent < map->count && map->ranges[spent].end <= end; spent++)
		map->mapped_pages -= map->ranges[spent].end - map->ranges[spent].first;
	erase(map, i, spent - i);
	if (i < map->count && map->ranges[i].first < end) {
		map->mapped_pages -= end - map->ranges[i].first;
		map->ranges[i].first = end;
	}
	return 0;
}

static bool agree(const struct range *a, const struct range *b)
{
	return a->end == b->first && a->attributes.kind == b->attributes.kind &&
	       a->attributes.protection == b->attributes.protection &&
	       a->attributes.fork == b->attributes.fork &&
	       a->attributes.locked == b->attributes.locked;
}

int range_map_set(struct range_map *map, uint64_t first, uint64_t pages,
		  struct range_attributes attributes)
{
	struct range range = { .first = first, .end = first + pages, .attributes = attributes };
	uint32_t i;

	if (!pages)
		return 0;
	/* It made room for two ranges and used one of them at most, for a hole's second half. */
	if (range_map_clear(map, first, pages))
		return -ENOMEM;
	i = find(map, first);
	insert(map, i, range);
	map->mapped_pages += pages;
	if (i + 1 < map->count && agree(&map->ranges[i], &map->ranges[i + 1])) {
		map->ranges[i].end = map->ranges[i + 1].end;
		erase(map, i + 1, 1);
	}
	if (i > 0 && agree(&map->ranges[i - 1], &map->ranges[i])) {
		map->ranges[i - 1].end = map->ranges[i].end;
		erase(map, i, 1);
	}
	return 0;
}
