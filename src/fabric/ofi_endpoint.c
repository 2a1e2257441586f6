/* SPDX-License-Identifier: Apache-2.0 */
#include "fabric/ofi.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"

/* A target's receive side is never used for messages; the least that providers take. */
#define QUEUE_ENTRIES_MIN 16
/*
 * Through shm a read or write is done by the asking side alone, and leaves a note in the target's
 * queue that the target must take out sometime. This many notes fit before the asking side waits,
 * so that the target may sleep; the pool of inline buffers beside it makes it cost 4 KiB each of
 * shared memory, touched only when used.
 */
#define SHM_NOTES 1024

static atomic_uint shm_number; /* makes the names of this process's endpoints different */
static _Atomic pid_t shm_owner; /* the process that took names already; 0: none */

struct provider {
	enum fabric_transport transport;
	const char *name;
	uint32_t protocol; /* both sides must speak the same */
};

/*
 * In the order of choice. Of tcp, the native reliable datagrams first ("net" is what Debian 12's
 * libfabric calls them, "tcp" is their later name): opening one costs 2 ms, one
 * of ofi_rxm 40 to 170 ms, and neither fetches faster.
 */
static const struct provider providers[] = {
	{ FABRIC_TCP, "net", FI_PROTO_XNET },
	{ FABRIC_TCP, "tcp", FI_PROTO_XNET },
	{ FABRIC_TCP, "tcp;ofi_rxm", FI_PROTO_RXM },
	{ FABRIC_SHM, "shm", FI_PROTO_SHM },
};

static struct fi_info *make_hints(const struct ofi_endpoint_options *options,
				  const struct provider *provider)
{
	struct fi_info *hints = fi_allocinfo();

	if (!hints)
		return NULL;
	if (options->transport == FABRIC_TCP)
		hints->tx_attr->op_flags =
			FI_DELIVERY_COMPLETE; /* so that the provider must have it */
	hints->caps =
		FI_RMA | (options->target ? FI_REMOTE_READ | FI_REMOTE_WRITE : FI_READ | FI_WRITE);
	hints->mode =
		~0ull; /* contexts are given (fabric_context); the rest is never asked for RMA */
	hints->mode &= ~(uint64_t)FI_MSG_PREFIX;
	hints->ep_attr->type = FI_EP_RDM;
	/*
	 * No FI_MR_LOCAL: tcp and shm read local buffers as they are. A transport that needs it
	 * (verbs) would register backing_options.pages once and pass its descriptor.
	 */
	hints->domain_attr->mr_mode = FI_MR_VIRT_ADDR;
	hints->domain_attr->threading = FI_THREAD_DOMAIN;
	hints->domain_attr->control_progress = FI_PROGRESS_MANUAL;
	hints->domain_attr->data_progress = FI_PROGRESS_MANUAL;
	hints->domain_attr->resource_mgmt = FI_RM_ENABLED;
	hints->fabric_attr->prov_name = strdup(provider->name);
	hints->ep_attr->protocol = provider->protocol;
	return hints;
}

/*
 * The address of this host that packets to `peer` leave from, with port 0: an endpoint listens
 * there, and given only the peer's address the provider would make none.
 */
static int own_address_towards(const void *peer, size_t bytes, struct sockaddr *ret_own)
{
	const struct sockaddr *address = peer;
	socklen_t own_bytes = (socklen_t)bytes;
	CLEANUP_FD int fd = socket(address->sa_family, SOCK_DGRAM, 0);

	if (fd < 0 || connect(fd, address, (socklen_t)bytes) ||
	    getsockname(fd, ret_own, &own_bytes))
		return -errno;
	if (ret_own->sa_family == AF_INET6)
		((struct sockaddr_in6 *)ret_own)->sin6_port = 0;
	else
		((struct sockaddr_in *)ret_own)->sin_port = 0;
	return 0;
}

static int set_addresses(struct fi_info *hints, const struct ofi_endpoint_options *options)
{
	if (options->transport == FABRIC_SHM) {
		char name[64];
		int bytes;

		/* Before an exec this process may have had endpoints of the same names. */
		if (atomic_exchange(&shm_owner, getpid()) != getpid())
			fabric_clean_own();
		bytes = snprintf(name, sizeof(name), "fi_ns://" FABRIC_SHM_PREFIX "%d-%u",
				 (int)getpid(), atomic_fetch_add(&shm_number, 1));

		hints->src_addr = strdup(name);
		hints->src_addrlen = (size_t)bytes + 1;
		return hints->src_addr ? 0 : -ENOMEM;
	}
	if (!options->peer)
		return 0;
	hints->src_addr = malloc(options->peer_bytes);
	if (!hints->src_addr)
		return -ENOMEM;
	hints->src_addrlen = options->peer_bytes;
	hints->addr_format = ((const struct sockaddr *)options->peer)->sa_family == AF_INET6
				     ? FI_SOCKADDR_IN6
				     : FI_SOCKADDR_IN;
	return own_address_towards(options->peer, options->peer_bytes, hints->src_addr);
}

