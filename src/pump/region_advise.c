/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>

#include "base/raw_map.h"
#include "pump/region.h"
#include "pump/region_state.h"

/* Newer than the headers of Debian 12. */
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#define RESIDENT_CHUNK 256 /* answers collected before the lock is given back */

static struct region *const region = &region_of_process;

static void *piece_address(const struct range *piece)
{
	return region_address(piece->first);
}

static size_t piece_bytes(const struct range *piece)
{
	return (piece->end - piece->first) * PAGE_BYTES;
}

/*
 * What is dropped at a fork, region_fork_prepare() tells the kernel of managed memory; the rest the
 * kernel knows, and so must we, to take the place of what is dropped.
 */
static int set_fork(const struct range *piece, enum range_fork fork, bool set)
{
	struct range_attributes attributes = piece->attributes;
	int err = 0;

	attributes.fork &= (uint8_t)~fork;
	if (set)
		attributes.fork |= (uint8_t)fork;
	if (fork == RANGE_FORK_WIPE)
		err = raw_madvise(piece_address(piece), piece_bytes(piece),
				  set ? MADV_WIPEONFORK : MADV_KEEPONFORK);
	else if (piece->attributes.kind == RANGE_FOREIGN)
		err = raw_madvise(piece_address(piece), piece_bytes(piece),
				  set ? MADV_DONTFORK : MADV_DOFORK);
	if (err)
		return err;
	return range_map_set(&region->map, piece->first, piece->end - piece->first, attributes);
}

static int advise_managed(const struct range *piece, int advice)
{
	switch (advice) {
	case MADV_DONTNEED:
	case MADV_FREE:
		if (piece->attributes.locked)
			return -EINVAL;
		pager_discard(region->pager, piece->first, piece->end - piece->first);
		return 0;
	case MADV_DONTNEED_LOCKED:
		pager_discard(region->pager, piece->first, piece->end - piece->first);
		return 0;
	case MADV_COLD:
	case MADV_PAGEOUT:
		if (piece->attributes.locked)
			return -EINVAL;
		(advice == MADV_COLD ? pager_cool : pager_page_out)(
			region->pager, piece->first, piece->end - piece->first);
		return 0;
	case MADV_NORMAL:
	case MADV_RANDOM:
	case MADV_SEQUENTIAL:
	case MADV_WILLNEED:
	case MADV_HUGEPAGE:
	case MADV_NOHUGEPAGE:
	case MADV_MERGEABLE:
	case MADV_UNMERGEABLE:
	case MADV_DONTDUMP:
	case MADV_DODUMP:
		return 0; /* hints about what the pager does by itself */
	case MADV_POPULATE_READ:
		return piece->attributes.protection & PROT_READ ? 0 : -EINVAL;
	case MADV_POPULATE_WRITE:
		return piece->attributes.protection & PROT_WRITE ? 0 : -EINVAL;
	default:
		return -EINVAL;
	}
}

/* A length so large that the kernel, rounding it up to pages, arrives at zero. */
static bool rounds_to_nothing(size_t bytes)
{
	return bytes && !((bytes + PAGE_BYTES - 1) / PAGE_BYTES);
}

static int advise_piece(const struct range *piece, int advice)
{
	if (advice == MADV_DONTFORK || advice == MADV_DOFORK)
		return set_fork(piece, RANGE_FORK_DROP, advice == MADV_DONTFORK);
	if (advice == MADV_WIPEONFORK || advice == MADV_KEEPONFORK)
		return set_fork(piece, RANGE_FORK_WIPE, advice == MADV_WIPEONFORK);
	if (piece->attributes.kind == RANGE_FOREIGN)
		return raw_madvise(piece_address(piece), piece_bytes(piece), advice);
	return advise_managed(piece, advice);
}

/*
 * Brings the pages in, with no lock held. By the kernel's hand: it answers with an error where a
 * page cannot be had, and no signal comes here.
 */
static int populate(const struct range *piece, int advice)
{
	if (advice == MADV_WILLNEED) { /* whose errors nobody wants */
		raw_madvise(piece_address(piece), piece_bytes(piece), MADV_POPULATE_READ);
		return 0;
	}
	return raw_madvise(piece_address(piece), piece_bytes(piece), advice);
}

static bool is_populated(const struct range *piece, int advice)
{
	if (piece->attributes.kind == RANGE_FOREIGN)
		return false;
	return ((advice == MADV_WILLNEED || advice == MADV_POPULATE_READ) &&
		piece->attributes.protection & PROT_READ) || advice == MADV_POPULATE_WRITE;
}

int region_advise(void *address, size_t bytes, int advice)
{
	struct region_span span;
	struct range piece;
	uint64_t at, end;
	/* Of no bytes, this asks the kernel alone whether it knows the advice. */
	int err = raw_madvise(address, 0, advice), hole = 0;

	if (!err)
		err = rounds_to_nothing(bytes) ? -EINVAL : region_span_of(address, bytes, &span);
	if (err)
		return err;
	end = span.first + span.count;
	for (at = span.first; at < end; at = piece.end) {
		pthread_mutex_lock(&region->lock);
		if (!range_map_next(&region->map, at, end, &piece)) {
			pthread_mutex_unlock(&region->lock);
			return -ENOMEM;
		}
		if (piece.first != at)
			hole = -ENOMEM;
		err = advise_piece(&piece, advice);
		pthread_mutex_unlock(&region->lock);
		if (err)
			return err;
		if (is_populated(&piece, advice))
			err = populate(&piece, advice);
		if (err)
			return err;
	}
	return hole;
}

