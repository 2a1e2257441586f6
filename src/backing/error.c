/* SPDX-License-Identifier: Apache-2.0 */

/*
 * error: makes a backing fail, for tests and for people who rehearse failures. Each io of the
 * chosen verb is counted, over all processes that share the backing, and is struck when any trigger
 * says so: by chance, after the first N, each Nth, or while a file exists.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backing/filter.h"
#include "backing/uri.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/units.h"

#define FILE_CHECK_NS 1000000 /* one system call a millisecond costs nothing; one an io would */

enum error_kind { KIND_IO, KIND_HANG, KIND_CORRUPT, KIND_LOST, KIND_NOSPACE };

static const char *const kind_names[] = {
	[KIND_IO] = "io",     [KIND_HANG] = "hang",	  [KIND_CORRUPT] = "corrupt",
	[KIND_LOST] = "lost", [KIND_NOSPACE] = "nospace",
};

struct error_settings {
	bool triggered; /* some trigger was named */
	bool after_set;
	enum error_kind kind;
	unsigned int verbs;
	unsigned __int128 chance; /* of 2^64 */
	uint64_t after;
	uint64_t every; /* 0: not */
	uint64_t seed;
	char path[BACKING_URI_BYTES]; /* "": not */
};

/* The filter's shared page. */
struct error_shared {
	_Atomic uint64_t io_count;
	_Atomic uint64_t channel_count;
	_Atomic uint64_t file_checked_ns;
	_Atomic bool file_there;
	_Atomic bool lost; /* for good */
};

struct error_backing {
	struct filter filter;
	struct error_settings settings;
};

struct error_channel {
	struct filter_channel filter;
	struct random_source random;
	uint64_t to_corrupt; /* a bit an entry of the filter */
};

/* "0", "1", "0.25": to 9 digits, whatever the program's locale is. */
static int parse_chance(const char *text, unsigned __int128 *ret_chance)
{
	uint64_t billionths = 0, digit = 1000000000;
	const char *at = text;

	if (*at != '0' && *at != '1')
		return -EINVAL;
	billionths = (uint64_t)(*at++ - '0') * digit;
	if (*at == '.' && at[1]) {
		for (at++; *at >= '0' && *at <= '9' && digit > 1; at++) {
			digit /= 10;
			billionths += (uint64_t)(*at - '0') * digit;
		}
	}
	if (*at || billionths > 1000000000)
		return -EINVAL;
	*ret_chance = ((unsigned __int128)billionths << 64) / 1000000000;
	return 0;
}

