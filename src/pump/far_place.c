/* SPDX-License-Identifier: Apache-2.0 */
/* The far store's slots: where new ones are taken, and how many lie on which backing. */
#include "pump/far_state.h"

#include <errno.h>
#include <string.h>

/* ---- Counting ---- */

/* Under count_lock. */
static void add_pages(struct far *far, uint32_t backing, int64_t pages)
{
	struct run_backing_counters *counters = &far->counters->backings[backing];
	struct backing *b = far->backings[backing];
	uint64_t all;

	far_count(&counters->pages, (uint64_t)pages);
	all = atomic_load_explicit(&counters->pages, memory_order_relaxed);
	if (!b || !b->ops->bytes_held)
		atomic_store_explicit(&counters->bytes_held, all * PAGE_BYTES,
				      memory_order_relaxed);
	else if (pages > 0)
		atomic_store_explicit(&counters->bytes_held, b->ops->bytes_held(b),
				      memory_order_relaxed);
}

static void add_to_copies(struct far *far, uint32_t extent, int64_t pages)
{
	for (uint32_t i = 0; i < SLOT_COPIES_MAX; i++)
		if (far->counted[extent][i])
			add_pages(far, far->counted[extent][i] - 1u, pages);
}

/* A copy that can still be read, but is soon dropped for a live one, is not counted. */
static bool counts(const struct far *far, uint32_t extent, struct slot_copy copy)
{
	return slot_map_is_live(far->map, copy) ||
	       (slot_map_is_readable(far->map, copy) &&
		slot_map_home(far->map, extent) == SLOT_NO_BACKING);
}

/* The extent's copies may have changed, by whatever process. Under count_lock. */
static void recount(struct far *far, uint32_t extent)
{
	uint8_t now[SLOT_COPIES_MAX], *before = far->counted[extent];
	uint32_t used;

	for (uint32_t i = 0; i < SLOT_COPIES_MAX; i++) {
		struct slot_copy copy = slot_map_copy(far->map, extent, i);

		now[i] = counts(far, extent, copy) ? (uint8_t)(copy.backing + 1) : 0;
	}
	if (!memcmp(now, before, sizeof(now)))
		return;
	used = slot_map_used_count(far->map, far->member, extent);
	/* Only what differs: a reader of the counters sees no copy leave that stays. */
	for (uint32_t i = 0; i < SLOT_COPIES_MAX; i++) {
		if (before[i] && !memchr(now, before[i], sizeof(now)))
			add_pages(far, before[i] - 1u, -(int64_t)used);
		if (now[i] && !memchr(before, now[i], sizeof(now)))
			add_pages(far, now[i] - 1u, used);
	}
	memcpy(before, now, sizeof(now));
}

void far_count_all(struct far *far)
{
	uint32_t extents = atomic_load(&far->map->extent_count);

	for (uint32_t e = 0; e < extents; e++) {
		pthread_mutex_lock(&far->count_lock);
		recount(far, e);
		pthread_mutex_unlock(&far->count_lock);
	}
}

void far_free(struct far *far, uint32_t slot)
{
	pthread_mutex_lock(&far->count_lock);
	recount(far, slot_extent_of(slot));
	slot_map_free(far->map, far->member, slot);
	add_to_copies(far, slot_extent_of(slot), -1);
	pthread_mutex_unlock(&far->count_lock);
}

static uint32_t take_counted(struct far *far, struct slot_cursor *cursor, uint32_t want,
			     uint32_t *ret_first)
{
	uint32_t extent = cursor->extent - 1, taken;

	pthread_mutex_lock(&far->count_lock);
	recount(far, extent);
	taken = slot_map_take(far->map, far->member, cursor, want, ret_first);
	if (taken)
		add_to_copies(far, extent, taken);
	pthread_mutex_unlock(&far->count_lock);
	return taken;
}

/* ---- Extents ---- */

/* The mender's own lane stores nothing of the program's. */
static bool lacks_channel(const struct far *far, uint32_t backing)
{
	for (uint32_t i = 0; i < far->lane_count; i++)
		if (far->lanes[i]->guard && atomic_load(&far->lanes[i]->lacking) & 1u << backing)
			return true;
	return false;
}

uint32_t far_reachable(const struct far *far)
{
	uint32_t mask = 0;

	for (uint32_t i = 0; i < far->backing_count; i++) {
		struct slot_life life = slot_map_life(far->map, i);

		if (life.state == SLOT_BACKING_LIVE &&
		    atomic_load(&far->sessions[i]) == life.session && !lacks_channel(far, i))
			mask |= 1u << i;
	}
	return mask;
}

