/* SPDX-License-Identifier: Apache-2.0 */
#include "pump/far_state.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/crc32c.h"
#include "base/own_memory.h"

static void count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

int far_open(const struct far_config *config, struct far **ret_far, struct error *why)
{
	struct backing_options options = {
		.key_file = config->key_file,
		.pages = config->pages,
		.pages_bytes = config->pages_bytes,
		.wait_ms_max = config->timeout_ms,
	};
	struct far *far;
	void *memory;
	int err;

	err = own_memory_map_lazily(sizeof(*far), &memory);
	if (err)
		return error_set(why, err, "no memory for the far store");
	far = memory;
	err = own_memory_map_shared(sizeof(*far->map), &memory);
	if (err)
		return error_set(why, err, "no memory for the map of far slots");
	far->map = memory;
	far->backing_count = config->uri_count;
	far->mirror = config->mirror;
	far->timeout_ns = (uint64_t)config->timeout_ms * 1000000;
	far->counters = config->counters;
	pthread_mutex_init(&far->lock, NULL);
	for (uint32_t i = 0; !err && i < config->uri_count; i++)
		err = backing_open(config->uris[i], &options, &far->backings[i], why);
	if (!err)
		err = slot_map_init(far->map, config->uri_count, config->mirror);
	if (!err)
		err = slot_map_join(far->map, &far->member);
	if (!err)
		*ret_far = far;
	return err;
}

void far_hold(struct far *far)
{
	slot_map_hold(far->map, far->member);
}

int far_lane_connect(struct far_lane *lane, struct error *why)
{
	struct far *far = lane->far;
	int err = 0;

	for (uint32_t i = 0; !err && i < far->backing_count; i++) {
		struct backing *backing = far->backings[i];

		lane->channels[i] = NULL;
		if (atomic_load(&far->map->backings[i].state) != SLOT_BACKING_LOST)
			err = backing->ops->channel_open(backing, &lane->channels[i], why);
	}
	return err;
}

int far_lane_open(struct far *far, struct far_lane **ret_lane, struct error *why)
{
	struct far_lane *lane;
	void *memory;
	int err = own_memory_map(sizeof(*lane), &memory);

	if (err)
		return error_set(why, err, "no memory for a lane");
	lane = memory;
	lane->far = far;
	err = far_lane_connect(lane, why);
	if (!err)
		*ret_lane = lane;
	return err;
}

/* Keeps the counters of what lies on the slot's backings. */
static void count_slots(struct far *far, uint32_t slot, int64_t slots)
{
	for (uint32_t i = 0; i < SLOT_COPIES_MAX; i++) {
		uint32_t backing = slot_map_copy(far->map, slot_extent_of(slot), i).backing;
		struct run_backing_counters *counters;
		struct backing *b;

		if (backing == SLOT_NO_BACKING)
			continue;
		counters = &far->counters->backings[backing];
		b = far->backings[backing];
		count(&counters->pages, (uint64_t)slots);
		if (!b->ops->bytes_held)
			count(&counters->bytes_held, (uint64_t)slots * PAGE_BYTES);
		else if (slots > 0)
			atomic_store_explicit(&counters->bytes_held, b->ops->bytes_held(b),
					      memory_order_relaxed);
	}
}

static bool is_live(const struct far *far, uint32_t backing)
{
	return atomic_load(&far->map->backings[backing].state) == SLOT_BACKING_LIVE;
}

/* From now on nothing is stored there; when it is `gone`, nothing is looked for there either. */
static void give_up(struct far *far, uint32_t backing, bool gone)
{
	uint32_t state = gone ? SLOT_BACKING_LOST : SLOT_BACKING_FAILING;

	if (atomic_exchange(&far->map->backings[backing].state, state) == SLOT_BACKING_LIVE)
		count(&far->counters->backings[backing].lost, 1);
}

static bool means_gone(int err)
{
	return err == -ECONNRESET || err == -ETIMEDOUT || err == -ENOTCONN || err == -EPIPE ||
	       err == -ESRCH || err == -ENODEV;
}

