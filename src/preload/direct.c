/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Direct I/O where pages are evicted by a copy. A device writes into the physical page that it was
 * given; once a copy of that page has gone far, what the device writes is lost. The kernel's move
 * refuses such a page by itself. Where it has none, the program's files are read and written
 * through the page cache, and buffers that an io_uring holds are locked in local memory.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "base/raw_map.h"
#include "preload/preload.h"
#include "pump/region.h"

static int (*libc_openat)(int folder, const char *path, int flags, ...);
static int (*libc_fcntl)(int fd, int command, ...);

void direct_prepare(void)
{
	libc_openat = (int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT, "openat64");
	libc_fcntl = (int (*)(int, int, ...))dlsym(RTLD_NEXT, "fcntl64");
}

static bool is_copying(void)
{
	return preload_manages() && !pager_refuses_pinned(preload_pager);
}

static int open_at(int folder, const char *path, int flags, mode_t mode)
{
	/* Another library's constructor may come before ours. */
	if (!libc_openat)
		direct_prepare();
	return libc_openat(folder, path, is_copying() ? flags & ~O_DIRECT : flags, mode);
}

/* The third argument is there only when a file may be made. */
#define MODE_BEHIND(flags)                                                                         \
	({                                                                                         \
		mode_t mode_ = 0;                                                                  \
		va_list rest_;                                                                     \
		if ((flags) & O_CREAT || ((flags) & O_TMPFILE) == O_TMPFILE) {                     \
			va_start(rest_, flags);                                                    \
			mode_ = va_arg(rest_, mode_t);                                             \
			va_end(rest_);                                                             \
		}                                                                                  \
		mode_;                                                                             \
	})

PRELOAD_EXPORT int open(const char *path, int flags, ...)
{
	return open_at(AT_FDCWD, path, flags, MODE_BEHIND(flags));
}

PRELOAD_EXPORT int open64(const char *path, int flags, ...)
{
	return open_at(AT_FDCWD, path, flags | O_LARGEFILE, MODE_BEHIND(flags));
}

PRELOAD_EXPORT int openat(int folder, const char *path, int flags, ...)
{
	return open_at(folder, path, flags, MODE_BEHIND(flags));
}

PRELOAD_EXPORT int openat64(int folder, const char *path, int flags, ...)
{
	return open_at(folder, path, flags | O_LARGEFILE, MODE_BEHIND(flags));
}

PRELOAD_EXPORT int mkostemps64(char *template, int tail, int flags)
{
	static int (*next)(char *, int, int);

	if (!next)
		next = (int (*)(char *, int, int))dlsym(RTLD_NEXT, "mkostemps64");
	return next(template, tail, is_copying() ? flags & ~O_DIRECT : flags);
}

PRELOAD_EXPORT int mkostemps(char *template, int tail, int flags)
{
	return mkostemps64(template, tail, flags);
}

PRELOAD_EXPORT int mkostemp64(char *template, int flags)
{
	return mkostemps64(template, 0, flags);
}

PRELOAD_EXPORT int mkostemp(char *template, int flags)
{
	return mkostemps64(template, 0, flags);
}

/* What a compiler makes of open() when it checks the arguments. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int folder, const char *path, int flags);
int __openat64_2(int folder, const char *path, int flags);

PRELOAD_EXPORT int __open_2(const char *path, int flags)
{
	return open_at(AT_FDCWD, path, flags, 0);
}

PRELOAD_EXPORT int __open64_2(const char *path, int flags)
{
	return open_at(AT_FDCWD, path, flags | O_LARGEFILE, 0);
}

PRELOAD_EXPORT int __openat_2(int folder, const char *path, int flags)
{
	return open_at(folder, path, flags, 0);
}

PRELOAD_EXPORT int __openat64_2(int folder, const char *path, int flags)
{
	return open_at(folder, path, flags | O_LARGEFILE, 0);
}

static int control(int fd, int command, void *argument)
{
	if (!libc_fcntl)
		direct_prepare();
	if (command == F_SETFL && is_copying())
		argument = (void *)((uintptr_t)argument & ~(uintptr_t)O_DIRECT);
	return libc_fcntl(fd, command, argument);
}

/* Of whatever type: it is handed on as it is. */
#define ARGUMENT_BEHIND(last)                                                                      \
	({                                                                                         \
		void *argument_;                                                                   \
		va_list rest_;                                                                     \
		va_start(rest_, last);                                                             \
		argument_ = va_arg(rest_, void *);                                                 \
		va_end(rest_);                                                                     \
		argument_;                                                                         \
	})

PRELOAD_EXPORT int fcntl(int fd, int command, ...)
{
	return control(fd, command, ARGUMENT_BEHIND(command));
}

PRELOAD_EXPORT int fcntl64(int fd, int command, ...)
{
	return control(fd, command, ARGUMENT_BEHIND(command));
}

/* Buffers that rings hold; a ring that was closed without a word leaves them pinned. */
#define PINS_MAX 1024u

struct pin {
	int ring; /* its descriptor */
	struct iovec part;
};

static struct pin pins[PINS_MAX];
static unsigned int pin_count;
static pthread_mutex_t pins_lock = PTHREAD_MUTEX_INITIALIZER; /* before the region's */

static void unpin_ring(int ring)
{
	for (unsigned int i = 0; i < pin_count;) {
		if (pins[i].ring != ring) {
			i++;
			continue;
		}
		region_unpin(pins[i].part.iov_base, pins[i].part.iov_len);
		pins[i] = pins[--pin_count];
	}
}

static int pin_parts(int ring, const struct iovec *parts, unsigned int count)
{
	int err = 0;

	for (unsigned int i = 0; !err && i < count; i++) {
		if (!parts[i].iov_base || !region_encloses(parts[i].iov_base, parts[i].iov_len))
			continue;
		err = pin_count < PINS_MAX ? region_pin(parts[i].iov_base, parts[i].iov_len)
					   : -ENOMEM;
		if (!err)
			pins[pin_count++] = (struct pin){ .ring = ring, .part = parts[i] };
	}
	if (err)
		unpin_ring(ring);
	return err;
}

/* The program's own liburing; its calls look for no name of ours. */
static void *ring_function(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

PRELOAD_EXPORT int io_uring_register_buffers(struct io_uring *ring, const struct iovec *parts,
					     unsigned int count)
{
	int (*next)(struct io_uring *, const struct iovec *, unsigned int) =
		(int (*)(struct io_uring *, const struct iovec *, unsigned int))ring_function(
			"io_uring_register_buffers");
	bool copying = is_copying();
	int err = 0;

	if (!next)
		return -ENOSYS;
	if (!copying)
		return next(ring, parts, count);
	inside_enter();
	pthread_mutex_lock(&pins_lock);
	unpin_ring(ring->ring_fd); /* an earlier ring's of this number */
	err = pin_parts(ring->ring_fd, parts, count);
	if (!err) {
		err = next(ring, parts, count);
		if (err)
			unpin_ring(ring->ring_fd);
	}
	pthread_mutex_unlock(&pins_lock);
	inside_leave();
	return err;
}

PRELOAD_EXPORT int io_uring_unregister_buffers(struct io_uring *ring)
{
	int (*next)(struct io_uring *) =
		(int (*)(struct io_uring *))ring_function("io_uring_unregister_buffers");
	int err = next ? next(ring) : -ENOSYS;

	if (err || !is_copying())
		return err;
	inside_enter();
	pthread_mutex_lock(&pins_lock);
	unpin_ring(ring->ring_fd);
	pthread_mutex_unlock(&pins_lock);
	inside_leave();
	return 0;
}
