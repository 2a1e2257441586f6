/* SPDX-License-Identifier: Apache-2.0 */
#include "backing/file.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/descriptor.h"
#include "base/own_memory.h"

#define OP_BYTES (BACKING_IO_PAGES_MAX * PAGE_BYTES)
#define BOUNCE_BYTES (BACKING_CHANNEL_DEPTH * OP_BYTES)

/* A transfer that is still not whole after so many pieces is an error of the file system. */
#define PIECES_MAX 16

#define CANCEL_TAG UINT64_MAX

struct file_op {
	struct backing_io *io; /* NULL: free, or its cancelling is all that is waited for */
	uint32_t byte_count;
	uint32_t bytes_done;
	uint32_t piece_count;
	bool in_flight;
};

struct file_channel {
	struct backing_channel base;
	struct file_channel *next; /* in the backing's list */
	bool inherited;		   /* of the parent: only this struct is left of it here */
	bool ring_used;
	bool file_registered;
	int failed; /* -errno once the ring does not work any more */
	struct io_uring ring;
	uint8_t *bounce; /* OP_BYTES an op, populated as they are used */
	uint32_t free_count;
	uint8_t free_ops[BACKING_CHANNEL_DEPTH]; /* the last one freed is the warmest: used first */
	struct file_op ops[BACKING_CHANNEL_DEPTH];
};

static struct file_backing *file_of(const struct file_channel *channel)
{
	return (struct file_backing *)channel->base.backing;
}

static uint8_t *op_bounce(const struct file_channel *channel, uint32_t index)
{
	return channel->bounce + (uint64_t)index * OP_BYTES;
}

/* Queues what is left of the op. The queue has an entry for each op, so there is room. */
static void queue_op(struct file_channel *channel, uint32_t index)
{
	struct file_op *op = &channel->ops[index];
	struct io_uring_sqe *sqe = io_uring_get_sqe(&channel->ring);
	int fd = channel->file_registered ? 0 : file_of(channel)->fd;
	uint8_t *bytes = op_bounce(channel, index) + op->bytes_done;
	uint64_t offset = op->io->slot * PAGE_BYTES + op->bytes_done;

	assert(sqe);
	if (op->io->verb == BACKING_FETCH)
		io_uring_prep_read(sqe, fd, bytes, op->byte_count - op->bytes_done, offset);
	else
		io_uring_prep_write(sqe, fd, bytes, op->byte_count - op->bytes_done, offset);
	if (channel->file_registered)
		sqe->flags |= IOSQE_FIXED_FILE;
	io_uring_sqe_set_data64(sqe, index);
	op->in_flight = true;
}

/* Gives queued entries to the kernel. What it does not take now, poll gives again. */
static int start_queued(struct file_channel *channel)
{
	int taken = io_uring_submit(&channel->ring);

	if (taken >= 0 || taken == -EAGAIN || taken == -EBUSY || taken == -EINTR)
		return 0;
	channel->failed = taken;
	return taken;
}

static void finish_op(struct file_channel *channel, uint32_t index, int result)
{
	struct file_op *op = &channel->ops[index];
	struct backing_io *io = op->io;

	if (io->verb == BACKING_FETCH && !result)
		memcpy(io->pages, op_bounce(channel, index), op->byte_count);
	op->io = NULL;
	channel->free_ops[channel->free_count++] = (uint8_t)index;
	io->result = result;
}

/*
 * Takes the outcome of one piece: true when more is to be moved, else *ret_result is the io's.
 * Nothing read at a place that was reserved means that the file was cut: bytes are missing.
 */
static bool op_goes_on(struct file_op *op, int32_t moved, int *ret_result)
{
	op->in_flight = false;
	if (moved > 0)
		op->bytes_done += (uint32_t)moved;
	if (op->bytes_done == op->byte_count) {
		*ret_result = 0;
		return false;
	}
	if (++op->piece_count < PIECES_MAX && (moved > 0 || moved == -EAGAIN || moved == -EINTR))
		return true;
	*ret_result = moved < 0 ? moved : -EIO;
	return false;
}

void file_channel_poll(struct backing_channel *base)
{
	struct file_channel *channel = (struct file_channel *)base;
	struct io_uring_cqe *cqe;

	if (!channel->ring_used)
		return;
	while (io_uring_cq_ready(&channel->ring) && !io_uring_peek_cqe(&channel->ring, &cqe)) {
		uint32_t index = (uint32_t)io_uring_cqe_get_data64(cqe);
		int32_t moved = cqe->res;
		int result;

		io_uring_cqe_seen(&channel->ring, cqe);
		if (op_goes_on(&channel->ops[index], moved, &result))
			queue_op(channel, index);
		else
			finish_op(channel, index, result);
	}
	if (io_uring_sq_ready(&channel->ring) && !channel->failed)
		start_queued(channel);
}

