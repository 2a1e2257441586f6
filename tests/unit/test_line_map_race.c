/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The line map under calls that race: M3.6. Each moment of a call is tried once by an observer that
 * makes another call there, and what no observer can order is left to threads.
 */

#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "base/random.h"
#include "line_map_fixture.h"
#include "suite.h"

#define PAGE 70 /* of the map that is interrupted; not in the first word of its group */
#define OTHER_PAGE 200
#define ACCESSES_MAX 64 /* more than a call makes */

enum call { CALL_SET, CALL_TAKE, CALL_NEXT, CALLS };

/* A call that comes in between, before access number `at` of another. */
struct interruption {
	enum call call;
	uint64_t at, seen;
	uint64_t taken; /* of PAGE, by it */
	uint64_t found; /* by a scan behind its set */
};

static uint64_t take_all(void)
{
	uint64_t taken = 0;

	for (uint64_t page = line_map_next(&map, 0); page != LINE_MAP_NONE;
	     page = line_map_next(&map, page + 1)) {
		uint64_t mask = line_map_take(&map, page);

		taken |= page == PAGE ? mask : 0;
	}
	return taken;
}

static void interrupt(void *context, enum line_map_level level, uint64_t word,
		      enum line_map_access access)
{
	struct interruption *between = context;

	if (between->seen++ != between->at)
		return;
	if (between->call == CALL_TAKE) {
		between->taken = take_all();
		return;
	}
	line_map_set(&map, PAGE, 1);
	between->found = line_map_next(&map, PAGE);
}

/* Returns what the interrupted call itself took. */
static uint64_t call_interrupted(enum call call, struct interruption *between)
{
	if (call == CALL_TAKE)
		return line_map_take_by(&map, PAGE, interrupt, between);
	if (call == CALL_SET)
		line_map_set_by(&map, PAGE, 1, interrupt, between);
	else
		line_map_next_by(&map, 0, interrupt, between);
	return 0;
}

/* `before` says what is set: bit 0 the line itself, 1 a page of its word, 2 a page of its group. */
static bool try_moment(enum call outer, enum call inner, uint32_t before, uint64_t at)
{
	struct interruption between = { .call = inner, .at = at };
	uint64_t taken, left;
	bool was_set = before & 1, came_between;

	map = make(1000);
	if (was_set)
		line_map_set(&map, PAGE, 1);
	if (before & 2)
		line_map_set(&map, PAGE + 1, 2);
	if (before & 4)
		line_map_set(&map, OTHER_PAGE, 4);
	taken = call_interrupted(outer, &between) | between.taken;
	left = take_all();
	came_between = between.seen > at;
	/* L3, L4: nothing that was set is lost, nothing is left over. */
	if (was_set || outer == CALL_SET || (inner == CALL_SET && came_between))
		ck_assert_uint_eq(taken | left, 1);
	/* A take before the set began to look does not serve the change: it must be set anew. */
	if (outer == CALL_SET && at == 0)
		ck_assert_uint_eq(left, 1);
	/* L2: also where another setter of the line stands still. */
	if (outer == CALL_SET && inner == CALL_SET && came_between)
		ck_assert_uint_eq(between.found, PAGE);
	ck_assert(levels_agree());
	ck_assert_uint_eq(line_map_count(&map), 0);
	destroy(&map);
	return came_between;
}

START_TEST(test_m3_6_no_moment_of_a_call_loses_a_change)
{
	for (uint32_t outer = 0; outer < CALLS; outer++) {
		for (uint32_t inner = CALL_SET; inner <= CALL_TAKE; inner++) {
			for (uint32_t before = 0; before < 8; before++) {
				uint64_t at = 0;

				while (try_moment(outer, inner, before, at))
					at++;
				ck_assert_uint_lt(at, ACCESSES_MAX);
			}
		}
	}
}
END_TEST

#define STRESS_SETTERS 3
#define STRESS_PAGES 1100 /* three groups, and few enough that takers and setters meet */
#define STRESS_ROUNDS 120
#define STRESS_ROUND_STORES 4000

static _Atomic uint64_t data[STRESS_PAGES * 64], copy[STRESS_PAGES * 64];
static _Atomic uint32_t running;
static pthread_barrier_t barrier;