static int ask_provider(const struct ofi_endpoint_options *options, const struct provider *provider,
			struct fi_info **ret_info)
{
	struct fi_info *hints = make_hints(options, provider);
	const char *host = options->transport == FABRIC_TCP ? options->host : NULL;
	int ret;

	if (!hints)
		return -ENOMEM;
	ret = set_addresses(hints, options);
	if (!ret)
		ret = fi_getinfo(FI_VERSION(1, 17), host, host ? "0" : NULL, host ? FI_SOURCE : 0,
				 hints, ret_info);
	fi_freeinfo(hints);
	return ret;
}

static void set_sizes(struct fi_info *info, const struct ofi_endpoint_options *options)
{
	unsigned depth = options->depth < QUEUE_ENTRIES_MIN ? QUEUE_ENTRIES_MIN : options->depth;

	info->rx_attr->size = QUEUE_ENTRIES_MIN;
	if (options->transport == FABRIC_SHM && options->target)
		info->rx_attr->size = SHM_NOTES;
	if (options->transport == FABRIC_TCP && info->tx_attr->size > depth)
		info->tx_attr->size = depth;
}

static int find_info(struct ofi_endpoint *endpoint, const struct ofi_endpoint_options *options)
{
	int ret = -FI_ENODATA;

	for (unsigned i = 0; i < ARRAY_COUNT(providers); i++) {
		const struct provider *provider = &providers[i];

		if (provider->transport != options->transport ||
		    (options->protocol && provider->protocol != options->protocol))
			continue;
		ret = ask_provider(options, provider, &endpoint->info);
		if (!ret) {
			set_sizes(endpoint->info, options);
			return 0;
		}
	}
	return ret;
}

static int open_queues(struct ofi_endpoint *endpoint, const struct ofi_endpoint_options *options)
{
	struct fi_av_attr av_attr = { .type = FI_AV_TABLE, .count = 16 };
	struct fi_cq_attr cq_attr = {
		.format = FI_CQ_FORMAT_CONTEXT,
		.size = options->depth < QUEUE_ENTRIES_MIN ? QUEUE_ENTRIES_MIN : options->depth,
		.wait_obj = options->target && options->transport == FABRIC_TCP ? FI_WAIT_FD
										: FI_WAIT_NONE,
	};
	int ret = fi_av_open(endpoint->domain, &av_attr, &endpoint->av, NULL);

	if (!ret)
		ret = fi_cq_open(endpoint->domain, &cq_attr, &endpoint->cq, NULL);
	if (!ret)
		ret = fi_endpoint(endpoint->domain, endpoint->info, &endpoint->ep, NULL);
	if (!ret)
		ret = fi_ep_bind(endpoint->ep, &endpoint->av->fid, 0);
	if (!ret)
		ret = fi_ep_bind(endpoint->ep, &endpoint->cq->fid, FI_TRANSMIT | FI_RECV);
	if (!ret)
		ret = fi_enable(endpoint->ep);
	return ret;
}

int ofi_endpoint_open(struct ofi_endpoint *endpoint, const struct ofi_endpoint_options *options,
		      struct error *why)
{
	int ret = find_info(endpoint, options);

	if (!ret)
		ret = fi_fabric(endpoint->info->fabric_attr, &endpoint->fabric, NULL);
	if (!ret)
		ret = fi_domain(endpoint->fabric, endpoint->info, &endpoint->domain, NULL);
	if (!ret)
		ret = open_queues(endpoint, options);
	if (!ret)
		return 0;
	ofi_endpoint_close(endpoint);
	return error_set(why, ofi_errno(ret), "libfabric's %s transport cannot be used here: %s",
			 options->transport == FABRIC_SHM ? "shm" : "tcp", fi_strerror(-ret));
}

static void close_fid(struct fid *fid)
{
	if (fid)
		fi_close(fid);
}

void ofi_endpoint_close(struct ofi_endpoint *endpoint)
{
	close_fid(endpoint->ep ? &endpoint->ep->fid : NULL);
	close_fid(endpoint->cq ? &endpoint->cq->fid : NULL);
	close_fid(endpoint->av ? &endpoint->av->fid : NULL);
	close_fid(endpoint->domain ? &endpoint->domain->fid : NULL);
	close_fid(endpoint->fabric ? &endpoint->fabric->fid : NULL);
	if (endpoint->info)
		fi_freeinfo(endpoint->info);
	memset(endpoint, 0, sizeof(*endpoint));
}