static int parse_kind(const char *text, enum error_kind *ret_kind)
{
	for (size_t i = 0; i < ARRAY_COUNT(kind_names); i++) {
		if (!strcmp(text, kind_names[i])) {
			*ret_kind = (enum error_kind)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* Counts are written like sizes: "4096" or "4K". */
static int take_trigger(struct error_settings *settings, const char *name, const char *value,
			struct error *reason)
{
	int err = -ENOENT;

	if (!strcmp(name, "p")) {
		err = parse_chance(value, &settings->chance);
		if (err)
			return error_set(reason, err,
					 "bad p=%s: a probability from 0 to 1, as in "
					 "p=0.01",
					 value);
	} else if (!strcmp(name, "after")) {
		settings->after_set = true;
		err = parse_size(value, &settings->after, reason);
	} else if (!strcmp(name, "every")) {
		err = parse_size(value, &settings->every, reason);
		if (!err && !settings->every)
			return error_set(reason, -EINVAL, "every=0: it begins at 1");
	} else if (!strcmp(name, "file")) {
		err = *value ? 0 : error_set(reason, -EINVAL, "file= needs a path");
		strcpy(settings->path, value);
	}
	settings->triggered |= !err;
	return err;
}

static int take_option(struct error_settings *settings, const char *name, const char *value,
		       struct error *reason)
{
	int err;

	if (!value)
		value = "";
	err = take_trigger(settings, name, value, reason);
	if (err != -ENOENT)
		return err;
	if (!strcmp(name, "seed"))
		return parse_size(value, &settings->seed, reason);
	if (!strcmp(name, "kind") && !parse_kind(value, &settings->kind))
		return 0;
	if (!strcmp(name, "verb") && !uri_parse_verb(value, &settings->verbs))
		return 0;
	return error_set(reason, -EINVAL,
			 "unknown option \"%.40s%s%.40s\"; known: p=, after=, every=, file=, "
			 "kind=io|hang|corrupt|lost|nospace, verb=fetch|store, seed=",
			 name, *value ? "=" : "", value);
}

/* What comes back can be corrupted, what goes out can find no room; not the other way round. */
static int settle_verbs(struct error_settings *settings)
{
	unsigned int possible = URI_BOTH_VERBS;

	if (settings->kind == KIND_CORRUPT)
		possible = 1u << BACKING_FETCH;
	else if (settings->kind == KIND_NOSPACE)
		possible = 1u << BACKING_STORE;
	if (!settings->verbs)
		settings->verbs = possible;
	return settings->verbs & ~possible ? -EINVAL : 0;
}

static int parse_settings(const char *rest, struct error_settings *ret_settings,
			  const char **ret_inner, struct error *why)
{
	struct error_settings settings = { .seed = 1 };
	char options[BACKING_URI_BYTES];
	char *cursor = options, *name, *value;
	struct error reason;
	int err = uri_split_filter("error", rest, options, ret_inner, why);

	if (err)
		return err;
	while (uri_next_option(&cursor, ',', &name, &value)) {
		if (take_option(&settings, name, value, &reason))
			return uri_bad(why, "error", rest, "%s", reason.text);
	}
	if (!settings.triggered)
		return uri_bad(why, "error", rest,
			       "it says not when to fail: p=, after=, every= or file=");
	if (settle_verbs(&settings))
		return uri_bad(why, "error", rest, "kind=%s is not for that verb",
			       kind_names[settings.kind]);
	*ret_settings = settings;
	return 0;
}

static int error_check(const char *rest, struct error *why)
{
	struct error_settings settings;
	const char *inner;
	int err = parse_settings(rest, &settings, &inner, why);

	return err ? err : backing_check_uri(inner, why);
}

static int error_open(const char *rest, const struct backing_options *options,
		      struct backing **ret_backing, struct error *why)
{
	struct error_settings settings;
	struct filter *filter;
	const char *inner;
	int err = parse_settings(rest, &settings, &inner, why);

	if (!err)
		err = filter_open(&backing_error_ops, sizeof(struct error_backing), rest, inner,
				  options, &filter, why);
	if (err)
		return err;
	((struct error_backing *)filter)->settings = settings;
	*ret_backing = &filter->base;
	return 0;
}

static struct error_shared *shared_of(const struct error_backing *error)
{
	return error->filter.shared;
}

static int refuse_if_lost(const struct backing *backing, struct error *why)
{
	if (!atomic_load(&shared_of((const struct error_backing *)backing)->lost))
		return 0;
	return error_set(why, -ECONNRESET, "\"%s\" is lost, as its URI asks for", backing->uri);
}

static int error_reserve(struct backing *backing, uint64_t slot_count, struct error *why)
{
	int err = refuse_if_lost(backing, why);

	return err ? err : filter_reserve(backing, slot_count, why);
}

static int error_reattach(struct backing *backing, const uint8_t *ticket, struct error *why)
{
	int err = refuse_if_lost(backing, why);

	return err ? err : filter_reattach(backing, ticket, why);
}

static int error_channel_open(struct backing *backing, struct backing_channel **ret_channel,
			      struct error *why)
{
	struct error_backing *error = (struct error_backing *)backing;
	struct filter_channel *channel;
	int err = refuse_if_lost(backing, why);

	if (!err)
		err = filter_channel_open(backing, sizeof(struct error_channel), &channel, why);
	if (err)
		return err;
	/* Each channel has a sequence of its own, the same in each run that opens them in order. */
	((struct error_channel *)channel)->random =
		random_from_seed(random_mix(error->settings.seed * RANDOM_STEP +
					    atomic_fetch_add(&shared_of(error)->channel_count, 1)));
	*ret_channel = &channel->base;
	return 0;
}

static bool file_is_there(struct error_backing *error)
{
	struct error_shared *shared = shared_of(error);
	uint64_t now_ns = clock_now_ns();
	uint64_t checked_ns = atomic_load(&shared->file_checked_ns);

	/* Only one of those who find the answer old asks again. */
	if (now_ns - checked_ns >= FILE_CHECK_NS &&
	    atomic_compare_exchange_strong(&shared->file_checked_ns, &checked_ns, now_ns))
		atomic_store(&shared->file_there,
			     !syscall(SYS_faccessat, AT_FDCWD, error->settings.path, F_OK));
	return atomic_load(&shared->file_there);
}

static bool is_struck(struct error_channel *channel, struct error_backing *error,
		      enum backing_verb verb)
{
	const struct error_settings *settings = &error->settings;
	uint64_t count;

	if (!(settings->verbs & 1u << verb))
		return false;
	count = atomic_fetch_add(&shared_of(error)->io_count, 1) + 1;
	if (settings->after_set && count > settings->after)
		return true;
	if (settings->every && count % settings->every == 0)
		return true;
	if (settings->chance && random_next(&channel->random) < settings->chance)
		return true;
	return settings->path[0] && file_is_there(error);
}

static void corrupt(struct error_channel *channel, const struct backing_io *io)
{
	uint8_t *bytes = io->pages;
	uint64_t at = random_below(&channel->random, io->page_count * PAGE_BYTES);

	bytes[at] ^= (uint8_t)(1 + random_below(&channel->random, 255));
}

static void finish_done(struct error_channel *channel)
{
	uint64_t done = filter_take_done(&channel->filter);

	while (done) {
		uint32_t index = filter_next_bit(&done);
		const struct backing_io *inner = &channel->filter.ios[index].inner;

		if (channel->to_corrupt & 1ull << index) {
			channel->to_corrupt &= ~(1ull << index);
			if (!inner->result)
				corrupt(channel, inner);
		}
		filter_finish(&channel->filter, index, inner->result);
	}
}

/* True when the io goes on to the inner backing. */
static bool strike(struct error_channel *channel, struct error_backing *error, uint32_t index)
{
	switch (error->settings.kind) {
	case KIND_CORRUPT:
		channel->to_corrupt |= 1ull << index;
		return true;
	case KIND_HANG:
		break; /* the entry stays taken until the channel is closed */
	case KIND_IO:
		filter_finish(&channel->filter, index, -EIO);
		break;
	case KIND_NOSPACE:
		filter_finish(&channel->filter, index, -ENOSPC);
		break;
	case KIND_LOST:
		atomic_store(&shared_of(error)->lost, true);
		filter_finish(&channel->filter, index, -ECONNRESET);
		break;
	}
	return false;
}

static int error_submit(struct backing_channel *base, struct backing_io *io)
{
	struct error_channel *channel = (struct error_channel *)base;
	struct error_backing *error = (struct error_backing *)base->backing;
	int index, err;

	if (atomic_load_explicit(&shared_of(error)->lost, memory_order_relaxed))
		return -ECONNRESET;
	index = filter_take(&channel->filter, io);
	if (index < 0)
		return index;
	if (is_struck(channel, error, io->verb) && !strike(channel, error, (uint32_t)index))
		return 0;
	err = filter_start(&channel->filter, (uint32_t)index);
	if (err) {
		channel->to_corrupt &= ~(1ull << index);
		filter_drop(&channel->filter, (uint32_t)index);
		return err;
	}
	finish_done(channel);
	return 0;
}

static void error_poll(struct backing_channel *base)
{
	struct error_channel *channel = (struct error_channel *)base;

	channel->filter.inner->ops->poll(channel->filter.inner);
	finish_done(channel);
}

const struct backing_ops backing_error_ops = {
	.scheme = "error",
	.check = error_check,
	.open = error_open,
	.close = filter_close,
	.reserve = error_reserve,
	.reattach = error_reattach,
	.channel_open = error_channel_open,
	.channel_close = filter_channel_close,
	.submit = error_submit,
	.poll = error_poll,
	.takes_lines = filter_takes_lines,
	.discard = filter_discard,
	.bytes_held = filter_bytes_held,
};
