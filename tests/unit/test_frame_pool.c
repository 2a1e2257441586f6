/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/frame_pool.h"

#include <check.h>
#include <string.h>

#include "base/bytes.h"
#include "base/random.h"
#include "suite.h"

#define GROUPS 8
#define FRAMES (GROUPS * FRAME_GROUP_FRAMES)
#define MODEL_STEPS 40000

static struct frame frames[FRAMES];
static struct frame_group groups[GROUPS];

/* What each frame is, and the groups in the order in which they were queued. */
struct model {
	struct frame_pool pool;
	struct random_source random;
	uint32_t states[FRAMES];
	uint32_t pages[FRAMES];
	uint32_t stores[GROUPS];
	uint32_t order[GROUPS]; /* groups with victims, oldest first */
	uint32_t order_count;
	uint32_t next_page;
};

static void start(struct model *model, uint64_t seed)
{
	memset(frames, 0, sizeof(frames));
	memset(groups, 0, sizeof(groups));
	*model = (struct model){.random = random_from_seed(seed)};
	frame_pool_init(&model->pool, frames, groups, FRAMES);
}

static uint32_t count_state(const struct model *model, uint32_t group, uint32_t state)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < FRAME_GROUP_FRAMES; i++)
		count += model->states[group * FRAME_GROUP_FRAMES + i] == state;
	return count;
}

/* The group's number in the list from `first` on, or -1; -2 for a list that does not end. */
static int place_in_list(uint32_t first, uint32_t group)
{
	int place = -1;
	uint32_t at = first;

	for (int n = 0; at != FRAME_GROUP_NONE; n++) {
		if (n >= GROUPS)
			return -2;
		if (at == group)
			place = n;
		at = groups[at].next;
	}
	return place;
}

static bool group_is_right(const struct model *model, uint32_t g)
{
	bool empty = count_state(model, g, FRAME_EMPTY) == FRAME_GROUP_FRAMES;
	int in_empty = place_in_list(model->pool.empty_first, g);
	int in_queue = place_in_list(model->pool.queue_first, g);

	if (groups[g].victims != count_state(model, g, FRAME_VICTIM) ||
	    groups[g].nonempty != FRAME_GROUP_FRAMES - count_state(model, g, FRAME_EMPTY) ||
	    groups[g].stores != model->stores[g] || in_empty == -2 || in_queue == -2)
		return false;
	if (groups[g].queued != (in_queue >= 0) || (groups[g].victims && in_queue < 0))
		return false;
	return (in_empty >= 0) == (empty && !model->stores[g] && in_queue < 0);
}

/* Every frame is what the model says, every group in the one list that it belongs to. */
static bool is_equal(const struct model *model)
{
	uint32_t victim_count = 0;

	for (uint32_t f = 0; f < FRAMES; f++) {
		if (frames[f].state != model->states[f] ||
		    (model->states[f] == FRAME_VICTIM && frames[f].page != model->pages[f]))
			return false;
		victim_count += model->states[f] == FRAME_VICTIM;
	}
	for (uint32_t g = 0; g < GROUPS; g++)
		if (!group_is_right(model, g))
			return false;
	return model->pool.victim_count == victim_count;
}

static void put(struct model *model, uint32_t frame, uint32_t state)
{
	ck_assert_uint_eq(model->states[frame], FRAME_TAKEN);
	model->states[frame] = state;
	if (state == FRAME_EMPTY) {
		frame_pool_put_empty(&model->pool, frame);
	} else {
		model->pages[frame] = model->next_page++;
		frame_pool_put_victim(&model->pool, frame, model->pages[frame]);
	}
}

