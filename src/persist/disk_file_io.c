/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own_memory.h"
#include "persist/disk_file.h"

/* A write that is still not whole after so many pieces is an error of the file system. */
#define PIECES_MAX 16

#define SYNC_TAG (UINT64_MAX - 1)
#define CANCEL_TAG UINT64_MAX

static struct disk_file *file_of(struct disk *disk)
{
	return (struct disk_file *)disk;
}

static uint64_t limit_of(const struct disk_file *file)
{
	return clock_now_ns() + file->wait_ms_max * (uint64_t)1000000;
}

/* Queues what is left of the op. The queue has an entry for each op and a sync: there is room. */
static void queue_op(struct disk_file *file, uint32_t index)
{
	struct disk_file_op *op = &file->ops[index];
	struct io_uring_sqe *sqe = io_uring_get_sqe(&file->ring);

	assert(sqe);
	io_uring_prep_write(sqe, file->fd, (const uint8_t *)op->io->bytes + op->bytes_done,
			    op->io->byte_count - op->bytes_done, op->io->offset + op->bytes_done);
	io_uring_sqe_set_data64(sqe, index);
	op->in_flight = true;
}

/* Gives queued entries to the kernel. What it does not take now, a wait gives again. */
static int start_queued(struct disk_file *file)
{
	int taken = io_uring_submit(&file->ring);

	if (taken >= 0 || taken == -EAGAIN || taken == -EBUSY || taken == -EINTR)
		return 0;
	file->failed = taken;
	return taken;
}

/* Frees the op, and its io is one that wait returns. */
static void finish_op(struct disk_file *file, uint32_t index, int result)
{
	struct disk_io *io = file->ops[index].io;

	file->ops[index].io = NULL;
	file->free_ops[file->free_count++] = (uint8_t)index;
	io->result = result;
	io->next = file->done;
	file->done = io;
}

/* Takes the outcome of one piece: true when more is to be written, else *ret_result is the io's. */
static bool op_goes_on(struct disk_file_op *op, long moved, int *ret_result)
{
	op->in_flight = false;
	if (moved > 0)
		op->bytes_done += (uint32_t)moved;
	if (op->bytes_done == op->io->byte_count) {
		*ret_result = 0;
		return false;
	}
	if (++op->piece_count < PIECES_MAX && (moved > 0 || moved == -EAGAIN || moved == -EINTR))
		return true;
	*ret_result = moved < 0 ? (int)moved : -EIO;
	return false;
}

static void take_completion(struct disk_file *file, uint64_t tag, int32_t moved)
{
	struct disk_file_op *op;
	int result;

	if (tag == CANCEL_TAG)
		return;
	if (tag == SYNC_TAG) {
		file->sync_in_flight = false;
		file->sync_result = moved;
		return;
	}
	op = &file->ops[tag];
	if (!op->io) /* given up before */
		op->in_flight = false;
	else if (!op_goes_on(op, moved, &result))
		finish_op(file, (uint32_t)tag, result);
	else if (file->failed)
		finish_op(file, (uint32_t)tag, file->failed);
	else
		queue_op(file, (uint32_t)tag);
}

static void reap(struct disk_file *file)
{
	struct io_uring_cqe *cqe;

	while (io_uring_cq_ready(&file->ring) && !io_uring_peek_cqe(&file->ring, &cqe)) {
		uint64_t tag = io_uring_cqe_get_data64(cqe);
		int32_t moved = cqe->res;

		io_uring_cqe_seen(&file->ring, cqe);
		take_completion(file, tag, moved);
	}
	if (io_uring_sq_ready(&file->ring) && !file->failed)
		start_queued(file);
}