static int set_locked(const struct range *piece, int locked)
{
	struct range_attributes attributes = piece->attributes;
	uint64_t count = piece->end - piece->first;
	int err = 0;

	if (attributes.kind == RANGE_FOREIGN)
		return (int)RAW_CALL(locked ? SYS_mlock : SYS_munlock, piece_address(piece),
				     piece_bytes(piece));
	if (attributes.locked == locked)
		return 0;
	if (locked && !(attributes.protection & PROT_READ))
		return -ENOMEM;
	if (locked)
		err = pager_lock(region->pager, piece->first, count);
	else
		pager_unlock(region->pager, piece->first, count);
	attributes.locked = (uint8_t)locked;
	return err ? err : range_map_set(&region->map, piece->first, count, attributes);
}

static uint64_t locked_pages(uint64_t first, uint64_t end)
{
	uint64_t at, pages = 0;
	struct range piece;

	for (at = first; range_map_next(&region->map, at, end, &piece); at = piece.end)
		if (piece.attributes.locked)
			pages += piece.end - piece.first;
	return pages;
}

int region_allow_lock(uint64_t first, uint64_t count)
{
	uint64_t locked = locked_pages(0, region->pages) + count -
			  locked_pages(first, first + count);
	struct rlimit limit;

	/* All locks together: the other half is for what they leave to be moved. */
	if (locked * PAGE_BYTES > pager_local_bytes(region->pager) / 2)
		return -ENOMEM;
	/* The rule of RLIMIT_MEMLOCK; root stands for CAP_IPC_LOCK. */
	if (geteuid() == 0 || getrlimit(RLIMIT_MEMLOCK, &limit))
		return 0;
	if (!limit.rlim_cur)
		return -EPERM;
	return locked * PAGE_BYTES > limit.rlim_cur ? -ENOMEM : 0;
}

static int set_locked_span(const void *address, size_t bytes, int locked)
{
	size_t skew = (uintptr_t)address % PAGE_BYTES;
	struct region_span span;
	struct range piece;
	uint64_t at, end;
	int err;

	/* As the kernel has it: nothing to lock, nothing to refuse. */
	if (rounds_to_nothing(bytes + skew))
		return 0;
	err = region_span_of((const char *)address - skew, bytes + skew, &span);
	if (err || !span.count)
		return err;
	end = span.first + span.count;
	pthread_mutex_lock(&region->lock);
	if (!range_map_is_mapped(&region->map, span.first, span.count))
		err = -ENOMEM;
	if (!err && locked)
		err = region_allow_lock(span.first, span.count);
	for (at = span.first; !err && range_map_next(&region->map, at, end, &piece); at = piece.end)
		err = set_locked(&piece, locked);
	pthread_mutex_unlock(&region->lock);
	return err;
}

int region_lock(const void *address, size_t bytes)
{
	return set_locked_span(address, bytes, 1);
}

int region_unlock(const void *address, size_t bytes)
{
	return set_locked_span(address, bytes, 0);
}

void region_unlock_all(void)
{
	struct range piece;
	uint64_t at;

	pthread_mutex_lock(&region->lock);
	for (at = 0; range_map_next(&region->map, at, region->pages, &piece); at = piece.end)
		set_locked(&piece, 0);
	pthread_mutex_unlock(&region->lock);
}

int region_sync(void *address, size_t bytes, int flags)
{
	struct region_span span;
	int err = (int)RAW_CALL(SYS_msync, address, bytes, flags);

	if (!err)
		err = region_span_of(address, bytes, &span);
	if (err || !span.count)
		return err;
	pthread_mutex_lock(&region->lock);
	if (!range_map_is_mapped(&region->map, span.first, span.count))
		err = -ENOMEM;
	pthread_mutex_unlock(&region->lock);
	return err;
}

static int resident_chunk(uint64_t first, uint64_t count, unsigned char *ret_answers)
{
	struct range piece;
	uint64_t at, page;

	if (!range_map_is_mapped(&region->map, first, count))
		return -ENOMEM;
	for (at = first; range_map_next(&region->map, at, first + count, &piece); at = piece.end) {
		unsigned char *answers = ret_answers + (piece.first - first);

		if (piece.attributes.kind == RANGE_FOREIGN) {
			int err = (int)RAW_CALL(SYS_mincore, piece_address(&piece),
						piece_bytes(&piece), answers);
			if (err)
				return err;
			continue;
		}
		for (page = piece.first; page < piece.end; page++)
			answers[page - piece.first] =
				(unsigned char)pager_is_resident(region->pager, page);
	}
	return 0;
}

int region_resident(void *address, size_t bytes, unsigned char *vector)
{
	unsigned char answers[RESIDENT_CHUNK];
	struct region_span span;
	uint64_t done, count;
	int err = region_span_of(address, bytes, &span);

	for (done = 0; !err && done < span.count; done += count) {
		count = span.count - done < RESIDENT_CHUNK ? span.count - done : RESIDENT_CHUNK;
		pthread_mutex_lock(&region->lock);
		err = resident_chunk(span.first + done, count, answers);
		pthread_mutex_unlock(&region->lock);
		/* The kernel writes there first: its answer is EFAULT where ours were a signal. */
		if (!err)
			err = (int)RAW_CALL(SYS_mincore, region_address(span.first + done),
					    count * PAGE_BYTES, vector + done);
		if (!err)
			memcpy(vector + done, answers, count);
	}
	return err;
}
