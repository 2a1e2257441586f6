/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/frame_pool.h"

#include <assert.h>

static void push_empty_group(struct frame_pool *pool, uint32_t group)
{
	pool->groups[group].next = pool->empty_first;
	pool->empty_first = group;
}

void frame_pool_init(struct frame_pool *pool, struct frame *frames, struct frame_group *groups,
		     uint32_t frame_count)
{
	*pool = (struct frame_pool){
		.frames = frames,
		.groups = groups,
		.group_count = frame_count / FRAME_GROUP_FRAMES,
		.empty_first = FRAME_GROUP_NONE,
		.queue_first = FRAME_GROUP_NONE,
		.queue_last = FRAME_GROUP_NONE,
	};
	for (uint32_t group = pool->group_count; group-- > 0;)
		push_empty_group(pool, group);
}

/* A group with nothing in it any more goes back, unless it is still queued or being filled. */
static void settle_group(struct frame_pool *pool, uint32_t index)
{
	struct frame_group *group = &pool->groups[index];

	if (!group->nonempty && !group->queued && !group->stores)
		push_empty_group(pool, index);
}

uint32_t frame_pool_take_group(struct frame_pool *pool)
{
	uint32_t index = pool->empty_first;
	struct frame_group *group;

	if (index == FRAME_GROUP_NONE)
		return index;
	group = &pool->groups[index];
	pool->empty_first = group->next;
	assert(!group->nonempty && !group->victims && !group->stores && !group->queued);
	for (uint32_t i = 0; i < FRAME_GROUP_FRAMES; i++)
		pool->frames[index * FRAME_GROUP_FRAMES + i].state = FRAME_TAKEN;
	group->nonempty = FRAME_GROUP_FRAMES;
	return index;
}

void frame_pool_put_victim(struct frame_pool *pool, uint32_t frame, uint32_t page)
{
	assert(pool->frames[frame].state == FRAME_TAKEN);
	pool->frames[frame] = (struct frame){ .page = page, .state = FRAME_VICTIM };
	pool->groups[frame_pool_group_of(frame)].victims++;
	pool->victim_count++;
}

void frame_pool_put_empty(struct frame_pool *pool, uint32_t frame)
{
	uint32_t group = frame_pool_group_of(frame);

	assert(pool->frames[frame].state == FRAME_TAKEN);
	pool->frames[frame].state = FRAME_EMPTY;
	pool->groups[group].nonempty--;
	settle_group(pool, group);
}

void frame_pool_queue_group(struct frame_pool *pool, uint32_t index, uint16_t stores)
{
	struct frame_group *group = &pool->groups[index];

	assert(!group->queued);
	if (!group->nonempty) { /* it went back to the empty groups with its last frame */
		assert(!stores);
		return;
	}
	group->stores = stores;
	group->queued = true;
	group->next = FRAME_GROUP_NONE;
	if (pool->queue_last == FRAME_GROUP_NONE)
		pool->queue_first = index;
	else
		pool->groups[pool->queue_last].next = index;
	pool->queue_last = index;
}

void frame_pool_store_done(struct frame_pool *pool, uint32_t index)
{
	struct frame_group *group = &pool->groups[index];

	assert(group->stores > 0);
	group->stores--;
	settle_group(pool, index);
}

/* Groups at the head of the queue that have no victims left are of no more use there. */
static void drop_spent_groups(struct frame_pool *pool)
{
	while (pool->queue_first != FRAME_GROUP_NONE) {
		uint32_t index = pool->queue_first;
		struct frame_group *group = &pool->groups[index];

		if (group->victims)
			return;
		pool->queue_first = group->next;
		if (pool->queue_first == FRAME_GROUP_NONE)
			pool->queue_last = FRAME_GROUP_NONE;
		group->queued = false;
		settle_group(pool, index);
	}
}

uint32_t frame_pool_oldest_victim(struct frame_pool *pool, uint64_t *cursor, uint32_t *ret_page)
{
	uint32_t skip = (uint32_t)*cursor, seen = 0;

	drop_spent_groups(pool);
	for (uint32_t g = pool->queue_first; g != FRAME_GROUP_NONE; g = pool->groups[g].next) {
		struct frame_group *group = &pool->groups[g];

		if (group->stores || !group->victims)
			continue;
		if (seen + group->victims <= skip) {
			seen += group->victims;
			continue;
		}
		for (uint32_t i = 0; i < FRAME_GROUP_FRAMES; i++) {
			uint32_t frame = g * FRAME_GROUP_FRAMES + i;

			if (pool->frames[frame].state != FRAME_VICTIM || seen++ < skip)
				continue;
			*cursor = seen;
			*ret_page = pool->frames[frame].page;
			return frame;
		}
	}
	return FRAME_NONE;
}

void frame_pool_take_victim(struct frame_pool *pool, uint32_t frame)
{
	assert(pool->frames[frame].state == FRAME_VICTIM);
	pool->frames[frame].state = FRAME_TAKEN;
	pool->groups[frame_pool_group_of(frame)].victims--;
	pool->victim_count--;
}
