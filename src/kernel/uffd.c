/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/bytes.h"
#include "kernel/uffd_abi.h"

static int open_with(uint64_t features, int *ret_fd)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -errno;
	if (ioctl(fd, UFFDIO_API, &api)) {
		int err = -errno;

		close(fd);
		return err;
	}
	*ret_fd = fd;
	return 0;
}

int uffd_open(struct uffd *ret_uffd, struct error *why)
{
	const uint64_t least = UFFD_FEATURE_THREAD_ID | UFFD_FEATURE_PAGEFAULT_FLAG_WP;
	static const struct {
		uint64_t features;
		bool move, poison;
	} wishes[] = {
		{ UFFD_FEATURE_MOVE | UFFD_FEATURE_POISON, true, true },
		{ UFFD_FEATURE_POISON, false, true },
		{ 0, false, false },
	};
	uint64_t fork = UFFD_FEATURE_EVENT_FORK;
	int err = -EINVAL;

	for (size_t i = 0; i < ARRAY_COUNT(wishes) && err == -EINVAL; i++) {
		err = open_with(least | fork | wishes[i].features, &ret_uffd->fd);
		if (err == -EPERM) {
			fork = 0;
			err = open_with(least | wishes[i].features, &ret_uffd->fd);
		}
		ret_uffd->can_move = wishes[i].move;
		ret_uffd->can_poison = wishes[i].poison;
		ret_uffd->can_fork = fork != 0;
	}
	if (err)
		return error_set(why, err, "userfaultfd: %s; run as root or with CAP_SYS_PTRACE",
				 strerror(-err));
	return 0;
}

int uffd_open_shared(struct uffd *ret_uffd, struct error *why)
{
	const uint64_t features = UFFD_FEATURE_THREAD_ID | UFFD_FEATURE_PAGEFAULT_FLAG_WP |
				  UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_WP_HUGETLBFS_SHMEM |
				  UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP |
				  UFFD_FEATURE_EVENT_REMOVE;
	int err = open_with(features, &ret_uffd->fd);

	if (err == -EINVAL)
		return error_set(why, -ENOTSUP,
				 "this kernel cannot write-protect shared memory by userfaultfd; "
				 "Linux 5.19 and newer can");
	if (err)
		return error_set(why, err, "userfaultfd: %s; run as root or with CAP_SYS_PTRACE",
				 strerror(-err));
	ret_uffd->can_move = false;
	ret_uffd->can_poison = false;
	ret_uffd->can_fork = true;
	return 0;
}

int uffd_register(const struct uffd *uffd, void *start, size_t bytes)
{
	struct uffdio_register range = {
		.range = { .start = (uintptr_t)start, .len = bytes },
		.mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP,
	};

	return ioctl(uffd->fd, UFFDIO_REGISTER, &range) ? -errno : 0;
}

void uffd_wait(const struct uffd *uffd, int limit_ms)
{
	struct pollfd fd = { .fd = uffd->fd, .events = POLLIN };

	poll(&fd, 1, limit_ms);
}

static void take_fault(const struct uffd_msg *message, struct uffd_message *ret_message)
{
	ret_message->event = message->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP
				     ? UFFD_WRITE_PROTECTED
				     : UFFD_FAULT;
	ret_message->address = message->arg.pagefault.address & ~(PAGE_BYTES - 1);
	ret_message->write = message->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WRITE;
	ret_message->thread = (int32_t)message->arg.pagefault.feat.ptid;
}

bool uffd_is_one(int fd)
{
	static const char kind[] = "anon_inode:[userfaultfd]";
	char path[64], text[sizeof(kind)];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	/* A file's name begins with '/', so that none can pretend. */
	return readlink(path, text, sizeof(text)) == sizeof(kind) - 1 &&
	       !memcmp(text, kind, sizeof(kind) - 1);
}

void uffd_set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags >= 0 && !(flags & O_NONBLOCK))
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

/* Never waits, whatever the descriptor's flag says; before Linux 6.10 the flag is all there is. */
static ssize_t read_now(int fd, struct uffd_msg *ret_message)
{
	static _Atomic bool flag_only;
	struct iovec part = { ret_message, sizeof(*ret_message) };
	ssize_t n;

	if (!flag_only) {
		n = preadv2(fd, &part, 1, -1, RWF_NOWAIT);
		if (n >= 0 || errno != EOPNOTSUPP)
			return n;
		flag_only = true;
	}
	return read(fd, ret_message, sizeof(*ret_message));
}