/* Each setter has lines of its own in every page, so that its stores need no atomic addition. */
static void *setter(void *argument)
{
	uint64_t id = (uint64_t)(uintptr_t)argument;
	struct random_source random = random_from_seed(id);

	for (uint64_t round = 0; round < STRESS_ROUNDS; round++) {
		/* Mostly on a page or two, at times on all: contention, and summaries that turn.
		 */
		uint64_t pages = round % 4 ? 1 + round % 4 / 2 : STRESS_PAGES;

		pthread_barrier_wait(&barrier);
		for (uint64_t i = 1; i <= STRESS_ROUND_STORES; i++) {
			uint64_t line = random_below(&random, pages) * 64 +
					random_below(&random, 21) * STRESS_SETTERS + id;

			atomic_store_explicit(&data[line], round << 32 | i, memory_order_relaxed);
			line_map_set_line(&map, line);
		}
		atomic_fetch_sub(&running, 1);
		pthread_barrier_wait(&barrier);
	}
	return NULL;
}

static void copy_changed(void)
{
	for (uint64_t page = line_map_next(&map, 0); page != LINE_MAP_NONE;
	     page = line_map_next(&map, page + 1)) {
		uint64_t mask = line_map_take(&map, page);

		for (; mask; mask &= mask - 1) {
			uint64_t line = page * 64 + (uint64_t)__builtin_ctzll(mask);

			copy[line] = atomic_load_explicit(&data[line], memory_order_relaxed);
		}
	}
}

/* M3.6: what the scanner copied, line by line, equals what setters stored meanwhile. */
START_TEST(test_m3_6_no_change_is_lost_to_a_racing_scan)
{
	pthread_t threads[STRESS_SETTERS];

	map = make(STRESS_PAGES);
	running = STRESS_SETTERS;
	pthread_barrier_init(&barrier, NULL, STRESS_SETTERS + 1);
	for (uintptr_t i = 0; i < STRESS_SETTERS; i++)
		ck_assert(!pthread_create(&threads[i], NULL, setter, (void *)i));
	for (int round = 0; round < STRESS_ROUNDS; round++) {
		pthread_barrier_wait(&barrier);
		while (running)
			copy_changed();
		copy_changed(); /* L2: all sets have returned */
		ck_assert(!memcmp(copy, data, sizeof(data)));
		ck_assert(levels_agree());
		ck_assert_uint_eq(line_map_count(&map), 0);
		running = STRESS_SETTERS;
		pthread_barrier_wait(&barrier);
	}
	for (int i = 0; i < STRESS_SETTERS; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&barrier);
	destroy(&map);
}
END_TEST

#define LITMUS_ROUNDS 50000
#define LITMUS_STORES 4

static _Alignas(64) _Atomic uint64_t stored_round;
static _Alignas(64) _Atomic uint64_t seen_round;
static _Alignas(64) _Atomic uint64_t value;

static void *litmus_setter(void *unused)
{
	for (uint64_t round = 1; round <= LITMUS_ROUNDS; round++) {
		for (uint64_t i = 0; i < LITMUS_STORES; i++) {
			atomic_store_explicit(&value, round * LITMUS_STORES + i,
					      memory_order_relaxed);
			line_map_set(&map, 0, 1);
		}
		atomic_store_explicit(&stored_round, round, memory_order_release);
		while (atomic_load_explicit(&seen_round, memory_order_acquire) != round)
			sched_yield();
	}
	return NULL;
}

/*
 * M3.6, where the line is set already and nothing is written: a store that is still on its way when
 * the set bit is seen must not be missed by the taker of that bit (L5).
 */
START_TEST(test_m3_6_a_store_under_a_set_bit_is_not_missed)
{
	uint64_t copied = 0, round;
	pthread_t thread;

	map = make(1);
	ck_assert(!pthread_create(&thread, NULL, litmus_setter, NULL));
	do {
		round = atomic_load_explicit(&stored_round, memory_order_acquire);
		if (line_map_take(&map, 0))
			copied = atomic_load_explicit(&value, memory_order_relaxed);
		if (round != seen_round)
			ck_assert_uint_eq(copied, round * LITMUS_STORES + LITMUS_STORES - 1);
		atomic_store_explicit(&seen_round, round, memory_order_release);
	} while (round < LITMUS_ROUNDS);
	pthread_join(thread, NULL);
	destroy(&map);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("line_map_race");
	TCase *tcase = tcase_create("line_map_race");

	tcase_set_timeout(tcase, 100);
	tcase_add_test(tcase, test_m3_6_no_moment_of_a_call_loses_a_change);
	tcase_add_test(tcase, test_m3_6_no_change_is_lost_to_a_racing_scan);
	tcase_add_test(tcase, test_m3_6_a_store_under_a_set_bit_is_not_missed);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
