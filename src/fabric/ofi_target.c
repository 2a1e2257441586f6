/* SPDX-License-Identifier: Apache-2.0 */
#include "fabric/ofi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct ofi_target {
	struct fabric_target base;
	struct ofi_endpoint endpoint;
	struct fid_mr *mr;
	uint64_t memory_base; /* what the asking side adds to an offset */
	bool sleeps;	      /* the completion queue has a descriptor */
	int wait_fd;
};

static int register_memory(struct ofi_target *target, const struct fabric_target_options *options)
{
	int mr_mode = target->endpoint.info->domain_attr->mr_mode;
	int ret =
		fi_mr_reg(target->endpoint.domain, options->memory, options->memory_bytes,
			  FI_REMOTE_READ | FI_REMOTE_WRITE, 0, options->key, 0, &target->mr, NULL);

	if (ret)
		return ret;
	target->memory_base = mr_mode & FI_MR_VIRT_ADDR ? (uint64_t)(uintptr_t)options->memory : 0;
	return 0;
}

int ofi_target_open(const struct fabric_target_options *options, struct fabric_target **ret_target,
		    struct error *why)
{
	struct ofi_endpoint_options endpoint_options = {
		.transport = options->transport,
		.target = true,
		.host = options->host,
	};
	struct ofi_target *target = calloc(1, sizeof(*target));
	int ret;

	if (!target)
		return error_set(why, -ENOMEM, "out of memory");
	target->base.ops = &ofi_ops;
	target->wait_fd = -1;
	ret = ofi_endpoint_open(&target->endpoint, &endpoint_options, why);
	if (!ret) {
		ret = register_memory(target, options);
		if (ret)
			ret = error_set(why, ofi_errno(ret), "cannot register memory: %s",
					fi_strerror(-ret));
	}
	if (!ret && options->transport == FABRIC_TCP)
		target->sleeps =
			!fi_control(&target->endpoint.cq->fid, FI_GETWAIT, &target->wait_fd);
	if (ret) {
		ofi_target_close(&target->base);
		return ret;
	}
	*ret_target = &target->base;
	return 0;
}

void ofi_target_close(struct fabric_target *base)
{
	struct ofi_target *target = (struct ofi_target *)base;

	if (!target)
		return;
	if (target->mr)
		fi_close(&target->mr->fid);
	ofi_endpoint_close(&target->endpoint);
	free(target);
}

void ofi_target_address(struct fabric_target *base, struct fabric_address *ret_address)
{
	struct ofi_target *target = (struct ofi_target *)base;
	size_t bytes = sizeof(ret_address->data);

	memset(ret_address, 0, sizeof(*ret_address));
	if (fi_getname(&target->endpoint.ep->fid, ret_address->data, &bytes))
		return;
	ret_address->bytes = (uint32_t)bytes;
	ret_address->protocol = target->endpoint.info->ep_attr->protocol;
	ret_address->base = target->memory_base;
	ret_address->key = fi_mr_key(target->mr);
}

/*
 * A target posts nothing, so its queue has no entries of its own; reading it is what moves the
 * provider on. An error entry tells of a client's broken connection: it is taken out and
 * forgotten, for the client learns of it on its side.
 */
bool ofi_target_progress(struct fabric_target *base)
{
	struct ofi_target *target = (struct ofi_target *)base;
	struct fi_cq_entry entries[16];
	struct fi_cq_err_entry error_entry = { 0 };
	ssize_t count = fi_cq_read(target->endpoint.cq, entries, 16);

	if (count == -FI_EAVAIL)
		fi_cq_readerr(target->endpoint.cq, &error_entry, 0);
	return count > 0;
}

int ofi_target_wait_fd(struct fabric_target *base)
{
	struct ofi_target *target = (struct ofi_target *)base;

	return target->sleeps ? target->wait_fd : -1;
}

bool ofi_target_may_sleep(struct fabric_target *base)
{
	struct ofi_target *target = (struct ofi_target *)base;
	struct fid *fids[1] = { &target->endpoint.cq->fid };

	return !target->sleeps || fi_trywait(target->endpoint.fabric, fids, 1) == FI_SUCCESS;
}
