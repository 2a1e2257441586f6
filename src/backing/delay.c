/* SPDX-License-Identifier: Apache-2.0 */

/*
 * delay: makes a backing slower. An io waits for its time and only then goes to the inner backing.
 * The time is when the link would have passed its bytes (one link for all processes that share the
 * backing), and then the latency, and the jitter. Delayed ios of one channel keep their order.
 */

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "backing/filter.h"
#include "backing/uri.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/units.h"

#define LATENCY_NS_MAX ((uint64_t)60 * 1000000000) /* longer is what error:kind=hang is for */
#define NS_PER_SECOND ((uint64_t)1000000000)

struct delay_settings {
	uint64_t latency_ns;
	uint64_t jitter_ns;
	uint64_t bytes_per_second; /* 0: no limit */
	unsigned int verbs;
};

/* The filter's shared page. */
struct delay_shared {
	_Atomic uint64_t link_free_ns; /* the link is busy until then */
};

struct delay_backing {
	struct filter filter;
	struct delay_settings settings;
};

/* The ios that wait are a ring, in the order of their times. */
struct delay_channel {
	struct filter_channel filter;
	struct random_source random;
	uint32_t held_first;
	uint32_t held_count;
	uint64_t last_due_ns;
	uint8_t held[BACKING_CHANNEL_DEPTH];
	uint64_t due_ns[BACKING_CHANNEL_DEPTH]; /* by entry of the filter */
};

static int take_option(struct delay_settings *settings, const char *name, const char *value,
		       struct error *reason)
{
	if (!value)
		value = "";
	if (!strcmp(name, "jitter"))
		return parse_duration(value, &settings->jitter_ns, reason);
	if (!strcmp(name, "bandwidth")) {
		if (!parse_size(value, &settings->bytes_per_second, reason) &&
		    settings->bytes_per_second > 0)
			return 0;
		return error_set(reason, -EINVAL,
				 "bad bandwidth \"%s\": bytes a second, as in 100M", value);
	}
	if (!strcmp(name, "verb") && !uri_parse_verb(value, &settings->verbs))
		return 0;
	return error_set(
		reason, -EINVAL,
		"unknown option \"%.40s\"; known: jitter=TIME, bandwidth=SIZE, verb=fetch, "
		"verb=store",
		name);
}

static int parse_settings(const char *rest, struct delay_settings *ret_settings,
			  const char **ret_inner, struct error *why)
{
	struct delay_settings settings = { .verbs = URI_BOTH_VERBS };
	char options[BACKING_URI_BYTES];
	char *cursor = options, *latency, *name, *value;
	struct error reason;
	int err = uri_split_filter("delay", rest, options, ret_inner, why);

	if (err)
		return err;
	uri_next_option(&cursor, ',', &latency, &value);
	if (value)
		return uri_bad(why, "delay", rest,
			       "a time comes first, as in delay:200us,jitter=50us:mem:");
	if (parse_duration(latency, &settings.latency_ns, &reason))
		return uri_bad(why, "delay", rest, "%s", reason.text);
	while (uri_next_option(&cursor, ',', &name, &value)) {
		if (take_option(&settings, name, value, &reason))
			return uri_bad(why, "delay", rest, "%s", reason.text);
	}
	if (settings.latency_ns > LATENCY_NS_MAX || settings.jitter_ns > LATENCY_NS_MAX)
		return uri_bad(why, "delay", rest, "more than a minute");
	*ret_settings = settings;
	return 0;
}

static int delay_check(const char *rest, struct error *why)
{
	struct delay_settings settings;
	const char *inner;
	int err = parse_settings(rest, &settings, &inner, why);

	return err ? err : backing_check_uri(inner, why);
}

static int delay_open(const char *rest, const struct backing_options *options,
		      struct backing **ret_backing, struct error *why)
{
	struct delay_settings settings;
	struct filter *filter;
	const char *inner;
	int err = parse_settings(rest, &settings, &inner, why);

	if (!err)
		err = filter_open(&backing_delay_ops, sizeof(struct delay_backing), rest, inner,
				  options, &filter, why);
	if (err)
		return err;
	((struct delay_backing *)filter)->settings = settings;
	*ret_backing = &filter->base;
	return 0;
}

