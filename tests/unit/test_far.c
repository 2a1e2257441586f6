/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The far store while its backings fail and come back, from a seed: threads store, fetch and free
 * pages, each against a list of its own, and between two failures they pause until every page has
 * its copies again. Invariants F5 to F7 of the slot map, M1 to M4 of docs/design/far-store.md.
 */

#include <inttypes.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "far_fixture.h"
#include "suite.h"

/* ThreadSanitizer has a thread of its own, and lets none start after a fork. */
#ifdef __SANITIZE_THREAD__
#define THREAD_SANITIZED true
#else
#define THREAD_SANITIZED false
#endif

/*
 * One backing after the other is in trouble for a while; one copy of each page is always good.
 * Where there are three, one may not be back yet when its turn comes again.
 */
static void lose_and_mend(uint32_t backings, const char *kind, uint32_t rounds)
{
	struct random_source random = random_from_seed(SEED);
	uint64_t refused = 0, stored = 0;

	open_far(backings, 2, kind, "mem:64M");
	start_workers();
	usleep(20000);
	pause_until_whole();
	for (uint32_t round = 0; round < rounds; round++) {
		uint64_t before = losses();
		uint32_t victim = (uint32_t)random_below(&random, backings);

		usleep((useconds_t)random_below(&random, 20000));
		set_trouble(victim, true);
		if (backings == 2)
			WAIT_UNTIL(losses() > before);
		usleep((useconds_t)random_below(&random, 100000));
		set_trouble(victim, false);
		pause_until_whole();
	}
	ck_assert_uint_eq(stop_workers(), 0);
	for (uint32_t i = 0; i < WORKERS; i++) {
		refused += workers[i].refused;
		stored += workers[i].stored;
	}
	ck_assert_uint_eq(refused, 0);
	ck_assert_uint_gt(stored, 1000);
	ck_assert_uint_ge(losses(), rounds / 2);
	ck_assert_uint_gt(counters->pages_recopied, rounds * 10);
}

START_TEST(lost_backings_are_mended)
{
	lose_and_mend(2, "kind=lost", 12);
}
END_TEST

START_TEST(lost_ones_of_three_are_mended)
{
	lose_and_mend(3, "kind=lost", 12);
}
END_TEST

START_TEST(failing_backings_are_mended)
{
	lose_and_mend(2, "kind=io,verb=store", 8);
}
END_TEST

START_TEST(hanging_backings_are_mended)
{
	lose_and_mend(2, "kind=hang", 4);
}
END_TEST

/* A copy is checked before it counts: what a backing falsifies does not spread. */
START_TEST(wrong_bytes_do_not_spread)
{
	/* With only this copy left a page is fetched three times: 1 in 10^8 is lost by chance. */
	const char *kind = "kind=corrupt,p=0.002";
	struct worker *w = &workers[0];
	uint64_t wrong;

	open_far_over(3, 2, kind, "error:every=3000,kind=lost:mem:64M", "mem:64M");
	start_workers();
	WAIT_UNTIL(counters->pages_recopied > 3000);
	pause_until_whole();
	wrong = stop_workers();
	ck_assert_msg(!wrong, "%" PRIu64 " wrong; lost %" PRIu64 " %" PRIu64 " %" PRIu64, wrong,
		      counters->backings[0].lost, counters->backings[1].lost,
		      counters->backings[2].lost);
	ck_assert_uint_gt(w->stored, 0);
}
END_TEST

/* ---- Without a mirror ---- */

START_TEST(returned_backing_takes_pages_again)
{
	struct worker *w = &workers[0];
	uint32_t old;

	open_far(1, 1, "kind=lost", "mem:64M");
	for (uint32_t i = 0; i < 20; i++)
		store_some(w);
	old = w->count;
	set_trouble(0, true);
	usleep(5000);
	check_held(w, 0);
	ck_assert_uint_eq(w->wrong, 1);
	ck_assert_uint_eq(counters->backings[0].lost, 1);
	set_trouble(0, false);
	w->refused = 0;
	WAIT_UNTIL((store_some(w), w->count > old));
	check_held(w, old);
	ck_assert_uint_eq(w->wrong, 1);
	/* The same place, but not the same session: the old page is not taken for the new one. */
	check_held(w, 0);
	ck_assert_uint_eq(w->wrong, 2);
	WAIT_UNTIL(counters->backings[0].pages == w->count - old);
}
END_TEST

