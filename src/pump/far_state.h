/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PUMP_FAR_STATE_H
#define PUMP_FAR_STATE_H

/* What the far store's own files share. Nobody else includes it. */

#include "pump/far.h"

#define FAR_SPIN_NS 200000u /* of a wait in which others are only let before */
#define FAR_NAP_NS 20000u   /* and from then on between two looks; the kernel rounds it up */

struct far {
	struct slot_map *map;
	uint32_t member;
	uint32_t backing_count;
	uint32_t mirror;
	uint64_t timeout_ns;
	struct backing *backings[SLOT_BACKINGS_MAX];
	struct run_counters *counters;
	pthread_mutex_t lock; /* cursors, reserve(); taken under no other lock but pager.lock */
	uint32_t stripe;
	struct slot_cursor cursors[SLOT_BACKINGS_MAX];
};

struct store {
	bool used;
	uint32_t tag, page_count, first_slot, tries;
	uint64_t deadline_ns;
	struct slot_copy copies[SLOT_COPIES_MAX];
	struct backing_io ios[SLOT_COPIES_MAX];
	bool good[SLOT_COPIES_MAX];
};

struct far_lane {
	struct far *far;
	struct backing_channel *channels[SLOT_BACKINGS_MAX];
	uint32_t pending;
	struct store stores[FAR_STORES_MAX];
};

/* Opens the lane's channels. */
int far_lane_connect(struct far_lane *lane, struct error *why);

#endif
