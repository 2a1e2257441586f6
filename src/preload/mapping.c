/* SPDX-License-Identifier: Apache-2.0 */
/* The program's mapping calls: those on the region go to it, all others to the kernel. */
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/raw_map.h"
#include "preload/preload.h"
#include "pump/region.h"

#define FIXED (MAP_FIXED | MAP_FIXED_NOREPLACE)
/* Anonymous private memory of these kinds is left to the kernel. */
#define UNMANAGED (MAP_HUGETLB | MAP_32BIT | MAP_GROWSDOWN)

/* As the C library answers. */
static void *answer_pointer(int err, void *address)
{
	return preload_answer(err) ? MAP_FAILED : address;
}

static bool meets(const void *address, size_t bytes)
{
	return preload_manages() && region_meets(address, bytes);
}

static bool is_plain(int flags)
{
	return (flags & MAP_TYPE) == MAP_PRIVATE && flags & MAP_ANONYMOUS && !(flags & UNMANAGED);
}

static int map_managed(void *address, size_t bytes, int protection, int flags, void **ret_address)
{
	if (!(flags & FIXED))
		return region_map(address, bytes, protection, flags, PAGE_BYTES, ret_address);
	*ret_address = address;
	return region_map_fixed(address, bytes, protection, flags);
}

PRELOAD_EXPORT void *mmap(void *address, size_t bytes, int protection, int flags, int fd,
			  off_t offset)
{
	bool inside_region = flags & FIXED && meets(address, bytes);
	void *got = address;
	int err;

	if (!preload_manages() || (!inside_region && (!is_plain(flags) || flags & FIXED))) {
		err = raw_mmap(address, bytes, protection, flags, fd, offset, &got);
		return answer_pointer(err, got);
	}
	if (offset % (off_t)PAGE_BYTES)
		return answer_pointer(-EINVAL, NULL);
	inside_enter();
	if (is_plain(flags))
		err = map_managed(address, bytes, protection, flags, &got);
	else
		err = region_map_foreign(address, bytes, protection, flags, fd, offset);
	inside_leave();
	return answer_pointer(err, got);
}

PRELOAD_EXPORT void *mmap64(void *address, size_t bytes, int protection, int flags, int fd,
			    off_t offset)
{
	return mmap(address, bytes, protection, flags, fd, offset);
}

PRELOAD_EXPORT int munmap(void *address, size_t bytes)
{
	int err;

	if (!meets(address, bytes))
		return preload_answer(raw_munmap(address, bytes));
	inside_enter();
	err = region_unmap(address, bytes);
	inside_leave();
	return preload_answer(err);
}

PRELOAD_EXPORT void *mremap(void *address, size_t old_bytes, size_t new_bytes, int flags, ...)
{
	void *wish = NULL, *got = NULL;
	va_list rest;
	int err;

	if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) {
		va_start(rest, flags);
		wish = va_arg(rest, void *);
		va_end(rest);
	}
	if (meets(address, old_bytes)) {
		inside_enter();
		err = region_remap(address, old_bytes, new_bytes, flags, wish, &got);
		inside_leave();
	} else if (flags & MREMAP_FIXED && meets(wish, new_bytes)) {
		inside_enter();
		err = region_remap_in(address, old_bytes, new_bytes, flags, wish, &got);
		inside_leave();
	} else {
		err = raw_mremap(address, old_bytes, new_bytes, flags, wish, &got);
	}
	return answer_pointer(err, got);
}

PRELOAD_EXPORT int mprotect(void *address, size_t bytes, int protection)
{
	int err;

	if (!meets(address, bytes))
		return preload_answer(raw_mprotect(address, bytes, protection));
	inside_enter();
	err = region_protect(address, bytes, protection);
	inside_leave();
	return preload_answer(err);
}

static int advise(void *address, size_t bytes, int advice)
{
	int err;

	if (!meets(address, bytes))
		return raw_madvise(address, bytes, advice);
	inside_enter();
	err = region_advise(address, bytes, advice);
	inside_leave();
	return err;
}

PRELOAD_EXPORT int madvise(void *address, size_t bytes, int advice)
{
	return preload_answer(advise(address, bytes, advice));
}

/* POSIX's DONTNEED keeps the contents; it is a hint that the pager has no use for. */
PRELOAD_EXPORT int posix_madvise(void *address, size_t bytes, int advice)
{
	return advice == POSIX_MADV_DONTNEED ? 0 : -advise(address, bytes, advice);
}

PRELOAD_EXPORT int msync(void *address, size_t bytes, int flags)
{
	int err;

	if (!meets(address, bytes))
		return preload_answer((int)RAW_CALL(SYS_msync, address, bytes, flags));
	inside_enter();
	err = region_sync(address, bytes, flags);
	inside_leave();
	return preload_answer(err);
}

PRELOAD_EXPORT int mlock(const void *address, size_t bytes)
{
	int err;

	if (!meets(address, bytes))
		return preload_answer((int)RAW_CALL(SYS_mlock, address, bytes));
	inside_enter();
	err = region_lock(address, bytes);
	inside_leave();
	return preload_answer(err);
}

PRELOAD_EXPORT int mlock2(const void *address, size_t bytes, unsigned int flags)
{
	if (!meets(address, bytes))
		return preload_answer((int)RAW_CALL(SYS_mlock2, address, bytes, flags));
	/* Locking all at once keeps the promise of MLOCK_ONFAULT as well. */
	return flags & ~MLOCK_ONFAULT ? preload_answer(-EINVAL) : mlock(address, bytes);
}

PRELOAD_EXPORT int munlock(const void *address, size_t bytes)
{
	int err;

	if (!meets(address, bytes))
		return preload_answer((int)RAW_CALL(SYS_munlock, address, bytes));
	inside_enter();
	err = region_unlock(address, bytes);
	inside_leave();
	return preload_answer(err);
}

/* All of a memory that outgrows the host cannot be locked, and the kernel's lock would try. */
PRELOAD_EXPORT int mlockall(int flags)
{
	if (!preload_manages())
		return preload_answer((int)RAW_CALL(SYS_mlockall, flags));
	if (!flags || flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) || flags == MCL_ONFAULT)
		return preload_answer(-EINVAL);
	return preload_answer(-ENOMEM);
}

PRELOAD_EXPORT int munlockall(void)
{
	if (preload_manages()) {
		inside_enter();
		region_unlock_all();
		inside_leave();
	}
	return preload_answer((int)RAW_CALL(SYS_munlockall));
}

PRELOAD_EXPORT int mincore(void *address, size_t bytes, unsigned char *vector)
{
	int err;

	if (!meets(address, bytes))
		return preload_answer((int)RAW_CALL(SYS_mincore, address, bytes, vector));
	inside_enter();
	err = region_resident(address, bytes, vector);
	inside_leave();
	return preload_answer(err);
}
