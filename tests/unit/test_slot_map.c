/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/random.h"
#include "slot_fixture.h"
#include "suite.h"

#define MODEL_EXTENTS 8
#define MODEL_SLOTS (MODEL_EXTENTS * SLOT_EXTENT_SLOTS)
#define MODEL_MEMBERS 6
#define MODEL_STEPS 40000
#define MODEL_FULL_CHECK_STEPS 500
#define CLAIM_FREE_MIN 512 /* less than this is not worth claiming */

/* For each slot a bit for each member that uses it. */
struct model {
	struct random_source random;
	uint8_t users[MODEL_SLOTS];
	uint32_t taken; /* by all members together */
	bool live[MODEL_MEMBERS];
	struct slot_cursor cursors[MODEL_MEMBERS];
};

static uint32_t model_free_slots(const struct model *model, uint32_t extent)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < SLOT_EXTENT_SLOTS; i++)
		count += !model->users[extent * SLOT_EXTENT_SLOTS + i];
	return count;
}

/* The free slots of the extent that a claim should find, nobody's or the member's own. */
static uint32_t best_free(const struct model *model, uint32_t member, uint32_t backing)
{
	uint32_t own = model->cursors[member].extent, best = 0;

	for (uint32_t e = 0; e < map->extent_count; e++) {
		uint32_t count = model_free_slots(model, e);

		if ((map->extents[e].owner && e + 1 != own) || map->extents[e].sealed ||
		    slot_map_copy(map, e, 0).backing != backing)
			continue;
		best = count > best ? count : best;
	}
	return best;
}

static void model_claim(struct model *model, uint32_t member)
{
	uint32_t backing = (uint32_t)random_below(&model->random, MODEL_BACKINGS);
	struct slot_cursor *cursor = &model->cursors[member];
	uint32_t best = best_free(model, member, backing);
	int err = slot_map_claim(map, member, backing, ~0u, cursor);

	ck_assert_int_eq(err, best >= CLAIM_FREE_MIN ? 0 : -ENOENT);
	if (err) {
		ck_assert_uint_eq(cursor->extent, 0);
		if (map->extent_count < MODEL_EXTENTS)
			ck_assert_int_eq(add_extent(member, (uint8_t)backing, cursor), 0);
		return;
	}
	ck_assert_uint_eq(map->extents[cursor->extent - 1].owner, member + 1);
	ck_assert_uint_eq(model_free_slots(model, cursor->extent - 1), best);
}

static void step_take(struct model *model, uint32_t member)
{
	uint32_t want = 1 + (uint32_t)random_below(&model->random, 64), first = SLOT_NONE;
	uint32_t count = slot_map_take(map, member, &model->cursors[member], want, &first);

	if (!count) {
		model_claim(model, member);
		return;
	}
	ck_assert_uint_le(count, want);
	ck_assert_uint_eq(slot_extent_of(first), model->cursors[member].extent - 1);
	ck_assert_uint_eq(slot_extent_of(first), slot_extent_of(first + count - 1));
	for (uint32_t slot = first - 1; slot < first - 1 + count; slot++) {
		ck_assert_msg(!model->users[slot], "slot %u has users %x", slot + 1,
			      model->users[slot]);
		model->users[slot] = (uint8_t)(1u << member);
	}
	model->taken += count;
}

/* A run of slots, so that extents become free enough to be claimed again. */
static void step_free(struct model *model, uint32_t member)
{
	uint32_t first = (uint32_t)random_below(&model->random, MODEL_SLOTS);
	uint32_t count = (uint32_t)random_below(&model->random, 128);

	for (uint32_t slot = first; slot < first + count && slot < MODEL_SLOTS; slot++) {
		uint8_t bit = (uint8_t)(1u << member);
		bool last = model->users[slot] == bit;

		if (!(model->users[slot] & bit))
			continue;
		model->users[slot] &= (uint8_t)~bit;
		if (slot_map_free(map, member, slot + 1) != last)
			ck_abort_msg("slot %u: freed by its last user, or not", slot + 1);
	}
}

