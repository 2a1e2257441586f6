/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/slot_map.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/clock.h"
#include "base/robust_lock.h"

/* An extent is worth claiming when at least this part of its slots is free. */
#define SLOT_CLAIM_FREE_MIN (SLOT_EXTENT_SLOTS / 8)

int slot_map_init(struct slot_map *map, uint32_t backing_count, uint32_t copy_count,
		  uint64_t landing_wait_ns)
{
	int err = robust_lock_init(&map->lock);

	for (uint32_t i = 0; !err && i < SLOT_MEMBERS_MAX; i++)
		if (!(err = robust_lock_init(&map->member_life[i])))
			err = robust_lock_init(&map->member_birth[i]);
	if (!err)
		err = robust_lock_init(&map->mending);
	map->backing_count = backing_count;
	map->copy_count = copy_count;
	map->landing_wait_ns = landing_wait_ns;
	return err;
}

void slot_map_lock(struct slot_map *map)
{
	/* When the holder died, the map is valid as it is (F4). */
	robust_lock(&map->lock);
}

void slot_map_unlock(struct slot_map *map)
{
	pthread_mutex_unlock(&map->lock);
}

static uint64_t word_index(uint32_t extent, uint32_t word)
{
	return (uint64_t)extent * SLOT_EXTENT_WORDS + word;
}

uint64_t slot_map_used_word(const struct slot_map *map, uint32_t extent, uint32_t word)
{
	uint64_t used = 0;

	for (uint32_t m = 0; m < map->member_end; m++)
		if (atomic_load_explicit(&map->member_used[m], memory_order_acquire))
			used |= atomic_load_explicit(&map->used[m][word_index(extent, word)],
						     memory_order_seq_cst);
	return used;
}

void slot_map_used_words(struct slot_map *map, uint32_t extent, uint64_t *ret_words)
{
	slot_map_lock(map);
	for (uint32_t w = 0; w < SLOT_EXTENT_WORDS; w++)
		ret_words[w] = slot_map_used_word(map, extent, w);
	slot_map_unlock(map);
}

static void clear_member(struct slot_map *map, uint32_t member)
{
	uint64_t landing_ns = clock_now_ns() + map->landing_wait_ns;

	for (uint32_t e = 0; e < map->extent_count; e++) {
		/* First of all: who sees no store of the member any more sees this (F8). */
		if (atomic_load(&map->flying[member][e]))
			atomic_store(&map->extents[e].landing_ns, landing_ns);
		if (map->extents[e].owner == member + 1)
			map->extents[e].owner = 0;
		for (uint32_t w = 0; w < SLOT_EXTENT_WORDS; w++)
			atomic_store_explicit(&map->used[member][word_index(e, w)], 0,
					      memory_order_relaxed);
		atomic_store(&map->flying[member][e], 0);
	}
	atomic_store_explicit(&map->member_used[member], 0, memory_order_release);
}

/*
 * Members whose holding thread is gone, or before they were held the one that joined for them. The
 * lock of a live one is taken, of a dead one ours.
 */
static void reap_members(struct slot_map *map)
{
	for (uint32_t m = 0; m < map->member_end; m++) {
		uint32_t used = atomic_load(&map->member_used[m]);
		pthread_mutex_t *lock = used == 1 ? &map->member_birth[m] : &map->member_life[m];

		if (!used || !robust_trylock(lock))
			continue;
		clear_member(map, m);
		pthread_mutex_unlock(lock);
	}
}

void slot_map_reap(struct slot_map *map)
{
	slot_map_lock(map);
	reap_members(map);
	slot_map_unlock(map);
}

int slot_map_join(struct slot_map *map, uint32_t *ret_member)
{
	uint32_t m = 0;

	slot_map_lock(map);
	reap_members(map);
	/* Who joined for one that died meanwhile may not have noticed. */
	while (m < SLOT_MEMBERS_MAX &&
	       (atomic_load(&map->member_used[m]) || !robust_trylock(&map->member_birth[m])))
		m++;
	if (m < SLOT_MEMBERS_MAX) {
		atomic_fetch_add(&map->member_births[m], 1);
		atomic_store_explicit(&map->member_used[m], 1, memory_order_release);
		if (m >= map->member_end)
			map->member_end = m + 1;
		*ret_member = m;
	}
	slot_map_unlock(map);
	return m < SLOT_MEMBERS_MAX ? 0 : -EAGAIN;
}

