/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What libfabric and the libraries below it may do to the process they are guests in. The module
 * is loaded with RTLD_DEEPBIND, so their calls to libc find these functions first:
 *
 * - variables: they see the settings made here, and the program's environment is neither changed
 *   nor read for FI_ variables (a user who must see libfabric's own log sets PERDURE_FI_LOG_LEVEL);
 * - signals: the shm provider installs handlers of SIGSEGV, SIGBUS, SIGTERM and SIGINT for good;
 *   they are the program's, so nothing is installed (stale files are cleaned by
 * fabric_clean_stale);
 * - descriptors: all are close-on-exec, and Perdure's own as base/descriptor.h has it;
 * - threads: none, progress is manual;
 * - files: /proc/kallsyms, which it searches for a GPU driver's symbol line by line for a tenth of
 *   a second at its start, is not there;
 * - time: libinfinipath, which comes along with libfabric and is never used, calibrates a clock
 * with a tenth of a second of short sleeps when it is loaded; those sleeps end at once.
 *
 * Without RTLD_DEEPBIND (a sanitizer's build) none of this holds, which costs tests nothing.
 */

#include "fabric/ofi.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/descriptor.h"

#define SEEN_BY_LIBFABRIC __attribute__((visibility("default")))

struct setting {
	const char *name;
	const char *value;
};

static const struct setting settings[] = {
	/* The others would be set up, too, and some of them start threads or probe devices. */
	{ "FI_PROVIDER", "shm,tcp,ofi_rxm,net" },
	/* Its userfaultfd monitor deadlocks in free() beside another userfaultfd. */
	{ "FI_MR_CACHE_MONITOR", "disabled" },
	{ "FI_MR_CACHE_MAX_COUNT", "0" },
	/* The memory hooks would patch the program's mmap and munmap. */
	{ "FI_HMEM", "system" },
};

/* environ is read without a lock, as getenv() itself does. */
static char *look_up(const char *name)
{
	size_t bytes = strlen(name);

	for (char **entry = environ; entry && *entry; entry++) {
		if (!strncmp(*entry, name, bytes) && (*entry)[bytes] == '=')
			return *entry + bytes + 1;
	}
	return NULL;
}

SEEN_BY_LIBFABRIC char *getenv(const char *name)
{
	for (unsigned i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		if (!strcmp(settings[i].name, name))
			return (char *)settings[i].value;
	}
	if (!strcmp(name, "FI_LOG_LEVEL"))
		return look_up("PERDURE_FI_LOG_LEVEL");
	return strncmp(name, "FI_", 3) ? look_up(name) : NULL;
}

SEEN_BY_LIBFABRIC int setenv(const char *name, const char *value, int overwrite)
{
	(void)name, (void)value, (void)overwrite;
	return 0;
}

SEEN_BY_LIBFABRIC int sigaction(int number, const struct sigaction *action,
				struct sigaction *ret_old)
{
	(void)number, (void)action;
	if (ret_old)
		memset(ret_old, 0, sizeof(*ret_old));
	return 0;
}

SEEN_BY_LIBFABRIC int pthread_create(pthread_t *thread, const pthread_attr_t *attr,
				     void *(*run)(void *), void *argument)
{
	(void)thread, (void)attr, (void)run, (void)argument;
	return EAGAIN;
}

/*
 * The descriptors that libfabric has open, so that a forked child can close its copies of them: the
 * objects they belong to are the parent's and cannot be closed there. A descriptor past the table
 * stays open in the child, which costs no more than the descriptor.
 */
#define FDS_MAX 4096

static _Atomic unsigned char open_fds[FDS_MAX];
static _Atomic pid_t fds_owner; /* the process whose the table is; 0: nobody's yet */

void ofi_process_forget(void)
{
	pid_t own = getpid();
	pid_t owner = atomic_exchange_explicit(&fds_owner, own, memory_order_relaxed);

	for (int fd = 0; fd < FDS_MAX && owner && owner != own; fd++) {
		if (atomic_load_explicit(&open_fds[fd], memory_order_relaxed))
			close(fd);
	}
}

static int note_open(int fd)
{
	ofi_process_forget();
	fd = descriptor_move_up(fd);
	if (fd >= 0 && fd < FDS_MAX)
		atomic_store_explicit(&open_fds[fd], 1, memory_order_relaxed);
	return fd;
}

SEEN_BY_LIBFABRIC int close(int fd)
{
	int err;

	if (fd >= 0 && fd < FDS_MAX)
		atomic_store_explicit(&open_fds[fd], 0, memory_order_relaxed);
	err = fd < 0 ? -EBADF : descriptor_close(fd);
	if (err)
		errno = -err;
	return err ? -1 : 0;
}

SEEN_BY_LIBFABRIC int socket(int domain, int type, int protocol)
{
	return note_open((int)syscall(SYS_socket, domain, type | SOCK_CLOEXEC, protocol));
}

SEEN_BY_LIBFABRIC int socketpair(int domain, int type, int protocol, int fds[2])
{
	int ret = (int)syscall(SYS_socketpair, domain, type | SOCK_CLOEXEC, protocol, fds);

	if (!ret) {
		fds[0] = note_open(fds[0]);
		fds[1] = note_open(fds[1]);
	}
	return ret;
}

SEEN_BY_LIBFABRIC int accept(int fd, struct sockaddr *address, socklen_t *bytes)
{
	return note_open((int)syscall(SYS_accept4, fd, address, bytes, SOCK_CLOEXEC));
}

SEEN_BY_LIBFABRIC int epoll_create(int size)
{
	(void)size;
	return note_open((int)syscall(SYS_epoll_create1, EPOLL_CLOEXEC));
}

SEEN_BY_LIBFABRIC int open(const char *path, int flags, ...)
{
	va_list list;
	mode_t mode;

	va_start(list, flags);
	mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;
	va_end(list);
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, mode);
}

SEEN_BY_LIBFABRIC FILE *fopen(const char *path, const char *mode)
{
	int flags = mode[0] == 'r' ? O_RDONLY : O_RDWR | O_CREAT;
	int fd;

	if (!strcmp(path, "/proc/kallsyms")) {
		errno = ENOENT;
		return NULL;
	}
	if (mode[0] == 'w')
		flags |= O_TRUNC;
	fd = open(path, flags, 0600);
	return fd < 0 ? NULL : fdopen(fd, mode);
}

/* The constructors of the libraries below run before this module's own. */
static bool libraries_are_up;

__attribute__((constructor)) static void note_libraries_are_up(void)
{
	libraries_are_up = true;
}

SEEN_BY_LIBFABRIC int nanosleep(const struct timespec *time, struct timespec *ret_left)
{
	if (!libraries_are_up)
		return 0;
	return (int)syscall(SYS_nanosleep, time, ret_left);
}

SEEN_BY_LIBFABRIC int usleep(useconds_t us)
{
	struct timespec time = { us / 1000000, us % 1000000 * 1000 };

	return nanosleep(&time, NULL);
}
