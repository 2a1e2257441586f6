/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BACKING_NODE_CONTROL_H
#define BACKING_NODE_CONTROL_H

/*
 * The control connection of one process to its worker on a node. Control path, one thread, but for
 * node_control_ring() and node_control_is_closed(), which any thread may call at any time.
 */

#include <stdbool.h>
#include <sys/socket.h>

#include "backing/node_uri.h"
#include "fabric/address.h"
#include "fabric/cluster_key.h"

/* What names a session; it fills the ticket of a backing. */
struct node_ticket {
	uint64_t session;
	uint8_t secret[WIRE_SECRET_BYTES];
};

struct node_control {
	const struct fabric_module *module;
	struct cluster_key key;
	struct node_uri uri;
	uint32_t wait_ms_max;
	struct sockaddr_storage address; /* of the node; resolved once, at the first connection */
	socklen_t address_bytes;
	int fd; /* -1: none */
	bool same_host;
	struct node_ticket ticket;
	uint64_t quota_bytes;
	struct fabric_address addresses[FABRIC_TRANSPORTS];
};

/*
 * Connects, proves the key, has the node prove it, and begins a session, or joins `ticket`'s when
 * that is not NULL. An earlier connection is closed. On failure there is none.
 */
int node_control_connect(struct node_control *control, const struct node_ticket *ticket,
			 struct error *why);
void node_control_close(struct node_control *control);

/*
 * Another connection of the same session, for stores of lines (format/wire_lines.h). The caller
 * owns *ret_fd, one of Perdure's own descriptors. Errors as those of the connection itself.
 */
int node_control_open_lines(const struct node_control *control, int *ret_fd, struct error *why);

/* Has the node make `bytes` usable in all. -ENOSPC in words when it has no room. */
int node_control_extend(struct node_control *control, uint64_t bytes, struct error *why);

/* Wakes the worker. Never waits; false: the connection is broken. */
bool node_control_ring(const struct node_control *control);

/* Whether the node has closed the connection; one system call. */
bool node_control_is_closed(const struct node_control *control);

#endif