void slot_map_inherit(struct slot_map *map, uint32_t member, uint32_t parent)
{
	slot_map_lock(map);
	for (uint64_t w = 0; w < word_index(map->extent_count, 0); w++)
		atomic_store_explicit(&map->used[member][w], map->used[parent][w],
				      memory_order_relaxed);
	slot_map_unlock(map);
}

bool slot_map_hold(struct slot_map *map, uint32_t member, uint32_t birth)
{
	bool is_ours;

	slot_map_lock(map);
	is_ours = atomic_load(&map->member_used[member]) == 1 &&
		  !((atomic_load(&map->member_births[member]) ^ birth) & SLOT_BIRTH_MASK) &&
		  robust_trylock(&map->member_life[member]);
	if (is_ours)
		atomic_store_explicit(&map->member_used[member], 2, memory_order_release);
	slot_map_unlock(map);
	return is_ours;
}

void slot_map_leave(struct slot_map *map, uint32_t member)
{
	slot_map_lock(map);
	if (atomic_load(&map->member_used[member]) == 1)
		clear_member(map, member);
	pthread_mutex_unlock(&map->member_birth[member]);
	slot_map_unlock(map);
}

/* Up to `want` neighbours of the cursor's extent, which is the member's and not sealed. */
static uint32_t take_free(struct slot_map *map, uint32_t member, struct slot_cursor *cursor,
			  uint32_t want, uint32_t *ret_first)
{
	for (; cursor->word < SLOT_EXTENT_WORDS; cursor->word++) {
		uint32_t first, count;
		uint64_t taken;

		if (!cursor->free[cursor->word])
			continue;
		count = bits_first_run(cursor->free[cursor->word], &first);
		if (count > want)
			count = want;
		taken = bits_mask(first, count);
		cursor->free[cursor->word] &= ~taken;
		atomic_fetch_or_explicit(
			&map->used[member][word_index(cursor->extent - 1, cursor->word)], taken,
			memory_order_relaxed);
		*ret_first = slot_number(cursor->extent - 1, cursor->word * 64 + first);
		return count;
	}
	return 0;
}

void slot_map_land(struct slot_map *map, uint32_t member, uint32_t extent)
{
	uint16_t before = atomic_fetch_sub(&map->flying[member][extent], 1);

	assert(before > 0);
}

uint32_t slot_map_take(struct slot_map *map, uint32_t member, struct slot_cursor *cursor,
		       uint32_t want, uint32_t *ret_first)
{
	uint32_t extent = cursor->extent - 1, taken = 0;

	assert(want > 0);
	if (!cursor->extent)
		return 0;
	/* Before the look at `sealed`: who seals looks at the two in the other order (F6). */
	atomic_fetch_add(&map->flying[member][extent], 1);
	/* A cursor that came through a fork is of an extent that the parent goes on handing out. */
	if (map->extents[extent].owner == member + 1 && !atomic_load(&map->extents[extent].sealed))
		taken = take_free(map, member, cursor, want, ret_first);
	if (!taken)
		slot_map_land(map, member, extent);
	return taken;
}

/* Under lock: a slot that goes from one other member to a third meanwhile would be missed (F3). */
static bool is_shared(const struct slot_map *map, uint32_t member, uint32_t slot)
{
	uint64_t word = word_index(slot_extent_of(slot), slot_in_extent(slot) / 64);
	uint64_t bit = 1ull << slot_in_extent(slot) % 64;

	for (uint32_t m = 0; m < map->member_end; m++)
		if (m != member && atomic_load(&map->used[m][word]) & bit)
			return true;
	return false;
}

uint64_t slot_map_fly(struct slot_map *map, uint32_t member, const uint32_t *slots, uint32_t count)
{
	uint64_t announced = 0;

	/* As in slot_map_take(): before the look at `sealed`. */
	for (uint32_t i = 0; i < count; i++)
		atomic_fetch_add(&map->flying[member][slot_extent_of(slots[i])], 1);
	slot_map_lock(map);
	for (uint32_t i = 0; i < count; i++)
		if (!atomic_load(&map->extents[slot_extent_of(slots[i])].sealed) &&
		    !is_shared(map, member, slots[i]))
			announced |= 1ull << i;
	slot_map_unlock(map);
	for (uint32_t i = 0; i < count; i++)
		if (!(announced >> i & 1))
			slot_map_land(map, member, slot_extent_of(slots[i]));
	return announced;
}

