/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sched.h>
#include <sys/uio.h>

#include "base/raw_map.h"
#include "pump/region.h"
#include "pump/region_state.h"

#define READ_WRITE (PROT_READ | PROT_WRITE)
#define RELOCATE_TRIES 8 /* a pin of direct I/O lasts a moment; a longer one is refused */
#define ADDRESS_SPACE_BYTES ((size_t)1 << 47)
#define REMAP_FLAGS (MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP)

static struct region *const region = &region_of_process;

/* Kernel protections only; the map is the caller's. */
static int set_protection(uint64_t first, uint64_t count, int protection)
{
	return raw_mprotect(region_address(first), count * PAGE_BYTES, protection);
}

static bool may_pass(int err)
{
	return err == -EBUSY || err == -EAGAIN;
}

/* mremap() has no word for either: a program takes EAGAIN for a limit on locked memory. */
static int relocate(uint64_t from, uint64_t to, uint64_t count)
{
	int err = -EBUSY, try;

	for (try = 0; try < RELOCATE_TRIES && may_pass(err); try++) {
		if (try > 0)
			sched_yield();
		err = pager_relocate(region->pager, from, to, count);
	}
	return may_pass(err) ? -ENOMEM : err;
}

/* The pages of `from` go to the free run `to` of `to_count` pages. */
static int move(struct range from, uint64_t to, uint64_t to_count, int flags)
{
	struct range_attributes attributes = from.attributes;
	uint64_t count = from.end - from.first;
	int err;

	if (attributes.locked)
		pager_unlock(region->pager, from.first, count);
	attributes.locked = 0;
	attributes.protection = READ_WRITE;
	err = region_take(to, to_count, attributes);
	if (err)
		return err;
	err = set_protection(from.first, count, READ_WRITE);
	if (!err)
		err = relocate(from.first, to, count);
	if (err) {
		region_drop(to, to_count);
		set_protection(from.first, count, from.attributes.protection);
		return err;
	}
	attributes.protection = from.attributes.protection;
	if (from.attributes.locked && !region_allow_lock(to, to_count - count) &&
	    !pager_lock(region->pager, to, to_count))
		attributes.locked = 1;
	err = set_protection(to, to_count, attributes.protection);
	if (!err)
		err = range_map_set(&region->map, to, to_count, attributes);
	if (!(flags & MREMAP_DONTUNMAP))
		return region_drop(from.first, count);
	from.attributes.locked = 0;
	set_protection(from.first, count, from.attributes.protection);
	range_map_set(&region->map, from.first, count, from.attributes);
	return err;
}

/*
 * Something else of the program's may land in the hole that the kernel's move leaves, before we
 * have it back: then it is foreign, and as good as if it had been mapped there by name.
 */
static int refill(uint64_t first, uint64_t count)
{
	int err = region_place(first, count, MAP_FIXED_NOREPLACE);

	if (err == -EEXIST)
		return 0;
	return err ? err : range_map_clear(&region->map, first, count);
}

static int remap_foreign(struct range from, uint64_t pages, int flags, void *wish,
			 void **ret_address)
{
	struct range_attributes attributes = from.attributes;
	uint64_t count = from.end - from.first, left = count;
	void *address = region_address(from.first);
	struct region_span to;
	int err;

	if (flags & MREMAP_FIXED && region_span_of(wish, pages * PAGE_BYTES, &to) == 0) {
		err = region_drop(to.first, to.count);
		if (!err)
			err = range_map_set(&region->map, to.first, to.count, attributes);
		if (err)
			return err;
	}
	err = raw_mremap(address, count * PAGE_BYTES, pages * PAGE_BYTES, flags, wish,
			 ret_address);
	if (err || flags & MREMAP_DONTUNMAP)
		return err;
	if (*ret_address == address)
		left = count > pages ? count - pages : 0;
	return left ? refill(from.end - left, left) : 0;
}

static int grow_or_move(struct range from, uint64_t pages, int flags, uint64_t *ret_first)
{
	struct range_attributes more = from.attributes;
	uint64_t count = from.end - from.first;
	int err;

	*ret_first = from.first;
	if (!(flags & MREMAP_DONTUNMAP)) {
		if (pages < count)
			return region_drop(from.first + pages, count - pages);
		if (pages == count)
			return 0;
		if (from.first + pages <= region->pages &&
		    range_map_is_free(&region->map, from.end, pages - count)) {
			more.locked = 0;
			err = region_take(from.end, pages - count, more);
			if (err || !from.attributes.locked)
				return err;
			if (!region_allow_lock(from.end, pages - count) &&
			    !pager_lock(region->pager, from.end, pages - count))
				more.locked = 1;
			return range_map_set(&region->map, from.end, pages - count, more);
		}
	}
	if (!(flags & MREMAP_MAYMOVE))
		return -ENOMEM;
	err = range_map_find_free(&region->map, pages, 1, ret_first);
	return err ? err : move(from, *ret_first, pages, flags);
}

/* By the kernel's hand: it answers with an error where a page is lost, and no signal comes here. */
static int copy_pages(uint64_t first, uint64_t count, void *to)
{
	struct iovec local, remote;

	for (uint64_t page = 0; page < count; page++) {
		local.iov_base = (char *)to + page * PAGE_BYTES;
		remote.iov_base = region_address(first + page);
		local.iov_len = remote.iov_len = PAGE_BYTES;
		if (pager_is_untouched(region->pager, first + page))
			continue;
		if (RAW_CALL(SYS_process_vm_readv, getpid(), &local, 1, &remote, 1, 0) !=
		    (long)PAGE_BYTES)
			return -EFAULT;
	}
	return 0;
}

