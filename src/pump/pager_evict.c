/* SPDX-License-Identifier: Apache-2.0 */
#include "pump/pager_state.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/raw_map.h"
#include "base/sort.h"

#define PAGER_MOVE_TRIES 16 /* of a move that the kernel asks to repeat */

static void drop(void *start, uint64_t pages)
{
	raw_madvise(start, pages * PAGE_BYTES, MADV_DONTNEED);
}

/* ---- Out: from the region to the frames of a group ---- */

/* One page by the kernel's hand. -EINVAL where it has no move, or not for this protection. */
static int move_page(const struct pager *pager, char *to, char *from)
{
	size_t moved;
	int err = -EINVAL;

	for (uint32_t try = 0; pager->use_move && try < PAGER_MOVE_TRIES; try++) {
		err = uffd_move(&pager->uffd, to, from, PAGE_BYTES, &moved);
		if (err != -EAGAIN)
			break;
	}
	return err;
}

/*
 * Copies a page out that cannot be moved: it is write-protected first, so that a writer waits for
 * us, and then read past whatever protection the program gave it.
 */
static int copy_out(struct lane *lane, uint64_t page, char *to)
{
	struct pager *pager = lane->pager;
	char *at = pager_page(pager, page);
	int err = uffd_write_protect(&pager->uffd, at, true);

	if (err)
		return err;
	if (pread(pager->memory_fd, lane->buffer, PAGE_BYTES, (off_t)(uintptr_t)at) !=
	    (ssize_t)PAGE_BYTES)
		err = -EFAULT;
	if (!err)
		err = uffd_copy(&pager->uffd, to, lane->buffer);
	if (err)
		uffd_write_protect(&pager->uffd, at, false);
	else
		drop(at, 1);
	return err;
}

/*
 * After a fork physical pages are shared, which the kernel does not move: this gives the process
 * its own. -EINVAL where the program may not write.
 */
static int make_own(char *at, uint32_t pages)
{
	return raw_madvise(at, pages * PAGE_BYTES, MADV_POPULATE_WRITE);
}

int pager_carry(struct lane *lane, uint64_t page, char *to)
{
	char *at = pager_page(lane->pager, page);
	int err = move_page(lane->pager, to, at);

	if (err == -EBUSY) {
		/* Shared, or pinned. What nobody may write can be copied either way. */
		int own = make_own(at, 1);

		if (!own)
			err = move_page(lane->pager, to, at);
		else if (own == -EINVAL)
			err = -EINVAL;
	}
	return err == -EINVAL ? copy_out(lane, page, to) : err;
}

static int move_out(struct lane *lane, uint64_t page, uint32_t frame)
{
	int err = pager_carry(lane, page, pager_frame(lane->pager, frame));

	if (err == -EBUSY)
		pager_count(&lane->pager->counters->pinned_skipped, 1);
	return err;
}

/*
 * Moves a run of neighbours in one call, a tenth of the cost of single ones. Returns how many went:
 * what stopped it is left to move_out().
 */
static uint32_t move_run(struct pager *pager, const struct departure *out, uint32_t count,
			 uint32_t frame)
{
	char *at = pager_page(pager, out[0].page);
	uint32_t run = 1;
	size_t moved;

	while (run < count && out[run].page == out[0].page + run)
		run++;
	if (run == 1 || !pager->use_move)
		return 0;
	for (uint32_t try = 0; try < 2; try++) {
		int err = uffd_move(&pager->uffd, pager_frame(pager, frame), at, run * PAGE_BYTES,
				    &moved);

		/* Of another error nothing is known, and populating a page that is not there waits
		 * for ourselves. */
		if (moved || err != -EBUSY || make_own(at, run))
			break;
	}
	return (uint32_t)(moved / PAGE_BYTES);
}

/* Takes the entries of those of the pages, which were listed, that may go. */
static uint32_t choose(struct pager *pager, const uint32_t *pages, uint32_t wanted,
		       struct departure *out)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < wanted; i++) {
		uint64_t entry;

		/* Another is at it now; should it have left by then, its turn shows that. */
		if (!page_table_acquire(&pager->table, pages[i], &entry)) {
			pager_list(pager, pages[i]);
			continue;
		}
		if (page_entry_state(entry) != PAGE_LOCAL || entry & PAGE_ENTRY_LOCKED) {
			page_table_release(&pager->table, pages[i], entry);
			continue;
		}
		out[count++] = (struct departure){ .page = pages[i], .entry = entry };
	}
	return count;
}

/* A changed page is nowhere far any more, or not yet. */
static void leave_slot(struct pager *pager, struct departure *d)
{
	uint32_t slot = page_entry_slot(d->entry);

	if (slot)
		far_free(pager->far, slot);
	d->entry = page_entry_with_slot(d->entry, SLOT_NONE);
}

