/* SPDX-License-Identifier: Apache-2.0 */
/* The far store's stores: whole pages into new slots, and changed lines into those they have. */
#include "pump/far_state.h"

#include <assert.h>
#include <errno.h>

#include "base/clock.h"

/* ---- A store's copies ---- */

static struct store *begin_store(struct far_lane *lane, uint32_t tag)
{
	struct store *store = lane->stores;
	uint64_t now_ns = clock_now_ns();

	while (store->used)
		store++;
	far_note_look(lane, now_ns);
	store->used = true;
	store->ended = false;
	store->tag = tag;
	store->page_count = store->tries = 0;
	store->pages = 0;
	store->deadline_ns = now_ns + lane->far->timeout_ns;
	lane->pending++;
	return store;
}

/* Sends the store's copy, or notes at once that it cannot be sent. */
static void send_copy(struct far_lane *lane, struct store *store, uint32_t i)
{
	struct slot_copy copy = store->copies[i];
	struct backing_channel *channel;
	int err;

	store->good[i] = false;
	if (copy.backing == SLOT_NO_BACKING)
		return;
	if (!far_has_channel(lane, copy)) {
		/* A copy that misses a slot must not pass for a whole one (F5). */
		far_give_up(lane->far, copy.backing, copy.session, false);
		store->copies[i].backing = SLOT_NO_BACKING;
		return;
	}
	channel = lane->channels[copy.backing];
	while ((err = channel->ops->submit(channel, &store->ios[i])) == -EAGAIN) {
		channel->ops->poll(channel);
		if (clock_now_ns() > store->deadline_ns) {
			err = -ETIMEDOUT;
			break;
		}
	}
	if (err) {
		far_end_channel(lane, copy.backing, err);
		store->ios[i].result = err;
	}
}

/* The copies of the extent that are stored to. */
static void find_copies(const struct far *far, uint32_t slot, struct slot_copy *ret_copies)
{
	for (uint32_t i = 0; i < SLOT_COPIES_MAX; i++) {
		ret_copies[i] = slot_map_copy(far->map, slot_extent_of(slot), i);
		if (!slot_map_is_live(far->map, ret_copies[i]))
			ret_copies[i].backing = SLOT_NO_BACKING;
	}
}

/* ---- Whole pages ---- */

static void note_checksum(struct far *far, uint32_t slot, uint32_t crc)
{
	atomic_store_explicit(&far->map->checksums[slot - 1], crc, memory_order_relaxed);
}

int far_store(struct far_lane *lane, char *pages, const uint32_t *crcs, uint32_t page_count,
	      uint32_t tag, uint32_t *ret_first_slot)
{
	struct far *far = lane->far;
	struct store *store;
	int taken;

	if (lane->pending == FAR_STORES_MAX)
		return -EAGAIN;
	taken = far_take(far, page_count, ret_first_slot);
	if (taken < 0)
		return taken;
	/* Behind the taking: channels were offered before the slots of their backing could be. */
	far_lane_adopt(lane);
	for (uint32_t i = 0; i < (uint32_t)taken; i++)
		note_checksum(far, *ret_first_slot + i, crcs[i]);
	store = begin_store(lane, tag);
	store->page_count = (uint32_t)taken;
	store->pages = UINT64_MAX >> (64 - taken);
	store->slots[0] = *ret_first_slot;
	find_copies(far, *ret_first_slot, store->copies);
	for (uint32_t i = 0; i < SLOT_COPIES_MAX; i++)
		far_fill_io(&store->ios[i], BACKING_STORE, store->copies[i], *ret_first_slot,
			    store->page_count, pages);
	for (uint32_t i = 0; i < SLOT_COPIES_MAX; i++)
		send_copy(lane, store, i);
	return taken;
}

/* ---- Lines ---- */

/* Every copy takes lines, here and now; and there is one. Reserves as far as they lie. */
static bool take_lines(struct far_lane *lane, const struct slot_copy *copies)
{
	bool any = false;

	for (uint32_t i = 0; i < SLOT_COPIES_MAX; i++) {
		if (copies[i].backing == SLOT_NO_BACKING)
			continue;
		/* Another of the family may have made the copy. */
		if (!far_has_channel(lane, copies[i]) || far_reach(lane->far, copies[i]) ||
		    !backing_takes_lines(lane->channels[copies[i].backing]))
			return false;
		any = true;
	}
	return any;
}

bool far_takes_lines(struct far_lane *lane, uint32_t slot)
{
	struct slot_copy copies[SLOT_COPIES_MAX];

	find_copies(lane->far, slot, copies);
	return take_lines(lane, copies);
}

static bool lie_together(const struct slot_copy *a, const struct slot_copy *b)
{
	for (uint32_t i = 0; i < SLOT_COPIES_MAX; i++)
		if (a[i].backing != b[i].backing ||
		    (a[i].backing != SLOT_NO_BACKING && a[i].session != b[i].session))
			return false;
	return true;
}

static void add_lines(struct far *far, struct store *store, const struct slot_copy *copies,
		      const struct far_changed *changed, const char *page)
{
	uint32_t at = store->page_count++;

	for (uint32_t i = 0; i < SLOT_COPIES_MAX; i++) {
		store->copies[i] = at ? store->copies[i] : copies[i];
		store->lines[i][at] = (struct backing_lines){
			.slot = (uint64_t)copies[i].extent * SLOT_EXTENT_SLOTS +
				slot_in_extent(changed->slot),
			.mask = changed->lines,
			.page = page,
		};
	}
	note_checksum(far, changed->slot, changed->crc);
	store->slots[at] = changed->slot;
	store->pages |= 1ull << changed->page;
}

