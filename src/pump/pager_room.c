/* SPDX-License-Identifier: Apache-2.0 */
#include "pump/pager_state.h"

#include <assert.h>
#include <errno.h>

#include "base/clock.h"
#include "base/raw_map.h"

#define PAGER_FORK_ROOM 64 /* pages that a forking thread may touch while nothing is evicted */

/* Evicts a batch of the oldest resident pages: the number of those that left. */
static uint32_t evict_batch(struct lane *lane)
{
	struct pager *pager = lane->pager;
	uint32_t group, wanted = 0, pages[EVICT_BATCH_PAGES];

	if (atomic_load(&pager->still))
		return 0;
	pager_make_store_room(lane);
	pthread_mutex_lock(&pager->lock);
	group = frame_pool_take_group(&pager->frames);
	while (group != FRAME_GROUP_NONE && wanted < EVICT_BATCH_PAGES &&
	       page_list_pop(&pager->resident, &pages[wanted]))
		wanted++;
	pthread_mutex_unlock(&pager->lock);
	return group == FRAME_GROUP_NONE ? 0 : pager_evict_pages(lane, pages, wanted, group);
}

uint32_t pager_reclaim(struct pager *pager)
{
	uint32_t frames[FRAME_GROUP_FRAMES], count = 0;
	uint64_t cursor = 0;

	pthread_mutex_lock(&pager->lock);
	while (count < FRAME_GROUP_FRAMES) {
		uint32_t page, frame = frame_pool_oldest_victim(&pager->frames, &cursor, &page);
		uint64_t entry;

		if (frame == FRAME_NONE)
			break;
		if (!page_table_acquire(&pager->table, page, &entry))
			continue;
		assert(page_entry_state(entry) == PAGE_VICTIM && page_entry_frame(entry) == frame);
		frame_pool_take_victim(&pager->frames, frame);
		frames[count++] = frame;
		cursor--;
		entry = page_entry_with_frame(entry, 0);
		entry = page_entry_with_state(entry, page_entry_slot(entry) ? PAGE_FAR :
									      PAGE_UNTOUCHED);
		page_table_release(&pager->table, page, entry);
	}
	pthread_mutex_unlock(&pager->lock);
	for (uint32_t i = 0, run; i < count; i += run) {
		for (run = 1; i + run < count && frames[i + run] == frames[i] + run;)
			run++;
		raw_madvise(pager_frame(pager, frames[i]), run * PAGE_BYTES, MADV_DONTNEED);
	}
	atomic_fetch_sub_explicit(&pager->local_pages, count, memory_order_relaxed);
	pthread_mutex_lock(&pager->lock);
	for (uint32_t i = 0; i < count; i++)
		frame_pool_put_empty(&pager->frames, frames[i]);
	pthread_mutex_unlock(&pager->lock);
	return count;
}

/* While the pager is still, the thread that forks is never refused: all others wait for it. */
static uint64_t limit_of(const struct lane *lane)
{
	const struct pager *pager = lane->pager;

	if (!atomic_load_explicit(&pager->still, memory_order_relaxed))
		return pager->limit_pages;
	return lane->served == pager->forking_thread ? UINT64_MAX
						     : pager->limit_pages - PAGER_FORK_ROOM;
}

static bool try_reserve(struct lane *lane)
{
	struct pager *pager = lane->pager;
	uint64_t limit = limit_of(lane);
	uint64_t pages = atomic_load_explicit(&pager->local_pages, memory_order_relaxed);
	_Atomic uint64_t *most = &pager->counters->local_bytes_max;

	do {
		if (pages >= limit)
			return false;
	} while (!atomic_compare_exchange_weak(&pager->local_pages, &pages, pages + 1));
	if (atomic_load_explicit(most, memory_order_relaxed) < (pages + 1) * PAGE_BYTES)
		atomic_store_explicit(most, (pages + 1) * PAGE_BYTES, memory_order_relaxed);
	return true;
}

void pager_unreserve(struct pager *pager)
{
	atomic_fetch_sub_explicit(&pager->local_pages, 1, memory_order_relaxed);
}

bool pager_reserve_at_once(struct lane *lane)
{
	return try_reserve(lane) || (pager_reclaim(lane->pager) && try_reserve(lane));
}

int pager_reserve(struct lane *lane)
{
	struct pager *pager = lane->pager;
	uint64_t deadline_ns = 0;

	while (!try_reserve(lane)) {
		if (pager_reclaim(pager))
			continue;
		if (atomic_load(&pager->still))
			return -EAGAIN;
		pager_push_stores(lane);
		if (pager_reclaim(pager) || evict_batch(lane))
			continue;
		if (!deadline_ns)
			deadline_ns = clock_now_ns() + pager->room_wait_ns;
		else if (clock_now_ns() > deadline_ns)
			return -ENOSPC;
	}
	return 0;
}

void pager_evict_ahead(struct lane *lane, bool may_wait)
{
	struct pager *pager = lane->pager;
	uint64_t local = atomic_load_explicit(&pager->local_pages, memory_order_relaxed);
	uint32_t batches, victims;

	pthread_mutex_lock(&pager->lock);
	victims = pager->frames.victim_count;
	pthread_mutex_unlock(&pager->lock);
	batches = evict_batches(&pager->policy, pager->limit_pages, local, victims);
	while (batches-- && (may_wait || pager_has_store_room(lane)) && evict_batch(lane))
		pager_reap(lane);
}

void pager_show_local(struct pager *pager)
{
	uint64_t local = atomic_load_explicit(&pager->local_pages, memory_order_relaxed);

	atomic_store_explicit(&pager->counters->local_bytes, local * PAGE_BYTES,
			      memory_order_relaxed);
}
