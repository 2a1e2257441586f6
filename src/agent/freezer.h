/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_FREEZER_H
#define AGENT_FREEZER_H

/*
 * A process of the agent's that holds still, during a save, those who know nothing of Perdure: it
 * stops processes, freezes mounted file systems, and undoes both. A process of its own, because a
 * freeze may wait for long in the kernel, and because all of it must be undone also when the agent
 * is killed: it undoes everything when its socket has no other end any more, and ends.
 *
 * One request at a time, one answer to each, but for FREEZER_UNDO, which may follow a request that
 * has no answer yet. After an answer the bell is rung.
 */

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

#define FREEZER_PIDS_MAX 512 /* stopped at a time; each is a descriptor */
#define FREEZER_FILE_SYSTEMS_MAX 64

enum freezer_verb {
	FREEZER_STOP,	/* pids[count]; one that is stopped already is left alone, also later */
	FREEZER_FREEZE, /* the file system `device`, mounted at `path` */
	FREEZER_UNDO,	/* no answer */
};

struct freezer_request {
	uint32_t verb;
	uint32_t count;
	pid_t pids[FREEZER_PIDS_MAX];
	dev_t device;
	char path[PATH_MAX];
};

struct freezer_answer {
	int32_t result; /* 0, or -errno in words: the rest was done nevertheless */
	struct error why;
};

/*
 * Forks it: while the caller has no other thread. *ret_fd is the socket to it (SOCK_SEQPACKET), the
 * caller's; `bell_fd` an eventfd. In words.
 */
int freezer_start(int bell_fd, int *ret_fd, struct error *why);

#endif
