/* SPDX-License-Identifier: Apache-2.0 */

/* node://HOST:PORT: pages on a memory node. docs/design/node.md has the whole of it. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backing/node_channel.h"

_Static_assert(sizeof(struct node_ticket) <= BACKING_TICKET_BYTES, "a ticket holds it");

/* In the order of choice: the nearer first. */
static const enum fabric_transport preference[] = { FABRIC_CMA, FABRIC_SHM, FABRIC_TCP };

static int node_check(const char *rest, struct error *why)
{
	struct node_uri uri;

	return node_uri_parse(rest, &uri, why);
}

static bool may_use(const struct node_backing *node, enum fabric_transport transport)
{
	const struct node_control *control = &node->control;

	return control->uri.transports & (1u << transport) && control->addresses[transport].bytes &&
	       (control->same_host || transport == FABRIC_TCP);
}

/* The first that is offered and really works from here; the words are those of the last tried. */
static int choose_transport(struct node_backing *node, struct error *why)
{
	int ret = error_set(why, -EOPNOTSUPP, "node %s does not offer the transport asked for%s",
			    node->control.uri.place,
			    node->control.same_host ? "" : " (it is on another host)");

	for (unsigned i = 0; i < ARRAY_COUNT(preference); i++) {
		struct node_channel *channel;

		if (!may_use(node, preference[i]))
			continue;
		node->transport = preference[i];
		ret = node_channel_open(node, preference[i], &channel, why);
		if (ret)
			continue;
		node_channel_free(channel);
		return 0;
	}
	return ret;
}

static int join(struct node_backing *node, const uint8_t *ticket_bytes, struct error *why)
{
	struct node_ticket ticket;
	int ret;

	if (ticket_bytes)
		memcpy(&ticket, ticket_bytes, sizeof(ticket));
	ret = node_control_connect(&node->control, ticket_bytes ? &ticket : NULL, why);
	if (ret)
		return ret;
	memcpy(node->base.ticket, &node->control.ticket, sizeof(node->control.ticket));
	ret = choose_transport(node, why);
	if (ret)
		node_control_close(&node->control);
	return ret;
}

static void free_node(struct node_backing *node)
{
	node_control_close(&node->control);
	explicit_bzero(&node->control.key, sizeof(node->control.key));
	free(node);
}

static int node_open(const char *rest, const struct backing_options *options,
		     struct backing **ret_backing, struct error *why)
{
	struct node_backing *node = calloc(1, sizeof(*node));
	struct node_control *control;
	int ret;

	if (!node)
		return error_set(why, -ENOMEM, "out of memory");
	control = &node->control;
	control->fd = -1;
	node->base.ops = &backing_node_ops;
	fabric_clean_stale();
	ret = node_uri_parse(rest, &control->uri, why);
	control->wait_ms_max =
		control->uri.wait_ms_max ? control->uri.wait_ms_max : options->wait_ms_max;
	if (!ret)
		ret = fabric_load(&control->module, why);
	if (!ret)
		ret = cluster_key_read(options->key_file, &control->key, why);
	if (!ret)
		ret = join(node, options->ticket, why);
	if (ret) {
		free_node(node);
		return ret;
	}
	*ret_backing = &node->base;
	return 0;
}

static void node_close(struct backing *base)
{
	free_node((struct node_backing *)base);
}

static int node_reserve(struct backing *base, uint64_t slot_count, struct error *why)
{
	struct node_backing *node = (struct node_backing *)base;
	int ret;

	if (slot_count <= atomic_load_explicit(&node->slot_count, memory_order_relaxed))
		return 0;
	if (slot_count > UINT64_MAX / PAGE_BYTES)
		return error_set(why, -ENOSPC, "node %s has no room for %llu pages",
				 node->control.uri.place, (unsigned long long)slot_count);
	ret = node_control_extend(&node->control, slot_count * PAGE_BYTES, why);
	if (ret)
		return ret;
	atomic_store_explicit(&node->slot_count, slot_count, memory_order_relaxed);
	return 0;
}

/*
 * The channels that came through the fork are the parent's: they are given up without a word to the
 * node. Their memory stays behind, for libfabric has no way to free what must not be closed.
 */
static void forget_channels(struct node_backing *node)
{
	for (struct node_channel *channel = node->channels; channel; channel = channel->next)
		node_channel_forget(channel);
	node->channels = NULL;
}

static int node_reattach(struct backing *base, const uint8_t *ticket, struct error *why)
{
	struct node_backing *node = (struct node_backing *)base;

	uint64_t session = node->control.ticket.session;
	int ret;

	forget_channels(node);
	ret = join(node, ticket ? ticket : base->ticket, why);
	/* Another session's slots are not those that were reserved in the old one. */
	if (!ret && node->control.ticket.session != session)
		atomic_store_explicit(&node->slot_count, 0, memory_order_relaxed);
	return ret;
}

static int node_open_channel(struct backing *base, struct backing_channel **ret_channel,
			     struct error *why)
{
	struct node_backing *node = (struct node_backing *)base;
	struct node_channel *channel;
	int ret = node_channel_open(node, node->transport, &channel, why);

	if (ret)
		return ret;
	node_channel_open_lines(channel);
	channel->base.ops = &backing_node_ops;
	channel->next = node->channels;
	node->channels = channel;
	*ret_channel = &channel->base;
	return 0;
}

static void node_close_channel(struct backing_channel *base)
{
	struct node_channel *channel = (struct node_channel *)base;
	struct node_channel **place = &channel->node->channels;

	while (*place && *place != channel)
		place = &(*place)->next;
	if (*place)
		*place = channel->next;
	node_channel_free(channel);
}

const struct backing_ops backing_node_ops = {
	.scheme = "node",
	.check = node_check,
	.open = node_open,
	.close = node_close,
	.reserve = node_reserve,
	.reattach = node_reattach,
	.channel_open = node_open_channel,
	.channel_close = node_close_channel,
	.submit = node_channel_submit,
	.poll = node_channel_poll,
	.takes_lines = node_channel_takes_lines,
};
