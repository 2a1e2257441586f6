/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/flush.h"

#define REST_BITS 5
#define REST_MASK ((1u << REST_BITS) - 1)
#define LEVEL_MAX 7u

_Static_assert(FLUSH_PASSES_MAX == REST_MASK, "the rest counts the passes down");
_Static_assert(FLUSH_RANKS == LEVEL_MAX + 2, "a rank a level, and one for the oldest");

static uint32_t level_of(uint8_t heat)
{
	return heat >> REST_BITS;
}

static uint32_t passes_since(uint8_t heat)
{
	return FLUSH_PASSES_MAX - (heat & REST_MASK);
}

static uint8_t heat_of(uint32_t level)
{
	return (uint8_t)(level << REST_BITS | FLUSH_PASSES_MAX);
}

/* The level of a page that was clean for so many passes. */
static uint32_t level_for(uint32_t passes)
{
	uint32_t log = 0;

	if (passes >= FLUSH_PASSES_MAX)
		return 0;
	while (passes) {
		log++;
		passes >>= 1;
	}
	return LEVEL_MAX - log;
}

uint8_t flush_dirtied(uint8_t heat)
{
	uint32_t level = level_of(heat), now = level_for(passes_since(heat));

	/* Halfway, and to the end when it is one step: upwards when it is in between. */
	if (now > level)
		level = (level + now + 1) / 2;
	else
		level = (level + now) / 2;
	return heat_of(level);
}

uint8_t flush_flushed(uint8_t heat)
{
	return heat_of(level_of(heat));
}

void flush_cool(_Atomic uint8_t *heat, uint64_t page_count)
{
	for (uint64_t page = 0; page < page_count; page++) {
		uint8_t now = atomic_load_explicit(&heat[page], memory_order_relaxed);

		if (now & REST_MASK)
			atomic_store_explicit(&heat[page], (uint8_t)(now - 1),
					      memory_order_relaxed);
	}
}

uint32_t flush_rank(uint8_t heat)
{
	return heat & REST_MASK ? level_of(heat) + 1 : 0;
}

void flush_init(struct flush_pass *pass)
{
	*pass = (struct flush_pass){ .limit = FLUSH_RANKS - 1 };
}

void flush_begin(struct flush_pass *pass, uint64_t unflushed_pages, uint64_t target_pages)
{
	uint64_t sum = 0;
	uint32_t rank = 0;

	pass->need = unflushed_pages > target_pages ? unflushed_pages - target_pages : 0;
	pass->taken = 0;
	while (rank < FLUSH_RANKS - 1 && (sum += pass->seen[rank]) < pass->need)
		rank++;
	pass->limit = rank;
	for (rank = 0; rank < FLUSH_RANKS; rank++)
		pass->seen[rank] = 0;
}

bool flush_takes(struct flush_pass *pass, uint8_t heat)
{
	uint32_t rank = flush_rank(heat);
	bool settled = passes_since(heat) > 0;
	bool takes;

	pass->seen[rank]++;
	takes = rank == 0 || (settled && level_of(heat) < FLUSH_HOT) ||
		(pass->taken < pass->need && rank <= pass->limit);
	pass->taken += takes;
	return takes;
}
