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
			return failed;
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
		if (err >= 0 || !is_to_come(lane, slot))
			return err;
		if (!deadline_ns)
			deadline_ns = clock_now_ns() + lane->far->timeout_ns;
		else if (clock_now_ns() > deadline_ns)
			return err;
		far_ring(lane->far);
		clock_sleep_ns(FAR_LOOK_NS);
	}
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

uint64_t far_metadata_bytes(const struct far *far)
{
	return (uint64_t)far->map->extent_count *
	       (SLOT_EXTENT_WORDS * sizeof(uint64_t) + sizeof(struct slot_extent) +
		SLOT_EXTENT_SLOTS * sizeof(uint32_t));
}