START_TEST(failing_backing_stores_again_and_keeps_its_pages)
{
	struct worker *w = &workers[0];
	uint32_t old;

	open_far(1, 1, "kind=io,verb=store", "mem:64M");
	for (uint32_t i = 0; i < 20; i++)
		store_some(w);
	old = w->count;
	set_trouble(0, true);
	usleep(5000);
	store_some(w);
	ck_assert_uint_gt(w->refused, 0);
	ck_assert_uint_eq(w->count, old);
	set_trouble(0, false);
	WAIT_UNTIL((store_some(w), w->count > old));
	for (uint32_t i = 0; i < w->count; i++)
		check_held(w, i);
	ck_assert_uint_eq(w->wrong, 0);
}
END_TEST

/* Pages that a failing backing alone has are carried to another. */
START_TEST(failing_backing_is_drained)
{
	struct worker *w = &workers[0];

	open_far(2, 1, "kind=io,verb=store", "mem:64M");
	for (uint32_t i = 0; i < 60; i++)
		store_some(w);
	ck_assert_uint_gt(counters->backings[1].pages, 50);
	set_trouble(1, true);
	usleep(5000);
	store_some(w);
	store_some(w);
	WAIT_UNTIL(counters->backings[1].pages == 0);
	ck_assert_uint_eq(counters->backings[0].pages, w->count);
	for (uint32_t i = 0; i < w->count; i++)
		check_held(w, i);
	ck_assert_uint_eq(w->wrong, 0);
}
END_TEST

/* ---- Rest, and a family ---- */

