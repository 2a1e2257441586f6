/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PUMP_REGION_STATE_H
#define PUMP_REGION_STATE_H

/* What region*.c share. */

#include <pthread.h>
#include <stdint.h>

#include "base/bytes.h"
#include "memory/range_map.h"
#include "pump/pager.h"

struct region {
	struct pager *pager;
	uintptr_t start;
	uint64_t pages;
	uint64_t end; /* no page from here on was ever mapped */
	pthread_mutex_t lock; /* of all below; managed memory is not touched under it */
	struct range_map map;
};

extern struct region region_of_process;

/* A run of pages as the program named it. */
struct region_span {
	uint64_t first;
	uint64_t count;
};

static inline void *region_address(uint64_t page)
{
	return (void *)(region_of_process.start + page * PAGE_BYTES);
}

/* -EINVAL when `address` is not aligned, -ENOMEM when not all of it is in the region. */
int region_span_of(const void *address, size_t bytes, struct region_span *ret_span);

/* Under the lock, both. Leaves the pages free: inaccessible, empty, the pager's. */
int region_drop(uint64_t first, uint64_t count);
/* After each change of the map. */
void region_publish(void);
/* Gives the pages, free until now, to a mapping. */
int region_take(uint64_t first, uint64_t count, struct range_attributes attributes);

/* Whether the pages may be locked beside those that are already: 0, -ENOMEM, -EPERM. */
int region_allow_lock(uint64_t first, uint64_t count);

/* Puts inaccessible memory of the pager's in place of another mapping; `flags` say how. */
int region_place(uint64_t first, uint64_t count, int flags);

#endif