static void step_fork(struct model *model, uint32_t parent)
{
	uint32_t child = UINT32_MAX, expected = 0;

	while (expected < MODEL_MEMBERS && model->live[expected])
		expected++;
	if (expected == MODEL_MEMBERS)
		return;
	ck_assert_int_eq(slot_map_join(map, &child), 0);
	slot_map_inherit(map, child, parent);
	ck_assert_uint_eq(child, expected);
	model->live[child] = true;
	/* As after a fork: the child has the parent's cursor, and gets nothing by it. */
	model->cursors[child] = model->cursors[parent];
	ck_assert_uint_eq(slot_map_take(map, child, &model->cursors[child], 1, &expected), 0);
	for (uint32_t slot = 0; slot < MODEL_SLOTS; slot++)
		if (model->users[slot] & 1u << parent)
			model->users[slot] |= (uint8_t)(1u << child);
	model->cursors[child].extent = 0;
}

static void step_leave(struct model *model, uint32_t member)
{
	uint32_t live = 0;

	for (uint32_t m = 0; m < MODEL_MEMBERS; m++)
		live += model->live[m];
	if (live == 1)
		return;
	slot_map_leave(map, member);
	model->live[member] = false;
	model->cursors[member].extent = 0;
	for (uint32_t slot = 0; slot < MODEL_SLOTS; slot++)
		model->users[slot] &= (uint8_t)~(1u << member);
}

static void check_words(const struct model *model)
{
	for (uint32_t slot = 0; slot < map->extent_count * SLOT_EXTENT_SLOTS; slot += 64) {
		uint64_t used = 0;

		for (uint32_t i = 0; i < 64; i++)
			used |= (uint64_t)(model->users[slot + i] != 0) << i;
		ck_assert_uint_eq(slot_map_used_word(map, slot / SLOT_EXTENT_SLOTS,
						     slot % SLOT_EXTENT_SLOTS / 64),
				  used);
	}
}

static void check_counts(const struct model *model, uint32_t member)
{
	uint64_t counts[MODEL_BACKINGS] = {0};

	for (uint32_t slot = 0; slot < map->extent_count * SLOT_EXTENT_SLOTS; slot++)
		counts[slot_map_copy(map, slot_extent_of(slot + 1), 0).backing] +=
			model->users[slot] >> member & 1;
	for (uint32_t b = 0; b < MODEL_BACKINGS; b++)
		ck_assert_uint_eq(slot_map_count(map, member, b), counts[b]);
}

/* An owner lives, and has the extent under its cursor. */
static void check_owners(const struct model *model)
{
	for (uint32_t e = 0; e < map->extent_count; e++) {
		uint32_t owner = map->extents[e].owner;

		ck_assert_uint_le(owner, MODEL_MEMBERS);
		if (owner) {
			ck_assert(model->live[owner - 1]);
			ck_assert_uint_eq(model->cursors[owner - 1].extent, e + 1);
		}
	}
}

static void step(struct model *model)
{
	uint32_t member = (uint32_t)random_below(&model->random, MODEL_MEMBERS);
	uint64_t kind = random_below(&model->random, 400);

	if (!model->live[member])
		return;
	if (kind < 2)
		step_fork(model, member);
	else if (kind < 4)
		step_leave(model, member);
	else if (kind < 220)
		step_take(model, member);
	else
		step_free(model, member);
	check_owners(model);
}

START_TEST(test_random_steps_match_an_array)
{
	static struct model model;
	uint32_t member;

	model = (struct model){.random = random_from_seed((uint64_t)_i + 1)};
	map->landing_wait_ns = 0; /* its members leave with stores on their way */

	ck_assert_int_eq(slot_map_join(map, &member), 0);
	model.live[member] = true;
	for (uint32_t n = 0; n < MODEL_STEPS; n++) {
		step(&model);
		if (n % MODEL_FULL_CHECK_STEPS)
			continue;
		check_words(&model);
		for (uint32_t m = 0; m < MODEL_MEMBERS; m++)
			check_counts(&model, m);
	}
	ck_assert_uint_gt(model.taken, MODEL_SLOTS);
}
END_TEST

/* A member that is killed loses its slots and its extents at the next join; the parent keeps its.
 */
