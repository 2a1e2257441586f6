/* SPDX-License-Identifier: Apache-2.0 */
#include "node/worker_lines.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "format/wire_lines.h"

/*
 * What comes whole is used where it landed. Only what comes in part is kept with its peer, so that
 * connections which say nothing hold nothing.
 */
static uint8_t landing[WIRE_LINES_BYTES_MAX];

static int keep_rest(struct worker_peer *peer, const uint8_t *rest, size_t bytes)
{
	peer->lines_bytes = bytes;
	if (bytes == 0) {
		free(peer->lines);
		peer->lines = NULL;
		return 0;
	}
	if (!peer->lines)
		peer->lines = malloc(WIRE_LINES_BYTES_MAX);
	if (!peer->lines)
		return -ENOMEM;
	memmove(peer->lines, rest, bytes);
	return 0;
}

static int store(struct worker_peer *peer, const struct lent *lent, const uint8_t *message)
{
	struct wire_stored answer = { .header = wire_header_of(WIRE_STORED) };
	int ret = wire_lines_check(message, lent->usable_bytes / PAGE_BYTES);

	if (ret)
		return ret;
	wire_lines_put(message, lent->slots);
	return worker_peer_send(peer, &answer, sizeof(answer));
}

int worker_lines_serve(struct worker_peer *peer, const struct lent *lent)
{
	uint8_t *message = peer->lines ? peer->lines : landing;
	size_t bytes = peer->lines_bytes, whole;
	ssize_t got = recv(peer->fd, message + bytes, WIRE_LINES_BYTES_MAX - bytes, MSG_DONTWAIT);
	int ret;

	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (got == 0)
		return -EPIPE;
	bytes += (size_t)got;
	for (;; message += whole, bytes -= whole) {
		ret = wire_lines_look(message, bytes, &whole);
		if (ret == -EAGAIN || (!ret && bytes < whole))
			return keep_rest(peer, message, bytes);
		if (!ret)
			ret = store(peer, lent, message);
		if (ret)
			return ret;
	}
}
