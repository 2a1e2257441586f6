/* SPDX-License-Identifier: Apache-2.0 */
#include "fabric/fabric.h"

/*
 * Cross memory attach: the asking process lets the kernel copy to and from the target's memory.
 * The target takes no part, so it may sleep; there is no lock, no file and no connection that a
 * killed process could leave behind.
 *
 * A process is named by its number, which another may inherit, here or in another PID namespace.
 * So the target keeps its random key in a page of its own, and opening a channel and every write
 * read that first: a process that does not hold the key there is not the target, and is never
 * written to. A read does without (it would cost a third more): its caller checks what comes back.
 */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/bytes.h"

#define CMA_PROTOCOL 1

/* In fabric_address.data; both sides are on one host, so in its own byte order. */
struct cma_place {
	uint64_t key_address;
	int32_t pid;
	uint32_t reserved;
};

#define CMA_CALL_PIECES 1024 /* of one call: the kernel's UIO_MAXIOV */

struct cma_operation {
	struct fabric_context *context;
	unsigned first, count; /* its pieces */
};

/* Operations of one direction wait for the next poll: one call to the kernel then moves them all.
 */
struct cma_queue {
	bool is_write;
	unsigned count, piece_count;
	struct cma_operation operations[FABRIC_DEPTH_MAX];
	struct iovec here[CMA_CALL_PIECES], there[CMA_CALL_PIECES];
};

struct cma_channel {
	struct fabric_channel base;
	uint64_t memory_base;
	uint64_t key;
	struct cma_place place;
	unsigned depth; /* of queued and done together */
	unsigned done_count;
	struct cma_queue reads, writes;
	struct fabric_done done[FABRIC_DEPTH_MAX];
};

struct cma_target {
	struct fabric_target base;
	uint64_t *key_page;
	uint64_t memory_base;
};

static int copy_errno(void)
{
	return errno == ESRCH ? -ECONNRESET : -errno;
}

/* 0 when every byte of the `count` pieces was copied. */
static int copy(const struct cma_channel *channel, const struct iovec *here,
		const struct iovec *there, unsigned count, bool is_write)
{
	ssize_t (*call)(pid_t, const struct iovec *, unsigned long, const struct iovec *,
			unsigned long, unsigned long) =
		is_write ? process_vm_writev : process_vm_readv;
	ssize_t copied = call(channel->place.pid, here, count, there, count, 0);

	if (copied < 0)
		return copy_errno();
	for (unsigned i = 0; i < count; i++)
		copied -= (ssize_t)here[i].iov_len;
	return copied ? -EIO : 0;
}

static int check_key(const struct cma_channel *channel)
{
	uint64_t key = 0;
	struct iovec here = { &key, sizeof(key) };
	struct iovec there = { (void *)(uintptr_t)channel->place.key_address, sizeof(key) };
	int ret = copy(channel, &here, &there, 1, false);

	if (ret == -EFAULT)
		return -ECONNRESET;
	if (ret)
		return ret;
	return key == channel->key ? 0 : -ECONNRESET;
}

static int cma_channel_open(enum fabric_transport transport, const struct fabric_address *target,
			    unsigned depth, struct fabric_channel **ret_channel, struct error *why)
{
	struct cma_channel *channel;
	int ret;

	assert(transport == FABRIC_CMA && depth <= FABRIC_DEPTH_MAX);
	if (target->protocol != CMA_PROTOCOL || target->bytes != sizeof(struct cma_place))
		return error_set(why, -EPROTO, "the node names its process in an unknown way");
	channel = calloc(1, sizeof(*channel));
	if (!channel)
		return error_set(why, -ENOMEM, "out of memory");
	channel->base.ops = &fabric_cma_ops;
	channel->base.pieces_max = FABRIC_PIECES_MAX;
	channel->depth = depth;
	channel->writes.is_write = true;
	channel->memory_base = target->base;
	channel->key = target->key;
	memcpy(&channel->place, target->data, sizeof(channel->place));
	ret = check_key(channel);
	if (ret) {
		free(channel);
		return error_set(why, ret,
				 "the node's process cannot be reached with "
				 "process_vm_readv: %s",
				 strerror(-ret));
	}
	*ret_channel = &channel->base;
	return 0;
}

static void cma_channel_close(struct fabric_channel *channel)
{
	free(channel);
}

static void finish(struct cma_channel *channel, const struct cma_operation *operation, int result)
{
	channel->done[channel->done_count++] = (struct fabric_done){ operation->context, result };
}

/* All that is queued at once; where that fails, each alone tells why. */
static void move_queued(struct cma_channel *channel, struct cma_queue *queue)
{
	bool each;
	int ret;

	if (!queue->count)
		return;
	ret = queue->is_write ? check_key(channel) : 0;
	each = !ret &&
	       copy(channel, queue->here, queue->there, queue->piece_count, queue->is_write);
	for (unsigned i = 0; i < queue->count; i++) {
		const struct cma_operation *operation = &queue->operations[i];

		if (each)
			ret = copy(channel, &queue->here[operation->first],
				   &queue->there[operation->first], operation->count,
				   queue->is_write);
		finish(channel, operation, ret);
	}
	queue->count = queue->piece_count = 0;
}

