/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEMORY_RANGE_MAP_H
#define MEMORY_RANGE_MAP_H

/*
 * The program's mappings inside the region: ranges of pages with what the program asked for, and
 * between them the free address space. Neighbours that agree are one range. A sorted array: a
 * program has few mappings, and looking one up is a binary search.
 *
 * The caller serialises all calls. Changing calls may allocate (with malloc) and are no part of the
 * memory path; they return -ENOMEM and change nothing when that fails. Their pages lie in the
 * region; with no pages they do nothing.
 */

#include <stdbool.h>
#include <stdint.h>

enum range_kind {
	RANGE_MANAGED, /* anonymous private memory: pages live here or far */
	RANGE_FOREIGN, /* the program mapped something else there (a file): the kernel's business */
};

/* What a forked child gets; both may be set, and then it is not there. */
enum range_fork {
	RANGE_FORK_DROP = 1, /* MADV_DONTFORK */
	RANGE_FORK_WIPE = 2, /* MADV_WIPEONFORK */
};

struct range_attributes {
	uint8_t kind;	    /* enum range_kind */
	uint8_t protection; /* PROT_… */
	uint8_t fork;	    /* of enum range_fork */
	uint8_t locked;	    /* 1 after mlock */
};

struct range {
	uint64_t first; /* page */
	uint64_t end;	/* page after the last */
	struct range_attributes attributes;
};

struct range_map {
	struct range *ranges;
	uint32_t count;
	uint32_t capacity;
	uint64_t page_count;  /* of the region */
	uint64_t mapped_pages;
};

void range_map_init(struct range_map *map, uint64_t page_count);
void range_map_destroy(struct range_map *map);

/* The lowest free run of `pages` whose first page is a multiple of `alignment`. -ENOMEM if none. */
int range_map_find_free(const struct range_map *map, uint64_t pages, uint64_t alignment,
			uint64_t *ret_first);
bool range_map_is_free(const struct range_map *map, uint64_t first, uint64_t pages);
/* True if every page of it is mapped. */
bool range_map_is_mapped(const struct range_map *map, uint64_t first, uint64_t pages);

/* Gives the pages these attributes, whatever was there. */
int range_map_set(struct range_map *map, uint64_t first, uint64_t pages,
		  struct range_attributes attributes);
/* Makes the pages free. */
int range_map_clear(struct range_map *map, uint64_t first, uint64_t pages);

/*
 * The next piece of a mapped range inside [first, end): *ret_piece is clipped to it. False at the
 * end. Walk with: for (at = first; range_map_next(map, at, end, &piece); at = piece.end)
 */
bool range_map_next(const struct range_map *map, uint64_t first, uint64_t end,
		    struct range *ret_piece);

#endif