static bool is_changed(const struct pager *pager, struct departure *d, const char *bytes,
		       uint64_t *ret_digest)
{
	if (d->record != LINE_RECORD_NONE) {
		d->lines = pager_changed_lines(pager, d->record, bytes);
		if (!d->lines)
			return false;
	}
	*ret_digest = page_digest(&pager->digest_key, bytes);
	return !page_entry_slot(d->entry) || *ret_digest != pager->digests[d->page];
}

/* What a page that has left is now: clean, zero, or to be stored. */
static void judge(struct pager *pager, struct departure *d, const char *bytes)
{
	uint64_t digest;

	d->kind = DEPARTURE_CLEAN;
	if (page_is_zero(bytes)) {
		leave_slot(pager, d);
		return;
	}
	if (!is_changed(pager, d, bytes, &digest))
		return;
	pager->digests[d->page] = digest;
	pager->checksums[d->page] = crc32c(bytes, PAGE_BYTES);
	d->kind = d->record != LINE_RECORD_NONE && lines_policy_sends_lines(d->lines)
			  ? DEPARTURE_LINES
			  : DEPARTURE_WHOLE;
}

/* The bytes of a frame go back to their page; the frame itself stays with whoever has it. */
static int bring_back(struct lane *lane, uint64_t page, uint64_t *entry)
{
	struct pager *pager = lane->pager;
	char *from = pager_frame(pager, page_entry_frame(*entry));
	int err = move_page(pager, pager_page(pager, page), from);

	if (err == -EINVAL) {
		/* Twice there for an instant; given up here only when it is there. */
		err = uffd_copy(&pager->uffd, pager_page(pager, page), from);
		if (!err)
			drop(from, 1);
	}
	if (err)
		return err;
	pager_list(pager, page);
	*entry = page_entry_with_frame(page_entry_with_state(*entry, PAGE_LOCAL), 0);
	return 0;
}

/* Its bytes are nowhere else: better no program than a wrong one. */
static void bring_back_surely(struct lane *lane, uint64_t page, uint64_t *entry)
{
	for (uint32_t try = 0; bring_back(lane, page, entry); try++) {
		assert(try < PAGER_KEEP_TRIES);
		sched_yield();
	}
}

/* The page stays: there is nowhere to put it. Its frame is given up with the rest of the group. */
static void keep(struct lane *lane, struct departure *d, uint32_t frame)
{
	struct pager *pager = lane->pager;

	d->entry = page_entry_with_frame(page_entry_with_state(d->entry, PAGE_VICTIM), frame);
	d->out = false;
	bring_back_surely(lane, d->page, &d->entry);
	page_table_release(&pager->table, d->page, d->entry);
}

/* Stores the run of frames [first, end) of the group; returns the number of stores begun. */
static uint16_t store_run(struct lane *lane, struct departure *out, uint32_t group, uint32_t first,
			  uint32_t end)
{
	struct pager *pager = lane->pager;
	uint32_t crcs[EVICT_BATCH_PAGES];
	uint16_t stores = 0;

	for (uint32_t i = first; i < end; i++)
		crcs[i] = pager->checksums[out[i].page];
	while (first < end) {
		uint32_t frame = group * FRAME_GROUP_FRAMES + first, slot;
		int stored = far_store(lane->far, pager_frame(pager, frame), &crcs[first],
				       end - first, frame, &slot);

		assert(stored != -EAGAIN);
		if (stored < 0) {
			keep(lane, &out[first++], frame);
			continue;
		}
		for (uint32_t i = 0; i < (uint32_t)stored; i++)
			out[first + i].entry = page_entry_with_slot(out[first + i].entry, slot + i);
		pager_count(&pager->counters->pages_written, (uint64_t)stored);
		first += (uint32_t)stored;
		stores++;
	}
	return stores;
}

/*
 * Packs what has left into the group, in page order, and starts the stores of what changed. Returns
 * how many are out: those that no backing took have come back.
 */
static uint32_t publish(struct lane *lane, struct departure *out, uint32_t count, uint32_t group)
{
	struct pager *pager = lane->pager;
	uint32_t base = group * FRAME_GROUP_FRAMES, run = 0, gone = 0;
	uint16_t stores;

	for (uint32_t i = 0; i < count; i++)
		judge(pager, &out[i], pager_frame(pager, base + i));
	stores = pager_store_lines(lane, out, count, group);
	pager_end_records(pager, out, count);
	for (uint32_t i = 0; i <= count; i++) {
		if (i < count && out[i].kind == DEPARTURE_WHOLE) {
			leave_slot(pager, &out[i]);
			continue;
		}
		stores += store_run(lane, out, group, run, i);
		run = i + 1;
	}
	/* The victims are in the pool before their entries say so: a fault finds them there. */
	pthread_mutex_lock(&pager->lock);
	for (uint32_t i = 0; i < FRAME_GROUP_FRAMES; i++) {
		if (i < count && out[i].out)
			frame_pool_put_victim(&pager->frames, base + i, out[i].page);
		else if (pager->frames.frames[base + i].state == FRAME_TAKEN)
			frame_pool_put_empty(&pager->frames, base + i);
	}
	if (pager->frames.groups[group].nonempty)
		frame_pool_queue_group(&pager->frames, group, stores);
	pthread_mutex_unlock(&pager->lock);
	for (uint32_t i = 0; i < count; i++) {
		if (!out[i].out)
			continue;
		page_table_release(&pager->table, out[i].page, out[i].entry);
		gone++;
	}
	return gone;
}

