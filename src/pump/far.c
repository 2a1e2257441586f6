/* SPDX-License-Identifier: Apache-2.0 */
#include "pump/far_state.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>

#include "base/clock.h"
#include "base/crc32c.h"

#define FAR_LOOK_NS 1000000 /* between two looks whether a channel has come */

void far_fill_io(struct backing_io *io, enum backing_verb verb, struct slot_copy copy,
		 uint32_t slot, uint32_t page_count, void *pages)
{
	*io = (struct backing_io){
		.verb = verb,
		.page_count = page_count,
		.slot = (uint64_t)copy.extent * SLOT_EXTENT_SLOTS + slot_in_extent(slot),
		.pages = pages,
		.result = BACKING_PENDING,
	};
}

void far_rest(uint32_t spins, uint64_t begun_ns)
{
	if (spins % FAR_POLLS_PER_REST)
		return;
	if (clock_now_ns() - begun_ns < FAR_SPIN_NS)
		sched_yield();
	else
		clock_sleep_ns(FAR_NAP_NS);
}

int far_run_io(struct backing_channel *channel, struct backing_io *io, uint64_t timeout_ns)
{
	uint64_t begun_ns = clock_now_ns();
	int err;

	while ((err = channel->ops->submit(channel, io)) == -EAGAIN) {
		channel->ops->poll(channel);
		if (clock_now_ns() - begun_ns > timeout_ns)
			return -ETIMEDOUT;
	}
	for (uint32_t spins = 1; !err && io->result == BACKING_PENDING; spins++) {
		channel->ops->poll(channel);
		far_rest(spins, begun_ns);
		if (spins % FAR_POLLS_PER_REST == 0 && clock_now_ns() - begun_ns > timeout_ns)
			err = -ETIMEDOUT;
	}
	return err;
}

int far_move(struct far_lane *lane, enum backing_verb verb, struct slot_copy copy, uint32_t slot,
	     uint32_t page_count, void *pages)
{
	struct far *far = lane->far;
	struct backing_io io;
	int err;

	if (!far_has_channel(lane, copy))
		return -ENOTCONN;
	err = far_reach(far, copy);
	if (err)
		return err;
	far_fill_io(&io, verb, copy, slot, page_count, pages);
	/* This moves whatever else is on its way in the channel too. */
	err = far_run_io(lane->channels[copy.backing], &io, far->timeout_ns);
	if (err) {
		far_count(&far->counters->fetch_timeouts, err == -ETIMEDOUT);
		far_end_channel(lane, copy.backing, err);
	} else if (far_means_gone(io.result)) {
		far_give_up(far, copy.backing, copy.session, true);
	}
	return err ? err : io.result;
}

static int fetch_copy(struct far_lane *lane, struct slot_copy copy, uint32_t slot, uint32_t crc,
		      void *page)
{
	struct run_backing_counters *counters = &lane->far->counters->backings[copy.backing];
	int err = far_move(lane, BACKING_FETCH, copy, slot, 1, page);

	if (!err && crc32c(page, PAGE_BYTES) != crc)
		err = -EBADMSG;
	far_count(err ? &counters->errors : &counters->pages_fetched, 1);
	return err;
}

static int fetch_any(struct far_lane *lane, uint32_t slot, uint32_t crc, void *page,
		     uint32_t *ret_backing)
{
	bool failed = false;
	int err = -ECONNRESET;

	for (uint32_t try = 0; try < FAR_FETCH_TRIES * SLOT_COPIES_MAX; try++) {
		/* Half of the slots begin with the second copy: both backings share the reading. */
		struct slot_copy copy = slot_map_copy(lane->far->map, slot_extent_of(slot),
						      (try + slot) % SLOT_COPIES_MAX);

		if (copy.backing == SLOT_NO_BACKING)
			continue;
		*ret_backing = copy.backing;
		if (!slot_map_is_readable(lane->far->map, copy) || !far_has_channel(lane, copy))
			continue;
		err = fetch_copy(lane, copy, slot, crc, page);
		if (!err) {
			far_count(&lane->far->counters->fetch_retries, failed);
			return 0;
		}
		failed = true;
	}
	return err;
}

/* True if there is a copy for which the mender will bring the lane a channel. */
static bool is_to_come(const struct far_lane *lane, uint32_t slot)
{
	for (uint32_t i = 0; i < SLOT_COPIES_MAX; i++) {
		struct slot_copy copy = slot_map_copy(lane->far->map, slot_extent_of(slot), i);

		if (slot_map_is_readable(lane->far->map, copy) && !far_has_channel(lane, copy))
			return true;
	}
	return false;
}

