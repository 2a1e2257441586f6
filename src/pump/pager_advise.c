/* SPDX-License-Identifier: Apache-2.0 */
#include "pump/pager_state.h"

#include "base/clock.h"

/* An advice that gets no further for so long is given up: no backing takes the pages. */
#define ADVICE_WAIT_NS (2 * 1000000000ull)

static bool is_local(const struct pager *pager, uint64_t page)
{
	return page_entry_state(page_table_peek(&pager->table, page)) == PAGE_LOCAL;
}

void pager_cool(struct pager *pager, uint64_t first, uint64_t count)
{
	/* From the end, so that they go in their order. */
	for (uint64_t page = first + count; page-- > first;) {
		if (!is_local(pager, page))
			continue;
		pthread_mutex_lock(&pager->lock);
		if (page_list_holds(&pager->resident, (uint32_t)page)) {
			page_list_remove(&pager->resident, (uint32_t)page);
			page_list_push_oldest(&pager->resident, (uint32_t)page);
		}
		pthread_mutex_unlock(&pager->lock);
	}
}

/* Off the list, as a batch that evicts takes them, up to a batch of [*first, end). */
static uint32_t unlist(struct pager *pager, uint64_t *first, uint64_t end, uint32_t *pages)
{
	uint32_t count = 0;

	for (; *first < end && count < EVICT_BATCH_PAGES; ++*first) {
		if (!is_local(pager, *first))
			continue;
		pthread_mutex_lock(&pager->lock);
		if (page_list_holds(&pager->resident, (uint32_t)*first)) {
			page_list_remove(&pager->resident, (uint32_t)*first);
			pages[count++] = (uint32_t)*first;
		}
		pthread_mutex_unlock(&pager->lock);
	}
	return count;
}

/*
 * Gives back `count` frames or a few more, the oldest of all; the pages that have just left wait
 * for their second chance as others do. Returns how many.
 */
static uint64_t give_back(struct lane *lane, uint64_t count)
{
	uint64_t deadline_ns = clock_now_ns() + ADVICE_WAIT_NS, given = 0;

	while (given < count && clock_now_ns() < deadline_ns) {
		uint32_t now = pager_reclaim(lane->pager);

		given += now;
		if (!now)
			pager_push_stores(lane);
	}
	return given;
}

void pager_page_out(struct pager *pager, uint64_t first, uint64_t count)
{
	struct lane *lane = &pager->lanes[pager->lane_count];
	uint64_t end = first + count, owed = 0;
	uint32_t pages[EVICT_BATCH_PAGES], group, unlisted;

	pthread_mutex_lock(&lane->lock);
	while (first < end) {
		pager_make_store_room(lane);
		pthread_mutex_lock(&pager->lock);
		group = frame_pool_take_group(&pager->frames);
		pthread_mutex_unlock(&pager->lock);
		if (group == FRAME_GROUP_NONE) {
			uint64_t given = give_back(lane, 1);

			if (!given)
				break;
			owed -= given < owed ? given : owed;
			continue;
		}
		unlisted = unlist(pager, &first, end, pages);
		owed += pager_evict_pages(lane, pages, unlisted, group);
		pager_reap(lane);
	}
	give_back(lane, owed);
	pthread_mutex_unlock(&lane->lock);
}
