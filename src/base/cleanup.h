/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

/*
 * Acquire and release on one line: `CLEANUP_FD int fd = open(...)` closes at the end of the scope.
 * A value that is handed on leaves with take_fd() or take_pointer(), which empty the variable.
 */

#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_free(void *pointer)
{
	free(*(void **)pointer);
}

static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#define CLEANUP_FD __attribute__((cleanup(cleanup_fd)))
#define CLEANUP_FREE __attribute__((cleanup(cleanup_free)))

#define take_pointer(variable)                                                                     \
	({                                                                                         \
		typeof(variable) taken_ = (variable);                                              \
		(variable) = NULL;                                                                 \
		taken_;                                                                            \
	})

#endif
