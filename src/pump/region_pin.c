/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/mman.h>

#include "pump/region.h"
#include "pump/region_state.h"

static struct region *const region = &region_of_process;

static int span_around(const void *address, size_t bytes, struct region_span *ret_span)
{
	size_t skew = (uintptr_t)address % PAGE_BYTES;

	return region_span_of((const char *)address - skew, bytes + skew, ret_span);
}

/* The kernel wants to write there, so every page must be ours and writable. */
static int check_pieces(struct region_span span)
{
	struct range piece;
	uint64_t at, end = span.first + span.count;

	for (at = span.first; at < end; at = piece.end)
		if (!range_map_next(&region->map, at, end, &piece) || piece.first != at ||
		    piece.attributes.kind == RANGE_FOREIGN ||
		    !(piece.attributes.protection & PROT_WRITE))
			return -EFAULT;
	return 0;
}

int region_pin(const void *address, size_t bytes)
{
	struct region_span span;
	int err = span_around(address, bytes, &span);

	if (err)
		return err;
	pthread_mutex_lock(&region->lock);
	err = check_pieces(span);
	if (!err)
		err = pager_lock(region->pager, span.first, span.count);
	pthread_mutex_unlock(&region->lock);
	return err;
}

void region_unpin(const void *address, size_t bytes)
{
	struct region_span span;
	struct range piece;
	uint64_t at;

	if (span_around(address, bytes, &span))
		return;
	pthread_mutex_lock(&region->lock);
	for (at = span.first; range_map_next(&region->map, at, span.first + span.count, &piece);
	     at = piece.end)
		if (piece.attributes.kind != RANGE_FOREIGN && !piece.attributes.locked)
			pager_unlock(region->pager, piece.first, piece.end - piece.first);
	pthread_mutex_unlock(&region->lock);
}
