/* SPDX-License-Identifier: Apache-2.0 */
#include "model/tracker.h"

#include <assert.h>
#include <errno.h>

#include "base/bytes.h"
#include "model/config.h"

#define WORDS_OF_A_LINE 8

static void *zeroed(size_t bytes)
{
	size_t rounded = (bytes + LINE_MAP_ALIGNMENT - 1) & ~(size_t)(LINE_MAP_ALIGNMENT - 1);
	void *memory = aligned_alloc(LINE_MAP_ALIGNMENT, rounded);

	return memory ? memset(memory, 0, rounded) : NULL;
}

static int create_slow_bitmap(struct slow_bitmap *bitmap, uint64_t cache_bytes,
			      struct model_tracking *tracking)
{
	bitmap->tracking = tracking;
	return cache_create(&bitmap->cache, cache_bytes / LINE_BYTES, MODEL_BITMAP_WAYS);
}

int tracker_create(struct tracker *ret_tracker, uint64_t page_count, uint64_t cache_bytes,
		   struct model_counts *counts)
{
	*ret_tracker = (struct tracker){
		.summary = zeroed(line_map_summary_bytes(page_count)),
		.lines = zeroed(line_map_lines_bytes(page_count)),
		.flat = calloc(page_count, sizeof(*ret_tracker->flat)),
	};
	if (!ret_tracker->summary || !ret_tracker->lines || !ret_tracker->flat ||
	    create_slow_bitmap(&ret_tracker->map_memory, cache_bytes, &counts->hierarchy) < 0 ||
	    create_slow_bitmap(&ret_tracker->flat_memory, cache_bytes, &counts->flat) < 0) {
		tracker_destroy(ret_tracker);
		return -ENOMEM;
	}
	line_map_init(&ret_tracker->map, ret_tracker->summary, ret_tracker->lines, page_count);
	return 0;
}

void tracker_destroy(struct tracker *tracker)
{
	free(tracker->summary);
	free(tracker->lines);
	free(tracker->flat);
	cache_destroy(&tracker->map_memory.cache);
	cache_destroy(&tracker->flat_memory.cache);
	*tracker = (struct tracker){ 0 };
}

static void count_fast(struct model_tracking *tracking, bool write)
{
	if (write)
		tracking->fast_writes++;
	else
		tracking->fast_reads++;
}

/* A word of the bitmap, through its cache. */
static void access_slow(struct slow_bitmap *bitmap, uint64_t word, bool write)
{
	uint64_t *slot = cache_use(&bitmap->cache, word / WORDS_OF_A_LINE), evicted;

	count_fast(bitmap->tracking, write);
	if (slot) {
		cache_set_value(slot, cache_value(*slot) | write);
		return;
	}
	bitmap->tracking->slow_reads++;
	evicted = cache_insert(&bitmap->cache, word / WORDS_OF_A_LINE, write);
	if (evicted != CACHE_EMPTY && cache_value(evicted))
		bitmap->tracking->slow_writes++;
}

static void observe(void *context, enum line_map_level level, uint64_t word,
		    enum line_map_access access)
{
	struct tracker *tracker = context;
	bool write = access == LINE_MAP_WRITE;

	if (level == LINE_MAP_LINES)
		access_slow(&tracker->map_memory, word, write);
	else
		count_fast(tracker->map_memory.tracking, write);
}

bool tracker_set(struct tracker *tracker, uint64_t page, uint32_t line)
{
	uint64_t bit = 1ull << line;
	bool was_set = tracker->flat[page] & bit;
	uint64_t set = line_map_set_by(&tracker->map, page, bit, observe, tracker);

	assert(!set == was_set);
	tracker->flat_pages += !tracker->flat[page];
	tracker->flat[page] |= bit;
	access_slow(&tracker->flat_memory, page, !was_set);
	return set;
}

bool tracker_has(const struct tracker *tracker, uint64_t page, uint32_t line)
{
	return line_map_peek(&tracker->map, page) >> line & 1;
}

uint64_t tracker_take(struct tracker *tracker, uint64_t page)
{
	uint64_t lines = line_map_take_by(&tracker->map, page, observe, tracker);

	assert(lines == tracker->flat[page]);
	access_slow(&tracker->flat_memory, page, lines != 0);
	tracker->flat_pages -= lines != 0;
	tracker->flat[page] = 0;
	return lines;
}

uint64_t tracker_scan_flat(struct tracker *tracker)
{
	for (uint64_t page = 0; page < tracker->map.page_count; page += WORDS_OF_A_LINE)
		access_slow(&tracker->flat_memory, page, false);
	return tracker->flat_pages;
}

uint64_t tracker_next(struct tracker *tracker, uint64_t page)
{
	return line_map_next_by(&tracker->map, page, observe, tracker);
}
