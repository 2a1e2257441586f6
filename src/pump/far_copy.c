/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of extents, made again from the ones that are left. The mender's. */
#include "pump/far_state.h"

#include <errno.h>

#include "base/bits.h"
#include "base/clock.h"
#include "base/crc32c.h"

#define ROOM_MS 2000u /* until a backing that was full is asked again */
#define LAND_REST_NS 200000
#define LAND_LOOKS_PER_RING 50

/* What is to be done for one extent. */
struct repair {
	uint32_t extent;
	uint32_t index;		 /* of the copy to make */
	struct slot_copy source; /* a live one, or at least a readable one */
	uint32_t target;	 /* backing */
};

/* The live backing with the least on it that has no copy of the extent, not even a failing one. */
static uint32_t choose_target(const struct far *far, uint32_t has_live, uint32_t source)
{
	uint32_t reachable = far_reachable(far) & ~has_live & ~(1u << source);
	uint32_t best = SLOT_NO_BACKING, least = UINT32_MAX;

	for (uint32_t i = 0; i < far->backing_count; i++) {
		uint32_t extents = atomic_load(&far->map->backings[i].extent_count);

		if (reachable & 1u << i && extents < least) {
			best = i;
			least = extents;
		}
	}
	return best;
}

/* True if the extent has too few live copies, and one can be made. */
static bool find_repair(const struct far *far, struct repair *repair)
{
	uint32_t has_live = 0, live = 0, source_rank = 0, hole_rank = 0;

	for (uint32_t i = 0; i < far->map->copy_count; i++) {
		struct slot_copy copy = slot_map_copy(far->map, repair->extent, i);
		uint32_t rank = slot_map_is_readable(far->map, copy);

		if (slot_map_is_live(far->map, copy)) {
			rank = 2;
			live++;
			has_live |= 1u << copy.backing;
		}
		if (rank > source_rank) {
			source_rank = rank;
			repair->source = copy;
		}
		/* A copy that is gone gives its place rather than one that can still be read. */
		if (2 - rank > hole_rank) {
			hole_rank = 2 - rank;
			repair->index = i;
		}
	}
	if (!source_rank || live == far->map->copy_count)
		return false;
	repair->target = choose_target(far, has_live, repair->source.backing);
	return repair->target != SLOT_NO_BACKING;
}

static bool is_right(const struct far *far, uint32_t slot, const char *page)
{
	return crc32c(page, PAGE_BYTES) ==
	       atomic_load_explicit(&far->map->checksums[slot - 1], memory_order_relaxed);
}

/*
 * One page again, from whichever copy has the right bytes. When none has, what was read last is
 * copied as it is: its checksum goes on saying so.
 */
static void fetch_again(struct far *far, uint32_t slot, char *page)
{
	for (uint32_t try = 0; try < FAR_FETCH_TRIES * SLOT_COPIES_MAX; try++) {
		struct slot_copy copy = slot_map_copy(far->map, slot_extent_of(slot),
						      try % SLOT_COPIES_MAX);

		if (slot_map_is_readable(far->map, copy) &&
		    !far_move(far->mender.lane, BACKING_FETCH, copy, slot, 1, page) &&
		    is_right(far, slot, page))
			return;
	}
}

static int fetch_run(struct far *far, struct slot_copy source, uint32_t slot, uint32_t count)
{
	char *pages = far->mender.pages;
	int err = far_move(far->mender.lane, BACKING_FETCH, source, slot, count, pages);

	if (err)
		far_count(&far->counters->backings[source.backing].errors, 1);
	else
		far_count(&far->counters->backings[source.backing].pages_fetched, count);
	if (err && !slot_map_is_readable(far->map, source))
		return err;
	for (uint32_t i = 0; i < count; i++)
		if (err || !is_right(far, slot + i, pages + i * PAGE_BYTES))
			fetch_again(far, slot + i, pages + i * PAGE_BYTES);
	return 0;
}

static int store_run(struct far *far, struct slot_copy target, uint32_t slot, uint32_t count)
{
	struct run_backing_counters *counters = &far->counters->backings[target.backing];
	int err = -EIO;

	for (uint32_t try = 0; try < FAR_STORE_TRIES; try++) {
		err = far_move(far->mender.lane, BACKING_STORE, target, slot, count,
			       far->mender.pages);
		if (!err || !slot_map_is_live(far->map, target))
			break;
		far_count(&counters->errors, 1);
	}
	if (err) {
		far_give_up(far, target.backing, target.session, false);
		return err;
	}
	far_count(&counters->pages_stored, count);
	far_count(&far->counters->bytes_written, count * PAGE_BYTES);
	far_count(&far->counters->pages_recopied, count);
	return 0;
}

