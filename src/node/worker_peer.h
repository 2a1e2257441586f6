/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NODE_WORKER_PEER_H
#define NODE_WORKER_PEER_H

/* One connection of a worker's session: of a process of the client, or of one of its channels. */

#include <stdbool.h>

#include "node/node.h"

struct worker_peer {
	int fd;
	char name[NODE_PEER_BYTES];
	uint8_t nonces[2][WIRE_NONCE_BYTES]; /* the node's and the client's, of the handshake */
	uint8_t arrived[WIRE_MESSAGE_BYTES_MAX];
	size_t arrived_bytes;
	uint8_t *lines; /* of a store that has come in part; NULL: none has (worker_lines.h) */
	size_t lines_bytes;
	uint64_t wanted_bytes; /* by an extend that waits for its answer; 0: none waits */
};

/* Owns `fd` from now on. NULL when out of memory, and then the fd is closed. */
struct worker_peer *worker_peer_make(int fd, const char *name);
void worker_peer_free(struct worker_peer *peer); /* closes; NULL is allowed */

/*
 * Takes what has arrived, without waiting; at most one message at a time, the rest stays in the
 * socket. 0 with *ret_type and the message in peer->arrived; -EAGAIN for none yet; -EPIPE for the
 * end; others for rubbish or a broken connection. After a 0 the message is forgotten at the next
 * call.
 */
int worker_peer_receive(struct worker_peer *peer, enum wire_type *ret_type);

/* Sends whole or not at all: -EAGAIN means that the client does not read, and is to be dropped. */
int worker_peer_send(struct worker_peer *peer, const void *message, size_t bytes);

#endif
