/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FABRIC_OFI_H
#define FABRIC_OFI_H

/* Within the module perdure-fabric-ofi.so: what its files share. */

#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>

#include "fabric/fabric.h"

/*
 * One endpoint with all that it needs, shared with no other: what belongs to one thread takes no
 * lock, and what breaks breaks alone.
 */
struct ofi_endpoint {
	struct fi_info *info;
	struct fid_fabric *fabric;
	struct fid_domain *domain;
	struct fid_av *av;
	struct fid_cq *cq;
	struct fid_ep *ep;
};

struct ofi_endpoint_options {
	enum fabric_transport transport;
	bool target;	  /* it answers; else it asks */
	const char *host; /* a tcp target's address to listen on */
	const void *peer; /* a channel's target: chooses the network */
	size_t peer_bytes;
	uint32_t protocol; /* a channel's: what the target speaks; 0: any */
	unsigned depth;	   /* operations at a time */
};

int ofi_endpoint_open(struct ofi_endpoint *endpoint, const struct ofi_endpoint_options *options,
		      struct error *why);
void ofi_endpoint_close(struct ofi_endpoint *endpoint);

/* A libfabric return or completion error as a -errno that the rest of Perdure knows. */
int ofi_errno(int code);

int ofi_channel_open(enum fabric_transport transport, const struct fabric_address *target,
		     unsigned depth, struct fabric_channel **ret_channel, struct error *why);
void ofi_channel_close(struct fabric_channel *channel);
void ofi_channel_forget(struct fabric_channel *channel);
int ofi_channel_read(struct fabric_channel *channel, void *local, size_t bytes, uint64_t offset,
		     struct fabric_context *context);
int ofi_channel_write(struct fabric_channel *channel, const struct fabric_piece *pieces,
		      unsigned count, struct fabric_context *context);
int ofi_channel_poll(struct fabric_channel *channel, struct fabric_done *done, unsigned count_max);

int ofi_target_open(const struct fabric_target_options *options, struct fabric_target **ret_target,
		    struct error *why);
void ofi_target_close(struct fabric_target *target);
void ofi_target_address(struct fabric_target *target, struct fabric_address *ret_address);
bool ofi_target_progress(struct fabric_target *target);
int ofi_target_wait_fd(struct fabric_target *target);
bool ofi_target_may_sleep(struct fabric_target *target);

int ofi_proof(const void *key, size_t key_bytes, const void *first, size_t first_bytes,
	      const void *second, size_t second_bytes, uint8_t ret_proof[FABRIC_PROOF_BYTES]);

/* In a forked child, before libfabric is used there: closes the copies of the parent's descriptors.
 */
void ofi_process_forget(void);

extern const struct fabric_ops ofi_ops;

#endif