static uint64_t page_of(const void *departure)
{
	return ((const struct departure *)departure)->page;
}

uint32_t pager_evict_pages(struct lane *lane, const uint32_t *pages, uint32_t wanted,
			   uint32_t group)
{
	struct departure out[EVICT_BATCH_PAGES];
	struct pager *pager = lane->pager;
	uint32_t gone = 0, count = choose(pager, pages, wanted, out);

	sort_by(out, count, sizeof(out[0]), page_of);
	for (uint32_t i = 0, moved = 0; i < count; i++) {
		struct departure d = out[i];
		uint32_t frame = group * FRAME_GROUP_FRAMES + gone;

		if (!moved)
			moved = move_run(pager, &out[i], count - i, frame);
		if (moved) {
			moved--;
		} else if (move_out(lane, d.page, frame)) {
			pager_settle(pager, d.page, d.entry);
			uffd_wake(&pager->uffd, pager_page(pager, d.page));
			continue;
		}
		d.record = page_entry_frame(d.entry);
		d.entry = page_entry_with_frame(page_entry_with_state(d.entry, PAGE_VICTIM), frame);
		d.out = true;
		out[gone++] = d;
	}
	gone = publish(lane, out, gone, group);
	pager_count(&pager->counters->pages_evicted, gone);
	return gone;
}

bool pager_has_store_room(const struct lane *lane)
{
	return far_stores_pending(lane->far) + EVICT_BATCH_PAGES <= FAR_STORES_MAX;
}

void pager_make_store_room(struct lane *lane)
{
	/* Stores of a group are noted when it is queued: none may end before, so none may wait. */
	while (!pager_has_store_room(lane)) {
		pager_reap(lane);
		sched_yield();
	}
}

/* ---- Back: a victim returns to its page ---- */

/* The frame of a victim that has come back. */
static void give_frame(struct pager *pager, uint32_t frame)
{
	pthread_mutex_lock(&pager->lock);
	if (pager->frames.frames[frame].state == FRAME_VICTIM)
		frame_pool_take_victim(&pager->frames, frame);
	frame_pool_put_empty(&pager->frames, frame);
	pthread_mutex_unlock(&pager->lock);
}

int pager_take_back(struct lane *lane, uint64_t page, uint64_t *entry)
{
	uint32_t frame = page_entry_frame(*entry);
	int err = bring_back(lane, page, entry);

	if (!err)
		give_frame(lane->pager, frame);
	return err;
}

/* No backing took these pages: they come back, and no far copy is valid. */
static void undo_store(struct lane *lane, const struct far_stored *stored)
{
	struct pager *pager = lane->pager;

	for (uint64_t left = stored->pages; left; left &= left - 1) {
		uint32_t frame = stored->tag + (uint32_t)__builtin_ctzll(left);
		uint64_t page, entry;

		pthread_mutex_lock(&pager->lock);
		page = pager->frames.frames[frame].page;
		pthread_mutex_unlock(&pager->lock);
		entry = pager_acquire(pager, page);
		if (page_entry_state(entry) == PAGE_VICTIM && page_entry_frame(entry) == frame) {
			far_free(pager->far, page_entry_slot(entry));
			entry = page_entry_with_slot(entry, SLOT_NONE);
			bring_back_surely(lane, page, &entry);
			give_frame(pager, frame);
		}
		page_table_release(&pager->table, page, entry);
		uffd_wake(&pager->uffd, pager_page(pager, page));
	}
}

void pager_reap(struct lane *lane)
{
	struct pager *pager = lane->pager;
	struct far_stored stored;

	pager_reap_late(lane);
	while (far_poll(lane->far, &stored)) {
		if (stored.result)
			undo_store(lane, &stored);
		pthread_mutex_lock(&pager->lock);
		frame_pool_store_done(&pager->frames, frame_pool_group_of(stored.tag));
		pthread_mutex_unlock(&pager->lock);
	}
}

void pager_push_stores(struct lane *lane)
{
	struct pager *pager = lane->pager;

	pager_reap(lane);
	for (uint32_t i = 0; i <= pager->lane_count; i++) {
		struct lane *other = &pager->lanes[i];

		/* Whoever holds it is at work and reaps its own. */
		if (other == lane || pthread_mutex_trylock(&other->lock))
			continue;
		pager_reap(other);
		pthread_mutex_unlock(&other->lock);
	}
	sched_yield();
}
