/* SPDX-License-Identifier: Apache-2.0 */
#include "backing/node_lines.h"

#include <errno.h>

#include "base/cleanup.h"
#include "base/descriptor.h"
#include "base/own_memory.h"
#include "format/wire_lines.h"

/* Most stores have a few lines of each page: dozens of them fit, and always one. */
#define BUFFER_BYTES (2 * WIRE_LINES_BYTES_MAX)

_Static_assert(BACKING_IO_PAGES_MAX <= WIRE_LINES_PAGES_MAX, "an io is one message");
_Static_assert(LINE_BYTES == WIRE_LINE_BYTES, "the same lines");

int node_lines_open(struct node_lines_connection *connection, const struct node_control *control)
{
	void *message;
	int ret = own_memory_map_lazily(BUFFER_BYTES, &message);

	if (ret)
		return ret;
	ret = node_control_open_lines(control, &connection->fd, NULL);
	if (ret) {
		own_memory_unmap(message, BUFFER_BYTES);
		return ret;
	}
	connection->messages = message;
	return 0;
}

void node_lines_close(struct node_lines_connection *connection)
{
	descriptor_close(take_fd(&connection->fd));
	own_memory_unmap(connection->messages, BUFFER_BYTES);
	connection->messages = NULL;
}

static bool is_only_late(ssize_t ret)
{
	return ret < 0 && (errno == EAGAIN || errno == EINTR);
}

static int send_more(struct node_lines_connection *connection)
{
	ssize_t sent = send(connection->fd, connection->messages + connection->sent,
			    connection->bytes - connection->sent, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (sent > 0)
		connection->sent += (size_t)sent;
	return sent > 0 || is_only_late(sent) ? 0 : -ECONNRESET;
}

int node_lines_store(struct node_lines_connection *connection, const struct backing_io *io)
{
	uint8_t *message;
	size_t bytes = sizeof(struct wire_lines);

	if (connection->sent == connection->bytes)
		connection->sent = connection->bytes = 0;
	if (connection->bytes + WIRE_LINES_BYTES_MAX > BUFFER_BYTES)
		return -EAGAIN;
	message = connection->messages + connection->bytes;
	for (uint32_t i = 0; i < io->page_count; i++)
		bytes += wire_lines_add(message + bytes, io->lines[i].slot, io->lines[i].mask,
					io->lines[i].page);
	wire_lines_begin(message, io->page_count, bytes - sizeof(struct wire_lines));
	connection->bytes += bytes;
	return send_more(connection);
}

int node_lines_poll(struct node_lines_connection *connection)
{
	enum wire_type type;
	ssize_t got;
	int ret;

	if (connection->sent < connection->bytes && send_more(connection))
		return -ECONNRESET;
	got = recv(connection->fd, connection->answer + connection->answer_bytes,
		   sizeof(connection->answer) - connection->answer_bytes, MSG_DONTWAIT);
	if (got <= 0)
		return is_only_late(got) ? -EAGAIN : -ECONNRESET;
	connection->answer_bytes += (size_t)got;
	ret = wire_look(connection->answer, connection->answer_bytes, WIRE_BIT(WIRE_STORED), &type);
	if (!ret)
		connection->answer_bytes = 0;
	/* Who does not speak the protocol has not kept the lines either. */
	return ret && ret != -EAGAIN ? -ECONNRESET : ret;
}
