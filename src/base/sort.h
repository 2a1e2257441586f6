/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_SORT_H
#define BASE_SORT_H

/*
 * Sorts a few items by a number, those of equal numbers left in their order: by insertion, as a
 * batch of pages is short and often in order already. No allocation, which qsort() may make.
 */

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SORT_ITEM_BYTES_MAX 64

static inline void sort_by(void *items, uint32_t count, size_t item_bytes,
			   uint64_t (*number_of)(const void *item))
{
	char *first = items, moving[SORT_ITEM_BYTES_MAX];

	assert(item_bytes <= sizeof(moving));
	for (char *next = first + item_bytes; next < first + count * item_bytes;
	     next += item_bytes) {
		char *at = next;

		memcpy(moving, next, item_bytes);
		for (; at > first && number_of(at - item_bytes) > number_of(moving);
		     at -= item_bytes)
			memcpy(at, at - item_bytes, item_bytes);
		memcpy(at, moving, item_bytes);
	}
}

#endif
