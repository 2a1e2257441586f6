/* SPDX-License-Identifier: Apache-2.0 */
#include "backing/node_channel.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bits.h"
#include "base/clock.h"

/* Completions taken at a time: more would wait longer for the first to be told. */
#define POLL_BATCH 8
/* A look at the control connection costs a system call, so it is one in so many fruitless polls. */
#define POLLS_PER_LOOK 1024
/*
 * On a host that is busy the node's worker may wait for this very processor, and would wait for a
 * whole time slice: 1 ms instead of 11 us a page where two other programs compute on two
 * processors.
 */
#define POLLS_PER_YIELD 64
/* shm: the worker's queue takes 1024 notes; half of it, so that it is awake before it is full. */
#define OPERATIONS_PER_RING 512
/*
 * A queue that is full is rung for at the first refusal and then rarely: a worker that gets no
 * processor for a second must not find the socket full of rings, the last of them cut.
 */
#define REFUSALS_PER_RING 4096
/* A fetch must not wait behind a batch of lines for an operation. */
#define LINE_OPERATIONS_MAX (BACKING_CHANNEL_DEPTH / 4)
#define PROBE_PAUSE_NS 20000
#define NS_PER_MS 1000000u

static void channel_break(struct node_channel *channel, int error)
{
	channel->broken = error;
	for (unsigned i = 0; i < BACKING_CHANNEL_DEPTH; i++) {
		struct node_operation *operation = &channel->operations[i];

		if (operation->io)
			operation->io->result = error;
		operation->io = NULL;
		if (channel->lines[i].io)
			channel->lines[i].io->result = error;
		channel->lines[i].io = NULL;
	}
	channel->lines_first = channel->lines_sent = NULL;
	channel->in_flight = 0;
}

static void free_operation(struct node_channel *channel, struct node_operation *operation)
{
	operation->io = NULL;
	operation->lines = NULL;
	operation->next_free = channel->free;
	channel->free = operation;
	channel->in_flight--;
}

static void append(struct node_lines **end, struct node_lines *lines)
{
	while (*end)
		end = &(*end)->next;
	lines->next = NULL;
	*end = lines;
}

static bool is_begun(const struct node_lines *lines)
{
	return lines->page == lines->io->page_count;
}

static void end_lines(struct node_channel *channel, struct node_lines *lines)
{
	lines->io->result = lines->result;
	lines->io = NULL;
	lines->next = channel->lines_free;
	channel->lines_free = lines;
}

static void finish(struct node_channel *channel, const struct fabric_done *done)
{
	struct node_operation *operation = (struct node_operation *)done->context;
	struct node_lines *lines;
	struct backing_io *io;

	/* An error of the way itself; shm says so, and only "input/output error", of a dead worker.
	 */
	if (!operation) {
		channel_break(channel, -ECONNRESET);
		return;
	}
	io = operation->io;
	lines = operation->lines;
	free_operation(channel, operation);
	if (!lines) {
		assert(io);
		io->result = done->result;
		return;
	}
	channel->line_operations--;
	lines->in_flight--;
	if (done->result)
		lines->result = done->result;
	if (lines->in_flight == 0 && is_begun(lines))
		end_lines(channel, lines);
}

/* After a poll that finished nothing. */
static void idle(struct node_channel *channel)
{
	channel->idle_polls++;
	if (channel->idle_polls % POLLS_PER_YIELD == 0)
		sched_yield();
	if (channel->idle_polls % POLLS_PER_LOOK == 0 &&
	    node_control_is_closed(&channel->node->control))
		channel_break(channel, -ECONNRESET);
}

static void ring(struct node_channel *channel)
{
	channel->unrung = 0;
	if (channel->node->transport == FABRIC_SHM && !node_control_ring(&channel->node->control))
		channel_break(channel, -ECONNRESET);
}

static uint64_t offset_of(uint64_t slot)
{
	return PAGE_BYTES + slot * PAGE_BYTES; /* behind the door */
}

static int start(struct node_channel *channel, struct node_operation *operation,
		 struct backing_io *io)
{
	const struct fabric_ops *ops = channel->fabric->ops;
	struct fabric_piece piece = { io->pages, io->page_count * PAGE_BYTES, offset_of(io->slot) };

	if (io->verb == BACKING_FETCH)
		return ops->read(channel->fabric, io->pages, piece.bytes, piece.offset,
				 &operation->context);
	return ops->write(channel->fabric, &piece, 1, &operation->context);
}