/* The slots in use are as they will stay: sealed, and nothing on its way (F1, F6). */
static int copy_slots(struct far *far, const struct repair *repair, struct slot_copy target)
{
	uint64_t words[SLOT_EXTENT_WORDS];
	int err = 0;

	slot_map_used_words(far->map, repair->extent, words);
	for (uint32_t w = 0; !err && w < SLOT_EXTENT_WORDS; w++) {
		uint64_t used = words[w];

		while (used && !err) {
			uint32_t first, slot, count = bits_first_run(used, &first);

			if (count > BACKING_IO_PAGES_MAX)
				count = BACKING_IO_PAGES_MAX;
			slot = slot_number(repair->extent, w * 64 + first);
			err = fetch_run(far, repair->source, slot, count);
			if (!err)
				err = store_run(far, target, slot, count);
			used &= ~bits_mask(first, count);
			far_mender_give_way(far);
		}
	}
	return err;
}

/* Stores that took slots, or were announced, before the extent was sealed end in their time. */
static int wait_until_landed(struct far *far, uint32_t extent)
{
	uint64_t deadline_ns = clock_now_ns() + far->timeout_ns + FAR_LAND_NS_MORE;

	for (uint32_t looks = 1; slot_map_is_flying(far->map, extent); looks++) {
		if (clock_now_ns() > deadline_ns)
			return -EAGAIN;
		far_mender_push(far);
		/* Those of another process are its mender's to move on. */
		if (looks % LAND_LOOKS_PER_RING == 0)
			far_ring(far);
		far_mender_rest(far, LAND_REST_NS);
	}
	return 0;
}

static bool is_same_repair(const struct far *far, const struct repair *repair)
{
	struct repair now = { .extent = repair->extent };

	return find_repair(far, &now) && now.index == repair->index &&
	       now.source.backing == repair->source.backing &&
	       now.source.session == repair->source.session &&
	       now.source.extent == repair->source.extent;
}

static int make_copy(struct far *far, const struct repair *repair)
{
	struct slot_copy copy;
	int err;

	far_lane_complete(far->mender.lane);
	/* Without a channel, what cannot be read would pass for what is not right anywhere. */
	if (!far->mender.lane->channels[repair->source.backing] ||
	    !far->mender.lane->channels[repair->target])
		return -EAGAIN;
	slot_map_seal(far->map, repair->extent);
	far->mender.piece_ns = clock_now_ns();
	err = wait_until_landed(far, repair->extent);
	/* Before it was sealed it may have been lost, and taken for new pages. */
	if (!err && !is_same_repair(far, repair))
		err = -EAGAIN;
	if (!err)
		err = far_reserve_extent(far, repair->target, &copy);
	if (!err)
		err = copy_slots(far, repair, copy);
	if (!err)
		slot_map_set_copy(far->map, repair->extent, repair->index, copy);
	slot_map_unseal(far->map, repair->extent);
	return err;
}

uint64_t far_mend_extents(struct far *far)
{
	uint32_t extents = atomic_load(&far->map->extent_count), made = 0;
	uint64_t again_ns = FAR_NEVER;

	slot_map_reap(far->map);
	for (uint32_t e = 0; e < extents; e++) {
		struct repair repair = { .extent = e };
		uint32_t wait_ms;
		int err;

		/* One that had this to do before us died at it. */
		if (atomic_load(&far->map->extents[e].sealed))
			slot_map_unseal(far->map, e);
		if (!find_repair(far, &repair))
			continue;
		err = make_copy(far, &repair);
		made += !err;
		/* Something has happened: it may be more urgent than the other extents. */
		if (atomic_load(&far->map->bell) != far->mender.heard) {
			again_ns = 0;
			break;
		}
		wait_ms = err == -ENOSPC ? ROOM_MS : FAR_LOOK_MS;
		if (err)
			again_ns = far_sooner(again_ns, far_after_ms(wait_ms));
	}
	if (made)
		far_ring(far);
	return again_ns;
}
