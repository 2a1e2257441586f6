/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps the program from closing or replacing the descriptors that its memory depends on. */
#include <errno.h>
#include <limits.h>
#include <linux/close_range.h>
#include <unistd.h>

#include "base/raw_map.h"
#include "preload/preload.h"

static bool is_owned(int fd)
{
	return preload_manages() && fd >= 0 &&
	       (fd == preload_socket || pager_owns_descriptor(preload_pager, fd));
}

static int answer(long result)
{
	if (result >= 0)
		return (int)result;
	errno = (int)-result;
	return -1;
}

PRELOAD_EXPORT int close(int fd)
{
	return answer(is_owned(fd) ? -EBADF : RAW_CALL(SYS_close, fd));
}

/* As many calls as there are runs between owned descriptors; past this bound nothing is ours. */
#define OWNED_BELOW 65536u

PRELOAD_EXPORT int close_range(unsigned int first, unsigned int last, int flags)
{
	unsigned int from = first, fd;
	long result;

	if (!preload_manages() || first > last)
		return answer(RAW_CALL(SYS_close_range, first, last, flags));
	for (fd = first; fd < OWNED_BELOW && fd <= last; fd++) {
		if (!is_owned((int)fd))
			continue;
		result = fd > from ? RAW_CALL(SYS_close_range, from, fd - 1, flags) : 0;
		if (result < 0)
			return answer(result);
		from = fd + 1;
	}
	return from > last ? 0 : answer(RAW_CALL(SYS_close_range, from, last, flags));
}

PRELOAD_EXPORT void closefrom(int first)
{
	close_range(first < 0 ? 0 : (unsigned int)first, UINT_MAX, 0);
}

PRELOAD_EXPORT int dup2(int from, int to)
{
	if (is_owned(to) || is_owned(from))
		return answer(-EBADF);
	return answer(RAW_CALL(SYS_dup2, from, to));
}

PRELOAD_EXPORT int dup3(int from, int to, int flags)
{
	if (is_owned(to) || is_owned(from))
		return answer(-EBADF);
	return answer(RAW_CALL(SYS_dup3, from, to, flags));
}