static int enqueue(struct cma_channel *channel, struct cma_queue *queue,
		   const struct fabric_piece *pieces, unsigned count,
		   struct fabric_context *context)
{
	assert(count > 0 && count <= FABRIC_PIECES_MAX);
	if (channel->reads.count + channel->writes.count + channel->done_count == channel->depth ||
	    queue->piece_count + count > CMA_CALL_PIECES)
		return -EAGAIN;
	queue->operations[queue->count++] = (struct cma_operation){ .context = context,
								    .first = queue->piece_count,
								    .count = count };
	for (unsigned i = 0; i < count; i++) {
		uintptr_t there = (uintptr_t)(channel->memory_base + pieces[i].offset);

		queue->here[queue->piece_count] =
			(struct iovec){ (void *)pieces[i].local, pieces[i].bytes };
		queue->there[queue->piece_count++] =
			(struct iovec){ (void *)there, pieces[i].bytes };
	}
	return 0;
}

static int cma_read(struct fabric_channel *base, void *local, size_t bytes, uint64_t offset,
		    struct fabric_context *context)
{
	struct cma_channel *channel = (struct cma_channel *)base;
	struct fabric_piece piece = { local, bytes, offset };

	return enqueue(channel, &channel->reads, &piece, 1, context);
}

static int cma_write(struct fabric_channel *base, const struct fabric_piece *pieces, unsigned count,
		     struct fabric_context *context)
{
	struct cma_channel *channel = (struct cma_channel *)base;

	return enqueue(channel, &channel->writes, pieces, count, context);
}

static int cma_poll(struct fabric_channel *base, struct fabric_done *done, unsigned count_max)
{
	struct cma_channel *channel = (struct cma_channel *)base;
	unsigned count;

	/* A thread waits for what is read. */
	move_queued(channel, &channel->reads);
	move_queued(channel, &channel->writes);
	count = channel->done_count < count_max ? channel->done_count : count_max;
	memcpy(done, channel->done, count * sizeof(done[0]));
	channel->done_count -= count;
	memmove(channel->done, channel->done + count, channel->done_count * sizeof(done[0]));
	return (int)count;
}

static int cma_target_open(const struct fabric_target_options *options,
			   struct fabric_target **ret_target, struct error *why)
{
	struct cma_target *target = calloc(1, sizeof(*target));

	if (!target)
		return error_set(why, -ENOMEM, "out of memory");
	target->key_page =
		mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (target->key_page == MAP_FAILED) {
		free(target);
		return error_set(why, -ENOMEM, "out of memory");
	}
	target->base.ops = &fabric_cma_ops;
	target->key_page[0] = options->key;
	target->memory_base = (uint64_t)(uintptr_t)options->memory;
	/*
	 * Where the Yama module asks for it: any process of the same user may attach, which is
	 * what every process may that Yama does not restrict. An error means that Yama is not
	 * there.
	 */
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
	*ret_target = &target->base;
	return 0;
}

static void cma_target_close(struct fabric_target *base)
{
	struct cma_target *target = (struct cma_target *)base;

	if (!target)
		return;
	munmap(target->key_page, PAGE_BYTES);
	free(target);
}

static void cma_target_address(struct fabric_target *base, struct fabric_address *ret_address)
{
	struct cma_target *target = (struct cma_target *)base;
	struct cma_place place = { .key_address = (uint64_t)(uintptr_t)target->key_page,
				   .pid = getpid() };

	memset(ret_address, 0, sizeof(*ret_address));
	ret_address->bytes = sizeof(place);
	ret_address->protocol = CMA_PROTOCOL;
	ret_address->base = target->memory_base;
	ret_address->key = target->key_page[0];
	memcpy(ret_address->data, &place, sizeof(place));
}

static bool cma_target_progress(struct fabric_target *target)
{
	(void)target;
	return false;
}

static int cma_target_wait_fd(struct fabric_target *target)
{
	(void)target;
	return -1;
}

static bool cma_target_may_sleep(struct fabric_target *target)
{
	(void)target;
	return true;
}

const struct fabric_ops fabric_cma_ops = {
	.name = "cma",
	.channel_open = cma_channel_open,
	.channel_close = cma_channel_close,
	.channel_forget = cma_channel_close,
	.read = cma_read,
	.write = cma_write,
	.poll = cma_poll,
	.target_open = cma_target_open,
	.target_close = cma_target_close,
	.target_address = cma_target_address,
	.target_progress = cma_target_progress,
	.target_wait_fd = cma_target_wait_fd,
	.target_may_sleep = cma_target_may_sleep,
};
