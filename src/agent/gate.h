/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_GATE_H
#define AGENT_GATE_H

/*
 * Who opens a region's file by its name while the region is being restored waits until it is (S5
 * of docs/design/persistence.md): the kernel asks before each open (fanotify), and gets no answer
 * before. Who joins through the agent does not open it, and does not wait.
 *
 * If the agent dies meanwhile, the kernel would let them all in, to memory that is not restored. So
 * a process of the agent's, the gatekeeper, has the descriptors too: when the agent is gone it
 * takes the files' names away, refuses those who wait, and ends. It holds the lock of the images
 * until then, so the next agent waits for that.
 *
 * Threads: the agent's main thread.
 */

#include <limits.h>
#include <sys/types.h>

#include "base/error.h"

#define GATES_MAX 64

struct gate {
	int fd; /* -1: open */
	char hidden[PATH_MAX];
	char named[PATH_MAX];
};

/* Gives the file its name, and has its openers wait. In words where the kernel has no such thing.
 */
int gate_shut(struct gate *gate, const char *hidden, const char *named, struct error *why);
/* The region is restored: those who wait, and all others, may open it. */
void gate_open(struct gate *gate);
/* It cannot be: those who wait are refused, and the name is taken away. */
void gate_refuse(struct gate *gate);

struct gatekeeper {
	pid_t pid;   /* 0: none */
	int pipe_fd; /* as long as it is open he waits */
};

/* For gates that are shut now. `lock_fd` is held as long as he lives. In words. */
int gatekeeper_start(struct gatekeeper *keeper, const struct gate *const *gates, unsigned count,
		     int lock_fd, struct error *why);
/* All gates are open: he is not needed. */
void gatekeeper_end(struct gatekeeper *keeper);

#endif