int far_reach(struct far *far, struct slot_copy copy)
{
	uint32_t backing = copy.backing, extents = copy.extent + 1;
	struct backing *b;
	int err = 0;

	if (atomic_load(&far->sessions[backing]) == copy.session &&
	    atomic_load(&far->reach[backing]) >= extents)
		return 0;
	pthread_mutex_lock(&far->control[backing]);
	b = far->backings[backing];
	if (!b || atomic_load(&far->sessions[backing]) != copy.session) {
		pthread_mutex_unlock(&far->control[backing]);
		return -ENOTCONN;
	}
	if (atomic_load(&far->reach[backing]) < extents)
		err = b->ops->reserve(b, (uint64_t)extents * SLOT_EXTENT_SLOTS, NULL);
	if (!err && atomic_load(&far->reach[backing]) < extents)
		atomic_store(&far->reach[backing], extents);
	pthread_mutex_unlock(&far->control[backing]);
	if (err && far_means_gone(err))
		far_give_up(far, backing, copy.session, true);
	return err;
}

int far_reserve_extent(struct far *far, uint32_t backing, struct slot_copy *ret_copy)
{
	struct slot_backing *state = &far->map->backings[backing];
	struct slot_copy copy = { .backing = (uint8_t)backing,
				  .session = atomic_load(&far->sessions[backing]) };
	uint32_t after;
	int err;

	/* Others of the family may ask just then. */
	copy.extent = atomic_fetch_add(&state->extent_count, 1);
	after = copy.extent + 1;
	err = far_reach(far, copy);
	if (!err && !slot_map_is_live(far->map, copy))
		err = -ENOTCONN;
	if (err) {
		atomic_compare_exchange_strong(&state->extent_count, &after, copy.extent);
		return err;
	}
	*ret_copy = copy;
	return 0;
}

/* An extent that was another's of the family may lie where this process has not reserved yet. */
static int reach_extent(struct far *far, uint32_t extent)
{
	int err = 0;

	for (uint32_t i = 0; !err && i < SLOT_COPIES_MAX; i++) {
		struct slot_copy copy = slot_map_copy(far->map, extent, i);

		if (slot_map_is_live(far->map, copy))
			err = far_reach(far, copy);
	}
	return err;
}

static int add_extent(struct far *far, uint32_t backing, uint32_t reachable)
{
	const struct slot_copy none = { .backing = SLOT_NO_BACKING };
	struct slot_copy copies[SLOT_COPIES_MAX] = { none, none };
	int err = far_reserve_extent(far, backing, &copies[0]);

	if (err)
		return err;
	for (uint32_t i = 1; far->mirror > 1 && i < far->backing_count; i++) {
		uint32_t other = (backing + i) % far->backing_count;

		if (reachable & 1u << other && !far_reserve_extent(far, other, &copies[1]))
			break;
	}
	err = slot_map_add(far->map, far->member, copies, &far->cursors[backing]);
	/* Too few copies: the mender may know better when it has looked at all backings. */
	if (far->mirror > 1 && copies[1].backing == SLOT_NO_BACKING)
		far_ring(far);
	return err;
}

static int take_from(struct far *far, uint32_t backing, uint32_t reachable, uint32_t want,
		     uint32_t *ret_first)
{
	struct slot_cursor *cursor = &far->cursors[backing];

	for (;;) {
		uint32_t taken = 0;
		int err;

		/* Of no use is one without live copies, or with one that we cannot store to. */
		if (cursor->extent &&
		    slot_map_is_reachable(far->map, cursor->extent - 1, reachable) &&
		    !reach_extent(far, cursor->extent - 1))
			taken = take_counted(far, cursor, want, ret_first);
		if (taken)
			return (int)taken;
		err = slot_map_claim(far->map, far->member, backing, reachable, cursor);
		if (!err)
			err = reach_extent(far, cursor->extent - 1);
		if (err)
			err = add_extent(far, backing, reachable);
		if (err)
			return err;
	}
}

int far_take(struct far *far, uint32_t want, uint32_t *ret_first)
{
	uint32_t reachable;
	int ret = -ENOSPC;

	pthread_mutex_lock(&far->lock);
	for (uint32_t i = 0; ret < 0 && i < far->backing_count; i++) {
		uint32_t backing = far->stripe++ % far->backing_count;

		/* One that was tried before may have been given up. */
		reachable = far_reachable(far);
		if (reachable & 1u << backing)
			ret = take_from(far, backing, reachable, want, ret_first);
	}
	pthread_mutex_unlock(&far->lock);
	return ret;
}