bool slot_map_free(struct slot_map *map, uint32_t member, uint32_t slot)
{
	uint32_t extent = slot_extent_of(slot), word = slot_in_extent(slot) / 64;
	uint64_t bit = 1ull << slot_in_extent(slot) % 64;
	uint64_t before;

	assert(slot != SLOT_NONE && extent < map->extent_count);
	/* Sequentially consistent: of two members that free a slot at once, one sees that it is
	 * last. */
	before = atomic_fetch_and(&map->used[member][word_index(extent, word)], ~bit);
	assert(before & bit);
	return !(slot_map_used_word(map, extent, word) & bit);
}

static void let_go(struct slot_map *map, uint32_t member, struct slot_cursor *cursor)
{
	if (cursor->extent && map->extents[cursor->extent - 1].owner == member + 1)
		map->extents[cursor->extent - 1].owner = 0;
	cursor->extent = 0;
}

static uint32_t count_free(const struct slot_map *map, uint32_t extent)
{
	uint32_t used = 0;

	for (uint32_t w = 0; w < SLOT_EXTENT_WORDS; w++)
		used += (uint32_t)__builtin_popcountll(slot_map_used_word(map, extent, w));
	return SLOT_EXTENT_SLOTS - used;
}

static void own(struct slot_map *map, uint32_t member, uint32_t extent, struct slot_cursor *cursor)
{
	map->extents[extent].owner = (uint16_t)(member + 1);
	cursor->extent = extent + 1;
	cursor->word = 0;
	for (uint32_t w = 0; w < SLOT_EXTENT_WORDS; w++)
		cursor->free[w] = ~slot_map_used_word(map, extent, w);
}

int slot_map_claim(struct slot_map *map, uint32_t member, uint32_t backing, uint32_t reachable,
		   struct slot_cursor *cursor)
{
	uint32_t best = 0, best_free = SLOT_CLAIM_FREE_MIN - 1;
	uint64_t now_ns;

	slot_map_lock(map);
	reap_members(map);
	let_go(map, member, cursor);
	now_ns = clock_now_ns();
	for (uint32_t e = 0; e < map->extent_count; e++) {
		uint32_t free;

		if (map->extents[e].owner || map->extents[e].sealed ||
		    map->extents[e].landing_ns > now_ns || slot_map_home(map, e) != backing ||
		    !slot_map_is_reachable(map, e, reachable))
			continue;
		free = count_free(map, e);
		if (free <= best_free)
			continue;
		best = e + 1;
		best_free = free;
		if (free == SLOT_EXTENT_SLOTS)
			break;
	}
	if (best)
		own(map, member, best - 1, cursor);
	slot_map_unlock(map);
	return best ? 0 : -ENOENT;
}

/* Its copies are gone for good, and nobody has, stores or may yet store a page there. */
static bool is_left(const struct slot_map *map, uint32_t extent)
{
	if (map->extents[extent].owner || map->extents[extent].sealed)
		return false;
	for (uint32_t i = 0; i < SLOT_COPIES_MAX; i++)
		if (slot_map_is_readable(map, slot_map_copy(map, extent, i)))
			return false;
	return !slot_map_is_flying(map, extent) && count_free(map, extent) == SLOT_EXTENT_SLOTS;
}

int slot_map_add(struct slot_map *map, uint32_t member, const struct slot_copy *copies,
		 struct slot_cursor *cursor)
{
	uint32_t extent = 0;

	slot_map_lock(map);
	let_go(map, member, cursor);
	while (extent < map->extent_count && !is_left(map, extent))
		extent++;
	if (extent == SLOT_EXTENTS_MAX) {
		slot_map_unlock(map);
		return -ENOSPC;
	}
	map->extents[extent].sealed = false;
	for (uint32_t i = 0; i < SLOT_COPIES_MAX; i++)
		slot_map_set_copy(map, extent, i, copies[i]);
	if (extent == map->extent_count)
		map->extent_count = extent + 1;
	own(map, member, extent, cursor);
	slot_map_unlock(map);
	return 0;
}

uint32_t slot_map_used_count(const struct slot_map *map, uint32_t member, uint32_t extent)
{
	uint32_t count = 0;

	for (uint32_t w = 0; w < SLOT_EXTENT_WORDS; w++)
		count += (uint32_t)__builtin_popcountll(atomic_load_explicit(
			&map->used[member][word_index(extent, w)], memory_order_relaxed));
	return count;
}

uint64_t slot_map_count(const struct slot_map *map, uint32_t member, uint32_t backing)
{
	uint64_t count = 0;

	for (uint32_t e = 0; e < map->extent_count; e++) {
		if (slot_map_copy(map, e, 0).backing != backing &&
		    slot_map_copy(map, e, 1).backing != backing)
			continue;
		count += slot_map_used_count(map, member, e);
	}
	return count;
}