START_TEST(test_killed_member_loses_its_slots)
{
	struct slot_cursor cursor = {0};
	uint32_t parent, child, next, first;
	char byte;
	int ends[2];
	pid_t pid;

	ck_assert_int_eq(slot_map_join(map, &parent), 0);
	ck_assert(slot_map_hold(map, parent, map->member_births[parent]));
	ck_assert_int_eq(add_extent(parent, 0, &cursor), 0);
	ck_assert_uint_eq(slot_map_take(map, parent, &cursor, 2, &first), 2);
	ck_assert_int_eq(slot_map_join(map, &child), 0);
	slot_map_inherit(map, child, parent);
	ck_assert_int_eq(pipe(ends), 0);
	pid = fork();
	if (!pid) {
		cursor.extent = 0;
		if (!slot_map_hold(map, child, map->member_births[child]) ||
		    add_extent(child, 1, &cursor) || !slot_map_take(map, child, &cursor, 9, &next))
			_exit(1);
		slot_map_lock(map); /* and it dies with this one as well */
		byte = write(ends[1], "", 1) == 1;
		for (;;)
			pause();
	}
	ck_assert_int_eq(read(ends[0], &byte, 1), 1);
	ck_assert(!slot_map_free(map, parent, first));
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	slot_map_leave(map, child);
	ck_assert_uint_eq(slot_map_count(map, child, 1), 9);
	ck_assert_uint_eq(map->extents[1].owner, child + 1);
	ck_assert_int_eq(slot_map_join(map, &next), 0);
	ck_assert_uint_eq(next, child);
	ck_assert_uint_eq(slot_map_count(map, next, 0) + slot_map_count(map, next, 1), 0);
	ck_assert_uint_eq(map->extents[1].owner, 0);
	/* Its stores may still arrive. */
	ck_assert(slot_map_is_flying(map, 1));
	cursor.extent = 0;
	ck_assert_int_eq(slot_map_claim(map, next, 1, ~0u, &cursor), -ENOENT);
	usleep(LANDING_NS / 1000);
	ck_assert(!slot_map_is_flying(map, 1));
	ck_assert_int_eq(slot_map_claim(map, next, 1, ~0u, &cursor), 0);
	ck_assert_uint_eq(slot_map_count(map, parent, 0), 1);
	ck_assert(slot_map_free(map, parent, first + 1));
}
END_TEST

/* Who joins for a child and dies before the child lives takes the child's slots along. */
START_TEST(test_member_dies_with_who_joined_for_it)
{
	struct slot_cursor cursor = {0};
	uint32_t parent, next, first;
	pid_t pid;

	ck_assert_int_eq(slot_map_join(map, &parent), 0);
	ck_assert_int_eq(add_extent(parent, 0, &cursor), 0);
	ck_assert_uint_eq(slot_map_take(map, parent, &cursor, 2, &first), 2);
	pid = fork();
	if (!pid) {
		if (slot_map_join(map, &next))
			_exit(1);
		slot_map_inherit(map, next, parent);
		slot_map_reap(map);
		_exit(slot_map_count(map, next, 0) != 2);
	}
	ck_assert_int_eq(waitpid(pid, (int *)&next, 0), pid);
	ck_assert_uint_eq(next, 0);
	ck_assert_uint_eq(slot_map_count(map, parent + 1, 0), 2);
	slot_map_reap(map);
	ck_assert_uint_eq(slot_map_count(map, parent + 1, 0), 0);
	ck_assert(!slot_map_hold(map, parent + 1, map->member_births[parent + 1]));
	ck_assert(slot_map_free(map, parent, first));
	ck_assert_int_eq(slot_map_join(map, &next), 0);
	ck_assert_uint_eq(next, parent + 1);
	ck_assert(!slot_map_hold(map, next, map->member_births[next] - 1));
	ck_assert(slot_map_hold(map, next, map->member_births[next]));
}
END_TEST

