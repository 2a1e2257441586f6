/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_SLOT_FIXTURE_H
#define TESTS_SLOT_FIXTURE_H

/* A slot map of two backings, made anew for each test. */

#include <check.h>
#include <sys/mman.h>

#include "memory/slot_map.h"

#define MODEL_BACKINGS 2
#define LANDING_NS 100000000ull

static struct slot_map *map;

static void set_up(void)
{
	map = mmap(NULL, sizeof(*map), PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ck_assert_ptr_ne(map, MAP_FAILED);
	ck_assert_int_eq(slot_map_init(map, MODEL_BACKINGS, 1, LANDING_NS), 0);
}

static void tear_down(void)
{
	munmap(map, sizeof(*map));
}

static int add_extent(uint32_t member, uint8_t backing, struct slot_cursor *cursor)
{
	struct slot_copy copies[SLOT_COPIES_MAX] = {
		{.backing = backing, .extent = map->extent_count},
		{.backing = SLOT_NO_BACKING},
	};

	return slot_map_add(map, member, copies, cursor);
}

#endif