static int delay_channel_open(struct backing *backing, struct backing_channel **ret_channel,
			      struct error *why)
{
	struct filter_channel *channel;
	int err = filter_channel_open(backing, sizeof(struct delay_channel), &channel, why);

	if (err)
		return err;
	((struct delay_channel *)channel)->random = random_from_seed(clock_now_ns());
	*ret_channel = &channel->base;
	return 0;
}

/* When the link will have passed `bytes` more, counted from now. */
static uint64_t link_passed_ns(struct delay_backing *delay, uint64_t now_ns, uint64_t bytes)
{
	struct delay_shared *shared = delay->filter.shared;
	uint64_t rate = delay->settings.bytes_per_second;
	uint64_t busy_ns, start_ns, end_ns;

	if (!rate)
		return now_ns;
	busy_ns = (uint64_t)((unsigned __int128)bytes * NS_PER_SECOND / rate);
	start_ns = atomic_load(&shared->link_free_ns);
	do {
		end_ns = (start_ns > now_ns ? start_ns : now_ns) + busy_ns;
	} while (!atomic_compare_exchange_weak(&shared->link_free_ns, &start_ns, end_ns));
	return end_ns;
}

/* Starts those whose time has come. An io that the inner channel refuses for good fails alone. */
static void start_due(struct delay_channel *channel)
{
	uint64_t now_ns = channel->held_count ? clock_now_ns() : 0;

	while (channel->held_count) {
		uint32_t index = channel->held[channel->held_first];
		int err;

		if (channel->due_ns[index] > now_ns)
			return;
		err = filter_start(&channel->filter, index);
		if (err == -EAGAIN)
			return;
		channel->held_first = (channel->held_first + 1) % BACKING_CHANNEL_DEPTH;
		channel->held_count--;
		if (err)
			filter_finish(&channel->filter, index, err);
	}
}

static void finish_done(struct delay_channel *channel)
{
	uint64_t done = filter_take_done(&channel->filter);

	while (done) {
		uint32_t index = filter_next_bit(&done);

		filter_finish(&channel->filter, index, channel->filter.ios[index].inner.result);
	}
}

static void hold(struct delay_channel *channel, uint32_t index)
{
	struct delay_backing *delay = (struct delay_backing *)channel->filter.base.backing;
	const struct delay_settings *settings = &delay->settings;
	uint64_t bytes = backing_io_bytes(&channel->filter.ios[index].inner);
	uint64_t due_ns = link_passed_ns(delay, clock_now_ns(), bytes) + settings->latency_ns;

	if (settings->jitter_ns)
		due_ns += random_below(&channel->random, settings->jitter_ns + 1);
	if (due_ns < channel->last_due_ns)
		due_ns = channel->last_due_ns;
	channel->last_due_ns = due_ns;
	channel->due_ns[index] = due_ns;
	channel->held[(channel->held_first + channel->held_count++) % BACKING_CHANNEL_DEPTH] =
		(uint8_t)index;
}

static int delay_submit(struct backing_channel *base, struct backing_io *io)
{
	struct delay_channel *channel = (struct delay_channel *)base;
	const struct delay_backing *delay = (const struct delay_backing *)base->backing;
	int index = filter_take(&channel->filter, io);
	int err;

	if (index < 0)
		return index;
	if (delay->settings.verbs & 1u << io->verb) {
		hold(channel, (uint32_t)index);
		start_due(channel);
	} else {
		err = filter_start(&channel->filter, (uint32_t)index);
		if (err) {
			filter_drop(&channel->filter, (uint32_t)index);
			return err;
		}
	}
	finish_done(channel);
	return 0;
}

static void delay_poll(struct backing_channel *base)
{
	struct delay_channel *channel = (struct delay_channel *)base;

	channel->filter.inner->ops->poll(channel->filter.inner);
	start_due(channel);
	finish_done(channel);
}

const struct backing_ops backing_delay_ops = {
	.scheme = "delay",
	.check = delay_check,
	.open = delay_open,
	.close = filter_close,
	.reserve = filter_reserve,
	.reattach = filter_reattach,
	.channel_open = delay_channel_open,
	.channel_close = filter_channel_close,
	.submit = delay_submit,
	.poll = delay_poll,
	.takes_lines = filter_takes_lines,
	.discard = filter_discard,
	.bytes_held = filter_bytes_held,
};