START_TEST(test_sealed_extent_hands_out_nothing)
{
	struct slot_cursor cursor = {0};
	uint32_t member, first;

	ck_assert_int_eq(slot_map_join(map, &member), 0);
	ck_assert_int_eq(add_extent(member, 0, &cursor), 0);
	ck_assert_uint_eq(slot_map_take(map, member, &cursor, 64, &first), 64);
	slot_map_seal(map, 0);
	ck_assert(slot_map_is_flying(map, 0));
	ck_assert_uint_eq(slot_map_take(map, member, &cursor, 1, &first), 0);
	ck_assert(slot_map_is_flying(map, 0));
	slot_map_land(map, member, 0);
	ck_assert(!slot_map_is_flying(map, 0));
	ck_assert_int_eq(slot_map_claim(map, member, 0, ~0u, &cursor), -ENOENT);
	slot_map_unseal(map, 0);
	slot_map_set_copy(map, 0, 0, (struct slot_copy){.backing = 1, .extent = 77});
	ck_assert_int_eq(slot_map_claim(map, member, 0, ~0u, &cursor), -ENOENT);
	ck_assert_int_eq(slot_map_claim(map, member, 1, 1u << 0, &cursor), -ENOENT);
	ck_assert_int_eq(slot_map_claim(map, member, 1, 1u << 1, &cursor), 0);
	ck_assert_uint_eq(slot_map_copy(map, 0, 0).extent, 77);
	ck_assert_uint_eq(slot_map_take(map, member, &cursor, 64, &first), 64);
	ck_assert_uint_eq(first, 65);
}
END_TEST

/* F1, F6: only while nobody else uses the slot, and no copy of it is being made. */
START_TEST(test_store_in_place_is_announced)
{
	struct slot_cursor cursor = { 0 };
	uint32_t member, child, first, slots[2];

	ck_assert_int_eq(slot_map_join(map, &member), 0);
	ck_assert_int_eq(slot_map_join(map, &child), 0);
	ck_assert_int_eq(add_extent(member, 0, &cursor), 0);
	ck_assert_uint_eq(slot_map_take(map, member, &cursor, 2, &first), 2);
	slot_map_land(map, member, 0);
	slots[0] = first;
	slots[1] = first + 1;
	ck_assert_uint_eq(slot_map_fly(map, member, slots, 2), 3);
	slot_map_land(map, member, 0);
	ck_assert(slot_map_is_flying(map, 0));
	slot_map_land(map, member, 0);
	slot_map_seal(map, 0);
	ck_assert_uint_eq(slot_map_fly(map, member, slots, 2), 0);
	ck_assert(!slot_map_is_flying(map, 0));
	slot_map_unseal(map, 0);
	slot_map_inherit(map, child, member);
	ck_assert_uint_eq(slot_map_fly(map, member, slots, 2), 0);
	ck_assert_uint_eq(slot_map_fly(map, child, slots, 2), 0);
	/* Who stays behind alone may change it, whoever took it. */
	slot_map_free(map, member, first);
	ck_assert_uint_eq(slot_map_fly(map, child, slots, 2), 1);
	slot_map_land(map, child, 0);
	ck_assert(!slot_map_is_flying(map, 0));
}
END_TEST

/* One thread alone would hold more locks than ThreadSanitizer's detector of deadlocks can note. */
#define JOINERS (SLOT_MEMBERS_MAX / 32)

static pthread_barrier_t joined, ended;

static void *join_members(void *unused)
{
	uint32_t member;

	for (uint32_t i = 0; i < 32 && !slot_map_join(map, &member); i++)
		continue;
	pthread_barrier_wait(&joined);
	pthread_barrier_wait(&ended);
	return NULL;
}

START_TEST(test_members_are_limited)
{
	pthread_t joiners[JOINERS];
	uint32_t first, member;

	pthread_barrier_init(&joined, NULL, JOINERS + 1);
	pthread_barrier_init(&ended, NULL, JOINERS + 1);
	ck_assert_int_eq(slot_map_join(map, &first), 0);
	for (uint32_t i = 0; i < JOINERS; i++)
		pthread_create(&joiners[i], NULL, join_members, NULL);
	pthread_barrier_wait(&joined);
	ck_assert_int_eq(slot_map_join(map, &member), -EAGAIN);
	slot_map_leave(map, first);
	ck_assert_int_eq(slot_map_join(map, &member), 0);
	ck_assert_uint_eq(member, first);
	pthread_barrier_wait(&ended);
	for (uint32_t i = 0; i < JOINERS; i++)
		pthread_join(joiners[i], NULL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("slot_map");
	TCase *tcase = tcase_create("slot_map");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_loop_test(tcase, test_random_steps_match_an_array, 0, 2);
	tcase_add_test(tcase, test_killed_member_loses_its_slots);
	tcase_add_test(tcase, test_member_dies_with_who_joined_for_it);
	tcase_add_test(tcase, test_sealed_extent_hands_out_nothing);
	tcase_add_test(tcase, test_store_in_place_is_announced);
	tcase_add_test(tcase, test_members_are_limited);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
