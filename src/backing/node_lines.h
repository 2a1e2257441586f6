/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BACKING_NODE_LINES_H
#define BACKING_NODE_LINES_H

/*
 * A channel's own connection to its worker, for stores of lines over tcp: the lines of a whole io
 * are one message, which the worker puts in place and answers. As one-sided writes they would be an
 * operation for every four pieces. Opened and closed by the control path; store and poll are the
 * memory path, of the channel's thread.
 */

#include "backing/backing.h"
#include "backing/node_control.h"

struct node_lines_connection {
	int fd;		   /* -1: there is none */
	uint8_t *messages; /* one behind the other; from the beginning again when all are sent */
	size_t bytes;	   /* of them */
	size_t sent;
	uint8_t answer[sizeof(struct wire_stored)];
	size_t answer_bytes;
};

/* -errno, and then there is none: the channel does without. */
int node_lines_open(struct node_lines_connection *connection, const struct node_control *control);
/*
 * Also in a forked child, whose copy says nothing to the worker. A message that was sent whole may
 * still be stored after this.
 */
void node_lines_close(struct node_lines_connection *connection);

/*
 * Begins a store; the io's pages are not looked at again. 0; -EAGAIN: poll, then again;
 * -ECONNRESET: the connection is broken.
 */
int node_lines_store(struct node_lines_connection *connection, const struct backing_io *io);
/*
 * One system call or two. 0: the first store that was not answered is in the node's memory.
 * -EAGAIN: not yet. -ECONNRESET: the connection is broken.
 */
int node_lines_poll(struct node_lines_connection *connection);

#endif
