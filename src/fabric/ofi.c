/* SPDX-License-Identifier: Apache-2.0 */
#include "fabric/ofi.h"

#include <errno.h>

const struct fabric_ops ofi_ops = {
	.name = "ofi",
	.channel_open = ofi_channel_open,
	.channel_close = ofi_channel_close,
	.channel_forget = ofi_channel_forget,
	.read = ofi_channel_read,
	.write = ofi_channel_write,
	.poll = ofi_channel_poll,
	.target_open = ofi_target_open,
	.target_close = ofi_target_close,
	.target_address = ofi_target_address,
	.target_progress = ofi_target_progress,
	.target_wait_fd = ofi_target_wait_fd,
	.target_may_sleep = ofi_target_may_sleep,
};

__attribute__((visibility("default"))) extern const struct fabric_module perdure_fabric_module;

const struct fabric_module perdure_fabric_module = {
	.version = FABRIC_MODULE_VERSION,
	.ops = &ofi_ops,
	.proof = ofi_proof,
	.use_descriptors = descriptor_use_table,
};

int ofi_errno(int code)
{
	if (code < 0)
		code = -code;
	switch (code) {
	case FI_ENOTCONN:
	case FI_ESHUTDOWN:
	case FI_ECONNABORTED:
	case FI_ECONNREFUSED:
	case FI_ECONNRESET:
	case FI_ECANCELED: /* nothing is ever cancelled here: its connection was lost */
	case ESRCH:	   /* the process behind a shm address is gone */
	case EPIPE:
		return -ECONNRESET;
	case FI_EAGAIN:
		return -EAGAIN;
	case FI_ETRUNC:
	case FI_EOVERRUN:
		return -EIO;
	default:
		/* libfabric's own codes begin where errno ends. */
		return code >= FI_ERRNO_OFFSET || code <= 0 ? -EIO : -code;
	}
}