/* Until something is completed. 0, -ETIMEDOUT, or another -errno of the ring. */
static int wait_ring(struct disk_file *file, uint64_t until_ns)
{
	uint64_t now_ns = clock_now_ns();
	struct __kernel_timespec rest;
	struct io_uring_cqe *cqe;
	int err;

	if (now_ns >= until_ns)
		return -ETIMEDOUT;
	rest.tv_sec = (int64_t)((until_ns - now_ns) / 1000000000);
	rest.tv_nsec = (int64_t)((until_ns - now_ns) % 1000000000);
	err = io_uring_wait_cqe_timeout(&file->ring, &cqe, &rest);
	if (err == -ETIME)
		return -ETIMEDOUT;
	return err == -EINTR || err == -EAGAIN ? 0 : err;
}

static uint32_t count_in_flight(const struct disk_file *file)
{
	uint32_t count = file->sync_in_flight;

	for (uint32_t i = 0; i < DISK_DEPTH_MAX; i++)
		count += file->ops[i].in_flight;
	return count;
}

/* What the kernel has stays with it; the ops are not used again. */
static void give_up(struct disk_file *file)
{
	file->failed = -ETIMEDOUT;
	for (uint32_t i = 0; i < DISK_DEPTH_MAX; i++) {
		struct disk_io *io = file->ops[i].io;

		if (!io)
			continue;
		file->ops[i].io = NULL;
		io->result = -ETIMEDOUT;
		io->next = file->done;
		file->done = io;
	}
}

static void write_now(struct disk_file *file, uint32_t index)
{
	struct disk_file_op *op = &file->ops[index];
	const struct disk_io *io = op->io;
	int result;
	long moved;

	do {
		moved = pwrite(file->fd, (const uint8_t *)io->bytes + op->bytes_done,
			       io->byte_count - op->bytes_done,
			       (off_t)(io->offset + op->bytes_done));
	} while (op_goes_on(op, moved < 0 ? -errno : moved, &result));
	finish_op(file, index, result);
}

static int file_submit(struct disk *disk, struct disk_io *io)
{
	struct disk_file *file = file_of(disk);
	uint32_t index;
	int err;

	assert(io->byte_count && io->byte_count <= DISK_IO_BYTES_MAX);
	assert((io->offset | io->byte_count | (uintptr_t)io->bytes) % 4096 == 0);
	assert(io->offset <= disk->bytes && io->byte_count <= disk->bytes - io->offset);
	if (file->failed)
		return file->failed;
	if (file->free_count == 0)
		return -EAGAIN;
	index = file->free_ops[--file->free_count];
	file->ops[index] = (struct disk_file_op){ .io = io };
	if (!file->ring_used) {
		write_now(file, index);
		return 0;
	}
	queue_op(file, index);
	err = start_queued(file);
	if (err) /* the ring is not used again, so the entry in it is never taken */
		file->ops[index] = (struct disk_file_op){ 0 };
	return err;
}

static struct disk_io *file_wait(struct disk *disk)
{
	struct disk_file *file = file_of(disk);
	uint64_t until_ns = limit_of(file);
	struct disk_io *io;

	while (!file->done && file->free_count < DISK_DEPTH_MAX && file->failed != -ETIMEDOUT) {
		reap(file);
		if (!file->done && count_in_flight(file) && wait_ring(file, until_ns))
			give_up(file);
		if (!count_in_flight(file))
			break;
	}
	io = file->done;
	if (io)
		file->done = io->next;
	return io;
}

static int sync_ring(struct disk_file *file)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&file->ring);
	uint64_t until_ns = limit_of(file);
	int err;

	assert(sqe);
	io_uring_prep_fsync(sqe, file->fd, IORING_FSYNC_DATASYNC);
	io_uring_sqe_set_data64(sqe, SYNC_TAG);
	file->sync_in_flight = true;
	err = start_queued(file);
	file->sync_in_flight = !err;
	while (file->sync_in_flight) {
		reap(file);
		if (file->sync_in_flight && (file->failed || wait_ring(file, until_ns))) {
			file->failed = -ETIMEDOUT;
			return file->failed;
		}
	}
	return err ? err : file->sync_result;
}

