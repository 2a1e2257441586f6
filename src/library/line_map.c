/* SPDX-License-Identifier: Apache-2.0 */

/* The library's names are hidden but for those of the public header. */
#pragma GCC visibility push(default)
#include "perdure/line_map.h"
#pragma GCC visibility pop

#include <errno.h>
#include <stdlib.h>

#include "memory/line_map.h"

_Static_assert(PD_LINE_BYTES == LINE_BYTES, "one line");
_Static_assert(PD_PAGE_LINES == PAGE_LINES, "one page");
_Static_assert(PD_LINE_MAP_PAGES_MAX == LINE_MAP_PAGES_MAX, "one limit");
_Static_assert(PD_LINE_MAP_NONE == LINE_MAP_NONE, "one answer for none");

struct pd_line_map {
	struct line_map map;
};

/* One piece of calloc(): when it is large its pages are there only once they are set in. */
int pd_line_map_create(uint64_t page_count, struct pd_line_map **ret_map)
{
	size_t summary_bytes, lines_bytes;
	struct pd_line_map *map;
	uint8_t *memory;

	if (!page_count || page_count > PD_LINE_MAP_PAGES_MAX)
		return -EINVAL;
	summary_bytes = line_map_align(line_map_summary_bytes(page_count));
	lines_bytes = line_map_lines_bytes(page_count);
	map = calloc(1, sizeof(*map) + LINE_MAP_ALIGNMENT + summary_bytes + lines_bytes);
	if (!map)
		return -ENOMEM;
	memory = (uint8_t *)line_map_align((uintptr_t)(map + 1));
	line_map_init(&map->map, memory, memory + summary_bytes, page_count);
	*ret_map = map;
	return 0;
}

void pd_line_map_destroy(struct pd_line_map *map)
{
	free(map);
}

uint64_t pd_line_map_page_count(const struct pd_line_map *map)
{
	return map->map.page_count;
}

uint64_t pd_line_map_set(struct pd_line_map *map, uint64_t page, uint64_t mask)
{
	return line_map_set(&map->map, page, mask);
}

bool pd_line_map_set_line(struct pd_line_map *map, uint64_t line)
{
	return line_map_set_line(&map->map, line);
}

bool pd_line_map_test_line(const struct pd_line_map *map, uint64_t line)
{
	return line_map_test_line(&map->map, line);
}

uint64_t pd_line_map_peek(const struct pd_line_map *map, uint64_t page)
{
	return line_map_peek(&map->map, page);
}

uint64_t pd_line_map_next(struct pd_line_map *map, uint64_t page)
{
	assert(page <= map->map.page_count);
	return line_map_next(&map->map, page);
}

uint64_t pd_line_map_take(struct pd_line_map *map, uint64_t page)
{
	return line_map_take(&map->map, page);
}

int pd_line_map_merge(struct pd_line_map *into, const struct pd_line_map *from)
{
	if (into == from || into->map.page_count != from->map.page_count)
		return -EINVAL;
	line_map_merge(&into->map, &from->map);
	return 0;
}

uint64_t pd_line_map_count(const struct pd_line_map *map)
{
	return line_map_count(&map->map);
}
