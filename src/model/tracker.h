/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MODEL_TRACKER_H
#define MODEL_TRACKER_H

/*
 * How the modelled device keeps which lines are modified (method M3, US 11,880,309 in PATENTS.md):
 * the product's line map (memory/line_map.h), its two levels of summary in a small fast memory, its
 * bitmap in a large slow one with a cache in the fast memory before it. Each access is counted
 * where it goes.
 *
 * Beside it, as the control, a flat bitmap without summaries gets the same events and a cache of
 * the same size. Both must give the same answers, which is asserted.
 */

#include <stdbool.h>
#include <stdint.h>

#include "memory/line_map.h"
#include "model/cache.h"
#include "model/counts.h"

/* A bitmap in slow memory behind a cache of its lines, eight words each. */
struct slow_bitmap {
	struct cache cache; /* a value is 1 for a line that is to be written back */
	struct model_tracking *tracking;
};

struct tracker {
	struct line_map map;
	void *summary;
	void *lines;
	uint64_t *flat;
	uint64_t flat_pages; /* words of it that are not 0 */
	struct slow_bitmap map_memory;
	struct slow_bitmap flat_memory;
};

/* -ENOMEM. `counts` gets the accesses and stays the caller's. */
int tracker_create(struct tracker *ret_tracker, uint64_t page_count, uint64_t cache_bytes,
		   struct model_counts *counts);
void tracker_destroy(struct tracker *tracker); /* also half-made or zeroed */

/* The line is modified. True when the map did not know that. */
bool tracker_set(struct tracker *tracker, uint64_t page, uint32_t line);

/* Whether the map has it. Not counted: for statistics. */
bool tracker_has(const struct tracker *tracker, uint64_t page, uint32_t line);

/* The page's modified lines, which are taken out. */
uint64_t tracker_take(struct tracker *tracker, uint64_t page);

/* The flat bitmap's reads of one scan; returns how many pages it found. */
uint64_t tracker_scan_flat(struct tracker *tracker);

/* The first page from `page` on with modified lines or LINE_MAP_NONE, by descending the levels. */
uint64_t tracker_next(struct tracker *tracker, uint64_t page);

#endif
