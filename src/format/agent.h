/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMAT_AGENT_H
#define FORMAT_AGENT_H

/*
 * What the agent (`perdure serve`) and those who talk to it say, over a Unix socket of whole
 * messages (SOCK_SEQPACKET): one request, one answer, again. Both ends are on one host, so numbers
 * are as the host has them; `version` changes with the layout.
 *
 *	request			goes along	answer, 0 or -errno, words if not 0
 *	AGENT_STATUS				a memfd with a JSON object (perdure-status(1))
 *	AGENT_CREATE		name, bytes
 *	AGENT_DESTROY		name
 *	AGENT_OPEN		name		bytes, the region's file
 *	AGENT_PULSE				a memfd with struct agent_pulse, to be read only
 *	AGENT_JOIN		name, start,	from now on the mapping is tracked
 *				bytes, first_page,
 *				a userfaultfd	while it restores: a socket, in which that lies
 *						until nothing is missing
 *	AGENT_SAVE		flags		when it is done: a memfd with a JSON object
 *
 * A userfaultfd without which missing pages would be zeros must outlive the agent, and one without
 * which nothing is missing must not: writers would wait for a dead agent. So who joined a region
 * that is restoring keeps the socket, and closes its own.
 *
 * Create, destroy and save are for root and the agent's own user (SO_PEERCRED); open and join for
 * the region's owner as well.
 */

#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

#define AGENT_VERSION 1
#define AGENT_SOCKET_NAME "agent.sock" /* in the regions' folder */
#define AGENT_FOLDER "/run/perdure"
#define AGENT_NAME_BYTES 64
#define AGENT_REGIONS_MAX 64

enum agent_verb {
	AGENT_STATUS,
	AGENT_CREATE,
	AGENT_DESTROY,
	AGENT_OPEN,
	AGENT_PULSE,
	AGENT_JOIN,
	AGENT_SAVE,
	AGENT_VERBS,
};

#define AGENT_SAVE_REHEARSE 1u
#define AGENT_IS_RESTORING 1u

struct agent_request {
	uint32_t version;
	uint32_t verb;
	uint64_t bytes;
	uint64_t start;
	uint64_t first_page;
	uint32_t flags;
	int32_t owner; /* AGENT_CREATE: the region's user, -1: the caller */
	char name[AGENT_NAME_BYTES];
};

struct agent_answer {
	uint32_t version;
	int32_t result;
	uint32_t slot;	/* AGENT_OPEN: the region's, of AGENT_REGIONS_MAX */
	uint32_t flags; /* AGENT_OPEN: AGENT_IS_RESTORING */
	uint64_t bytes;
	char text[ERROR_TEXT_BYTES];
};

/*
 * Whether stores are safe now, in two loads. The agent's main thread holds the lock, a robust one,
 * as long as it lives: however it ends, the kernel takes its thread's number out of the lock's
 * first word.
 */
struct agent_pulse {
	pthread_mutex_t life;
	_Atomic uint64_t armed; /* a bit a region, by agent_answer.slot */
};

static inline bool agent_pulse_is_armed(const struct agent_pulse *pulse, uint32_t slot)
{
	uint32_t holder = *(const volatile uint32_t *)&pulse->life & FUTEX_TID_MASK;

	return holder && atomic_load_explicit(&pulse->armed, memory_order_relaxed) >> slot & 1;
}

/*
 * A region's name is a file's: 1 to 63 of letters, digits, '_', '-' and '.', no '.' first. -EINVAL
 * in words. Pure.
 */
int agent_check_name(const char *name, struct error *why);

#endif
