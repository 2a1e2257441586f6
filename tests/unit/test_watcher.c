/* SPDX-License-Identifier: Apache-2.0 */
/* T1 to T3 of docs/design/persistence.md, with writers in this process and in forked ones. */
#include "watcher_fixture.h"

#include <stdatomic.h>
#include <sys/wait.h>

#include "base/random.h"

#define WRITERS 3

static _Atomic bool done;

static uint64_t seed(void)
{
	const char *text = getenv("SEED");

	return text ? strtoull(text, NULL, 10) : 1;
}

/* ---- Writers ---- */

static void write_random(uint8_t *at, uint64_t number)
{
	struct random_source random = random_from_seed(seed() * 100 + number);

	while (!done) {
		uint64_t page = random_below(&random, PAGES);
		uint64_t word = random_below(&random, PAGE_BYTES / sizeof(uint64_t));

		atomic_store_explicit((_Atomic uint64_t *)(at + page * PAGE_BYTES) + word,
				      random_next(&random), memory_order_relaxed);
	}
}

static void *random_writer(void *argument)
{
	write_random(written, (uintptr_t)argument);
	return NULL;
}

static void start_writers(pthread_t threads[WRITERS])
{
	for (uintptr_t i = 0; i < WRITERS; i++)
		ck_assert(!pthread_create(&threads[i], NULL, random_writer, (void *)i));
}

