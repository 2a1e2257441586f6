/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PRELOAD_PRELOAD_H
#define PRELOAD_PRELOAD_H

/* What the files of the preload library share. */

#include <errno.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/inside.h"
#include "format/run_segment.h"
#include "pump/pager.h"

#define PRELOAD_EXPORT __attribute__((visibility("default")))

/* Set once, when the region is there; before it every call goes to the system. */
extern bool preload_ready;
extern struct pager *preload_pager;
extern int preload_socket; /* to the launcher; -1 when there is none */

/* Whether this call, on this thread, is the program's. */
static inline bool preload_manages(void)
{
	return __atomic_load_n(&preload_ready, __ATOMIC_ACQUIRE) && !inside_depth;
}

/* As the C library answers: what is not negative, or -1 with errno. */
static inline int preload_answer(long result)
{
	if (result >= 0)
		return (int)result;
	errno = (int)-result;
	return -1;
}

/* Before any other thread exists: finds the glibc functions that have no second name. */
void allocate_prepare(void);
void fork_prepare(void);
void direct_prepare(void);
/* Before any of the program's threads, and before its heap: its handlers are the innermost then. */
int fork_start(void);

/* The counters of this process: in the run's segment, or of its own when the launcher is gone. */
void join_prepare(void); /* reads the environment */
int join_run(struct run_member **ret_member, struct error *why);
/* In a forked child: leaves what was the parent's. */
int join_again(struct run_member **ret_member, struct error *why);

#endif
