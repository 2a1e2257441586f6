/* SPDX-License-Identifier: Apache-2.0 */
#include "backing/filter.h"

#include <errno.h>
#include <string.h>

int filter_open(struct filter *filter, const struct backing_ops *ops, const char *inner_uri,
		const struct backing_options *options, struct error *why)
{
	int err = backing_open(inner_uri, options, &filter->inner, why);

	if (err)
		return err;
	filter->base.ops = ops;
	memcpy(filter->base.ticket, filter->inner->ticket, sizeof(filter->base.ticket));
	return 0;
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

int filter_channel_open(struct filter_channel *channel, struct backing *backing, struct error *why)
{
	struct backing *inner = ((struct filter *)backing)->inner;
	int err = inner->ops->channel_open(inner, &channel->inner, why);

	if (err)
		return err;
	channel->base = (struct backing_channel){.ops = backing->ops, .backing = backing};
	channel->free = UINT64_MAX;
	return 0;
}

void filter_channel_close(struct filter_channel *channel)
{
	channel->inner->ops->channel_close(channel->inner);
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
