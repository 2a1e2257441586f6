/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NODE_WORKER_FABRIC_H
#define NODE_WORKER_FABRIC_H

/*
 * The fabric side of a worker: its targets, and when they may sleep. A target does not show what it
 * does for the one-sided operations of others, so the signs of traffic are that its descriptor
 * woke the worker (tcp) or that a client rang (shm); cma needs the worker for nothing.
 */

#include "fabric/fabric.h"
#include "node/lent.h"

#define WORKER_SPIN_US_MIN 50	/* after each sign of traffic: three round trips of tcp */
#define WORKER_SPIN_US_MAX 1000 /* while the signs follow close upon each other */
#define WORKER_RUNG_US 100000	/* how long after a ring shm is looked after every WORKER_SHM_MS */
#define WORKER_SHM_MS 1
#define WORKER_STUCK_SECONDS 3 /* a provider that does not return for so long never will */

struct worker_fabric {
	const struct fabric_module *module;
	struct fabric_target *targets[FABRIC_TRANSPORTS]; /* NULL: not open */
	uint64_t key;
	uint64_t spin_us;
	uint64_t awake_until_ns;
	uint64_t slept_at_ns;
	uint64_t rung_until_ns;
};

/*
 * Opens the transports of `wanted` that are not open yet; `host` is the address by which tcp
 * clients reach this host. One that cannot be opened is not offered; the words tell why.
 */
int worker_fabric_open(struct worker_fabric *fabric, uint32_t wanted, const char *host,
		       const struct lent *lent, struct error *why);
void worker_fabric_close(struct worker_fabric *fabric);

/* Answers what is there. */
void worker_fabric_progress(struct worker_fabric *fabric);

/* What the loop may do now: 0 go on at once, else sleep for so many ms (-1: until something comes).
 */
int worker_fabric_sleep_ms(struct worker_fabric *fabric);

void worker_fabric_woken(struct worker_fabric *fabric); /* a target's descriptor is readable */
void worker_fabric_rung(struct worker_fabric *fabric);

#endif
