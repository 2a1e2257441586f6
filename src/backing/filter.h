/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BACKING_FILTER_H
#define BACKING_FILTER_H

/*
 * What filters have in common: a backing inside, and for each io of the caller one of their own
 * that they submit to it. Their ops call these; contract and threads as in backing/backing.h.
 */

#include "backing/backing.h"

struct filter {
	struct backing base;
	struct backing *inner;
	uint64_t slot_count; /* reserved by this process */
};

struct filter_io {
	struct backing_io inner;
	struct backing_io *outer;
};

_Static_assert(BACKING_CHANNEL_DEPTH == 64, "a bit of a word for each io");

struct filter_channel {
	struct backing_channel base;
	struct backing_channel *inner;
	uint64_t free;	  /* a bit an entry of ios: not in use */
	uint64_t running; /* submitted to the inner channel */
	struct filter_io ios[BACKING_CHANNEL_DEPTH];
};

/* Opens `inner_uri` into the zeroed filter and takes its ticket. */
int filter_open(struct filter *filter, const struct backing_ops *ops, const char *inner_uri,
		const struct backing_options *options, struct error *why);

/* Ops that only pass on. */
int filter_reserve(struct backing *backing, uint64_t slot_count, struct error *why);
int filter_reattach(struct backing *backing, const uint8_t *ticket, struct error *why);
void filter_discard(struct backing *backing, uint64_t slot, uint32_t slot_count);
uint64_t filter_bytes_held(struct backing *backing);

/* Makes the zeroed channel ready. */
int filter_channel_open(struct filter_channel *channel, struct backing *backing,
			struct error *why);

/* Closes the inner channel; after it no io of this channel is touched. */
void filter_channel_close(struct filter_channel *channel);

/* An entry for the caller's io, which becomes pending: its index, or -EAGAIN if there is none. */
int filter_take(struct filter_channel *channel, struct backing_io *outer);

/* Submits the entry's inner io. As submit() of the ops; the entry stays taken whatever happens. */
int filter_start(struct filter_channel *channel, uint32_t index);

/* Gives the entry back and tells the caller. */
void filter_finish(struct filter_channel *channel, uint32_t index, int result);

/* Gives the entry back and says nothing to the caller. */
void filter_drop(struct filter_channel *channel, uint32_t index);

/*
 * Running entries whose inner io is done; they do not run any more, and the filter finishes them.
 * A bit an entry.
 */
uint64_t filter_take_done(struct filter_channel *channel);

/* The index of the lowest bit, which is cleared; *bits is not 0. */
static inline uint32_t filter_next_bit(uint64_t *bits)
{
	uint32_t index = (uint32_t)__builtin_ctzll(*bits);

	*bits &= *bits - 1;
	return index;
}

#endif
