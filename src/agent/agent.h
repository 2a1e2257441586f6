/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_AGENT_H
#define AGENT_AGENT_H

/*
 * The host's agent, `perdure serve`: keeps persistent regions and saves them when the power fails
 * (method M5, docs/design/persistence.md). One main thread waits for everybody: clients, the UPS,
 * signals, the mover. Nothing that it does takes long but the first opening of the regions.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "persist/ups_address.h"

struct agent_options {
	const char *folder; /* of the regions and the socket, on a tmpfs */
	const char *images;
	const char *pid_file; /* NULL: none */
	bool eager;	      /* not ready before all regions are restored */
	bool has_ups;
	struct ups_address ups;
	const char *ups_user;
	const char *ups_password_file;
	uint32_t ups_runtime_s;	  /* of the full battery, for a UPS that does not say; 0: none */
	uint64_t dirty_bytes_max; /* 0: what the battery pays for */
	uint64_t ride_through_ns;
	uint64_t reserve_ns;
	uint32_t safety_percent;
};

/* Serves until SIGTERM or SIGINT, and saves then; 0. -errno in words if it could not begin. */
int agent_run(const struct agent_options *options, struct error *why);

#endif
