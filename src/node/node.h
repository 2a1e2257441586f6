/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NODE_NODE_H
#define NODE_NODE_H

/*
 * The memory node. One process, the keeper, accepts control connections, checks proofs and keeps
 * the account of what is lent; it never loads a provider of libfabric. For each session (one client
 * and the processes it forked) it forks a worker, which owns that client's memory and fabric
 * endpoints. So a client that is gone is a process that ends: the kernel frees and zeroes its
 * memory, and whatever a client does to its endpoints it does to itself.
 */

#include <stdint.h>

#include "base/error.h"
#include "fabric/cluster_key.h"

#define NODE_SESSIONS_MAX 256	 /* each a process */
#define NODE_CONNECTIONS_MAX 512 /* of one session: a run has at most 256 processes, each twice */
/* For lines, beside those: a channel that gets none writes its lines through the fabric. */
#define NODE_LINES_CONNECTIONS_MAX 1024
#define NODE_GUESTS_MAX 64 /* connections that have not proved the key; past it the oldest goes */
#define NODE_HANDSHAKE_MS 2000	   /* a client answers the challenge at once or not at all */
#define NODE_STOP_MS 3000	   /* for the workers to end after SIGTERM, then SIGKILL */
#define NODE_GRANT_BYTES (2 * MIB) /* the account counts in these: a huge page */
#define NODE_PEER_BYTES 96	   /* "ADDRESS:PORT (pid N)" for the log */

struct node_options {
	const char *listen_host;
	const char *listen_port;
	const char *pid_file;  /* NULL: none */
	uint64_t memory_bytes; /* lent in all */
	uint64_t quota_bytes;  /* to one session; 0: all of it */
	uint32_t transports;   /* a bit for each that is offered */
	struct cluster_key key;
};

/* Lends until SIGTERM or SIGINT; 0 then. Otherwise it could not begin: -errno, in words. */
int node_run(const struct node_options *options, struct error *why);

#endif
