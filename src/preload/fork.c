/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A forked child would share the parent's far pages without a pager of its own. It is refused, in
 * words; vfork() and posix_spawn(), which only lead to an exec, are not touched.
 */
#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/raw_map.h"
#include "preload/preload.h"

static pid_t (*libc_fork)(void);

void fork_prepare(void)
{
	libc_fork = (pid_t(*)(void))dlsym(RTLD_NEXT, "fork");
}

static pid_t refuse(void)
{
	static const char line[] =
		"perdure: this version of Perdure cannot manage a program that forks\n";

	RAW_CALL(SYS_write, STDERR_FILENO, line, strlen(line));
	errno = ENOSYS;
	return -1;
}

PRELOAD_EXPORT pid_t fork(void)
{
	/* A library's constructor may come before ours. */
	if (!libc_fork)
		fork_prepare();
	return __atomic_load_n(&preload_ready, __ATOMIC_ACQUIRE) ? refuse() : libc_fork();
}

PRELOAD_EXPORT pid_t _Fork(void)
{
	pid_t pid;

	if (__atomic_load_n(&preload_ready, __ATOMIC_ACQUIRE))
		return refuse();
	pid = (pid_t)RAW_CALL(SYS_fork);
	if (pid < 0)
		errno = -pid;
	return pid < 0 ? -1 : pid;
}
