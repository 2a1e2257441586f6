/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NODE_SESSION_H
#define NODE_SESSION_H

/* The keeper's table of sessions and its account of what each has been granted. */

#include <stdbool.h>
#include <sys/types.h>

#include "node/node.h"
#include "node/task.h"

struct session {
	uint64_t number; /* from 1, never used again */
	uint8_t secret[WIRE_SECRET_BYTES];
	pid_t pid;
	int pidfd;  /* readable when the worker has ended and its memory is free */
	int socket; /* to the worker */
	uint64_t granted_bytes;
	char peer[NODE_PEER_BYTES]; /* who began it */
};

struct session_table {
	const struct node_options *options;
	const struct fabric_module *module;
	uint8_t boot_id[WIRE_BOOT_ID_BYTES];
	struct session *sessions[NODE_SESSIONS_MAX];
	uint64_t last_number;
	uint64_t granted_bytes; /* the sum; never above options->memory_bytes */
};

uint64_t session_quota(const struct session_table *table);

struct session *session_find(const struct session_table *table, uint64_t number);

/* Forks the worker; words for the client when it cannot be. */
int session_begin(struct session_table *table, const char *peer, struct session **ret_session,
		  struct error *why);

/* Reads what the worker sent and answers it. False when the worker has closed its side. */
bool session_serve(struct session_table *table, struct session *session);

/* The worker has ended: gives back what it held, and frees `session`. */
void session_end(struct session_table *table, struct session *session);

#endif
