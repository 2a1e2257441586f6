/* SPDX-License-Identifier: Apache-2.0 */
#include "backing/node_lines.h"

#include <assert.h>
#include <errno.h>

#include "base/cleanup.h"
#include "base/descriptor.h"
#include "base/own_memory.h"
#include "format/wire_lines.h"

/* A look at the socket is a system call. */
#define POLLS_PER_LOOK 8

_Static_assert(BACKING_IO_PAGES_MAX <= WIRE_LINES_PAGES_MAX, "an io is one message");
_Static_assert(BACKING_LINE_BYTES == WIRE_LINE_BYTES, "the same lines");

int node_lines_open(struct node_lines_connection *connection, const struct node_control *control)
{
	void *message;
	int ret = own_memory_map_lazily(WIRE_LINES_BYTES_MAX, &message);

	if (ret)
		return ret;
	ret = node_control_open_lines(control, &connection->fd, NULL);
	if (ret) {
		own_memory_unmap(message, WIRE_LINES_BYTES_MAX);
		return ret;
	}
	connection->message = message;
	return 0;
}

void node_lines_close(struct node_lines_connection *connection)
{
	descriptor_close(take_fd(&connection->fd));
	own_memory_unmap(connection->message, WIRE_LINES_BYTES_MAX);
	connection->message = NULL;
}

static bool is_only_late(ssize_t ret)
{
	return ret < 0 && (errno == EAGAIN || errno == EINTR);
}

static int send_more(struct node_lines_connection *connection)
{
	ssize_t sent = send(connection->fd, connection->message + connection->sent,
			    connection->bytes - connection->sent, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (sent > 0)
		connection->sent += (size_t)sent;
	return sent > 0 || is_only_late(sent) ? 0 : -ECONNRESET;
}

int node_lines_store(struct node_lines_connection *connection, const struct backing_io *io)
{
	uint8_t *body = connection->message + sizeof(struct wire_lines);
	size_t bytes = 0;

	assert(connection->sent == connection->bytes);
	for (uint32_t i = 0; i < io->page_count; i++)
		bytes += wire_lines_add(body + bytes, io->lines[i].slot, io->lines[i].mask,
					io->lines[i].page);
	wire_lines_begin(connection->message, io->page_count, bytes);
	connection->bytes = sizeof(struct wire_lines) + bytes;
	connection->sent = connection->answer_bytes = 0;
	connection->polls = 0;
	return send_more(connection);
}

int node_lines_poll(struct node_lines_connection *connection)
{
	enum wire_type type;
	ssize_t got;
	int ret;

	if (++connection->polls % POLLS_PER_LOOK)
		return -EAGAIN;
	if (connection->sent < connection->bytes) {
		ret = send_more(connection);
		return ret ? ret : -EAGAIN;
	}
	got = recv(connection->fd, connection->answer + connection->answer_bytes,
		   sizeof(connection->answer) - connection->answer_bytes, MSG_DONTWAIT);
	if (got <= 0)
		return is_only_late(got) ? -EAGAIN : -ECONNRESET;
	connection->answer_bytes += (size_t)got;
	ret = wire_look(connection->answer, connection->answer_bytes, WIRE_BIT(WIRE_STORED), &type);
	/* Who does not speak the protocol has not kept the lines either. */
	return ret && ret != -EAGAIN ? -ECONNRESET : ret;
}
