/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NODE_WORKER_H
#define NODE_WORKER_H

/*
 * The process of one session. It begins with no connection; each comes from the keeper with its
 * hello, proved, and is answered with a welcome. It ends when its last connection has ended, or
 * with the keeper.
 */

#include "node/node.h"

struct worker_options {
	const struct node_options *node;
	const struct fabric_module *module;
	uint64_t session;
	uint64_t quota_bytes;
	uint8_t secret[WIRE_SECRET_BYTES];
	uint8_t boot_id[WIRE_BOOT_ID_BYTES];
	int keeper; /* the socket to the keeper */
};

_Noreturn void worker_run(const struct worker_options *options);

#endif
