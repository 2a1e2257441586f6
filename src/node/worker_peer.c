/* SPDX-License-Identifier: Apache-2.0 */
#include "node/worker_peer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define EXPECTED (WIRE_BIT(WIRE_EXTEND) | WIRE_BIT(WIRE_RING))

struct worker_peer *worker_peer_make(int fd, const char *name)
{
	struct worker_peer *peer = calloc(1, sizeof(*peer));

	if (!peer) {
		close(fd);
		return NULL;
	}
	peer->fd = fd;
	snprintf(peer->name, sizeof(peer->name), "%s", name);
	return peer;
}

void worker_peer_free(struct worker_peer *peer)
{
	if (!peer)
		return;
	close(peer->fd);
	free(peer->lines);
	free(peer);
}

/* How many bytes may be read without taking any of the message behind the one that is coming. */
static size_t bytes_missing(const struct worker_peer *peer)
{
	struct wire_header header;

	if (peer->arrived_bytes < sizeof(header))
		return sizeof(header) - peer->arrived_bytes;
	memcpy(&header, peer->arrived, sizeof(header));
	return wire_bytes_of(le16_get(header.type)) - peer->arrived_bytes;
}

int worker_peer_receive(struct worker_peer *peer, enum wire_type *ret_type)
{
	for (;;) {
		int ret = wire_look(peer->arrived, peer->arrived_bytes, EXPECTED, ret_type);
		ssize_t bytes;

		if (!ret)
			peer->arrived_bytes = 0;
		if (ret != -EAGAIN)
			return ret;
		bytes = recv(peer->fd, peer->arrived + peer->arrived_bytes, bytes_missing(peer),
			     MSG_DONTWAIT);
		if (bytes <= 0)
			return bytes == 0 ? -EPIPE : -errno;
		peer->arrived_bytes += (size_t)bytes;
	}
}

int worker_peer_send(struct worker_peer *peer, const void *message, size_t bytes)
{
	ssize_t sent = send(peer->fd, message, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (sent < 0)
		return -errno;
	return (size_t)sent == bytes ? 0 : -EAGAIN;
}
