/* SPDX-License-Identifier: Apache-2.0 */
/* What the program does with ranges of pages: gives them up, moves them, locks them. */
#include "pump/pager_state.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>

#include "base/raw_map.h"

#define PAGER_LOCK_TRIES 16 /* a locked page that was brought in stays: the second finds it */

/* Waits until the page is ours and no store of it is on its way. */
static uint64_t acquire_at_rest(struct pager *pager, uint64_t page)
{
	struct lane *lane = &pager->lanes[pager->lane_count];

	for (;;) {
		uint64_t entry = pager_acquire(pager, page);

		if (pager_is_at_rest(pager, entry))
			return entry;
		page_table_release(&pager->table, page, entry);
		pthread_mutex_lock(&lane->lock);
		pager_push_stores(lane);
		pthread_mutex_unlock(&lane->lock);
	}
}

static void discard_page(struct pager *pager, uint64_t page)
{
	uint64_t entry;
	uint32_t frame;

	if (!page_table_peek(&pager->table, page))
		return;
	entry = acquire_at_rest(pager, page);
	frame = page_entry_frame(entry);
	switch (page_entry_state(entry)) {
	case PAGE_LOCAL:
		pager_drop_record(pager, entry);
		pthread_mutex_lock(&pager->lock);
		page_list_remove(&pager->resident, (uint32_t)page);
		pthread_mutex_unlock(&pager->lock);
		raw_madvise(pager_page(pager, page), PAGE_BYTES, MADV_DONTNEED);
		pager_unreserve(pager);
		break;
	case PAGE_VICTIM:
		pthread_mutex_lock(&pager->lock);
		frame_pool_take_victim(&pager->frames, frame);
		pthread_mutex_unlock(&pager->lock);
		raw_madvise(pager_frame(pager, frame), PAGE_BYTES, MADV_DONTNEED);
		pthread_mutex_lock(&pager->lock);
		frame_pool_put_empty(&pager->frames, frame);
		pthread_mutex_unlock(&pager->lock);
		pager_unreserve(pager);
		break;
	case PAGE_LOST: /* what poisons it goes with it */
		raw_madvise(pager_page(pager, page), PAGE_BYTES, MADV_DONTNEED);
		break;
	default:
		break;
	}
	if (page_entry_slot(entry))
		far_free(pager->far, page_entry_slot(entry));
	page_table_release(&pager->table, page, PAGE_UNTOUCHED);
}

void pager_discard(struct pager *pager, uint64_t first, uint64_t count)
{
	for (uint64_t page = first; page < first + count; page++)
		discard_page(pager, page);
}

/* The page moves as it is: far or victim by its entry alone, local by the kernel. */
static int relocate_page(struct pager *pager, uint64_t from, uint64_t to)
{
	uint64_t entry = acquire_at_rest(pager, from);
	struct lane *lane = &pager->lanes[pager->lane_count];
	/* Still locked, though mlock's lock goes first: the kernel has it pinned. */
	int err = entry & PAGE_ENTRY_LOCKED && !pager->use_move ? -EBUSY : 0;

	pthread_mutex_lock(&lane->lock);
	if (!err && page_entry_state(entry) == PAGE_VICTIM)
		err = pager_take_back(lane, from, &entry);
	if (!err && page_entry_state(entry) == PAGE_LOCAL)
		err = pager_carry(lane, from, pager_page(pager, to));
	pthread_mutex_unlock(&lane->lock);
	if (err) {
		page_table_release(&pager->table, from, entry);
		return err;
	}
	if (page_entry_state(entry) == PAGE_LOST) /* the touch of `to` poisons that */
		raw_madvise(pager_page(pager, from), PAGE_BYTES, MADV_DONTNEED);
	pager_acquire(pager, to);
	pager->checksums[to] = pager->checksums[from];
	pager->digests[to] = pager->digests[from];
	pthread_mutex_lock(&pager->lock);
	page_list_remove(&pager->resident, (uint32_t)from);
	pthread_mutex_unlock(&pager->lock);
	page_table_release(&pager->table, from, PAGE_UNTOUCHED);
	pager_settle(pager, to, entry);
	return 0;
}

/*
 * The caller drops `to`, and the bytes are nowhere else: better no program than a wrong one. Only
 * another thread of the program, at odds with its own mremap(), can have touched `from` since; that
 * touch is as if it had come before the move.
 */
static void move_back_surely(struct pager *pager, uint64_t from, uint64_t to)
{
	for (uint32_t try = 0; page_table_peek(&pager->table, to); try++) {
		discard_page(pager, from);
		if (!relocate_page(pager, to, from))
			return;
		assert(try < PAGER_KEEP_TRIES);
		sched_yield();
	}
}

int pager_relocate(struct pager *pager, uint64_t from, uint64_t to, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		int err = 0;

		if (page_table_peek(&pager->table, from + i))
			err = relocate_page(pager, from + i, to + i);
		if (!err)
			continue;
		while (i-- > 0)
			move_back_surely(pager, from + i, to + i);
		return err;
	}
	return 0;
}

void pager_unlock(struct pager *pager, uint64_t first, uint64_t count)
{
	for (uint64_t page = first; page < first + count; page++) {
		uint64_t entry = pager_acquire(pager, page);

		pager_settle(pager, page, entry & ~PAGE_ENTRY_LOCKED);
	}
}

/*
 * Waits until the page is local. By the kernel's hand: a touch of ours would be a signal where the
 * page is lost or has no room, with the region's lock held. -ENOMEM: it cannot be had.
 */
static int bring_locked(struct pager *pager, uint64_t page)
{
	for (uint32_t try = 0; try < PAGER_LOCK_TRIES; try++) {
		uint64_t entry = pager_acquire(pager, page);

		page_table_release(&pager->table, page, entry);
		if (page_entry_state(entry) == PAGE_LOCAL)
			return 0;
		if (raw_madvise(pager_page(pager, page), PAGE_BYTES, MADV_POPULATE_READ))
			return -ENOMEM;
	}
	return -ENOMEM;
}

/* The pages locked now stay so, or (`undo`) are what they were: some had been locked before. */
static void settle_locked(struct pager *pager, uint64_t first, uint64_t end, bool undo)
{
	for (uint64_t page = first; page < end; page++) {
		uint64_t entry = pager_acquire(pager, page);

		if (entry & PAGE_ENTRY_LOCKING && undo)
			entry &= ~PAGE_ENTRY_LOCKED;
		entry &= ~PAGE_ENTRY_LOCKING;
		pager_settle(pager, page, entry);
	}
}

int pager_lock(struct pager *pager, uint64_t first, uint64_t count)
{
	uint64_t page;
	int err = 0;

	if (count > pager->limit_pages / 2)
		return -ENOMEM;
	for (page = first; !err && page < first + count; page++) {
		uint64_t entry = pager_acquire(pager, page);

		if (!(entry & PAGE_ENTRY_LOCKED))
			entry |= PAGE_ENTRY_LOCKED | PAGE_ENTRY_LOCKING;
		page_table_release(&pager->table, page, entry);
		err = bring_locked(pager, page);
	}
	settle_locked(pager, first, page, err != 0);
	return err;
}
