/* SPDX-License-Identifier: Apache-2.0 */
#include "pump/region.h"

#include <assert.h>
#include <errno.h>

#include "base/raw_map.h"
#include "pump/region_state.h"

#define PROTECTION_BITS (PROT_READ | PROT_WRITE | PROT_EXEC)

struct region region_of_process = { .lock = PTHREAD_MUTEX_INITIALIZER };
static struct region *const region = &region_of_process;

void region_start(struct pager *pager)
{
	assert(!region->pager);
	region->start = pager_region_start(pager);
	region->pages = pager_region_pages(pager);
	range_map_init(&region->map, region->pages);
	region->pager = pager;
}

bool region_holds(const void *address)
{
	return ((uintptr_t)address - region->start) / PAGE_BYTES < region->pages;
}

bool region_meets(const void *address, size_t bytes)
{
	uintptr_t at = (uintptr_t)address;

	return at < region->start + region->pages * PAGE_BYTES &&
	       (at >= region->start || bytes > region->start - at);
}

bool region_encloses(const void *address, size_t bytes)
{
	return region_holds(address) &&
	       bytes <= region->start + region->pages * PAGE_BYTES - (uintptr_t)address;
}

int region_span_of(const void *address, size_t bytes, struct region_span *ret_span)
{
	uint64_t offset = (uintptr_t)address - region->start;

	if (offset % PAGE_BYTES)
		return -EINVAL;
	if (!region_encloses(address, bytes))
		return -ENOMEM;
	ret_span->first = offset / PAGE_BYTES;
	ret_span->count = (bytes + PAGE_BYTES - 1) / PAGE_BYTES;
	return 0;
}

void region_publish(void)
{
	pager_set_mapped(region->pager, region->map.mapped_pages);
}

int region_place(uint64_t first, uint64_t count, int flags)
{
	void *ignored;
	int err = raw_reserve(region_address(first), count * PAGE_BYTES, flags, &ignored);

	return err ? err : pager_register(region->pager, first, count);
}

static int drop_piece(const struct range *piece)
{
	uint64_t count = piece->end - piece->first;
	void *address = region_address(piece->first);
	size_t bytes = count * PAGE_BYTES;
	int err;

	if (piece->attributes.kind == RANGE_FOREIGN)
		return region_place(piece->first, count, MAP_FIXED);
	/* First of all, so that no touch brings a page back after the discard. */
	err = raw_mprotect(address, bytes, PROT_NONE);
	if (err)
		return err;
	if (piece->attributes.locked)
		pager_unlock(region->pager, piece->first, count);
	if (piece->attributes.fork & RANGE_FORK_WIPE)
		raw_madvise(address, bytes, MADV_KEEPONFORK);
	pager_discard(region->pager, piece->first, count);
	return 0;
}

int region_drop(uint64_t first, uint64_t count)
{
	struct range piece;
	uint64_t at;
	int err;

	for (at = first; range_map_next(&region->map, at, first + count, &piece); at = piece.end) {
		err = drop_piece(&piece);
		if (err)
			return err;
		err = range_map_clear(&region->map, piece.first, piece.end - piece.first);
		if (err)
			return err;
	}
	return 0;
}

int region_take(uint64_t first, uint64_t count, struct range_attributes attributes)
{
	void *address = region_address(first);
	size_t bytes = count * PAGE_BYTES;
	int err = raw_mprotect(address, bytes, attributes.protection);

	if (err)
		return err;
	if (region->end < first + count)
		region->end = first + count;
	if (attributes.fork & RANGE_FORK_WIPE)
		err = raw_madvise(address, bytes, MADV_WIPEONFORK);
	if (!err)
		err = range_map_set(&region->map, first, count, attributes);
	if (err)
		raw_mprotect(address, bytes, PROT_NONE);
	return err;
}

/* MAP_POPULATE and MAP_LOCKED, outside the lock: it touches the pages. */
static int settle(void *address, size_t bytes, int protection, int flags)
{
	size_t most = pager_local_bytes(region->pager) / 2;

	if (flags & MAP_LOCKED && protection & PROT_READ && region_lock(address, bytes)) {
		region_unmap(address, bytes);
		return -EAGAIN;
	}
	/* Populating more than this would push out what it has just brought in. */
	if (flags & MAP_POPULATE && protection & PROT_READ)
		region_advise(address, bytes < most ? bytes : most, MADV_WILLNEED);
	return 0;
}

static int choose(const void *hint, uint64_t pages, size_t alignment, uint64_t *ret_first)
{
	struct region_span span;

	if (hint && !((uintptr_t)hint % alignment) &&
	    !region_span_of(hint, pages * PAGE_BYTES, &span) &&
	    range_map_is_free(&region->map, span.first, pages)) {
		*ret_first = span.first;
		return 0;
	}
	/* The region starts at a boundary coarser than any alignment asked for here. */
	return range_map_find_free(&region->map, pages, alignment / PAGE_BYTES, ret_first);
}

