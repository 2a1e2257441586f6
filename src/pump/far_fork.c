/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "pump/far_state.h"

int far_fork_open(struct far *far, uint32_t *ret_member)
{
	return slot_map_join(far->map, ret_member);
}

void far_fork_inherit(struct far *far, uint32_t member)
{
	slot_map_inherit(far->map, member, far->member);
}

void far_fork_leave(struct far *far, uint32_t member)
{
	slot_map_leave(far->map, member);
}

int far_fork_child(struct far *far, uint32_t member, struct run_counters *counters,
		   struct error *why)
{
	int err = 0;

	far->member = member;
	far->counters = counters;
	pthread_mutex_init(&far->lock, NULL);
	/* The extents in them are the parent's. */
	memset(far->cursors, 0, sizeof(far->cursors));
	for (uint32_t i = 0; !err && i < far->backing_count; i++)
		if (atomic_load(&far->map->backings[i].state) != SLOT_BACKING_LOST)
			err = far->backings[i]->ops->reattach(far->backings[i], NULL, why);
	return err;
}

int far_lane_reopen(struct far_lane *lane, struct error *why)
{
	memset(lane->stores, 0, sizeof(lane->stores));
	lane->pending = 0;
	return far_lane_connect(lane, why);
}