static int move_piece(struct file_channel *channel, uint32_t index)
{
	struct file_op *op = &channel->ops[index];
	uint8_t *bytes = op_bounce(channel, index) + op->bytes_done;
	uint64_t offset = op->io->slot * PAGE_BYTES + op->bytes_done;
	long number = op->io->verb == BACKING_FETCH ? SYS_pread64 : SYS_pwrite64;
	long moved = syscall(number, file_of(channel)->fd, bytes, op->byte_count - op->bytes_done,
			     offset);

	return moved < 0 ? -errno : (int)moved;
}

int file_channel_submit(struct backing_channel *base, struct backing_io *io)
{
	struct file_channel *channel = (struct file_channel *)base;
	struct file_op *op;
	uint32_t index;
	int result;

	assert(io->page_count > 0 && io->page_count <= BACKING_IO_PAGES_MAX && !io->lines);
	assert(!channel->inherited);
	if (channel->failed)
		return channel->failed;
	if (channel->free_count == 0)
		return -EAGAIN;
	index = channel->free_ops[--channel->free_count];
	op = &channel->ops[index];
	*op = (struct file_op){ .io = io, .byte_count = io->page_count * (uint32_t)PAGE_BYTES };
	io->result = BACKING_PENDING;
	if (io->verb == BACKING_STORE)
		memcpy(op_bounce(channel, index), io->pages, op->byte_count);
	if (channel->ring_used) {
		queue_op(channel, index);
		return start_queued(channel);
	}
	while (op_goes_on(op, move_piece(channel, index), &result))
		continue;
	finish_op(channel, index, result);
	return 0;
}

static uint32_t ops_in_flight(const struct file_channel *channel)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < BACKING_CHANNEL_DEPTH; i++)
		count += channel->ops[i].in_flight;
	return count;
}

/* The ios are not the caller's affair any more: their results are left as they are. */
static void drain_completions(struct file_channel *channel)
{
	struct io_uring_cqe *cqe;

	while (io_uring_cq_ready(&channel->ring) && !io_uring_peek_cqe(&channel->ring, &cqe)) {
		uint64_t tag = io_uring_cqe_get_data64(cqe);

		if (tag != CANCEL_TAG)
			channel->ops[tag].in_flight = false;
		io_uring_cqe_seen(&channel->ring, cqe);
	}
}

static void queue_cancels(struct file_channel *channel)
{
	for (uint32_t i = 0; i < BACKING_CHANNEL_DEPTH; i++) {
		struct io_uring_sqe *sqe;

		if (!channel->ops[i].in_flight)
			continue;
		/* No entry: the kernel takes none, and will not take this one either. */
		sqe = io_uring_get_sqe(&channel->ring);
		if (!sqe)
			return;
		io_uring_prep_cancel64(sqe, i, 0);
		io_uring_sqe_set_data64(sqe, CANCEL_TAG);
	}
	io_uring_submit(&channel->ring);
}

/* True when nothing of this channel is in the kernel's hands any more. */
static bool cancel_ops(struct file_channel *channel)
{
	uint64_t until_ns = clock_now_ns() + file_of(channel)->wait_ms_max * (uint64_t)1000000;

	drain_completions(channel);
	if (!ops_in_flight(channel))
		return true;
	queue_cancels(channel);
	for (;;) {
		uint64_t now_ns = clock_now_ns();
		struct __kernel_timespec rest = { 0 };
		struct io_uring_cqe *cqe;
		int err;

		drain_completions(channel);
		if (!ops_in_flight(channel))
			return true;
		if (now_ns >= until_ns)
			return false;
		rest.tv_sec = (int64_t)((until_ns - now_ns) / 1000000000);
		rest.tv_nsec = (int64_t)((until_ns - now_ns) % 1000000000);
		err = io_uring_wait_cqe_timeout(&channel->ring, &cqe, &rest);
		if (err && err != -ETIME && err != -EINTR)
			return false;
	}
}

/*
 * A disk that does not answer keeps the ring and the bounce pages: they stay mapped for the rest of
 * the process, so whatever arrives late arrives in them. A late store is the file's undoing.
 */