int region_map(const void *hint, size_t bytes, int protection, int flags, size_t alignment,
	       void **ret_address)
{
	struct range_attributes attributes = { .protection = protection & PROTECTION_BITS };
	uint64_t first = 0, pages = bytes / PAGE_BYTES + !!(bytes % PAGE_BYTES);
	int err;

	if (!bytes)
		return -EINVAL;
	if (pages > region->pages)
		return -ENOMEM;
	pthread_mutex_lock(&region->lock);
	err = choose(hint, pages, alignment, &first);
	if (!err)
		err = region_take(first, pages, attributes);
	region_publish();
	pthread_mutex_unlock(&region->lock);
	if (err)
		return err;
	*ret_address = region_address(first);
	return settle(*ret_address, bytes, protection, flags);
}

static int allow_replace(struct region_span span, int flags)
{
	if ((flags & MAP_FIXED_NOREPLACE) == MAP_FIXED_NOREPLACE &&
	    !range_map_is_free(&region->map, span.first, span.count))
		return -EEXIST;
	return 0;
}

int region_map_fixed(void *address, size_t bytes, int protection, int flags)
{
	struct range_attributes attributes = { .protection = protection & PROTECTION_BITS };
	struct region_span span;
	int err = bytes ? region_span_of(address, bytes, &span) : -EINVAL;

	if (err)
		return err;
	pthread_mutex_lock(&region->lock);
	err = allow_replace(span, flags);
	if (!err)
		err = region_drop(span.first, span.count);
	if (!err)
		err = region_take(span.first, span.count, attributes);
	region_publish();
	pthread_mutex_unlock(&region->lock);
	return err ? err : settle(address, bytes, protection, flags);
}

/* Puts the mapping at `from` in place of the pages. */
static int place_foreign(void *from, struct region_span span, int protection)
{
	struct range_attributes attributes = {
		.kind = RANGE_FOREIGN,
		.protection = protection & PROTECTION_BITS,
	};
	size_t bytes = span.count * PAGE_BYTES;
	void *ignored;
	int err = region_drop(span.first, span.count);

	/* Recorded first: an entry that cannot be made must not leave a mapping unknown. */
	if (!err)
		err = range_map_set(&region->map, span.first, span.count, attributes);
	if (err)
		return err;
	err = raw_mremap(from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED,
			 region_address(span.first), &ignored);
	if (err)
		region_drop(span.first, span.count);
	return err;
}

int region_map_foreign(void *address, size_t bytes, int protection, int flags, int fd,
		       off_t offset)
{
	struct region_span span;
	void *elsewhere;
	int err = bytes ? region_span_of(address, bytes, &span) : -EINVAL;

	if (err)
		return err;
	/* Made elsewhere and moved, so that a refusal leaves what is there alone. */
	err = raw_mmap(NULL, bytes, protection, flags & ~(MAP_FIXED | MAP_FIXED_NOREPLACE), fd,
		       offset, &elsewhere);
	if (err)
		return err;
	pthread_mutex_lock(&region->lock);
	err = allow_replace(span, flags);
	if (!err)
		err = place_foreign(elsewhere, span, protection);
	region_publish();
	pthread_mutex_unlock(&region->lock);
	if (err)
		raw_munmap(elsewhere, bytes);
	return err;
}

int region_unmap(void *address, size_t bytes)
{
	struct region_span span;
	int err = bytes ? region_span_of(address, bytes, &span) : -EINVAL;

	if (err)
		return err == -ENOMEM ? -EINVAL : err;
	pthread_mutex_lock(&region->lock);
	err = region_drop(span.first, span.count);
	region_publish();
	pthread_mutex_unlock(&region->lock);
	return err;
}

/* Up to the first hole, as the kernel does it. */
static int protect_pieces(struct region_span span, int protection)
{
	uint64_t at = span.first, end = span.first + span.count;
	struct range piece;
	int err;

	for (; at < end; at = piece.end) {
		if (!range_map_next(&region->map, at, end, &piece) || piece.first != at)
			return -ENOMEM;
		err = raw_mprotect(region_address(at), (piece.end - at) * PAGE_BYTES,
				   protection);
		if (err)
			return err;
		piece.attributes.protection = protection & PROTECTION_BITS;
		err = range_map_set(&region->map, at, piece.end - at, piece.attributes);
		if (err)
			return err;
	}
	return 0;
}

int region_protect(void *address, size_t bytes, int protection)
{
	struct region_span span;
	int err = region_span_of(address, bytes, &span);

	if (err)
		return err;
	pthread_mutex_lock(&region->lock);
	err = protect_pieces(span, protection);
	pthread_mutex_unlock(&region->lock);
	return err;
}
