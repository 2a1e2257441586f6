/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps the program from closing or replacing the descriptors that its memory depends on. */
#include <errno.h>
#include <limits.h>
#include <linux/close_range.h>
#include <unistd.h>

#include "base/descriptor.h"
#include "base/raw_map.h"
#include "preload/preload.h"

/* What this call of the program's must not touch. Perdure's own calls go through. */
static bool is_owned(int fd)
{
	return preload_manages() && descriptor_is_own(fd);
}

PRELOAD_EXPORT int close(int fd)
{
	if (inside_depth)
		return preload_answer(fd < 0 ? -EBADF : descriptor_close(fd));
	return preload_answer(is_owned(fd) ? -EBADF : RAW_CALL(SYS_close, fd));
}

PRELOAD_EXPORT int close_range(unsigned int first, unsigned int last, int flags)
{
	unsigned int from = first, fd;
	long result;

	if (!preload_manages() || first > last)
		return preload_answer(RAW_CALL(SYS_close_range, first, last, flags));
	/* As many calls as there are runs between owned descriptors. */
	for (fd = descriptor_next_own(first); fd < DESCRIPTOR_KNOWN_MAX && fd <= last;
	     fd = descriptor_next_own(fd + 1)) {
		result = fd > from ? RAW_CALL(SYS_close_range, from, fd - 1, flags) : 0;
		if (result < 0)
			return preload_answer(result);
		from = fd + 1;
	}
	return from > last ? 0 : preload_answer(RAW_CALL(SYS_close_range, from, last, flags));
}

PRELOAD_EXPORT void closefrom(int first)
{
	close_range(first < 0 ? 0 : (unsigned int)first, UINT_MAX, 0);
}

/* The kernel says the same of a descriptor that is just being opened. */
PRELOAD_EXPORT int dup2(int from, int to)
{
	if (from != to && is_owned(to))
		return preload_answer(-EBUSY);
	return preload_answer(RAW_CALL(SYS_dup2, from, to));
}

PRELOAD_EXPORT int dup3(int from, int to, int flags)
{
	if (from != to && is_owned(to))
		return preload_answer(-EBUSY);
	return preload_answer(RAW_CALL(SYS_dup3, from, to, flags));
}