static void abandon_ops(struct file_channel *channel)
{
	uint32_t stores = 0;

	for (uint32_t i = 0; i < BACKING_CHANNEL_DEPTH; i++) {
		const struct file_op *op = &channel->ops[i];

		stores += op->in_flight && op->io->verb == BACKING_STORE;
	}
	atomic_fetch_add(&file_of(channel)->shared->stores_abandoned, stores);
}

static void unlist(struct file_channel *channel)
{
	struct file_channel **at = &file_of(channel)->channels;

	while (*at && *at != channel)
		at = &(*at)->next;
	if (*at)
		*at = channel->next;
}

static void close_ring(struct io_uring *ring)
{
	descriptor_disown(ring->ring_fd);
	io_uring_queue_exit(ring);
}

void file_channel_close(struct backing_channel *base)
{
	struct file_channel *channel = (struct file_channel *)base;

	if (!channel->inherited) {
		unlist(channel);
		if (channel->ring_used && !cancel_ops(channel)) {
			abandon_ops(channel);
			return;
		}
		if (channel->ring_used)
			close_ring(&channel->ring);
		own_memory_unmap(channel->bounce, BOUNCE_BYTES);
	}
	own_memory_unmap(channel, sizeof(*channel));
}

void file_channels_forget(struct file_backing *file)
{
	struct file_channel *channel;

	while ((channel = file->channels)) {
		file->channels = channel->next;
		/* The ring's own mappings are not inherited; its descriptor is. */
		if (channel->ring_used)
			descriptor_close(channel->ring.ring_fd);
		own_memory_unmap(channel->bounce, BOUNCE_BYTES);
		channel->inherited = true;
	}
}

/* A kernel without reads and writes by io_uring (before 5.6) counts as one without io_uring. */
static int open_ring(struct file_channel *channel)
{
	struct io_uring_params params = { .flags = IORING_SETUP_CLAMP };
	int fd = file_of(channel)->fd;
	int err = io_uring_queue_init_params(BACKING_CHANNEL_DEPTH, &channel->ring, &params);

	if (err)
		return err;
	err = io_uring_ring_dontfork(&channel->ring);
	if (!err && !(params.features & IORING_FEAT_RW_CUR_POS))
		err = -ENOSYS;
	if (err) {
		io_uring_queue_exit(&channel->ring);
		return err;
	}
	channel->ring.ring_fd = descriptor_move_up(channel->ring.ring_fd);
	channel->ring.enter_ring_fd = channel->ring.ring_fd;
	/* The ring's own hold of the file outlasts a program that closes all descriptors. */
	channel->file_registered = !io_uring_register_files(&channel->ring, &fd, 1);
	channel->ring_used = true;
	return 0;
}

static int choose_io(struct file_channel *channel, struct error *why)
{
	const struct file_backing *file = file_of(channel);
	int err = file->io_mode == FILE_IO_SYNC ? 0 : open_ring(channel);

	if (!err || file->io_mode == FILE_IO_AUTO)
		return 0;
	return error_set(
		why, err,
		"cannot use io_uring for \"%s\": %s; see sysctl kernel.io_uring_disabled, or "
		"name the file with ?io=sync",
		file->base.uri, strerror(-err));
}

int file_channel_open(struct backing *backing, struct backing_channel **ret_channel,
		      struct error *why)
{
	struct file_backing *file = (struct file_backing *)backing;
	struct file_channel *channel;
	void *memory, *bounce;
	int err;

	if (atomic_load(&file->shared->stores_abandoned))
		return error_set(why, -EIO,
				 "\"%s\" is given up: its disk did not finish a write in time",
				 backing->uri);
	err = own_memory_map(sizeof(*channel), &memory);
	if (err)
		return error_set(why, err, "cannot open a channel of \"%s\": %s", backing->uri,
				 strerror(-err));
	channel = memory;
	channel->base = (struct backing_channel){ .ops = backing->ops, .backing = backing };
	for (uint32_t i = 0; i < BACKING_CHANNEL_DEPTH; i++)
		channel->free_ops[channel->free_count++] = (uint8_t)(BACKING_CHANNEL_DEPTH - 1 - i);
	err = own_memory_map_lazily(BOUNCE_BYTES, &bounce);
	if (err) {
		error_set(why, err, "cannot map the bounce pages of \"%s\": %s", backing->uri,
			  strerror(-err));
		goto fail;
	}
	channel->bounce = bounce;
	err = choose_io(channel, why);
	if (err)
		goto fail;
	channel->next = file->channels;
	file->channels = channel;
	*ret_channel = &channel->base;
	return 0;
fail:
	own_memory_unmap(channel->bounce, BOUNCE_BYTES);
	own_memory_unmap(channel, sizeof(*channel));
	return err;
}