/* What an attempt to start something has come to: 0, -EAGAIN or the error of the channel. */
static int note_start(struct node_channel *channel, struct node_operation *operation, int ret)
{
	if (ret == -EAGAIN && channel->refusals++ % REFUSALS_PER_RING == 0)
		ring(channel);
	else if (ret && ret != -EAGAIN)
		channel_break(channel, ret);
	if (ret)
		return channel->broken ? channel->broken : ret;
	channel->free = operation->next_free;
	channel->refusals = 0;
	channel->in_flight++;
	channel->idle_polls = 0;
	if (++channel->unrung == OPERATIONS_PER_RING)
		ring(channel);
	return channel->broken;
}

/* ---- Lines ---- */

/* The next neighbouring lines, which leave the rest. */
static struct fabric_piece next_piece(struct node_lines *lines)
{
	const struct backing_lines *of = &lines->io->lines[lines->page];
	uint32_t first, count = bits_first_run(lines->rest, &first);
	size_t at = first * LINE_BYTES;

	lines->rest &= ~bits_mask(first, count);
	if (!lines->rest && ++lines->page < lines->io->page_count)
		lines->rest = lines->io->lines[lines->page].mask;
	return (struct fabric_piece){ of->page + at, count * LINE_BYTES, offset_of(of->slot) + at };
}

/* As many pieces as go into one operation. */
static int begin_some(struct node_channel *channel, struct node_lines *lines)
{
	struct node_operation *operation = channel->free;
	struct node_lines before = *lines;
	struct fabric_piece pieces[FABRIC_PIECES_MAX];
	unsigned count = 0;
	int ret;

	if (!operation || channel->line_operations == LINE_OPERATIONS_MAX)
		return -EAGAIN;
	while (!is_begun(lines) && count < channel->fabric->pieces_max)
		pieces[count++] = next_piece(lines);
	ret = channel->fabric->ops->write(channel->fabric, pieces, count, &operation->context);
	if (ret)
		*lines = before;
	ret = note_start(channel, operation, ret);
	if (ret)
		return ret;
	operation->lines = lines;
	channel->line_operations++;
	lines->in_flight++;
	return 0;
}

/* A message each, answered in their order. */
static void send_lines(struct node_channel *channel)
{
	while (channel->lines_first) {
		struct node_lines *lines = channel->lines_first;
		int ret = node_lines_store(&channel->lines_connection, lines->io);

		if (ret == -EAGAIN)
			return;
		if (ret) {
			channel_break(channel, ret);
			return;
		}
		channel->lines_first = lines->next;
		append(&channel->lines_sent, lines);
		channel->idle_polls = 0;
	}
}

/* True when a message has ended. */
static bool poll_lines(struct node_channel *channel)
{
	bool moved = false;

	while (channel->lines_sent) {
		struct node_lines *lines = channel->lines_sent;
		int ret = node_lines_poll(&channel->lines_connection);

		if (ret == -EAGAIN)
			break;
		if (ret) {
			channel_break(channel, ret);
			break;
		}
		channel->lines_sent = lines->next;
		end_lines(channel, lines);
		moved = true;
	}
	return moved;
}

static void begin_lines(struct node_channel *channel)
{
	if (channel->lines_connection.fd >= 0) {
		send_lines(channel);
		return;
	}
	while (channel->lines_first) {
		struct node_lines *lines = channel->lines_first;

		/* When one is refused, or the channel broken, there is nothing more to begin. */
		if (begin_some(channel, lines))
			return;
		if (is_begun(lines))
			channel->lines_first = lines->next;
	}
}

static int submit_lines(struct node_channel *channel, struct backing_io *io)
{
	struct node_lines *lines = channel->lines_free;

	if (!lines)
		return -EAGAIN;
	channel->lines_free = lines->next;
	*lines = (struct node_lines){ .io = io, .rest = io->lines[0].mask };
	io->result = BACKING_PENDING;
	append(&channel->lines_first, lines);
	begin_lines(channel);
	return channel->broken;
}

bool node_channel_takes_lines(const struct backing_channel *base)
{
	(void)base;
	return true;
}

/* ---- Ios ---- */

static bool is_within(const struct node_channel *channel, const struct backing_io *io)
{
	uint64_t count = atomic_load_explicit(&channel->node->slot_count, memory_order_relaxed);

	if (!io->lines)
		return io->slot + io->page_count <= count;
	for (uint32_t i = 0; i < io->page_count; i++)
		if (io->lines[i].slot >= count)
			return false;
	return true;
}

int node_channel_submit(struct backing_channel *base, struct backing_io *io)
{
	struct node_channel *channel = (struct node_channel *)base;
	struct node_operation *operation = channel->free;
	int ret;

	assert(io->page_count > 0 && io->page_count <= BACKING_IO_PAGES_MAX);
	if (channel->broken)
		return channel->broken;
	if (!is_within(channel, io))
		return -EINVAL;
	if (io->lines)
		return submit_lines(channel, io);
	if (!operation)
		return -EAGAIN;
	io->result = BACKING_PENDING;
	ret = note_start(channel, operation, start(channel, operation, io));
	if (ret)
		return ret;
	operation->io = io;
	return 0;
}

