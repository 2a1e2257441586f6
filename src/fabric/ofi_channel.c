/* SPDX-License-Identifier: Apache-2.0 */
#include "fabric/ofi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define POLL_BATCH 16 /* completions taken from libfabric at a time */
#define PIECES_MAX 8  /* of one write, as far as the provider takes them */

struct ofi_channel {
	struct fabric_channel base;
	struct ofi_endpoint endpoint;
	fi_addr_t peer;
	uint64_t memory_base;
	uint64_t key;
	enum fabric_transport transport;
	pid_t pid; /* of the process that opened it */
};

_Static_assert(sizeof(struct fi_context2) <= FABRIC_CONTEXT_BYTES, "a context holds libfabric's");

/*
 * Through shm a write of one piece is in place when the call returns; one of more is handed to the
 * target, and told as done before that has it.
 */
static unsigned pieces_of(enum fabric_transport transport, const struct fi_info *info)
{
	size_t pieces = info->tx_attr->iov_limit;

	if (transport == FABRIC_SHM)
		return 1;
	if (pieces > info->tx_attr->rma_iov_limit)
		pieces = info->tx_attr->rma_iov_limit;
	return pieces < 1 ? 1 : pieces < PIECES_MAX ? (unsigned)pieces : PIECES_MAX;
}

int ofi_channel_open(enum fabric_transport transport, const struct fabric_address *target,
		     unsigned depth, struct fabric_channel **ret_channel, struct error *why)
{
	struct ofi_endpoint_options options = {
		.transport = transport,
		.peer = transport == FABRIC_TCP ? target->data : NULL,
		.peer_bytes = target->bytes,
		.protocol = target->protocol,
		.depth = depth,
	};
	struct ofi_channel *channel = calloc(1, sizeof(*channel));
	int ret;

	if (!channel)
		return error_set(why, -ENOMEM, "out of memory");
	channel->base.ops = &ofi_ops;
	channel->memory_base = target->base;
	channel->key = target->key;
	channel->transport = transport;
	channel->pid = getpid();
	ret = ofi_endpoint_open(&channel->endpoint, &options, why);
	if (!ret &&
	    fi_av_insert(channel->endpoint.av, target->data, 1, &channel->peer, 0, NULL) != 1)
		ret = error_set(why, -EINVAL, "libfabric does not take the node's address");
	if (ret) {
		ofi_channel_close(&channel->base);
		return ret;
	}
	channel->base.pieces_max = pieces_of(transport, channel->endpoint.info);
	*ret_channel = &channel->base;
	return 0;
}

void ofi_channel_close(struct fabric_channel *base)
{
	struct ofi_channel *channel = (struct ofi_channel *)base;

	if (!channel)
		return;
	ofi_endpoint_close(&channel->endpoint);
	free(channel);
}

/*
 * The objects are the parent's: closing one here would speak to the peer in the parent's name, or
 * take a shm file from under it. They are left as they are, but for the child's descriptors.
 */
void ofi_channel_forget(struct fabric_channel *base)
{
	struct ofi_channel *channel = (struct ofi_channel *)base;

	if (channel->pid != getpid())
		ofi_process_forget();
	free(channel);
}

int ofi_channel_read(struct fabric_channel *base, void *local, size_t bytes, uint64_t offset,
		     struct fabric_context *context)
{
	struct ofi_channel *channel = (struct ofi_channel *)base;
	ssize_t ret = fi_read(channel->endpoint.ep, local, bytes, NULL, channel->peer,
			      channel->memory_base + offset, channel->key, context);

	return ret ? ofi_errno((int)ret) : 0;
}

/*
 * A write over a socket is otherwise done once it is in the socket, and a read through another
 * channel could overtake it. The flag goes along with each write: what a reliable datagram endpoint
 * is told at its opening does not reach the connections below it. Through shm a write is in place
 * when the call returns, and the flag would only make the target take part.
 */
int ofi_channel_write(struct fabric_channel *base, const struct fabric_piece *pieces,
		      unsigned count, struct fabric_context *context)
{
	struct ofi_channel *channel = (struct ofi_channel *)base;
	struct iovec here[PIECES_MAX];
	struct fi_rma_iov there[PIECES_MAX];
	struct fi_msg_rma message = { .msg_iov = here,
				      .iov_count = count,
				      .addr = channel->peer,
				      .rma_iov = there,
				      .rma_iov_count = count,
				      .context = context };
	uint64_t flags = FI_COMPLETION;
	ssize_t ret;

	for (unsigned i = 0; i < count; i++) {
		const struct fabric_piece *piece = &pieces[i];

		here[i] = (struct iovec){ (void *)piece->local, piece->bytes };
		there[i] = (struct fi_rma_iov){ channel->memory_base + piece->offset, piece->bytes,
						channel->key };
	}
	if (channel->transport == FABRIC_TCP)
		flags |= FI_DELIVERY_COMPLETE;
	ret = fi_writemsg(channel->endpoint.ep, &message, flags);
	return ret ? ofi_errno((int)ret) : 0;
}

static int take_error(struct ofi_channel *channel, struct fabric_done *done)
{
	struct fi_cq_err_entry entry = { 0 };
	ssize_t ret = fi_cq_readerr(channel->endpoint.cq, &entry, 0);

	if (ret == -FI_EAGAIN)
		return 0;
	if (ret < 0)
		return ofi_errno((int)ret);
	done->context = entry.op_context;
	done->result = ofi_errno(entry.err);
	return 1;
}

int ofi_channel_poll(struct fabric_channel *base, struct fabric_done *done, unsigned count_max)
{
	struct ofi_channel *channel = (struct ofi_channel *)base;
	struct fi_cq_entry entries[POLL_BATCH];
	ssize_t count = fi_cq_read(channel->endpoint.cq, entries,
				   count_max < POLL_BATCH ? count_max : POLL_BATCH);

	if (count == -FI_EAGAIN)
		return 0;
	if (count == -FI_EAVAIL)
		return take_error(channel, done);
	if (count < 0)
		return ofi_errno((int)count);
	for (ssize_t i = 0; i < count; i++) {
		done[i].context = entries[i].op_context;
		done[i].result = 0;
	}
	return (int)count;
}
