/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fork(): a child gets a pager of its own. The work is done in atfork handlers, so that the C
 * library's own forks (daemon(), forkpty()) are served as well; ours are registered first, which
 * makes them the last before the clone and the first after it. fork() itself is interposed only
 * to refuse in time. vfork() and posix_spawn() need nothing: they share the parent's memory until
 * they exec.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/raw_map.h"
#include "preload/preload.h"
#include "pump/region.h"

/* glibc's, of all streams: its fork() takes it too. Recursive. */
void _IO_list_lock(void);
void _IO_list_unlock(void);
void _IO_list_resetlock(void);

static pid_t (*libc_fork)(void);
static pid_t (*libc_fork_alone)(void);

/* This thread's fork, from its opening to its end. */
static __thread struct {
	struct pager_fork fork;
	sigset_t signals;
} own __attribute__((tls_model("initial-exec")));

void fork_prepare(void)
{
	libc_fork = (pid_t(*)(void))dlsym(RTLD_NEXT, "fork");
	libc_fork_alone = (pid_t(*)(void))dlsym(RTLD_NEXT, "_Fork");
}

static bool is_ready(void)
{
	return __atomic_load_n(&preload_ready, __ATOMIC_ACQUIRE);
}

static void before(void)
{
	sigset_t all;

	if (!is_ready())
		return;
	/* A signal handler of the program's could want the locks that are held from here on. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &own.signals);
	inside_enter();
	/* Who has it may be waiting for a far page, and gets that as long as pages are evicted. */
	_IO_list_lock();
	region_fork_prepare(&own.fork);
	if (own.fork.open)
		pager_fork_prepare(preload_pager, &own.fork);
}

static void after_in_parent(void)
{
	if (!is_ready())
		return;
	_IO_list_unlock();
	if (own.fork.open)
		pager_fork_parent(preload_pager, &own.fork);
	region_fork_parent();
	inside_leave();
	pthread_sigmask(SIG_SETMASK, &own.signals, NULL);
}

static void begin_child(void)
{
	struct error why = { .text = "there can be no more processes, or no more descriptors" };
	struct run_member *member;
	int err = own.fork.open ? region_fork_enter() : -EAGAIN;

	if (!err)
		err = join_again(&member, &why);
	if (!err)
		err = pager_fork_child(preload_pager, &own.fork, member, &why);
	if (!err)
		err = region_fork_child();
	if (err) {
		dprintf(STDERR_FILENO, "perdure: the child of a fork cannot run: %s\n", why.text);
		_exit(1);
	}
	pager_fork_start(preload_pager);
}

static void after_in_child(void)
{
	if (!is_ready())
		return;
	_IO_list_resetlock();
	begin_child();
	inside_leave();
	pthread_sigmask(SIG_SETMASK, &own.signals, NULL);
}

int fork_start(void)
{
	return -pthread_atfork(before, after_in_parent, after_in_child);
}

/* Whether this thread can fork now; errno is set if not. */
static bool open_fork(void)
{
	static const char line[] =
		"perdure: this program forks: run it as root or with CAP_SYS_PTRACE\n";
	int err;

	inside_enter();
	err = region_fork_open(&own.fork);
	inside_leave();
	if (err == -ENOSYS)
		RAW_CALL(SYS_write, STDERR_FILENO, line, strlen(line));
	errno = err == -EMFILE || err == -ENFILE ? EAGAIN : -err;
	return !err;
}

PRELOAD_EXPORT pid_t fork(void)
{
	pid_t pid;

	/* A library's constructor may come before ours. */
	if (!libc_fork)
		fork_prepare();
	if (!is_ready())
		return libc_fork();
	if (!open_fork())
		return -1;
	/* Before the heap's locks, in the order of exit(), which frees what streams have. */
	_IO_list_lock();
	pid = libc_fork();
	if (pid)
		_IO_list_unlock();
	return pid;
}

/* As fork() without the handlers of others. */
PRELOAD_EXPORT pid_t _Fork(void)
{
	pid_t pid;

	if (!libc_fork_alone)
		fork_prepare();
	if (is_ready() && !open_fork())
		return -1;
	before();
	pid = libc_fork_alone();
	if (pid)
		after_in_parent();
	else
		after_in_child();
	return pid;
}
