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
	size_t bytes; /* of the filter's own struct, which begins with this one */
	struct backing *inner;
	void *shared;	     /* a page, zeroed at first, of the family of processes */
	uint64_t slot_count; /* reserved by this process */
};

struct filter_io {
	struct backing_io inner;
	struct backing_io *outer;
};

_Static_assert(BACKING_CHANNEL_DEPTH == 64, "a bit of a word for each io");

struct filter_channel {
	struct backing_channel base;
	size_t bytes; /* as in struct filter */
	struct backing_channel *inner;
	uint64_t free;	  /* a bit an entry of ios: not in use */
	uint64_t running; /* submitted to the inner channel */
	struct filter_io ios[BACKING_CHANNEL_DEPTH];
};

/*
 * Opens `inner` and makes the filter around it, a struct of `bytes` of which all behind struct
 * filter is zero. `rest` is what open() of the ops was given, for the words.
 */
int filter_open(const struct backing_ops *ops, size_t bytes, const char *rest, const char *inner,
		const struct backing_options *options, struct filter **ret_filter,
		struct error *why);

/* Ops of every filter; those below filter_close() only pass on. */
void filter_close(struct backing *backing);
int filter_reserve(struct backing *backing, uint64_t slot_count, struct error *why);
int filter_reattach(struct backing *backing, const uint8_t *ticket, struct error *why);
void filter_discard(struct backing *backing, uint64_t slot, uint32_t slot_count);
uint64_t filter_bytes_held(struct backing *backing);

/* A channel, a struct of `bytes` of which all behind struct filter_channel is zero. */
int filter_channel_open(struct backing *backing, size_t bytes, struct filter_channel **ret_channel,
			struct error *why);
/* Ops of every filter. */
void filter_channel_close(struct backing_channel *channel);
bool filter_takes_lines(const struct backing_channel *channel);

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