static int file_sync(struct disk *disk)
{
	struct disk_file *file = file_of(disk);

	assert(!file->done);
	if (file->failed)
		return file->failed;
	if (file->ring_used)
		return sync_ring(file);
	while (fdatasync(file->fd))
		if (errno != EINTR)
			return -errno;
	return 0;
}

static int file_read(struct disk *disk, uint64_t offset, void *bytes, uint32_t byte_count)
{
	const struct disk_file *file = file_of(disk);
	uint8_t *to = bytes;
	uint32_t done = 0;

	assert((offset | byte_count | (uintptr_t)bytes) % 4096 == 0);
	while (done < byte_count) {
		ssize_t moved =
			pread(file->fd, to + done, byte_count - done, (off_t)(offset + done));

		if (moved < 0 && errno == EINTR)
			continue;
		if (moved < 0)
			return -errno;
		if (moved == 0)
			return -EIO;
		done += (uint32_t)moved;
	}
	return 0;
}

static void queue_cancels(struct disk_file *file)
{
	for (uint32_t i = 0; i < DISK_DEPTH_MAX; i++) {
		struct io_uring_sqe *sqe;

		if (!file->ops[i].in_flight)
			continue;
		sqe = io_uring_get_sqe(&file->ring);
		if (!sqe)
			break;
		io_uring_prep_cancel64(sqe, i, 0);
		io_uring_sqe_set_data64(sqe, CANCEL_TAG);
	}
	io_uring_submit(&file->ring);
}

/* False when the kernel has something of this disk even after the limit. */
static bool close_ring(struct disk_file *file)
{
	uint64_t until_ns = limit_of(file);
	/* Then the queue may hold an entry that must not be taken. */
	bool broken = file->failed && file->failed != -ETIMEDOUT;

	give_up(file); /* nothing that completes now is queued again */
	reap(file);
	if (count_in_flight(file) && !broken)
		queue_cancels(file);
	while (count_in_flight(file)) {
		reap(file);
		if (count_in_flight(file) && wait_ring(file, until_ns))
			return false;
	}
	io_uring_queue_exit(&file->ring);
	return true;
}

static int file_close(struct disk *disk)
{
	struct disk_file *file = file_of(disk);

	/* The file stays locked, so that nobody writes to it while an old write may come. */
	if (file->ring_used && !close_ring(file))
		return -EBUSY;
	close(file->fd);
	own_memory_unmap(file, sizeof(*file));
	return 0;
}

static const struct disk_ops file_ops = {
	.submit = file_submit,
	.wait = file_wait,
	.sync = file_sync,
	.read = file_read,
	.close = file_close,
};

/* A kernel without writes by io_uring (before 5.6) counts as one without io_uring. */
static bool open_ring(struct disk_file *file)
{
	struct io_uring_params params = { .flags = IORING_SETUP_CLAMP };

	/* Twice the depth: a cancel for each write. */
	if (io_uring_queue_init_params(2 * DISK_DEPTH_MAX, &file->ring, &params))
		return false;
	if (!io_uring_ring_dontfork(&file->ring) && (params.features & IORING_FEAT_RW_CUR_POS))
		return true;
	io_uring_queue_exit(&file->ring);
	return false;
}

int disk_file_new(int fd, uint64_t bytes, const struct disk_file_options *options,
		  struct disk_file **ret_file)
{
	struct disk_file *file;
	void *memory;
	int err = own_memory_map(sizeof(*file), &memory);

	if (err)
		return err;
	file = memory;
	file->base = (struct disk){ .ops = &file_ops, .bytes = bytes };
	file->fd = fd;
	file->wait_ms_max = options->wait_ms_max;
	for (uint32_t i = 0; i < DISK_DEPTH_MAX; i++)
		file->free_ops[file->free_count++] = (uint8_t)i;
	file->ring_used = !options->no_ring && open_ring(file);
	*ret_file = file;
	return 0;
}