int far_fetch(struct far_lane *lane, uint32_t slot, uint32_t crc, void *page, uint32_t *ret_backing)
{
	uint64_t deadline_ns = 0;
	int err;

	for (;;) {
		far_lane_adopt(lane);
		err = fetch_any(lane, slot, crc, page, ret_backing);
		if (!err || !is_to_come(lane, slot))
			return err;
		if (!deadline_ns)
			deadline_ns = clock_now_ns() + lane->far->timeout_ns;
		else if (clock_now_ns() > deadline_ns)
			return err;
		far_ring(lane->far);
		clock_sleep_ns(FAR_LOOK_NS);
	}
}

/* Sends the store's copy, or notes at once that it cannot be sent. */
static void send_copy(struct far_lane *lane, struct store *store, uint32_t i, void *pages)
{
	struct slot_copy copy = store->copies[i];
	struct backing_channel *channel;
	int err;

	far_fill_io(&store->ios[i], BACKING_STORE, copy, store->first_slot, store->page_count,
		    pages);
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

static void note_checksums(struct far *far, uint32_t slot, const uint32_t *crcs, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		atomic_store_explicit(&far->map->checksums[slot - 1 + i], crcs[i],
				      memory_order_relaxed);
}

int far_store(struct far_lane *lane, char *pages, const uint32_t *crcs, uint32_t page_count,
	      uint32_t tag, uint32_t *ret_first_slot)
{
	struct store *store = lane->stores;
	struct far *far = lane->far;
	uint64_t now_ns;
	int taken;

	if (lane->pending == FAR_STORES_MAX)
		return -EAGAIN;
	while (store->used)
		store++;
	taken = far_take(far, page_count, ret_first_slot);
	if (taken < 0)
		return taken;
	/* Behind the taking: channels were offered before the slots of their backing could be. */
	far_lane_adopt(lane);
	note_checksums(far, *ret_first_slot, crcs, (uint32_t)taken);
	now_ns = clock_now_ns();
	far_note_look(lane, now_ns);
	*store = (struct store){
		.used = true,
		.tag = tag,
		.page_count = (uint32_t)taken,
		.first_slot = *ret_first_slot,
		.deadline_ns = now_ns + far->timeout_ns,
	};
	lane->pending++;
	for (uint32_t i = 0; i < SLOT_COPIES_MAX; i++) {
		struct slot_copy copy =
			slot_map_copy(far->map, slot_extent_of(*ret_first_slot), i);

		if (!slot_map_is_live(far->map, copy))
			copy.backing = SLOT_NO_BACKING;
		store->copies[i] = copy;
		store->ios[i].pages = pages;
	}
	for (uint32_t i = 0; i < SLOT_COPIES_MAX; i++)
		send_copy(lane, store, i, pages);
	return taken;
}

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
		far_count(&lane->far->counters->bytes_written, store->page_count * PAGE_BYTES);
		return false;
	}
	far_count(&counters->errors, 1);
	if (!far_means_gone(io->result) && store->tries++ < FAR_STORE_TRIES * SLOT_COPIES_MAX) {
		send_copy(lane, store, i, io->pages);
		/* Even when it has ended already: its end is not settled. */
		return true;
	}
	far_give_up(lane->far, copy.backing, copy.session, far_means_gone(io->result));
	store->copies[i].backing = SLOT_NO_BACKING;
	return false;
}

void far_note_look(struct far_lane *lane, uint64_t now_ns)
{
	uint64_t gap_ns = now_ns - lane->polled_ns;

	lane->polled_ns = now_ns;
	if (gap_ns < FAR_LOOK_GAP_NS)
		return;
	for (uint32_t i = 0; i < FAR_STORES_MAX; i++)
		lane->stores[i].deadline_ns += gap_ns;
	for (uint32_t i = 0; i < FAR_READS_MAX; i++)
		lane->reads[i].deadline_ns += gap_ns;
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
		slot_map_land(lane->far->map, lane->far->member,
			      slot_extent_of(store->first_slot));
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
		.page_count = store->page_count,
		.first_slot = store->first_slot,
		.pages = store->ios[0].pages,
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

uint64_t far_metadata_bytes(const struct far *far)
{
	return (uint64_t)far->map->extent_count *
	       (SLOT_EXTENT_WORDS * sizeof(uint64_t) + sizeof(struct slot_extent) +
		SLOT_EXTENT_SLOTS * sizeof(uint32_t));
}
