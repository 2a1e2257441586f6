/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The far store's backings and channels: opened at the start, given up after an error, and put in
 * their places again by the mender while other threads use the rest.
 */
#include "pump/far_state.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/own_memory.h"

#define SETTLE_REST_NS 1000000 /* between two looks whether a lane is free */

/* ---- Start ---- */

/* The program may leave its folder and overwrite its environment: copies for later. */
static void keep_options(struct far *far, const struct far_config *config)
{
	far->options = (struct backing_options){
		.pages = config->pages,
		.pages_bytes = config->pages_bytes,
		.wait_ms_max = config->timeout_ms,
	};
	if (config->key_file) {
		if (!realpath(config->key_file, far->key_file))
			snprintf(far->key_file, sizeof(far->key_file), "%s", config->key_file);
		far->options.key_file = far->key_file;
	}
	for (uint32_t i = 0; i < config->uri_count; i++)
		snprintf(far->uris[i], sizeof(far->uris[i]), "%s", config->uris[i]);
}

int far_open(const struct far_config *config, struct far **ret_far, struct error *why)
{
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
	pthread_mutex_init(&far->count_lock, NULL);
	keep_options(far, config);
	for (uint32_t i = 0; !err && i < config->uri_count; i++) {
		pthread_mutex_init(&far->control[i], NULL);
		err = backing_open(far->uris[i], &far->options, &far->backings[i], why);
	}
	if (!err)
		err = slot_map_init(far->map, config->uri_count, config->mirror,
				    far->timeout_ns + FAR_LAND_NS_MORE);
	if (!err)
		err = slot_map_join(far->map, &far->member);
	far->birth = far->map->member_births[far->member];
	for (uint32_t i = 0; !err && i < config->uri_count; i++)
		memcpy(far->map->backings[i].ticket, far->backings[i]->ticket, SLOT_TICKET_BYTES);
	if (!err)
		*ret_far = far;
	return err;
}

void far_hold(struct far *far)
{
	/* Who was given up has no parent any more to bring it up: it ends before it uses a slot. */
	slot_map_hold(far->map, far->member, far->birth);
}

int far_lane_connect(struct far_lane *lane, bool strict, struct error *why)
{
	struct far *far = lane->far;
	int err = 0;

	for (uint32_t i = 0; !(err && strict) && i < far->backing_count; i++) {
		struct slot_life life = slot_map_life(far->map, i);
		struct backing *backing = far->backings[i];

		lane->channels[i] = NULL;
		lane->sessions[i] = FAR_NO_SESSION;
		/* Most processes have nothing to mend and end before they do. */
		if (!lane->guard)
			continue;
		if (life.state == SLOT_BACKING_LOST || far->sessions[i] != life.session)
			continue;
		err = backing->ops->channel_open(backing, &lane->channels[i], why);
		lane->sessions[i] = life.session;
		if (err)
			lane->lacking |= 1u << i;
	}
	return strict ? err : 0;
}

void far_lane_complete(struct far_lane *lane)
{
	struct far *far = lane->far;

	for (uint32_t i = 0; i < far->backing_count; i++) {
		struct backing *backing = far->backings[i];
		int err;

		if (lane->channels[i] || !backing ||
		    atomic_load(&far->sessions[i]) == FAR_NO_SESSION)
			continue;
		pthread_mutex_lock(&far->control[i]);
		err = backing->ops->channel_open(backing, &lane->channels[i], NULL);
		pthread_mutex_unlock(&far->control[i]);
		lane->sessions[i] = err ? FAR_NO_SESSION : atomic_load(&far->sessions[i]);
	}
}

int far_lane_open(struct far *far, pthread_mutex_t *guard, struct far_lane **ret_lane,
		  struct error *why)
{
	struct far_lane *lane;
	void *memory;
	int err = own_memory_map(sizeof(*lane), &memory);

	if (err || far->lane_count == FAR_LANES_MAX)
		return error_set(why, err ? err : -ENOSPC, "no memory for a lane");
	lane = memory;
	lane->far = far;
	lane->guard = guard;
	err = far_lane_connect(lane, true, why);
	if (err)
		return err;
	far->lanes[far->lane_count] = lane;
	far->lane_count++;
	*ret_lane = lane;
	return 0;
}

const char *far_uri(const struct far *far, uint32_t backing)
{
	return far->uris[backing];
}

/* ---- Errors ---- */

bool far_means_gone(int err)
{
	return err == -ECONNRESET || err == -ETIMEDOUT || err == -ENOTCONN || err == -EPIPE ||
	       err == -ESRCH || err == -ENODEV || err == -ECONNREFUSED;
}