/* An error of the channel ends it: what is still on its way there can no longer be told apart. */
static void end_channel(struct far_lane *lane, uint32_t backing, int err)
{
	if (lane->channels[backing])
		lane->channels[backing]->ops->channel_close(lane->channels[backing]);
	lane->channels[backing] = NULL;
	give_up(lane->far, backing, means_gone(err));
}

static void fill_io(struct backing_io *io, enum backing_verb verb, struct slot_copy copy,
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

/*
 * A memory node has answered before a sleeper would be awake again, and may need this CPU for it. A
 * disk takes longer: others have better use for the CPU than our asking.
 */
static void rest(uint64_t waited_ns)
{
	const struct timespec nap = { .tv_nsec = FAR_NAP_NS };

	if (waited_ns < FAR_SPIN_NS)
		sched_yield();
	else
		nanosleep(&nap, NULL);
}

/* Waits for one io, which moves whatever else is on its way in the channel too. */
static int wait_for(struct far_lane *lane, uint32_t backing, struct backing_io *io)
{
	struct backing_channel *channel = lane->channels[backing];
	uint64_t begun_ns = clock_now_ns();
	int err;

	if (!channel)
		return -ENOTCONN;
	while ((err = channel->ops->submit(channel, io)) == -EAGAIN) {
		channel->ops->poll(channel);
		if (clock_now_ns() - begun_ns > lane->far->timeout_ns) {
			err = -ETIMEDOUT;
			break;
		}
	}
	for (uint32_t spins = 1; !err && io->result == BACKING_PENDING; spins++) {
		channel->ops->poll(channel);
		if (spins % 64)
			continue;
		rest(clock_now_ns() - begun_ns);
		if (clock_now_ns() - begun_ns > lane->far->timeout_ns) {
			count(&lane->far->counters->fetch_timeouts, 1);
			err = -ETIMEDOUT;
		}
	}
	if (!err)
		return io->result;
	end_channel(lane, backing, err);
	return err;
}

static int fetch_copy(struct far_lane *lane, struct slot_copy copy, uint32_t slot, uint32_t crc,
		      void *page)
{
	struct run_backing_counters *counters = &lane->far->counters->backings[copy.backing];
	struct backing_io io;
	int err;

	fill_io(&io, BACKING_FETCH, copy, slot, 1, page);
	err = wait_for(lane, copy.backing, &io);
	if (!err && crc32c(page, PAGE_BYTES) != crc)
		err = -EBADMSG;
	if (err) {
		count(&counters->errors, 1);
		if (means_gone(err))
			give_up(lane->far, copy.backing, true);
		return err;
	}
	count(&counters->pages_fetched, 1);
	return 0;
}

int far_fetch(struct far_lane *lane, uint32_t slot, uint32_t crc, void *page, uint32_t *ret_backing)
{
	int err = -ENODATA;

	for (uint32_t try = 0; try < FAR_FETCH_TRIES * SLOT_COPIES_MAX; try++) {
		/* Half of the slots begin with the second copy: both backings share the reading. */
		struct slot_copy copy = slot_map_copy(lane->far->map, slot_extent_of(slot),
						      (try + slot) % SLOT_COPIES_MAX);

		if (copy.backing == SLOT_NO_BACKING || !lane->channels[copy.backing])
			continue;
		*ret_backing = copy.backing;
		err = fetch_copy(lane, copy, slot, crc, page);
		if (!err) {
			count(&lane->far->counters->fetch_retries, try >= SLOT_COPIES_MAX);
			return 0;
		}
	}
	return err;
}

/* A place for one more extent on `backing`; others of the family may ask just then. */
static int reserve_extent(struct far *far, uint32_t backing, struct slot_copy *ret_copy)
{
	struct slot_backing *state = &far->map->backings[backing];
	struct backing *b = far->backings[backing];
	uint32_t extent = atomic_fetch_add(&state->extent_count, 1), after = extent + 1;
	int err = b->ops->reserve(b, (uint64_t)after * SLOT_EXTENT_SLOTS, NULL);

	if (err) {
		atomic_compare_exchange_strong(&state->extent_count, &after, extent);
		if (means_gone(err))
			give_up(far, backing, true);
		return err;
	}
	*ret_copy = (struct slot_copy){ .backing = (uint8_t)backing, .extent = extent };
	return 0;
}

/* An extent that was another's of the family may lie where this process has not reserved yet. */
static int reach_extent(struct far *far, uint32_t extent)
{
	int err = 0;

	for (uint32_t i = 0; !err && i < SLOT_COPIES_MAX; i++) {
		struct slot_copy copy = slot_map_copy(far->map, extent, i);
		struct backing *b = far->backings[copy.backing % SLOT_BACKINGS_MAX];

		if (copy.backing != SLOT_NO_BACKING && is_live(far, copy.backing))
			err = b->ops->reserve(b, ((uint64_t)copy.extent + 1) * SLOT_EXTENT_SLOTS,
					      NULL);
	}
	return err;
}

static int add_extent(struct far *far, uint32_t backing)
{
	struct slot_copy copies[SLOT_COPIES_MAX];
	int err;

	for (uint32_t i = 0; i < SLOT_COPIES_MAX; i++)
		copies[i] = (struct slot_copy){ .backing = SLOT_NO_BACKING };
	err = reserve_extent(far, backing, &copies[0]);
	if (err)
		return err;
	for (uint32_t i = 1; far->mirror > 1 && i < far->backing_count; i++) {
		uint32_t other = (backing + i) % far->backing_count;

		if (is_live(far, other) && !reserve_extent(far, other, &copies[1]))
			break;
	}
	return slot_map_add(far->map, far->member, copies, &far->cursors[backing]);
}

/* A cursor's extent is of no use once one of its backings has stopped to store. */
static bool is_usable(const struct far *far, const struct slot_cursor *cursor)
{
	for (uint32_t i = 0; cursor->extent && i < SLOT_COPIES_MAX; i++) {
		struct slot_copy copy = slot_map_copy(far->map, cursor->extent - 1, i);

		if (copy.backing != SLOT_NO_BACKING && !is_live(far, copy.backing))
			return false;
	}
	return cursor->extent != 0;
}

/* Up to `want` slots on the next live backing in turn. */
static int take_slots(struct far *far, uint32_t want, uint32_t *ret_first)
{
	int err = -ENOSPC;

	pthread_mutex_lock(&far->lock);
	for (uint32_t i = 0; i < far->backing_count; i++) {
		uint32_t backing = far->stripe++ % far->backing_count;
		struct slot_cursor *cursor = &far->cursors[backing];
		uint32_t taken = 0;

		if (!is_live(far, backing))
			continue;
		while (!taken) {
			if (is_usable(far, cursor))
				taken = slot_map_take(far->map, far->member, cursor, want,
						      ret_first);
			if (taken)
				break;
			err = slot_map_claim(far->map, far->member, backing, cursor);
			if (!err)
				err = reach_extent(far, cursor->extent - 1);
			if (err || !is_usable(far, cursor))
				err = add_extent(far, backing);
			if (err)
				break;
		}
		if (taken) {
			pthread_mutex_unlock(&far->lock);
			return (int)taken;
		}
	}
	pthread_mutex_unlock(&far->lock);
	return err;
}

/* Sends the store's copy, or notes at once that it cannot be sent. */
static void send_copy(struct far_lane *lane, struct store *store, uint32_t i, void *pages)
{
	uint32_t backing = store->copies[i].backing;
	struct backing_channel *channel;
	int err;

	fill_io(&store->ios[i], BACKING_STORE, store->copies[i], store->first_slot,
		store->page_count, pages);
	store->good[i] = false;
	if (backing == SLOT_NO_BACKING || !lane->channels[backing]) {
		store->ios[i].result = -ENOTCONN;
		return;
	}
	channel = lane->channels[backing];
	while ((err = channel->ops->submit(channel, &store->ios[i])) == -EAGAIN) {
		channel->ops->poll(channel);
		if (clock_now_ns() > store->deadline_ns) {
			err = -ETIMEDOUT;
			break;
		}
	}
	if (err) {
		end_channel(lane, backing, err);
		store->ios[i].result = err;
	}
}

int far_store(struct far_lane *lane, char *pages, uint32_t page_count, uint32_t tag,
	      uint32_t *ret_first_slot)
{
	struct store *store = lane->stores;
	int taken;

	if (lane->pending == FAR_STORES_MAX)
		return -EAGAIN;
	while (store->used)
		store++;
	taken = take_slots(lane->far, page_count, ret_first_slot);
	if (taken < 0)
		return taken;
	*store = (struct store){
		.used = true,
		.tag = tag,
		.page_count = (uint32_t)taken,
		.first_slot = *ret_first_slot,
		.deadline_ns = clock_now_ns() + lane->far->timeout_ns,
	};
	lane->pending++;
	count_slots(lane->far, *ret_first_slot, taken);
	for (uint32_t i = 0; i < SLOT_COPIES_MAX; i++) {
		store->copies[i] = slot_map_copy(lane->far->map,
						 slot_extent_of(*ret_first_slot), i);
		send_copy(lane, store, i, pages);
	}
	return taken;
}

/* One copy's io has ended. True when the copy is to be waited for again. */
static bool settle_copy(struct far_lane *lane, struct store *store, uint32_t i)
{
	struct backing_io *io = &store->ios[i];
	uint32_t backing = store->copies[i].backing;
	struct run_backing_counters *counters;

	if (store->good[i] || backing == SLOT_NO_BACKING)
		return false;
	counters = &lane->far->counters->backings[backing];
	while (io->result != 0) {
		count(&counters->errors, 1);
		if (means_gone(io->result) || store->tries++ == FAR_STORE_TRIES * SLOT_COPIES_MAX) {
			give_up(lane->far, backing, means_gone(io->result));
			store->copies[i].backing = SLOT_NO_BACKING;
			return false;
		}
		/* It may end at once, and in the same way. */
		send_copy(lane, store, i, io->pages);
		if (io->result == BACKING_PENDING)
			return true;
	}
	store->good[i] = true;
	count(&counters->pages_stored, store->page_count);
	count(&lane->far->counters->bytes_written, store->page_count * PAGE_BYTES);
	return false;
}

static bool is_ended(struct far_lane *lane, struct store *store)
{
	bool waiting = false;

	for (uint32_t i = 0; i < SLOT_COPIES_MAX; i++) {
		uint32_t backing = store->copies[i].backing;

		if (store->ios[i].result == BACKING_PENDING && backing != SLOT_NO_BACKING &&
		    (!lane->channels[backing] || clock_now_ns() > store->deadline_ns)) {
			end_channel(lane, backing, -ETIMEDOUT);
			store->ios[i].result = -ETIMEDOUT;
		}
		if (store->ios[i].result == BACKING_PENDING || settle_copy(lane, store, i))
			waiting = true;
	}
	return !waiting;
}

bool far_poll(struct far_lane *lane, struct far_stored *ret_stored)
{
	if (!lane->pending)
		return false;
	for (uint32_t i = 0; i < lane->far->backing_count; i++)
		if (lane->channels[i])
			lane->channels[i]->ops->poll(lane->channels[i]);
	for (struct store *store = lane->stores; store < lane->stores + FAR_STORES_MAX; store++) {
		if (!store->used || !is_ended(lane, store))
			continue;
		*ret_stored = (struct far_stored){
			.tag = store->tag,
			.page_count = store->page_count,
			.first_slot = store->first_slot,
			.pages = store->ios[0].pages,
			.result = store->good[0] || store->good[1] ? 0 : -EIO,
		};
		store->used = false;
		lane->pending--;
		return true;
	}
	return false;
}

uint32_t far_stores_pending(const struct far_lane *lane)
{
	return lane->pending;
}

void far_free(struct far *far, uint32_t slot)
{
	slot_map_free(far->map, far->member, slot);
	count_slots(far, slot, -1);
}

const char *far_uri(const struct far *far, uint32_t backing)
{
	return far->backings[backing]->uri;
}

uint64_t far_metadata_bytes(const struct far *far)
{
	return (uint64_t)far->map->extent_count *
	       (SLOT_EXTENT_WORDS * sizeof(uint64_t) + sizeof(struct slot_extent));
}
