/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_DESCRIPTOR_H
#define BASE_DESCRIPTOR_H

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Above what programs use: they count descriptors from 3, and may have closed 0 to 2. */
#define DESCRIPTOR_OWN_MIN 512

/*
 * Moves a descriptor of Perdure's own out of the program's way, close-on-exec. Takes `fd`, returns
 * its new number, or `fd` itself where the limit on open files allows no higher one. Any thread.
 */
static inline int descriptor_move_up(int fd)
{
	int moved = fcntl(fd, F_DUPFD_CLOEXEC, DESCRIPTOR_OWN_MIN);

	if (moved < 0)
		return fd;
	syscall(SYS_close, fd);
	return moved;
}

#endif
