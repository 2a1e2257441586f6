/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads: runs of neighbouring slots that are fetched ahead of need, while the thread that has the
 * lane does other things. Each is tried once, from one copy: what does not come is for far_fetch().
 */
#include "pump/far_state.h"

#include <assert.h>
#include <errno.h>

#include "base/crc32c.h"

/* A copy to read from; both backings of a mirror share the reading. */
static int choose_copy(struct far_lane *lane, uint32_t slot, struct slot_copy *ret_copy)
{
	for (uint32_t i = 0; i < SLOT_COPIES_MAX; i++) {
		*ret_copy = slot_map_copy(lane->far->map, slot_extent_of(slot),
					  (slot / BACKING_IO_PAGES_MAX + i) % SLOT_COPIES_MAX);
		if (ret_copy->backing != SLOT_NO_BACKING && far_has_channel(lane, *ret_copy) &&
		    slot_map_is_readable(lane->far->map, *ret_copy))
			return far_reach(lane->far, *ret_copy);
	}
	return -ENOTCONN;
}

int far_read_begin(struct far_lane *lane, uint32_t slot, uint32_t page_count, void *pages,
		   const uint32_t *crcs, uint32_t *ret_read)
{
	struct far_read *read = lane->reads;
	struct backing_channel *channel;
	uint64_t now_ns;
	int err;

	assert(page_count <= BACKING_IO_PAGES_MAX &&
	       slot_extent_of(slot + page_count - 1) == slot_extent_of(slot));
	far_lane_adopt(lane);
	if (lane->reading == FAR_READS_MAX)
		return -EAGAIN;
	while (read->used)
		read++;
	err = choose_copy(lane, slot, &read->copy);
	if (err)
		return err;
	channel = lane->channels[read->copy.backing];
	far_fill_io(&read->io, BACKING_FETCH, read->copy, slot, page_count, pages);
	err = channel->ops->submit(channel, &read->io);
	if (err && err != -EAGAIN)
		far_end_channel(lane, read->copy.backing, err);
	if (err)
		return err;
	for (uint32_t i = 0; i < page_count; i++)
		read->crcs[i] = crcs[i];
	now_ns = clock_now_ns();
	far_note_look(lane, now_ns);
	read->used = true;
	read->deadline_ns = now_ns + lane->far->timeout_ns;
	lane->reading++;
	*ret_read = (uint32_t)(read - lane->reads);
	return 0;
}

/* A bit for each page that has the checksum it should have. */
static uint32_t check_pages(const struct far_read *read)
{
	const char *page = read->io.pages;
	uint32_t good = 0;

	for (uint32_t i = 0; i < read->io.page_count; i++, page += PAGE_BYTES)
		if (crc32c(page, PAGE_BYTES) == read->crcs[i])
			good |= 1u << i;
	return good;
}

bool far_read_poll(struct far_lane *lane, uint32_t index, uint32_t *ret_good)
{
	struct far_read *read = &lane->reads[index];
	uint32_t backing = read->copy.backing, good;
	struct run_backing_counters *counters = &lane->far->counters->backings[backing];

	assert(read->used);
	if (read->io.result == BACKING_PENDING) {
		uint64_t now_ns = clock_now_ns();

		far_note_look(lane, now_ns);
		lane->channels[backing]->ops->poll(lane->channels[backing]);
		if (read->io.result == BACKING_PENDING && now_ns > read->deadline_ns) {
			far_count(&lane->far->counters->fetch_timeouts, 1);
			far_end_channel(lane, backing, -ETIMEDOUT);
		}
		if (read->io.result == BACKING_PENDING)
			return false;
	}
	/* Nothing may land in the pages any more. */
	if (far_means_gone(read->io.result) && far_has_channel(lane, read->copy))
		far_end_channel(lane, backing, read->io.result);
	good = read->io.result ? 0 : check_pages(read);
	far_count(&counters->pages_fetched, (uint64_t)__builtin_popcount(good));
	if (good != (uint32_t)((1ull << read->io.page_count) - 1))
		far_count(&counters->errors, 1);
	read->used = false;
	lane->reading--;
	*ret_good = good;
	return true;
}

uint32_t far_reads_pending(const struct far_lane *lane)
{
	return lane->reading;
}
