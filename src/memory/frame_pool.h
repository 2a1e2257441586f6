/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEMORY_FRAME_POOL_H
#define MEMORY_FRAME_POOL_H

/*
 * Frames in passage: evicted pages on their way out and fetched pages on their way in. A frame is a
 * page-sized place in the pool's address range that may hold a physical page (full) or none
 * (empty). Physical pages move between the region and the frames, so their number is conserved; the
 * pool's range is much larger than the number of full frames, because pages leave in groups of
 * FRAME_GROUP_FRAMES neighbours (one move, one store) but come back singly.
 *
 *   EMPTY   no physical page
 *   VICTIM  full with the bytes of an evicted page; ready once the group's stores are done
 *   TAKEN   full or empty, in the hands of one thread
 *
 * A group is handed out when all its frames are EMPTY, and queued, oldest first, when it was filled
 * with victims. Pure bookkeeping: it moves nothing, makes no system call and allocates nothing; the
 * caller hands the memory in and serialises all calls.
 */

#include <stdbool.h>
#include <stdint.h>

#define FRAME_GROUP_FRAMES 32
#define FRAME_NONE UINT32_MAX
#define FRAME_GROUP_NONE UINT32_MAX

enum frame_state { FRAME_EMPTY, FRAME_VICTIM, FRAME_TAKEN };

struct frame {
	uint32_t page; /* of a VICTIM */
	uint32_t state;
};

struct frame_group {
	uint32_t next;	   /* in the list or queue that it is in */
	uint16_t nonempty; /* frames that are not EMPTY */
	uint16_t victims;
	uint16_t stores;   /* stores of it that are not acknowledged */
	bool queued;
};

struct frame_pool {
	struct frame *frames;
	struct frame_group *groups;
	uint32_t group_count;
	uint32_t victim_count;	  /* of all groups */
	uint32_t empty_first;	  /* list of wholly EMPTY groups */
	uint32_t queue_first;	  /* oldest filled group */
	uint32_t queue_last;
};

/* Arrays of frame_count frames and frame_count / FRAME_GROUP_FRAMES groups, zeroed. */
void frame_pool_init(struct frame_pool *pool, struct frame *frames, struct frame_group *groups,
		     uint32_t frame_count);

/* A wholly EMPTY group, all its frames TAKEN now; FRAME_GROUP_NONE when there is none. */
uint32_t frame_pool_take_group(struct frame_pool *pool);
/* Sets one frame of a taken group, or a TAKEN frame: what it is now. */
void frame_pool_put_victim(struct frame_pool *pool, uint32_t frame, uint32_t page);
void frame_pool_put_empty(struct frame_pool *pool, uint32_t frame);
/*
 * Queues a taken group of which every frame was put; `stores` must be acknowledged first. A group
 * of which every frame was put empty has gone back already and has no stores: nothing is queued.
 */
void frame_pool_queue_group(struct frame_pool *pool, uint32_t group, uint16_t stores);
/* One store of the group was acknowledged. */
void frame_pool_store_done(struct frame_pool *pool, uint32_t group);
/*
 * The oldest victim whose stores are done, still VICTIM: *ret_page is its page. The caller takes
 * the page's entry and then calls frame_pool_take_victim(), or, when it cannot, asks for the next
 * one with *cursor (0 at first). FRAME_NONE when there is none.
 */
uint32_t frame_pool_oldest_victim(struct frame_pool *pool, uint64_t *cursor, uint32_t *ret_page);
/* VICTIM to TAKEN. */
void frame_pool_take_victim(struct frame_pool *pool, uint32_t frame);

static inline uint32_t frame_pool_group_of(uint32_t frame)
{
	return frame / FRAME_GROUP_FRAMES;
}

/* True when no store of the frame's group is outstanding. */
static inline bool frame_pool_is_stored(const struct frame_pool *pool, uint32_t frame)
{
	return pool->groups[frame_pool_group_of(frame)].stores == 0;
}

#endif
