/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "pump/far_state.h"

/* What a fork calls its member: the number, and above it the birth. */
#define MEMBER_BITS 8
#define MEMBER_MASK 0xffu

_Static_assert(SLOT_MEMBERS_MAX <= MEMBER_MASK + 1, "a member has eight bits");

int far_fork_open(struct far *far, uint32_t *ret_member)
{
	int err = slot_map_join(far->map, ret_member);

	/* In one word, as several threads may be about to fork. */
	if (!err)
		*ret_member |= far->map->member_births[*ret_member] << MEMBER_BITS;
	return err;
}

void far_fork_inherit(struct far *far, uint32_t member)
{
	slot_map_inherit(far->map, member & MEMBER_MASK, far->member);
}

void far_fork_leave(struct far *far, uint32_t member)
{
	slot_map_leave(far->map, member & MEMBER_MASK);
}

int far_fork_child(struct far *far, uint32_t member, struct run_counters *counters,
		   struct error *why)
{
	uint32_t extents = atomic_load(&far->map->extent_count);

	far->member = member & MEMBER_MASK;
	far->birth = member >> MEMBER_BITS;
	far->counters = counters;
	pthread_mutex_init(&far->lock, NULL);
	pthread_mutex_init(&far->count_lock, NULL);
	/* The extents in them are the parent's. */
	memset(far->cursors, 0, sizeof(far->cursors));
	memset(far->counted, 0, extents * sizeof(far->counted[0]));
	for (uint32_t i = 0; i < far->backing_count; i++) {
		struct slot_life life = slot_map_life(far->map, i);
		struct backing *backing = far->backings[i];

		pthread_mutex_init(&far->control[i], NULL);
		/* What cannot be joined now is the child's mender's to join. */
		if (!backing || life.state == SLOT_BACKING_LOST ||
		    far->sessions[i] != life.session || backing->ops->reattach(backing, NULL, why))
			far->sessions[i] = FAR_NO_SESSION;
	}
	far_count_all(far);
	return 0;
}

int far_lane_reopen(struct far_lane *lane, struct error *why)
{
	memset(lane->stores, 0, sizeof(lane->stores));
	lane->pending = 0;
	lane->ended = 0;
	memset(lane->reads, 0, sizeof(lane->reads));
	lane->reading = 0;
	lane->offers = 0;
	lane->lacking = 0;
	return far_lane_connect(lane, false, why);
}
