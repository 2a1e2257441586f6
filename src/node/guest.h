/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NODE_GUEST_H
#define NODE_GUEST_H

/* A connection that has not proved the cluster key yet. It costs a fixed, small amount. */

#include "node/session.h"

struct guest {
	int fd;
	uint64_t accepted_ns;
	char peer[NODE_PEER_BYTES];
	uint8_t nonce[WIRE_NONCE_BYTES];
	uint8_t arrived[sizeof(struct wire_hello)];
	size_t arrived_bytes;
};

/* Takes the next connection of the listening socket and challenges it. -EAGAIN: there is none. */
int guest_accept(int listening, const struct session_table *table, struct guest **ret_guest);

/*
 * Reads what has arrived. 0: the hello is whole and proved. -EAGAIN: not yet. Others: the guest is
 * to go; it has been told why where that serves an honest one, and *why says it for the log.
 */
int guest_receive(struct guest *guest, const struct session_table *table, struct error *why);

/*
 * Hands a proved guest to the session it asks for, beginning it if it is to be new. On success the
 * worker has the connection, and *ret_new tells whether the session is new. The guest is not freed.
 */
int guest_admit(struct guest *guest, struct session_table *table, struct session **ret_session,
		bool *ret_new, struct error *why);

void guest_free(struct guest *guest); /* closes; NULL is allowed */

#endif