int uffd_read(const struct uffd *uffd, struct uffd_message *ret_message)
{
	struct uffd_msg message;
	ssize_t n = read_now(uffd->fd, &message);

	if (n != sizeof(message))
		return n < 0 ? -errno : -EIO;
	*ret_message = (struct uffd_message){ .event = UFFD_OTHER };
	switch (message.event) {
	case UFFD_EVENT_PAGEFAULT:
		take_fault(&message, ret_message);
		break;
	case UFFD_EVENT_FORK:
		ret_message->event = UFFD_FORKED;
		ret_message->child_fd = (int)message.arg.fork.ufd;
		break;
	case UFFD_EVENT_REMAP:
		ret_message->event = UFFD_MOVED;
		ret_message->address = message.arg.remap.from;
		ret_message->to = message.arg.remap.to;
		ret_message->bytes = message.arg.remap.len;
		break;
	case UFFD_EVENT_REMOVE:
		ret_message->event = UFFD_REMOVED;
		ret_message->address = message.arg.remove.start;
		ret_message->bytes = message.arg.remove.end - message.arg.remove.start;
		break;
	}
	return 0;
}

int uffd_copy_run(const struct uffd *uffd, void *to, const void *source, size_t bytes,
		  size_t *ret_copied)
{
	struct uffdio_copy copy = {
		.dst = (uintptr_t)to,
		.src = (uintptr_t)source,
		.len = bytes,
	};
	int err = ioctl(uffd->fd, UFFDIO_COPY, &copy) ? -errno : 0;

	*ret_copied = copy.copy > 0 ? (size_t)copy.copy : 0;
	return err;
}

int uffd_copy(const struct uffd *uffd, void *to, const void *source)
{
	size_t copied;

	return uffd_copy_run(uffd, to, source, PAGE_BYTES, &copied);
}

int uffd_copy_protected(const struct uffd *uffd, uintptr_t to, const void *source)
{
	struct uffdio_copy copy = {
		.dst = to,
		.src = (uintptr_t)source,
		.len = PAGE_BYTES,
		.mode = UFFDIO_COPY_MODE_WP,
	};

	return ioctl(uffd->fd, UFFDIO_COPY, &copy) ? -errno : 0;
}

static bool is_present(const char *page)
{
	unsigned char vec = 0;

	return !syscall(SYS_mincore, page, PAGE_BYTES, &vec) && vec & 1;
}

/*
 * EEXIST also when the kernel tries a page again that it has moved already, as the batches of Linux
 * 6.18 look as if they could. Where the pages are tells: the first of them that are there, and no
 * longer here, were moved.
 */
static size_t moved_after_all(const char *to, const char *from, size_t bytes)
{
	size_t moved = 0;

	while (moved < bytes && is_present(to + moved) && !is_present(from + moved))
		moved += PAGE_BYTES;
	return moved;
}

int uffd_move(const struct uffd *uffd, void *to, void *from, size_t bytes, size_t *ret_moved)
{
	struct uffdio_move move = {
		.dst = (uintptr_t)to,
		.src = (uintptr_t)from,
		.len = bytes,
	};
	int err = ioctl(uffd->fd, UFFDIO_MOVE, &move) ? -errno : 0;

	*ret_moved = move.move > 0 ? (size_t)move.move : 0;
	if (err == -EEXIST)
		*ret_moved = moved_after_all(to, from, bytes);
	if (err != -EEXIST || !*ret_moved)
		return err;
	for (size_t at = 0; at < *ret_moved; at += PAGE_BYTES)
		uffd_wake(uffd, (char *)to + at);
	return *ret_moved == bytes ? 0 : -EAGAIN;
}

int uffd_write_protect_range(const struct uffd *uffd, uintptr_t start, uint64_t bytes,
			     bool protect)
{
	struct uffdio_writeprotect range = {
		.range = { .start = start, .len = bytes },
		.mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return ioctl(uffd->fd, UFFDIO_WRITEPROTECT, &range) ? -errno : 0;
}

int uffd_write_protect(const struct uffd *uffd, void *page, bool protect)
{
	return uffd_write_protect_range(uffd, (uintptr_t)page, PAGE_BYTES, protect);
}

int uffd_wake(const struct uffd *uffd, void *page)
{
	struct uffdio_range range = { .start = (uintptr_t)page, .len = PAGE_BYTES };

	return ioctl(uffd->fd, UFFDIO_WAKE, &range) ? -errno : 0;
}

int uffd_poison(const struct uffd *uffd, void *page)
{
	struct uffdio_poison poison = {
		.range = { .start = (uintptr_t)page, .len = PAGE_BYTES },
	};

	return ioctl(uffd->fd, UFFDIO_POISON, &poison) ? -errno : 0;
}