static void end_writers(pthread_t threads[WRITERS])
{
	done = true;
	for (int i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
}

/* ---- Tests ---- */

START_TEST(only_what_was_written_is_marked)
{
	join(written);
	ck_assert_uint_eq(marked(), 0);
	ck_assert_uint_eq(written[5 * PAGE_BYTES], 0);
	ck_assert_uint_eq(marked(), 0);
	written[5 * PAGE_BYTES] = 1;
	written[9 * PAGE_BYTES + 4095] = 1;
	ck_assert_uint_eq(marked(), 2);
	ck_assert_uint_eq(watcher_next(region, 0), 5);
	ck_assert_uint_eq(watcher_next(region, 6), 9);
	ck_assert_uint_eq(copy_rest(), 2);
	ck_assert_uint_eq(watcher_unflushed(watcher), 0);
	written[5 * PAGE_BYTES] = 2;
	ck_assert_uint_eq(marked(), 1);
}
END_TEST

/* T1: whatever the mover does meanwhile, in the end no change is missed. */
START_TEST(no_write_is_missed_by_a_racing_mover)
{
	uint64_t until_ns = clock_now_ns() + 1500000000u, copied = 0;
	pthread_t threads[WRITERS];

	join(written);
	start_writers(threads);
	while (clock_now_ns() < until_ns)
		copied += copy_all();
	end_writers(threads);
	ck_assert_uint_gt(copied, PAGES);
	copy_rest();
	ck_assert_uint_eq(pages_that_differ(), 0);
	ck_assert_uint_eq(watcher_unflushed(watcher), 0);
}
END_TEST

/* T2: what is not copied is never more than the bound, at whatever moment one looks. */
START_TEST(the_bound_is_never_passed)
{
	const uint64_t bound = 64;
	pthread_t threads[WRITERS];
	struct watcher_counters counters;

	watcher_set_bound(watcher, bound, 200u << 20);
	join(written);
	start_writers(threads);
	for (int look = 0; look < 100; look++) {
		clock_sleep_ns(2000000);
		ck_assert(!watcher_stop(watcher));
		ck_assert_uint_le(watcher_unflushed(watcher), bound);
		ck_assert_uint_le(pages_that_differ(), bound);
		watcher_go(watcher);
		copy_all();
	}
	watcher_set_bound(watcher, PAGES, 1u << 30);
	end_writers(threads);
	watcher_count(watcher, &counters);
	ck_assert_uint_gt(counters.delays, 0);
	copy_rest();
	ck_assert_uint_eq(pages_that_differ(), 0);
}
END_TEST

/* T3, S1: between stop and go no byte changes. */
START_TEST(stopped_writers_write_nothing)
{
	pthread_t threads[WRITERS];

	join(written);
	start_writers(threads);
	for (int round = 0; round < 20; round++) {
		clock_sleep_ns(3000000);
		ck_assert(!watcher_stop(watcher));
		copy_all();
		clock_sleep_ns(1000000);
		ck_assert_uint_eq(pages_that_differ(), 0);
		watcher_go(watcher);
	}
	end_writers(threads);
}
END_TEST

/* A child has the mapping, and the protection, and is tracked itself. */
START_TEST(forked_writers_are_tracked)
{
	pid_t children[4];
	int status;

	join(written);
	for (int i = 0; i < 4; i++) {
		children[i] = fork();
		ck_assert_int_ge(children[i], 0);
		if (children[i] == 0) {
			for (uint64_t page = (uint64_t)i; page < PAGES; page += 4)
				memset(written + page * PAGE_BYTES, i + 1, PAGE_BYTES);
			_exit(0);
		}
		copy_all();
	}
	for (int i = 0; i < 4; i++) {
		while (waitpid(children[i], &status, WNOHANG) == 0)
			copy_all();
		ck_assert_int_eq(status, 0);
	}
	copy_rest();
	for (uint64_t page = 0; page < PAGES; page++)
		ck_assert_uint_eq(image[page * PAGE_BYTES + 7], page % 4 + 1);
	ck_assert_uint_eq(pages_that_differ(), 0);
	watcher_reap(region);
	ck_assert_uint_eq(watcher_writers(region), 1);
}
END_TEST

START_TEST(a_moved_mapping_is_followed)
{
	void *moved;

	join(written);
	written[0] = 1;
	moved = mremap(written, PAGES * PAGE_BYTES, PAGES * PAGE_BYTES,
		       MREMAP_MAYMOVE | MREMAP_FIXED, map());
	ck_assert_ptr_ne(moved, MAP_FAILED);
	written = moved;
	copy_rest();
	written[0] = 2;
	written[7 * PAGE_BYTES] = 2;
	ck_assert_uint_eq(marked(), 2);
	ck_assert(watcher_is_exact(region));
	copy_rest();
	ck_assert_uint_eq(pages_that_differ(), 0);
}
END_TEST

START_TEST(two_mappings_of_one_page_are_both_protected)
{
	uint8_t *second = map();

	join(written);
	join(second);
	written[0] = 1;
	second[0] = 2;
	ck_assert_uint_eq(watcher_unflushed(watcher), 1);
	copy_rest();
	second[1] = 3;
	ck_assert_uint_eq(marked(), 1);
	copy_rest();
	written[2] = 4;
	ck_assert_uint_eq(marked(), 1);
	copy_rest();
	ck_assert_uint_eq(pages_that_differ(), 0);
	munmap(second, PAGES * PAGE_BYTES);
	written[3] = 5;
	copy_rest();
	ck_assert_uint_eq(pages_that_differ(), 0);
}
END_TEST

/* Likely to be written next: one fault for many pages that are written one after another. */
START_TEST(a_stream_faults_less_than_once_a_page)
{
	struct watcher_counters counters;

	watcher_set_bound(watcher, 4 * PAGES, 1u << 30);
	join(written);
	for (uint64_t page = 0; page < PAGES; page++)
		written[page * PAGE_BYTES] = 1;
	watcher_count(watcher, &counters);
	ck_assert_uint_lt(counters.write_faults, PAGES / 16);
	ck_assert_uint_gt(counters.pages_ahead, PAGES / 2);
	copy_rest();
	ck_assert_uint_eq(pages_that_differ(), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("watcher");
	TCase *tcase = tcase_create("watcher");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, begin, end);
	tcase_add_test(tcase, only_what_was_written_is_marked);
	tcase_add_test(tcase, no_write_is_missed_by_a_racing_mover);
	tcase_add_test(tcase, the_bound_is_never_passed);
	tcase_add_test(tcase, stopped_writers_write_nothing);
	tcase_add_test(tcase, forked_writers_are_tracked);
	tcase_add_test(tcase, a_moved_mapping_is_followed);
	tcase_add_test(tcase, two_mappings_of_one_page_are_both_protected);
	tcase_add_test(tcase, a_stream_faults_less_than_once_a_page);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
