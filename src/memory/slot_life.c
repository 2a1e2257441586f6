/* SPDX-License-Identifier: Apache-2.0 */
/* The slot map's copies, and the lives of the backings that they lie on. */
#include "memory/slot_map.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/robust_lock.h"

#define LIFE_STATE_BITS 8

static uint32_t encode_life(struct slot_life life)
{
	return life.session << LIFE_STATE_BITS | (uint32_t)life.state;
}

static struct slot_life decode_life(uint32_t code)
{
	return (struct slot_life){ .state = (enum slot_backing_state)(code & 0xff),
				   .session = code >> LIFE_STATE_BITS };
}

struct slot_life slot_map_life(const struct slot_map *map, uint32_t backing)
{
	return decode_life(atomic_load(&map->backings[backing].life));
}

struct slot_copy slot_map_copy(const struct slot_map *map, uint32_t extent, uint32_t index)
{
	uint64_t code =
		atomic_load_explicit(&map->extents[extent].copies[index], memory_order_acquire);

	return (struct slot_copy){ .backing = (uint8_t)code,
				   .session = (uint32_t)code >> 8,
				   .extent = (uint32_t)(code >> 32) };
}

void slot_map_set_copy(struct slot_map *map, uint32_t extent, uint32_t index, struct slot_copy copy)
{
	/* Releases the copy's contents, which were stored before, to who finds it here. */
	atomic_store_explicit(&map->extents[extent].copies[index],
			      (uint64_t)copy.extent << 32 | (uint64_t)copy.session << 8 |
				      copy.backing,
			      memory_order_release);
}

bool slot_map_is_readable(const struct slot_map *map, struct slot_copy copy)
{
	struct slot_life life;

	if (copy.backing == SLOT_NO_BACKING)
		return false;
	life = slot_map_life(map, copy.backing);
	return life.session == copy.session && life.state != SLOT_BACKING_LOST;
}

bool slot_map_is_live(const struct slot_map *map, struct slot_copy copy)
{
	struct slot_life life;

	if (copy.backing == SLOT_NO_BACKING)
		return false;
	life = slot_map_life(map, copy.backing);
	return life.session == copy.session && life.state == SLOT_BACKING_LIVE;
}

uint32_t slot_map_home(const struct slot_map *map, uint32_t extent)
{
	for (uint32_t i = 0; i < SLOT_COPIES_MAX; i++) {
		struct slot_copy copy = slot_map_copy(map, extent, i);

		if (slot_map_is_live(map, copy))
			return copy.backing;
	}
	return SLOT_NO_BACKING;
}

bool slot_map_is_reachable(const struct slot_map *map, uint32_t extent, uint32_t reachable)
{
	uint32_t live = 0;

	for (uint32_t i = 0; i < SLOT_COPIES_MAX; i++) {
		struct slot_copy copy = slot_map_copy(map, extent, i);

		if (slot_map_is_live(map, copy))
			live |= 1u << copy.backing;
	}
	return live && !(live & ~reachable);
}

int slot_map_worsen(struct slot_map *map, uint32_t backing, uint32_t session,
		    enum slot_backing_state state)
{
	uint32_t code = atomic_load(&map->backings[backing].life);
	struct slot_life life;

	do {
		life = decode_life(code);
		if (life.session != session || life.state >= state)
			return -ESTALE;
	} while (!atomic_compare_exchange_weak(
		&map->backings[backing].life, &code,
		encode_life((struct slot_life){ .state = state, .session = session })));
	return life.state == SLOT_BACKING_LIVE;
}

bool slot_map_revive(struct slot_map *map, uint32_t backing, uint32_t session)
{
	uint32_t failing = encode_life(
		(struct slot_life){ .state = SLOT_BACKING_FAILING, .session = session });

	return atomic_compare_exchange_strong(
		&map->backings[backing].life, &failing,
		encode_life((struct slot_life){ .state = SLOT_BACKING_LIVE, .session = session }));
}

uint32_t slot_map_begin_session(struct slot_map *map, uint32_t backing, const uint8_t *ticket)
{
	struct slot_life life;

	slot_map_lock(map);
	life = slot_map_life(map, backing);
	assert(life.state == SLOT_BACKING_LOST && life.session < SLOT_SESSIONS_MAX);
	life.session++;
	memcpy(map->backings[backing].ticket, ticket, SLOT_TICKET_BYTES);
	atomic_store(&map->backings[backing].extent_count, 0);
	life.state = SLOT_BACKING_LIVE;
	atomic_store(&map->backings[backing].life, encode_life(life));
	slot_map_unlock(map);
	return life.session;
}

struct slot_life slot_map_ticket(struct slot_map *map, uint32_t backing, uint8_t *ret_ticket)
{
	struct slot_life life;

	slot_map_lock(map);
	life = slot_map_life(map, backing);
	memcpy(ret_ticket, map->backings[backing].ticket, SLOT_TICKET_BYTES);
	slot_map_unlock(map);
	return life;
}

static bool is_used(const struct slot_map *map, uint32_t extent)
{
	for (uint32_t w = 0; w < SLOT_EXTENT_WORDS; w++)
		if (slot_map_used_word(map, extent, w))
			return true;
	return false;
}

/* Of one extent, under `lock`: 1 if it is in use and has its only readable copy on `backing`. */
static uint32_t drop_copies(struct slot_map *map, uint32_t extent, uint32_t backing)
{
	const struct slot_copy none = { .backing = SLOT_NO_BACKING };
	uint32_t sole = 0;

	for (uint32_t i = 0; i < SLOT_COPIES_MAX; i++) {
		struct slot_copy copy = slot_map_copy(map, extent, i);
		uint32_t home = slot_map_home(map, extent);

		if (copy.backing != backing || !slot_map_is_readable(map, copy))
			continue;
		if (home != SLOT_NO_BACKING && home != backing)
			slot_map_set_copy(map, extent, i, none);
		else
			sole += is_used(map, extent);
	}
	return sole;
}

uint32_t slot_map_drop_redundant(struct slot_map *map, uint32_t backing)
{
	uint32_t extents = atomic_load(&map->extent_count), sole = 0;

	for (uint32_t e = 0; e < extents; e++) {
		/* No fork copies the bitmaps just then, and nobody gives it other copies. */
		slot_map_lock(map);
		sole += drop_copies(map, e, backing);
		slot_map_unlock(map);
	}
	return sole;
}

void slot_map_seal(struct slot_map *map, uint32_t extent)
{
	slot_map_lock(map);
	atomic_store(&map->extents[extent].sealed, true);
	slot_map_unlock(map);
}

void slot_map_unseal(struct slot_map *map, uint32_t extent)
{
	atomic_store(&map->extents[extent].sealed, false);
}

bool slot_map_is_flying(const struct slot_map *map, uint32_t extent)
{
	for (uint32_t m = 0; m < map->member_end; m++)
		if (atomic_load(&map->member_used[m]) && atomic_load(&map->flying[m][extent]))
			return true;
	return atomic_load(&map->extents[extent].landing_ns) > clock_now_ns();
}

bool slot_map_try_mending(struct slot_map *map)
{
	/* A dead one left at worst a sealed extent, and those are looked at first. */
	return robust_trylock(&map->mending);
}

void slot_map_end_mending(struct slot_map *map)
{
	pthread_mutex_unlock(&map->mending);
}