void node_channel_poll(struct backing_channel *base)
{
	struct node_channel *channel = (struct node_channel *)base;
	struct fabric_done done[POLL_BATCH];
	bool moved;
	int count;

	if (channel->broken ||
	    (!channel->in_flight && !channel->lines_first && !channel->lines_sent))
		return;
	count = channel->fabric->ops->poll(channel->fabric, done, POLL_BATCH);
	if (count < 0)
		channel_break(channel, count);
	for (int i = 0; i < count && !channel->broken; i++)
		finish(channel, &done[i]);
	moved = count > 0;
	if (!channel->broken)
		moved |= poll_lines(channel);
	if (moved)
		channel->idle_polls = 0;
	else if (!channel->broken)
		idle(channel);
	if (channel->lines_first)
		begin_lines(channel);
}

/* The first read of a channel, which makes its connection. */
static int read_door(struct node_channel *channel, uint64_t *ret_key, uint64_t until_ns)
{
	const struct fabric_ops *ops = channel->fabric->ops;
	struct fabric_context *context = &channel->operations[0].context;
	struct fabric_done done;
	bool started = false;

	while (clock_now_ns() < until_ns) {
		int ret = 0;

		if (!started)
			ret = ops->read(channel->fabric, ret_key, sizeof(*ret_key), 0, context);
		if (ret && ret != -EAGAIN)
			return ret;
		started = started || !ret;
		ret = ops->poll(channel->fabric, &done, 1);
		if (ret)
			return ret < 0 ? ret : done.result;
		if (node_control_is_closed(&channel->node->control))
			return -ECONNRESET;
		if (!started)
			ring(channel);
		clock_sleep_ns(PROBE_PAUSE_NS);
	}
	return -ETIMEDOUT;
}

static int probe(struct node_channel *channel, enum fabric_transport transport, struct error *why)
{
	const struct node_control *control = &channel->node->control;
	uint64_t until_ns = clock_now_ns() + (uint64_t)control->wait_ms_max * NS_PER_MS;
	uint64_t *key = malloc(sizeof(*key));
	int ret = key ? read_door(channel, key, until_ns) : -ENOMEM;

	if (!ret && *key != control->addresses[transport].key)
		ret = -EPROTO;
	/*
	 * Not freed before the channel is closed if the read may still land in it; a channel whose
	 * probe failed is closed by the caller, and this one word stays behind.
	 */
	if (ret != -ETIMEDOUT)
		free(key);
	if (!ret)
		return 0;
	return error_set(why, ret, "cannot read memory of node %s: %s", control->uri.place,
			 ret == -EPROTO ? "its address leads elsewhere" : strerror(-ret));
}

int node_channel_open(struct node_backing *node, enum fabric_transport transport,
		      struct node_channel **ret_channel, struct error *why)
{
	const struct fabric_ops *ops = fabric_of(node->control.module, transport);
	struct node_channel *channel = calloc(1, sizeof(*channel));
	int ret;

	if (!channel)
		return error_set(why, -ENOMEM, "out of memory");
	channel->node = node;
	channel->lines_connection.fd = -1;
	channel->base.backing = &node->base;
	for (unsigned i = 0; i < BACKING_CHANNEL_DEPTH; i++) {
		channel->operations[i].next_free = channel->free;
		channel->free = &channel->operations[i];
		channel->lines[i].next = channel->lines_free;
		channel->lines_free = &channel->lines[i];
	}
	ret = ops->channel_open(transport, &node->control.addresses[transport],
				BACKING_CHANNEL_DEPTH, &channel->fabric, why);
	if (!ret)
		ret = probe(channel, transport, why);
	if (ret) {
		node_channel_free(channel);
		return ret;
	}
	*ret_channel = channel;
	return 0;
}

void node_channel_open_lines(struct node_channel *channel)
{
	/* cma writes many pieces at once, and shm needs no system call for any. */
	if (channel->node->transport == FABRIC_TCP)
		node_lines_open(&channel->lines_connection, &channel->node->control);
}

void node_channel_forget(struct node_channel *channel)
{
	node_lines_close(&channel->lines_connection);
	channel->fabric->ops->channel_forget(channel->fabric);
	channel->fabric = NULL;
	channel->broken = -ECONNRESET;
}

void node_channel_free(struct node_channel *channel)
{
	node_lines_close(&channel->lines_connection);
	if (channel->fabric)
		channel->fabric->ops->channel_close(channel->fabric);
	free(channel);
}
