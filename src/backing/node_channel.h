/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BACKING_NODE_CHANNEL_H
#define BACKING_NODE_CHANNEL_H

/* The node backing's own state, and its memory path. */

#include <stdatomic.h>

#include "backing/backing.h"
#include "backing/node_lines.h"

struct node_channel;

struct node_backing {
	struct backing base;
	struct node_control control;
	enum fabric_transport transport;
	_Atomic uint64_t slot_count;   /* reserved; grown by the control path, read by submit */
	struct node_channel *channels; /* open ones, for a child that must forget them */
};

/*
 * A store of lines: one message, or without a connection for it as many operations as its pieces
 * need, each begun when there is one free.
 */
struct node_lines {
	struct backing_io *io;
	uint32_t page; /* whose pieces come next, */
	uint64_t rest; /* and its lines that are to come */
	unsigned in_flight;
	int result;
	struct node_lines *next; /* free, or waiting in their order */
};

/* One movement on its way. The context must be first: a completion names it. */
struct node_operation {
	struct fabric_context context;
	struct backing_io *io;	  /* of whole pages, */
	struct node_lines *lines; /* or of lines; both NULL: free */
	struct node_operation *next_free;
};

struct node_channel {
	struct backing_channel base;
	struct node_backing *node;
	struct fabric_channel *fabric;
	struct node_channel *next;
	struct node_operation *free;
	unsigned in_flight;
	unsigned line_operations; /* of them */
	unsigned idle_polls;	  /* since something was done */
	unsigned unrung;	  /* shm operations since the worker was rung */
	unsigned refusals;	  /* by the fabric, since it last took an operation */
	int broken;		  /* 0 or the -errno that everything ends with from now on */
	struct node_operation operations[BACKING_CHANNEL_DEPTH];
	struct node_lines *lines_free;
	struct node_lines *lines_first; /* those not wholly begun */
	struct node_lines *lines_sent;	/* those whose answers the connection waits for */
	struct node_lines_connection lines_connection;
	struct node_lines lines[BACKING_CHANNEL_DEPTH];
};

/* Opens a fabric channel over `transport` and reads the door through it, within the limit. */
int node_channel_open(struct node_backing *node, enum fabric_transport transport,
		      struct node_channel **ret_channel, struct error *why);
/* tcp: also the connection for stores of lines, as far as the node grants it. Control path. */
void node_channel_open_lines(struct node_channel *channel);
/* In a forked child, which must not use the parent's. Its memory stays behind. */
void node_channel_forget(struct node_channel *channel);
void node_channel_free(struct node_channel *channel);

int node_channel_submit(struct backing_channel *base, struct backing_io *io);
void node_channel_poll(struct backing_channel *base);
bool node_channel_takes_lines(const struct backing_channel *base);

#endif