/* The pages of `from` go to ordinary memory at `wish`, in place of what is there. */
static int move_away(struct range from, uint64_t pages, int flags, void *wish)
{
	const struct range_attributes *attributes = &from.attributes;
	uint64_t count = from.end - from.first, copied = count < pages ? count : pages;
	size_t bytes = pages * PAGE_BYTES;
	void *to;
	int err;

	/* Made elsewhere and moved, so that a refusal leaves what is there alone. */
	err = raw_mmap(NULL, bytes, READ_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0,
		       &to);
	if (err)
		return err;
	err = set_protection(from.first, copied, attributes->protection | PROT_READ);
	if (!err)
		err = copy_pages(from.first, copied, to);
	if (!err)
		err = raw_mprotect(to, bytes, attributes->protection);
	if (!err)
		err = raw_mremap(to, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, wish, &to);
	if (err) {
		raw_munmap(to, bytes);
		set_protection(from.first, copied, attributes->protection);
		return err;
	}
	if (attributes->locked)
		RAW_CALL(SYS_mlock, to, bytes);
	if (!(flags & MREMAP_DONTUNMAP))
		return region_drop(from.first, count);
	if (attributes->locked)
		pager_unlock(region->pager, from.first, count);
	from.attributes.locked = 0;
	pager_discard(region->pager, from.first, count);
	set_protection(from.first, count, attributes->protection);
	return range_map_set(&region->map, from.first, count, from.attributes);
}

static int move_to(struct range from, uint64_t pages, int flags, void *wish, uint64_t *ret_first)
{
	struct region_span to;
	int err = region_span_of(wish, pages * PAGE_BYTES, &to);

	if (err)
		return err;
	if (to.first < from.end && from.first < to.first + to.count)
		return -EINVAL;
	err = region_drop(to.first, to.count);
	if (!err && pages < from.end - from.first) {
		err = region_drop(from.first + pages, from.end - from.first - pages);
		from.end = from.first + pages;
	}
	*ret_first = to.first;
	return err ? err : move(from, to.first, pages, flags);
}

static int remap(struct region_span span, uint64_t pages, int flags, void *wish, void **ret_address)
{
	struct range from;
	uint64_t first = 0;
	int err;

	if (!range_map_next(&region->map, span.first, span.first + span.count, &from) ||
	    from.first != span.first || from.end != span.first + span.count)
		return -EFAULT;
	if (from.attributes.kind == RANGE_FOREIGN)
		return remap_foreign(from, pages, flags, wish, ret_address);
	if (flags & MREMAP_FIXED && !region_meets(wish, pages * PAGE_BYTES)) {
		*ret_address = wish;
		return (uintptr_t)wish % PAGE_BYTES ? -EINVAL
							   : move_away(from, pages, flags, wish);
	}
	err = flags & MREMAP_FIXED ? move_to(from, pages, flags, wish, &first)
				   : grow_or_move(from, pages, flags, &first);
	*ret_address = region_address(first);
	return err;
}

int region_remap(void *address, size_t old_bytes, size_t new_bytes, int flags, void *wish,
		 void **ret_address)
{
	uint64_t pages = new_bytes / PAGE_BYTES + !!(new_bytes % PAGE_BYTES);
	struct region_span span;
	int err;

	if (flags & ~REMAP_FLAGS || !old_bytes || !new_bytes ||
	    (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) && !(flags & MREMAP_MAYMOVE)))
		return -EINVAL;
	err = region_span_of(address, old_bytes, &span);
	if (err)
		return err == -ENOMEM ? -EFAULT : err;
	if (flags & MREMAP_DONTUNMAP && span.count != pages)
		return -EINVAL;
	/* No kernel has room for it; each has its own word for that. */
	if (new_bytes >= ADDRESS_SPACE_BYTES)
		return raw_mremap(address, old_bytes, new_bytes, flags, wish, ret_address);
	if (pages > region->pages)
		return -ENOMEM;
	pthread_mutex_lock(&region->lock);
	err = remap(span, pages, flags, wish, ret_address);
	region_publish();
	pthread_mutex_unlock(&region->lock);
	return err;
}

int region_remap_in(void *address, size_t old_bytes, size_t new_bytes, int flags, void *wish,
		    void **ret_address)
{
	struct range_attributes attributes = { .kind = RANGE_FOREIGN, .protection = READ_WRITE };
	struct region_span to;
	int err;

	/* What the kernel refuses at a glance, it refuses before anything is changed. */
	if (flags & ~REMAP_FLAGS || !(flags & MREMAP_MAYMOVE) || !new_bytes ||
	    (uintptr_t)address % PAGE_BYTES)
		return -EINVAL;
	err = region_span_of(wish, new_bytes, &to);
	if (err)
		return err;
	pthread_mutex_lock(&region->lock);
	err = region_drop(to.first, to.count);
	if (!err)
		err = range_map_set(&region->map, to.first, to.count, attributes);
	if (!err)
		err = raw_mremap(address, old_bytes, new_bytes, flags, wish, ret_address);
	if (err)
		region_drop(to.first, to.count);
	region_publish();
	pthread_mutex_unlock(&region->lock);
	return err;
}