static uint64_t cpu_us(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
	       (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static uint64_t switches(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (uint64_t)usage.ru_nvcsw;
}

START_TEST(mender_sleeps_while_all_is_well)
{
	uint64_t before_us, before;

	open_far(2, 2, "kind=lost", "mem:64M");
	for (uint32_t i = 0; i < 20; i++)
		store_some(&workers[0]);
	usleep(100000);
	before_us = cpu_us();
	before = switches();
	usleep(500000);
	ck_assert_uint_le(switches() - before, 2);
	ck_assert_uint_lt(cpu_us() - before_us, 5000);
}
END_TEST

/* The child makes the store its own, waits to be told, and checks all that it inherited. */
static int live_as_child(uint32_t member, int wait_fd)
{
	struct worker *w = &workers[0];
	struct error why = { "" };
	char byte;

	counters = mmap(NULL, sizeof(*counters), PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (far_fork_child(far, member, counters, &why))
		return 2;
	far_hold(far);
	for (uint32_t i = 0; i < WORKERS; i++)
		if (far_lane_reopen(workers[i].lane, &why))
			return 3;
	if (far_mender_start(far, &why))
		return 4;
	if (read(wait_fd, &byte, 1) != 1)
		return 5;
	for (uint32_t i = 0; i < w->count; i++)
		check_held(w, i);
	for (uint32_t i = 0; i < 10; i++)
		store_some(w);
	for (uint32_t i = 0; i < w->count; i++)
		check_held(w, i);
	if (w->wrong || w->refused)
		return 6;
	return pages_on_all() == 2 * w->count ? 0 : 7;
}

/* What one process of a family mends, the others find: also where they did not mend. */
START_TEST(family_shares_what_is_mended)
{
	struct worker *w = &workers[0];
	char inner[128];
	uint32_t member;
	int ends[2], status;
	pid_t pid;

	snprintf(inner, sizeof(inner), "file:%s", folder);
	open_far(2, 2, "kind=lost", inner);
	for (uint32_t i = 0; i < 40; i++)
		store_some(w);
	ck_assert(!pipe(ends));
	ck_assert(!far_fork_open(far, &member));
	far_mender_pause(far);
	far_fork_inherit(far, member);
	pid = fork();
	if (!pid)
		_exit(live_as_child(member, ends[0]));
	far_mender_resume(far);
	for (uint32_t backing = 0; backing < 2; backing++) {
		uint64_t before = losses();

		set_trouble(backing, true);
		WAIT_UNTIL((check_held(w, 0), check_held(w, 1), losses() > before));
		set_trouble(backing, false);
		WAIT_UNTIL(pages_on_all() == 2 * w->count &&
			   counters->backings[backing].pages == w->count);
	}
	ck_assert_int_eq(write(ends[1], "", 1), 1);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	for (uint32_t i = 0; i < w->count; i++)
		check_held(w, i);
	ck_assert_uint_eq(w->wrong, 0);
}
END_TEST

/* A child that gets no channels at first, for want of memory: that is not the backing's fault. */
static int live_without_channels(uint32_t member)
{
	uint64_t until_ns = clock_now_ns() + WAIT_NS;
	struct worker *w = &workers[0];
	struct rlimit before, none;
	struct error why = { "" };
	uint32_t had = w->count;

	counters = mmap(NULL, sizeof(*counters), PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (far_fork_child(far, member, counters, &why))
		return 2;
	far_hold(far);
	getrlimit(RLIMIT_AS, &before);
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = before.rlim_max };
	setrlimit(RLIMIT_AS, &none);
	for (uint32_t i = 0; i < WORKERS; i++)
		if (far_lane_reopen(workers[i].lane, &why))
			return 3;
	store_some(w);
	setrlimit(RLIMIT_AS, &before);
	if (w->refused != 1 || losses())
		return 4;
	if (far_mender_start(far, &why))
		return 5;
	while (w->count == had && clock_now_ns() < until_ns)
		store_some(w);
	for (uint32_t i = 0; i < w->count; i++)
		check_held(w, i);
	return w->count == had || w->wrong || losses() ? 6 : 0;
}

START_TEST(lack_of_channels_is_not_a_failing_backing)
{
	struct worker *w = &workers[0];
	char inner[128];
	uint32_t member;
	int status;
	pid_t pid;

	snprintf(inner, sizeof(inner), "file:%s", folder);
	open_far(2, 2, "kind=lost", inner);
	for (uint32_t i = 0; i < 10; i++)
		store_some(w);
	ck_assert(!far_fork_open(far, &member));
	far_mender_pause(far);
	far_fork_inherit(far, member);
	pid = fork();
	if (!pid)
		_exit(live_without_channels(member));
	far_mender_resume(far);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	far_fork_leave(far, member);
	ck_assert_int_eq(status, 0);
	store_some(w);
	ck_assert_uint_eq(w->refused, 0);
	ck_assert_uint_eq(losses(), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("far");
	TCase *tests = tcase_create("far");

	tcase_set_timeout(tests, 100);
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, lost_backings_are_mended);
	tcase_add_test(tests, lost_ones_of_three_are_mended);
	tcase_add_test(tests, failing_backings_are_mended);
	tcase_add_test(tests, hanging_backings_are_mended);
	tcase_add_test(tests, wrong_bytes_do_not_spread);
	tcase_add_test(tests, returned_backing_takes_pages_again);
	tcase_add_test(tests, failing_backing_stores_again_and_keeps_its_pages);
	tcase_add_test(tests, failing_backing_is_drained);
	if (!THREAD_SANITIZED) {
		tcase_add_test(tests, mender_sleeps_while_all_is_well);
		tcase_add_test(tests, family_shares_what_is_mended);
		tcase_add_test(tests, lack_of_channels_is_not_a_failing_backing);
	}
	suite_add_tcase(suite, tests);
	return suite_run(suite);
}
