/* SPDX-License-Identifier: Apache-2.0 */
#include "backing/backing.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* One line a backing: its scheme is in its ops. */
static const struct backing_ops *const schemes[] = {
	&backing_mem_ops,   &backing_file_ops,	&backing_node_ops,
	&backing_delay_ops, &backing_error_ops,
};

static const char known_schemes[] = "mem, file, node, delay, error";

static int find_scheme(const char *uri, const struct backing_ops **ret_ops, const char **ret_rest,
		       struct error *why)
{
	size_t length = strlen(uri);
	const char *colon = strchr(uri, ':');

	for (size_t i = 0; i < length; i++) {
		if ((unsigned char)uri[i] < ' ' || uri[i] == 0x7f)
			return error_set(why, -EINVAL,
					 "bad backing URI \"%.*s...\": a control character follows",
					 (int)(i < 120 ? i : 120), uri);
	}
	if (length >= BACKING_URI_BYTES)
		return error_set(why, -EINVAL,
				 "bad backing URI \"%.60s...\": %zu bytes, the limit is %d", uri,
				 length, BACKING_URI_BYTES - 1);
	if (!colon)
		return error_set(why, -EINVAL,
				 "bad backing URI \"%.120s\": no \"scheme:\" before it; known: %s",
				 uri, known_schemes);
	for (size_t i = 0; i < ARRAY_COUNT(schemes); i++) {
		const char *scheme = schemes[i]->scheme;

		if (strlen(scheme) == (size_t)(colon - uri) &&
		    !memcmp(scheme, uri, (size_t)(colon - uri))) {
			*ret_ops = schemes[i];
			*ret_rest = colon + 1;
			return 0;
		}
	}
	return error_set(why, -EINVAL,
			 "bad backing URI \"%.120s\": unknown scheme \"%.*s\"; known: %s", uri,
			 (int)(colon - uri > 40 ? 40 : colon - uri), uri, known_schemes);
}

/* Filters check what they wrap by calling this again; the length of a URI bounds the depth. */
int backing_check_uri(const char *uri, struct error *why)
{
	const struct backing_ops *ops;
	const char *rest;
	int err = find_scheme(uri, &ops, &rest, why);

	if (err || !ops->check)
		return err;
	return ops->check(rest, why);
}

int backing_open(const char *uri, const struct backing_options *options,
		 struct backing **ret_backing, struct error *why)
{
	const struct backing_ops *ops;
	const char *rest;
	struct backing *backing;
	int err = find_scheme(uri, &ops, &rest, why);

	if (!err && ops->check)
		err = ops->check(rest, why);
	if (!err)
		err = ops->open(rest, options, &backing, why);
	if (err)
		return err;
	assert(backing->ops == ops);
	snprintf(backing->uri, sizeof(backing->uri), "%s", uri);
	*ret_backing = backing;
	return 0;
}

void backing_close(struct backing *backing)
{
	if (backing)
		backing->ops->close(backing);
}

uint64_t backing_io_bytes(const struct backing_io *io)
{
	uint64_t lines = 0;

	if (!io->lines)
		return io->page_count * PAGE_BYTES;
	for (uint32_t i = 0; i < io->page_count; i++)
		lines += (uint64_t)__builtin_popcountll(io->lines[i].mask);
	return lines * LINE_BYTES;
}

bool backing_takes_lines(const struct backing_channel *channel)
{
	return channel->ops->takes_lines && channel->ops->takes_lines(channel);
}