/* A group is filled in a way of its own: all victims, few, or none at all. */
static void step_fill(struct model *model)
{
	uint32_t group = frame_pool_take_group(&model->pool);
	uint64_t part = random_below(&model->random, 4);
	uint32_t victims = 0;

	if (group == FRAME_GROUP_NONE) {
		for (uint32_t g = 0; g < GROUPS; g++)
			ck_assert(groups[g].nonempty || groups[g].stores || groups[g].queued);
		return;
	}
	ck_assert_uint_eq(count_state(model, group, FRAME_EMPTY), FRAME_GROUP_FRAMES);
	ck_assert_uint_eq(model->stores[group], 0);
	for (uint32_t i = 0; i < FRAME_GROUP_FRAMES; i++)
		model->states[group * FRAME_GROUP_FRAMES + i] = FRAME_TAKEN;
	for (uint32_t i = 0; i < FRAME_GROUP_FRAMES; i++) {
		bool victim = random_below(&model->random, 3) < part;

		put(model, group * FRAME_GROUP_FRAMES + i, victim ? FRAME_VICTIM : FRAME_EMPTY);
		victims += victim;
	}
	if (victims)
		model->stores[group] = (uint32_t)random_below(&model->random, victims + 1);
	frame_pool_queue_group(&model->pool, group, (uint16_t)model->stores[group]);
	if (victims)
		model->order[model->order_count++] = group;
}

static void step_store_done(struct model *model)
{
	uint32_t group = (uint32_t)random_below(&model->random, GROUPS);
	uint64_t count = random_below(&model->random, FRAME_GROUP_FRAMES);

	for (; count && model->stores[group]; count--) {
		model->stores[group]--;
		frame_pool_store_done(&model->pool, group);
	}
	ck_assert_int_eq(frame_pool_is_stored(&model->pool, group * FRAME_GROUP_FRAMES),
			 !model->stores[group]);
}

/* A group without victims has no place in the order any more. */
static void tidy_order(struct model *model)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < model->order_count; i++)
		if (count_state(model, model->order[i], FRAME_VICTIM))
			model->order[kept++] = model->order[i];
	model->order_count = kept;
}

/* The victim number `skip` of those that are stored. */
static uint32_t expected_victim(const struct model *model, uint32_t skip)
{
	for (uint32_t i = 0; i < model->order_count; i++) {
		uint32_t group = model->order[i];

		if (model->stores[group])
			continue;
		for (uint32_t f = 0; f < FRAME_GROUP_FRAMES; f++)
			if (model->states[group * FRAME_GROUP_FRAMES + f] == FRAME_VICTIM &&
			    !skip--)
				return group * FRAME_GROUP_FRAMES + f;
	}
	return FRAME_NONE;
}

static void take_victim(struct model *model, uint32_t frame)
{
	frame_pool_take_victim(&model->pool, frame);
	model->states[frame] = FRAME_TAKEN;
	tidy_order(model);
}

/* Passes over some, as a caller does that does not get the page's entry. */
static void step_oldest(struct model *model)
{
	uint32_t skip = (uint32_t)random_below(&model->random, 3) *
			(uint32_t)random_below(&model->random, 40);
	uint64_t cursor = 0;

	for (uint32_t n = 0; n <= skip; n++) {
		uint32_t page = UINT32_MAX;
		uint32_t frame = frame_pool_oldest_victim(&model->pool, &cursor, &page);

		ck_assert_uint_eq(frame, expected_victim(model, n));
		if (frame == FRAME_NONE)
			return;
		ck_assert_uint_eq(page, model->pages[frame]);
		if (n == skip)
			take_victim(model, frame);
	}
}

/* A fault takes a victim wherever it stands, stored or not, and gives it back soon or later. */
static void step_frame(struct model *model)
{
	uint32_t frame = (uint32_t)random_below(&model->random, FRAMES);

	if (model->states[frame] == FRAME_VICTIM)
		take_victim(model, frame);
	if (model->states[frame] == FRAME_TAKEN && random_below(&model->random, 4))
		put(model, frame, FRAME_EMPTY);
}

