/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/evict.h"

#define EVICT_ROOM_MIN (4 * EVICT_BATCH_PAGES)
#define EVICT_ROOM_MAX 4096 /* 16 MiB: past it more victims cost working set and save little */
#define EVICT_ROOM_SHARE 16

struct evict_policy evict_policy_for(uint64_t limit_pages)
{
	uint64_t high = limit_pages / EVICT_ROOM_SHARE;

	if (high < EVICT_ROOM_MIN)
		high = EVICT_ROOM_MIN;
	if (high > EVICT_ROOM_MAX)
		high = EVICT_ROOM_MAX;
	return (struct evict_policy){ .low = high - EVICT_BATCH_PAGES, .high = high };
}

uint32_t evict_batches(const struct evict_policy *policy, uint64_t limit_pages,
		       uint64_t local_pages, uint64_t victim_pages)
{
	uint64_t room = victim_pages;

	if (local_pages < limit_pages)
		room += limit_pages - local_pages;
	if (room >= policy->low)
		return 0;
	return (uint32_t)((policy->high - room + EVICT_BATCH_PAGES - 1) / EVICT_BATCH_PAGES);
}