void far_ring(struct far *far)
{
	/* Who found nothing to do before this, and has not begun to wait, will not. */
	atomic_fetch_add(&far->map->bell, 1);
	syscall(SYS_futex, &far->map->bell, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void far_give_up(struct far *far, uint32_t backing, uint32_t session, bool gone)
{
	int was_live = slot_map_worsen(far->map, backing, session,
				       gone ? SLOT_BACKING_LOST : SLOT_BACKING_FAILING);

	if (was_live < 0)
		return;
	/* Who sees that it was lost sees also that no pages are there any more. */
	far_count_all(far);
	if (was_live)
		far_count(&far->counters->backings[backing].lost, 1);
	far_ring(far);
}

static void close_channel(struct far *far, uint32_t index, struct backing_channel *channel)
{
	if (!channel)
		return;
	pthread_mutex_lock(&far->control[index]);
	channel->ops->channel_close(channel);
	pthread_mutex_unlock(&far->control[index]);
}

/* Stores and reads that are on their way there end with `err`. */
static void drop_channel(struct far_lane *lane, uint32_t backing, int err)
{
	close_channel(lane->far, backing, lane->channels[backing]);
	lane->channels[backing] = NULL;
	for (struct store *store = lane->stores; store < lane->stores + FAR_STORES_MAX; store++)
		for (uint32_t i = 0; store->used && i < SLOT_COPIES_MAX; i++)
			if (store->copies[i].backing == backing &&
			    store->ios[i].result == BACKING_PENDING)
				store->ios[i].result = err;
	for (struct far_read *read = lane->reads; read < lane->reads + FAR_READS_MAX; read++)
		if (read->used && read->copy.backing == backing &&
		    read->io.result == BACKING_PENDING)
			read->io.result = err;
}

void far_end_channel(struct far_lane *lane, uint32_t backing, int err)
{
	far_give_up(lane->far, backing, lane->sessions[backing], far_means_gone(err));
	drop_channel(lane, backing, err);
	atomic_fetch_or(&lane->lacking, 1u << backing);
}

/* ---- What the mender puts in place ---- */

void far_lane_adopt(struct far_lane *lane)
{
	/* Acquires what `offered` was filled with. */
	uint32_t offers = atomic_load_explicit(&lane->offers, memory_order_acquire);

	for (; offers; offers &= offers - 1) {
		uint32_t backing = (uint32_t)__builtin_ctz(offers);

		drop_channel(lane, backing, -ECONNRESET);
		lane->channels[backing] = lane->offered[backing];
		lane->sessions[backing] = lane->offered_sessions[backing];
		atomic_fetch_and(&lane->lacking, ~(1u << backing));
		/* Released: the mender may use `offered` again, and close what was there before. */
		atomic_fetch_and_explicit(&lane->offers, ~(1u << backing), memory_order_release);
	}
}

static void offer(struct far_lane *lane, uint32_t backing, struct backing_channel *channel,
		  uint32_t session)
{
	lane->offered[backing] = channel;
	lane->offered_sessions[backing] = session;
	atomic_fetch_or_explicit(&lane->offers, 1u << backing, memory_order_release);
}

/* Waits until each lane has adopted: by itself if it is at work, which ends, or by our hand. */
static void settle(struct far *far, uint32_t backing)
{
	for (uint32_t i = 0; i < far->lane_count; i++) {
		struct far_lane *lane = far->lanes[i];

		while (atomic_load_explicit(&lane->offers, memory_order_acquire) & 1u << backing) {
			if (lane->guard && pthread_mutex_trylock(lane->guard)) {
				far_mender_rest(far, SETTLE_REST_NS);
				continue;
			}
			far_lane_adopt(lane);
			if (lane->guard)
				pthread_mutex_unlock(lane->guard);
		}
	}
}

static struct backing *exchange(struct far *far, uint32_t index, struct backing *backing,
				uint32_t session)
{
	struct backing *before;

	pthread_mutex_lock(&far->lock);
	pthread_mutex_lock(&far->control[index]);
	pthread_mutex_lock(&far->count_lock);
	before = far->backings[index];
	far->backings[index] = backing;
	atomic_store(&far->reach[index], 0);
	atomic_store(&far->sessions[index], session);
	pthread_mutex_unlock(&far->count_lock);
	pthread_mutex_unlock(&far->control[index]);
	pthread_mutex_unlock(&far->lock);
	return before;
}

int far_attach(struct far *far, uint32_t index, struct backing *backing, uint32_t session,
	       struct error *why)
{
	struct backing_channel *channels[FAR_LANES_MAX];
	uint32_t open = 0;
	int err = 0;

	while (!err && open < far->lane_count) {
		err = backing->ops->channel_open(backing, &channels[open], why);
		open += !err;
	}
	if (err) {
		while (open-- > 0)
			channels[open]->ops->channel_close(channels[open]);
		return err;
	}
	for (uint32_t i = 0; i < far->lane_count; i++)
		offer(far->lanes[i], index, channels[i], session);
	backing = exchange(far, index, backing, session);
	settle(far, index);
	backing_close(backing);
	return 0;
}

void far_detach(struct far *far, uint32_t index)
{
	struct backing *before;

	for (uint32_t i = 0; i < far->lane_count; i++)
		offer(far->lanes[i], index, NULL, FAR_NO_SESSION);
	before = exchange(far, index, NULL, FAR_NO_SESSION);
	settle(far, index);
	backing_close(before);
}

bool far_is_lacking(const struct far *far, uint32_t index)
{
	for (uint32_t i = 0; i < far->lane_count; i++)
		if (atomic_load(&far->lanes[i]->lacking) & 1u << index)
			return true;
	return false;
}

int far_supply(struct far *far, uint32_t index)
{
	struct backing *backing = far->backings[index];
	int err = 0;

	for (uint32_t i = 0; !err && i < far->lane_count; i++) {
		struct backing_channel *channel;

		if (!(atomic_load(&far->lanes[i]->lacking) & 1u << index))
			continue;
		pthread_mutex_lock(&far->control[index]);
		err = backing->ops->channel_open(backing, &channel, NULL);
		pthread_mutex_unlock(&far->control[index]);
		if (!err)
			offer(far->lanes[i], index, channel, atomic_load(&far->sessions[index]));
	}
	settle(far, index);
	return err;
}