static void send_lines(struct far_lane *lane, struct store *store)
{
	for (uint32_t i = 0; i < SLOT_COPIES_MAX; i++)
		store->ios[i] = (struct backing_io){ .verb = BACKING_STORE,
						     .page_count = store->page_count,
						     .lines = store->lines[i],
						     .result = BACKING_PENDING };
	for (uint32_t i = 0; i < SLOT_COPIES_MAX; i++)
		send_copy(lane, store, i);
}

uint32_t far_store_lines(struct far_lane *lane, char *pages, struct far_changed *changed,
			 uint32_t count, uint32_t tag)
{
	struct far *far = lane->far;
	struct slot_copy copies[FAR_CHANGED_MAX][SLOT_COPIES_MAX];
	uint32_t slots[FAR_CHANGED_MAX], begun = 0;
	uint64_t left;

	assert(count <= FAR_CHANGED_MAX);
	far_lane_adopt(lane);
	for (uint32_t i = 0; i < count; i++)
		slots[i] = changed[i].slot;
	left = slot_map_fly(far->map, far->member, slots, count);
	/* Behind the announcement: until its end these are the copies that there are (F6). */
	for (uint32_t i = 0; i < count; i++) {
		if (!(left >> i & 1))
			continue;
		find_copies(far, slots[i], copies[i]);
		changed[i].stored = take_lines(lane, copies[i]);
		if (changed[i].stored)
			continue;
		slot_map_land(far->map, far->member, slot_extent_of(slots[i]));
		left &= ~(1ull << i);
	}
	for (; left; begun++) {
		struct store *store = begin_store(lane, tag);
		uint32_t first = (uint32_t)__builtin_ctzll(left);

		for (uint32_t i = first; i < count; i++) {
			if (!(left >> i & 1) || !lie_together(copies[i], copies[first]))
				continue;
			add_lines(far, store, copies[i], &changed[i],
				  pages + changed[i].page * PAGE_BYTES);
			left &= ~(1ull << i);
		}
		send_lines(lane, store);
	}
	return begun;
}

/* ---- The end of a store ---- */

/* One copy's io has ended. True when the copy is to be waited for again. */
static bool settle_copy(struct far_lane *lane, struct store *store, uint32_t i)
{
	struct backing_io *io = &store->ios[i];
	struct slot_copy copy = store->copies[i];
	struct run_backing_counters *counters;

	if (store->good[i] || copy.backing == SLOT_NO_BACKING)
		return false;
	counters = &lane->far->counters->backings[copy.backing];
	if (io->result == 0) {
		store->good[i] = true;
		far_count(&counters->pages_stored, store->page_count);
		far_count(&lane->far->counters->bytes_written, backing_io_bytes(io));
		return false;
	}
	far_count(&counters->errors, 1);
	if (!far_means_gone(io->result) && store->tries++ < FAR_STORE_TRIES * SLOT_COPIES_MAX) {
		send_copy(lane, store, i);
		/* Even when it has ended already: its end is not settled. */
		return true;
	}
	far_give_up(lane->far, copy.backing, copy.session, far_means_gone(io->result));
	store->copies[i].backing = SLOT_NO_BACKING;
	return false;
}

static bool is_ended(struct far_lane *lane, struct store *store, uint64_t now_ns)
{
	bool waiting = false;

	for (uint32_t i = 0; i < SLOT_COPIES_MAX; i++) {
		uint32_t backing = store->copies[i].backing;

		if (backing == SLOT_NO_BACKING)
			continue;
		if (store->ios[i].result == BACKING_PENDING && now_ns > store->deadline_ns)
			far_end_channel(lane, backing, -ETIMEDOUT);
		if (store->ios[i].result == BACKING_PENDING || settle_copy(lane, store, i))
			waiting = true;
	}
	return !waiting;
}

/* What was taken, or announced, for the store has an end. */
static void land(struct far *far, const struct store *store)
{
	uint32_t announced = store->ios[0].lines ? store->page_count : 1;

	for (uint32_t i = 0; i < announced; i++)
		slot_map_land(far->map, far->member, slot_extent_of(store->slots[i]));
}

void far_push(struct far_lane *lane)
{
	uint64_t now_ns;

	far_lane_adopt(lane);
	if (!lane->pending)
		return;
	now_ns = clock_now_ns();
	far_note_look(lane, now_ns);
	for (uint32_t i = 0; i < lane->far->backing_count; i++)
		if (lane->channels[i])
			lane->channels[i]->ops->poll(lane->channels[i]);
	for (struct store *store = lane->stores; store < lane->stores + FAR_STORES_MAX; store++) {
		if (!store->used || store->ended || !is_ended(lane, store, now_ns))
			continue;
		store->ended = true;
		lane->ended++;
		land(lane->far, store);
	}
}

bool far_poll(struct far_lane *lane, struct far_stored *ret_stored)
{
	struct store *store = lane->stores;

	if (!lane->ended)
		far_push(lane);
	if (!lane->ended)
		return false;
	while (!store->used || !store->ended)
		store++;
	*ret_stored = (struct far_stored){
		.tag = store->tag,
		.pages = store->pages,
		.result = store->good[0] || store->good[1] ? 0 : -EIO,
	};
	store->used = false;
	lane->ended--;
	lane->pending--;
	return true;
}

uint32_t far_stores_pending(const struct far_lane *lane)
{
	return lane->pending;
}
