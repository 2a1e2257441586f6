/* SPDX-License-Identifier: Apache-2.0 */
#include "backing/filter.h"

#include <errno.h>
#include <string.h>

#include "base/own_memory.h"

static void free_filter(struct filter *filter)
{
	own_memory_unmap(filter->shared, PAGE_BYTES);
	own_memory_unmap(filter, filter->bytes);
}

int filter_open(const struct backing_ops *ops, size_t bytes, const char *rest, const char *inner,
		const struct backing_options *options, struct filter **ret_filter,
		struct error *why)
{
	struct filter *filter;
	void *memory, *shared;
	int err = own_memory_map_shared(PAGE_BYTES, &shared);

	if (err)
		return error_set(why, err, "cannot open \"%s:%s\": %s", ops->scheme, rest,
				 strerror(-err));
	err = own_memory_map(bytes, &memory);
	if (err) {
		own_memory_unmap(shared, PAGE_BYTES);
		return error_set(why, err, "cannot open \"%s:%s\": %s", ops->scheme, rest,
				 strerror(-err));
	}
	filter = memory;
	*filter = (struct filter){ .base.ops = ops, .bytes = bytes, .shared = shared };
	err = backing_open(inner, options, &filter->inner, why);
	if (err) {
		free_filter(filter);
		return err;
	}
	memcpy(filter->base.ticket, filter->inner->ticket, sizeof(filter->base.ticket));
	*ret_filter = filter;
	return 0;
}

void filter_close(struct backing *backing)
{
	struct filter *filter = (struct filter *)backing;

	backing_close(filter->inner);
	free_filter(filter);
}

int filter_reserve(struct backing *backing, uint64_t slot_count, struct error *why)
{
	struct filter *filter = (struct filter *)backing;
	int err = filter->inner->ops->reserve(filter->inner, slot_count, why);

	if (!err && slot_count > filter->slot_count)
		filter->slot_count = slot_count;
	return err;
}

int filter_reattach(struct backing *backing, const uint8_t *ticket, struct error *why)
{
	struct filter *filter = (struct filter *)backing;
	int err = filter->inner->ops->reattach(filter->inner, ticket, why);

	if (!err)
		memcpy(backing->ticket, filter->inner->ticket, sizeof(backing->ticket));
	return err;
}

void filter_discard(struct backing *backing, uint64_t slot, uint32_t slot_count)
{
	struct backing *inner = ((struct filter *)backing)->inner;

	if (inner->ops->discard)
		inner->ops->discard(inner, slot, slot_count);
}

uint64_t filter_bytes_held(struct backing *backing)
{
	struct filter *filter = (struct filter *)backing;

	if (filter->inner->ops->bytes_held)
		return filter->inner->ops->bytes_held(filter->inner);
	return filter->slot_count * PAGE_BYTES;
}

int filter_channel_open(struct backing *backing, size_t bytes, struct filter_channel **ret_channel,
			struct error *why)
{
	struct backing *inner = ((struct filter *)backing)->inner;
	struct filter_channel *channel;
	void *memory;
	int err = own_memory_map(bytes, &memory);

	if (err)
		return error_set(why, err, "cannot open a channel of \"%s\": %s", backing->uri,
				 strerror(-err));
	channel = memory;
	channel->base = (struct backing_channel){ .ops = backing->ops, .backing = backing };
	channel->bytes = bytes;
	channel->free = UINT64_MAX;
	err = inner->ops->channel_open(inner, &channel->inner, why);
	if (err)
		own_memory_unmap(channel, bytes);
	else
		*ret_channel = channel;
	return err;
}

/* After the inner channel is closed nothing touches an io of this one. */
void filter_channel_close(struct backing_channel *base)
{
	struct filter_channel *channel = (struct filter_channel *)base;

	channel->inner->ops->channel_close(channel->inner);
	own_memory_unmap(channel, channel->bytes);
}

bool filter_takes_lines(const struct backing_channel *channel)
{
	return backing_takes_lines(((const struct filter_channel *)channel)->inner);
}

int filter_take(struct filter_channel *channel, struct backing_io *outer)
{
	uint64_t bits = channel->free;
	struct filter_io *io;
	uint32_t index;

	if (!bits)
		return -EAGAIN;
	index = filter_next_bit(&bits);
	channel->free = bits;
	io = &channel->ios[index];
	io->outer = outer;
	io->inner = (struct backing_io){
		.verb = outer->verb,
		.page_count = outer->page_count,
		.slot = outer->slot,
		.pages = outer->pages,
		.lines = outer->lines,
	};
	outer->result = BACKING_PENDING;
	return (int)index;
}

int filter_start(struct filter_channel *channel, uint32_t index)
{
	int err = channel->inner->ops->submit(channel->inner, &channel->ios[index].inner);

	if (!err)
		channel->running |= 1ull << index;
	return err;
}

void filter_drop(struct filter_channel *channel, uint32_t index)
{
	channel->free |= 1ull << index;
}

void filter_finish(struct filter_channel *channel, uint32_t index, int result)
{
	struct backing_io *outer = channel->ios[index].outer;

	filter_drop(channel, index);
	outer->result = result;
}

uint64_t filter_take_done(struct filter_channel *channel)
{
	uint64_t left = channel->running;
	uint64_t done = 0;

	while (left) {
		uint32_t index = filter_next_bit(&left);

		if (channel->ios[index].inner.result != BACKING_PENDING)
			done |= 1ull << index;
	}
	channel->running &= ~done;
	return done;
}
