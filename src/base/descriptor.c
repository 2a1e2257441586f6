/* SPDX-License-Identifier: Apache-2.0 */
#include "base/descriptor.h"

#include <fcntl.h>

#include "base/raw_map.h"

static struct descriptor_table own;
static struct descriptor_table *table = &own;

static uint64_t bit_of(unsigned int fd)
{
	return 1ull << fd % 64;
}

static void mark(int fd)
{
	if ((unsigned int)fd < DESCRIPTOR_KNOWN_MAX)
		atomic_fetch_or(&table->words[fd / 64], bit_of((unsigned int)fd));
}

void descriptor_disown(int fd)
{
	if ((unsigned int)fd < DESCRIPTOR_KNOWN_MAX)
		atomic_fetch_and(&table->words[fd / 64], ~bit_of((unsigned int)fd));
}

int descriptor_copy(int fd)
{
	int copy = (int)RAW_CALL(SYS_fcntl, fd, F_DUPFD_CLOEXEC, DESCRIPTOR_OWN_MIN);

	if (copy >= 0)
		mark(copy);
	return copy;
}

int descriptor_move_up(int fd)
{
	int moved;

	if (fd < 0)
		return fd;
	moved = descriptor_copy(fd);
	if (moved < 0) {
		RAW_CALL(SYS_fcntl, fd, F_SETFD, FD_CLOEXEC);
		mark(fd);
		return fd;
	}
	descriptor_close(fd);
	return moved;
}

int descriptor_close(int fd)
{
	if (fd < 0)
		return 0;
	descriptor_disown(fd);
	return (int)RAW_CALL(SYS_close, fd);
}

bool descriptor_is_own(int fd)
{
	return (unsigned int)fd < DESCRIPTOR_KNOWN_MAX &&
	       atomic_load(&table->words[fd / 64]) & bit_of((unsigned int)fd);
}

unsigned int descriptor_next_own(unsigned int from)
{
	for (unsigned int fd = from; fd < DESCRIPTOR_KNOWN_MAX; fd = (fd / 64 + 1) * 64) {
		uint64_t rest = atomic_load(&table->words[fd / 64]) >> fd % 64;

		if (rest)
			return fd + (unsigned int)__builtin_ctzll(rest);
	}
	return DESCRIPTOR_KNOWN_MAX;
}

struct descriptor_table *descriptor_table(void)
{
	return table;
}

void descriptor_use_table(struct descriptor_table *shared)
{
	table = shared;
}

void descriptor_keep_only(int *fds, unsigned int count)
{
	/* First above what will be theirs, out of each other's way. */
	for (unsigned int i = 0; i < count; i++)
		fds[i] = fcntl(fds[i], F_DUPFD, 3 + (int)count);
	for (unsigned int i = 0; i < count; i++)
		dup2(fds[i], 3 + (int)i);
	close_range(3 + count, ~0u, 0);
	for (unsigned int i = 0; i < count; i++)
		fds[i] = 3 + (int)i;
}
