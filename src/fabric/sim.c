/* SPDX-License-Identifier: Apache-2.0 */
#include "fabric/sim.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"

#define SIM_PROTOCOL 0x73696d

struct sim_target {
	struct fabric_target base;
	char *memory;
	size_t memory_bytes;
	uint64_t key;
	bool closed;
	unsigned users; /* channels, and the opener until it closes */
};

#define SIM_PIECES_MAX 2

struct sim_operation {
	struct fabric_context *context;
	struct fabric_piece pieces[SIM_PIECES_MAX];
	unsigned piece_count;
	unsigned polls_left;
	bool writes;
	bool fails;
	bool dropped;
};

struct sim_channel {
	struct fabric_channel base;
	struct sim_target *target;
	struct sim_settings settings;
	struct random_source random;
	uint64_t key;
	unsigned depth;
	unsigned count;
	struct sim_operation operations[];
};

static struct sim_settings settings_now;

void sim_set(const struct sim_settings *settings)
{
	settings_now = *settings;
}

static void put_target(struct sim_target *target)
{
	if (--target->users == 0)
		free(target);
}

static int sim_channel_open(enum fabric_transport transport, const struct fabric_address *address,
			    unsigned depth, struct fabric_channel **ret_channel, struct error *why)
{
	struct sim_channel *channel;
	struct sim_target *target;

	(void)transport;
	if (address->protocol != SIM_PROTOCOL || address->bytes != sizeof(target))
		return error_set(why, -EPROTO, "not an address of a simulated target");
	channel = calloc(1, sizeof(*channel) + depth * sizeof(channel->operations[0]));
	if (!channel)
		return error_set(why, -ENOMEM, "out of memory");
	memcpy(&target, address->data, sizeof(target));
	target->users++;
	channel->base.ops = &fabric_sim_ops;
	channel->base.pieces_max = SIM_PIECES_MAX;
	channel->target = target;
	channel->settings = settings_now;
	channel->random = random_from_seed(settings_now.seed);
	channel->key = address->key;
	channel->depth = depth;
	*ret_channel = &channel->base;
	return 0;
}

static void sim_channel_close(struct fabric_channel *base)
{
	struct sim_channel *channel = (struct sim_channel *)base;

	if (!channel)
		return;
	put_target(channel->target);
	free(channel);
}

static bool happens(struct sim_channel *channel, unsigned per_thousand)
{
	return random_below(&channel->random, 1000) < per_thousand;
}

static int start(struct sim_channel *channel, struct sim_operation operation)
{
	const struct sim_settings *settings = &channel->settings;

	if (channel->target->closed)
		return -ECONNRESET;
	if (channel->count == channel->depth || happens(channel, settings->refuse_per_thousand))
		return -EAGAIN;
	operation.fails = happens(channel, settings->fail_per_thousand);
	operation.dropped = happens(channel, settings->drop_per_thousand);
	operation.polls_left =
		(unsigned)random_below(&channel->random, settings->delay_polls_max + 1);
	channel->operations[channel->count++] = operation;
	return 0;
}

static int sim_read(struct fabric_channel *base, void *local, size_t bytes, uint64_t offset,
		    struct fabric_context *context)
{
	return start((struct sim_channel *)base,
		     (struct sim_operation){ .context = context,
					     .pieces = { { local, bytes, offset } },
					     .piece_count = 1 });
}

static int sim_write(struct fabric_channel *base, const struct fabric_piece *pieces, unsigned count,
		     struct fabric_context *context)
{
	struct sim_operation operation = { .context = context,
					   .piece_count = count,
					   .writes = true };

	assert(count > 0 && count <= SIM_PIECES_MAX);
	memcpy(operation.pieces, pieces, count * sizeof(pieces[0]));
	return start((struct sim_channel *)base, operation);
}

static int move_piece(struct sim_target *target, const struct fabric_piece *piece, bool writes)
{
	if (piece->offset > target->memory_bytes ||
	    piece->bytes > target->memory_bytes - piece->offset)
		return -EFAULT;
	if (writes)
		memcpy(target->memory + piece->offset, piece->local, piece->bytes);
	else
		memcpy((void *)piece->local, target->memory + piece->offset, piece->bytes);
	return 0;
}

static int move(struct sim_channel *channel, const struct sim_operation *operation)
{
	int ret = 0;

	if (operation->fails)
		return -EIO;
	if (channel->key != channel->target->key)
		return -EACCES;
	for (unsigned i = 0; !ret && i < operation->piece_count; i++)
		ret = move_piece(channel->target, &operation->pieces[i], operation->writes);
	return ret;
}

static int sim_poll(struct fabric_channel *base, struct fabric_done *done, unsigned count_max)
{
	struct sim_channel *channel = (struct sim_channel *)base;
	unsigned done_count = 0;

	if (channel->target->closed)
		return -ECONNRESET;
	for (unsigned i = 0; i < channel->count && done_count < count_max;) {
		struct sim_operation *operation = &channel->operations[i];

		if (operation->dropped || operation->polls_left) {
			if (operation->polls_left)
				operation->polls_left--;
			i++;
			continue;
		}
		done[done_count++] =
			(struct fabric_done){ operation->context, move(channel, operation) };
		*operation = channel->operations[--channel->count];
	}
	return (int)done_count;
}

static int sim_target_open(const struct fabric_target_options *options,
			   struct fabric_target **ret_target, struct error *why)
{
	struct sim_target *target = calloc(1, sizeof(*target));

	if (!target)
		return error_set(why, -ENOMEM, "out of memory");
	target->base.ops = &fabric_sim_ops;
	target->memory = options->memory;
	target->memory_bytes = options->memory_bytes;
	target->key = options->key;
	target->users = 1;
	*ret_target = &target->base;
	return 0;
}

static void sim_target_close(struct fabric_target *base)
{
	struct sim_target *target = (struct sim_target *)base;

	if (!target)
		return;
	target->closed = true;
	put_target(target);
}

static void sim_target_address(struct fabric_target *base, struct fabric_address *ret_address)
{
	struct sim_target *target = (struct sim_target *)base;

	memset(ret_address, 0, sizeof(*ret_address));
	ret_address->bytes = sizeof(target);
	ret_address->protocol = SIM_PROTOCOL;
	ret_address->key = target->key;
	memcpy(ret_address->data, &target, sizeof(target));
}

static bool sim_target_progress(struct fabric_target *target)
{
	(void)target;
	return false;
}

static int sim_target_wait_fd(struct fabric_target *target)
{
	(void)target;
	return -1;
}

static bool sim_target_may_sleep(struct fabric_target *target)
{
	(void)target;
	return true;
}

const struct fabric_ops fabric_sim_ops = {
	.name = "sim",
	.channel_open = sim_channel_open,
	.channel_close = sim_channel_close,
	.channel_forget = sim_channel_close,
	.read = sim_read,
	.write = sim_write,
	.poll = sim_poll,
	.target_open = sim_target_open,
	.target_close = sim_target_close,
	.target_address = sim_target_address,
	.target_progress = sim_target_progress,
	.target_wait_fd = sim_target_wait_fd,
	.target_may_sleep = sim_target_may_sleep,
};