START_TEST(test_random_steps_match_an_array)
{
	static void (*const steps[])(struct model *) = {
		step_fill,  step_store_done, step_store_done, step_oldest, step_oldest, step_oldest,
		step_frame, step_frame,	     step_frame,      step_frame,  step_frame,	step_frame,
		step_frame, step_frame,	     step_frame,      step_frame,  step_frame,	step_frame,
	};
	struct model model;

	start(&model, (uint64_t)_i + 1);
	for (uint32_t n = 0; n < MODEL_STEPS; n++) {
		steps[random_below(&model.random, ARRAY_COUNT(steps))](&model);
		tidy_order(&model);
		ck_assert_msg(is_equal(&model), "after step %u", n);
	}
	/* The steps did not end in a pool that is full for ever. */
	ck_assert_uint_gt(model.next_page, MODEL_STEPS / 20);
}
END_TEST

/* Whatever happened, all groups come back once all frames are empty and all stores done. */
START_TEST(test_all_groups_come_back)
{
	struct model model;
	uint64_t cursor = 0;
	uint32_t page;

	start(&model, 99);
	for (uint32_t n = 0; n < 400; n++)
		step_fill(&model);
	for (uint32_t g = 0; g < GROUPS; g++)
		for (; model.stores[g]; model.stores[g]--)
			frame_pool_store_done(&model.pool, g);
	for (uint32_t f = 0; f < FRAMES; f++)
		if (model.states[f] == FRAME_VICTIM) {
			take_victim(&model, f);
			put(&model, f, FRAME_EMPTY);
		}
	ck_assert_uint_eq(frame_pool_oldest_victim(&model.pool, &cursor, &page), FRAME_NONE);
	for (uint32_t g = 0; g < GROUPS; g++)
		ck_assert_uint_ne(frame_pool_take_group(&model.pool), FRAME_GROUP_NONE);
	ck_assert_uint_eq(frame_pool_take_group(&model.pool), FRAME_GROUP_NONE);
}
END_TEST

START_TEST(test_unstored_group_waits)
{
	struct model model;
	uint64_t cursor = 0;
	uint32_t page, group;

	start(&model, 1);
	group = frame_pool_take_group(&model.pool);
	for (uint32_t i = 0; i < FRAME_GROUP_FRAMES; i++)
		frame_pool_put_victim(&model.pool, group * FRAME_GROUP_FRAMES + i, 1000 + i);
	frame_pool_queue_group(&model.pool, group, 2);
	frame_pool_store_done(&model.pool, group);
	ck_assert_uint_eq(frame_pool_oldest_victim(&model.pool, &cursor, &page), FRAME_NONE);
	frame_pool_store_done(&model.pool, group);
	ck_assert_uint_eq(frame_pool_oldest_victim(&model.pool, &cursor, &page),
			  group * FRAME_GROUP_FRAMES);
	ck_assert_uint_eq(page, 1000);
}
END_TEST

/* All its moves failed: the group is back already, and queueing it must not put it in two lists. */
START_TEST(test_group_put_empty_is_not_queued)
{
	struct model model;
	uint32_t group;

	start(&model, 1);
	group = frame_pool_take_group(&model.pool);
	for (uint32_t i = 0; i < FRAME_GROUP_FRAMES; i++)
		frame_pool_put_empty(&model.pool, group * FRAME_GROUP_FRAMES + i);
	frame_pool_queue_group(&model.pool, group, 0);
	ck_assert(is_equal(&model));
	for (uint32_t g = 0; g < GROUPS; g++)
		ck_assert_uint_ne(frame_pool_take_group(&model.pool), FRAME_GROUP_NONE);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("frame_pool");
	TCase *tcase = tcase_create("frame_pool");

	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, test_random_steps_match_an_array, 0, 3);
	tcase_add_test(tcase, test_all_groups_come_back);
	tcase_add_test(tcase, test_unstored_group_waits);
	tcase_add_test(tcase, test_group_put_empty_is_not_queued);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
