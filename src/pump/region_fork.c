/* SPDX-License-Identifier: Apache-2.0 */
#include "base/raw_map.h"
#include "pump/region.h"
#include "pump/region_state.h"

static struct region *const region = &region_of_process;

static void advise(uint64_t first, uint64_t end, int advice)
{
	if (end > first)
		raw_madvise(region_address(first), (end - first) * PAGE_BYTES, advice);
}

/* All but foreign mappings, of which the kernel knows by itself whether a child has them. */
static void advise_own(int advice)
{
	uint64_t at = 0, first = 0;
	struct range piece;

	for (; range_map_next(&region->map, at, region->pages, &piece); at = piece.end) {
		if (piece.attributes.kind != RANGE_FOREIGN)
			continue;
		advise(first, piece.first, advice);
		first = piece.end;
	}
	advise(first, region->pages, advice);
}

/*
 * The region is MADV_DONTFORK at all other times: a child that comes about in a way that we do not
 * see (a raw system call) must not read zeros where its pages are far.
 */
int region_fork_open(struct pager_fork *ret_fork)
{
	int err;

	pthread_mutex_lock(&region->lock);
	err = pager_fork_open(region->pager, ret_fork);
	pthread_mutex_unlock(&region->lock);
	return err;
}

void region_fork_prepare(struct pager_fork *fork)
{
	struct range piece;

	pthread_mutex_lock(&region->lock);
	if (!fork->open && pager_fork_open(region->pager, fork))
		return;
	advise_own(MADV_DOFORK);
	for (uint64_t at = 0; range_map_next(&region->map, at, region->pages, &piece);
	     at = piece.end)
		if (piece.attributes.kind != RANGE_FOREIGN &&
		    piece.attributes.fork & RANGE_FORK_DROP)
			advise(piece.first, piece.end, MADV_DONTFORK);
}

void region_fork_parent(void)
{
	advise_own(MADV_DONTFORK);
	pthread_mutex_unlock(&region->lock);
}

int region_fork_enter(void)
{
	struct range piece;
	void *ignored;
	int err = pager_fork_enter(region->pager);

	for (uint64_t at = 0; !err && range_map_next(&region->map, at, region->pages, &piece);
	     at = piece.end)
		if (piece.attributes.fork & RANGE_FORK_DROP)
			err = raw_reserve(region_address(piece.first),
					  (piece.end - piece.first) * PAGE_BYTES, MAP_FIXED,
					  &ignored);
	return err;
}

/* Locks are not inherited (mlock(2)), nor is what the program wanted dropped or wiped. */
static int adopt(struct range *piece)
{
	uint64_t count = piece->end - piece->first;
	int err = 0;

	if (piece->attributes.fork & RANGE_FORK_DROP) {
		err = region_place(piece->first, count, MAP_FIXED);
		pager_fork_forget(region->pager, piece->first, count);
		return err ? err : range_map_clear(&region->map, piece->first, count);
	}
	if (piece->attributes.kind == RANGE_FOREIGN)
		return 0;
	if (piece->attributes.fork & RANGE_FORK_WIPE)
		pager_fork_forget(region->pager, piece->first, count);
	else
		err = pager_fork_adopt(region->pager, piece->first, count);
	if (err)
		return err;
	if (!piece->attributes.locked)
		return 0;
	piece->attributes.locked = 0;
	return range_map_set(&region->map, piece->first, count, piece->attributes);
}

/* A page that was being brought when its mapping went has left an entry behind. */
static void clear_gaps(void)
{
	uint64_t at = 0, first = 0;
	struct range piece;

	for (; range_map_next(&region->map, at, region->end, &piece); at = piece.end) {
		pager_fork_forget(region->pager, first, piece.first - first);
		first = piece.end;
	}
	if (first < region->end)
		pager_fork_forget(region->pager, first, region->end - first);
}

int region_fork_child(void)
{
	struct range piece;
	int err = 0;

	advise_own(MADV_DONTFORK);
	for (uint64_t at = 0; !err && range_map_next(&region->map, at, region->pages, &piece);
	     at = piece.end)
		err = adopt(&piece);
	clear_gaps();
	region_publish();
	pthread_mutex_unlock(&region->lock);
	return err;
}
