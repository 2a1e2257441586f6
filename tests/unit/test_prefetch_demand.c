/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/prefetch.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "suite.h"

#define TEST_PAGES 65536

static _Atomic uint64_t entries[TEST_PAGES];
static const struct page_table table = { .entries = entries, .page_count = TEST_PAGES };

/* A program whose far pages come when they are demanded. */
struct walker {
	struct prefetch prefetch;
	uint64_t demands, issued, used, wasted;
	bool forgets; /* they leave at once, as under a tight limit */
};

static void set_all(enum page_state state)
{
	for (uint64_t page = 0; page < TEST_PAGES; page++)
		entries[page] = state;
}

static void check_plan(const struct prefetch_plan *plan, uint64_t page)
{
	ck_assert_uint_le(plan->count, PREFETCH_PAGES_MAX);
	for (uint32_t i = 0; i < plan->count; i++) {
		ck_assert_uint_lt(plan->pages[i], TEST_PAGES);
		ck_assert_uint_ne(plan->pages[i], page);
		/* Far, and as it is made local below: named once. */
		ck_assert_uint_eq(page_entry_state(entries[plan->pages[i]]), PAGE_FAR);
		entries[plan->pages[i]] = PAGE_LOCAL;
	}
}

static void touch(struct walker *walker, uint64_t page)
{
	struct prefetch_plan plan;
	struct prefetch_verdict verdict;

	if (page_entry_state(entries[page]) != PAGE_FAR)
		return;
	prefetch_demand(&walker->prefetch, &table, page, &plan, &verdict);
	entries[page] = PAGE_LOCAL;
	check_plan(&plan, page);
	walker->demands++;
	walker->issued += plan.count;
	walker->used += verdict.used;
	walker->wasted += verdict.wasted;
	ck_assert_uint_le(walker->used + walker->wasted, walker->issued);
	if (!walker->forgets)
		return;
	entries[page] = PAGE_FAR;
	for (uint32_t i = 0; i < plan.count; i++)
		entries[plan.pages[i]] = PAGE_FAR;
}

static struct walker start(enum prefetch_mode mode)
{
	struct walker walker = { 0 };

	set_all(PAGE_FAR);
	prefetch_init(&walker.prefetch, mode);
	return walker;
}

START_TEST(none_starts_nothing)
{
	struct walker walker = start(PREFETCH_NONE);

	for (uint64_t page = 0; page < 1000; page++)
		touch(&walker, page);
	ck_assert_uint_eq(walker.demands, 1000);
	ck_assert_uint_eq(walker.issued, 0);
}
END_TEST

START_TEST(line_takes_each_line_once)
{
	struct walker walker = start(PREFETCH_LINE);

	for (uint64_t page = 0; page < 8000; page++)
		touch(&walker, page);
	ck_assert_uint_eq(walker.demands, 1000);
	ck_assert_uint_eq(walker.issued, 7000);
	ck_assert_uint_ge(walker.used, 6900);
}
END_TEST

/* Strides in pages; the demands of each walk are at most an eighth of its steps. */
START_TEST(walks_are_followed)
{
	static const int64_t strides[] = { 1, -1, 2, 3, -5, 16, 60 };
	int64_t stride = strides[_i], at = stride > 0 ? 0 : TEST_PAGES - 1;
	struct walker walker = start(PREFETCH_ADAPTIVE);
	uint64_t steps = 0;

	for (; at >= 0 && at < TEST_PAGES && steps < 16000; at += stride, steps++)
		touch(&walker, (uint64_t)at);
	ck_assert_uint_le(walker.demands * 8, steps);
	ck_assert_uint_ge(walker.used * 10, walker.issued * 9);
}
END_TEST

START_TEST(walks_side_by_side_are_told_apart)
{
	struct walker walker = start(PREFETCH_ADAPTIVE);

	for (uint64_t step = 0; step < 4000; step++) {
		touch(&walker, step);
		touch(&walker, 20000 + step * 7);
		touch(&walker, 60000 - step);
	}
	ck_assert_uint_le(walker.demands * 8, 12000);
}
END_TEST

START_TEST(random_demands_start_next_to_nothing)
{
	struct walker walker = start(PREFETCH_ADAPTIVE);
	struct random_source random = random_from_seed(0x9a6e + (uint64_t)_i);

	walker.forgets = true;
	for (uint32_t i = 0; i < 20000; i++)
		touch(&walker, random_below(&random, TEST_PAGES));
	ck_assert_uint_lt(walker.issued * 20, walker.demands);
}
END_TEST

/* Objects of a few pages, read at random: each looks like the start of a walk. */
START_TEST(short_runs_soon_start_little)
{
	struct walker walker = start(PREFETCH_ADAPTIVE);
	struct random_source random = random_from_seed(0x0b + (uint64_t)_i);
	uint64_t pages = (uint64_t)_i + 2, demands;

	walker.forgets = true;
	for (uint32_t i = 0; i < 4000; i++) {
		uint64_t first = random_below(&random, TEST_PAGES - pages);

		for (uint64_t page = first; page < first + pages; page++)
			touch(&walker, page);
	}
	ck_assert_uint_lt(walker.issued * 20, walker.demands);
	/* A walk is followed all the same. */
	set_all(PAGE_FAR);
	walker.forgets = false;
	demands = walker.demands;
	for (uint64_t page = 0; page < 8000; page++)
		touch(&walker, page);
	ck_assert_uint_le((walker.demands - demands) * 8, 8000);
}
END_TEST

START_TEST(pages_that_are_not_far_are_passed_over)
{
	struct walker walker = start(PREFETCH_ADAPTIVE);
	struct random_source random = random_from_seed(7);

	/* check_plan() sees to it that none of them is named. */
	for (uint64_t page = 0; page < TEST_PAGES; page++)
		if (random_below(&random, 3) == 0)
			entries[page] = random_below(&random, PAGE_FAR);
	for (uint64_t page = 0; page < TEST_PAGES; page++)
		touch(&walker, page);
	ck_assert_uint_le(walker.demands * 8, TEST_PAGES);
}
END_TEST

START_TEST(window_shrinks_when_its_pages_left_unused)
{
	struct walker walker = start(PREFETCH_ADAPTIVE);
	uint32_t largest = 0;

	for (uint64_t page = 0; page < 2000; page++)
		touch(&walker, page);
	for (uint32_t i = 0; i < PREFETCH_STREAMS; i++)
		if (walker.prefetch.streams[i].window > largest)
			largest = walker.prefetch.streams[i].window;
	ck_assert_uint_eq(largest, PREFETCH_PAGES_MAX);
	/* From here on nothing that was fetched ahead stays until its turn. */
	walker.forgets = true;
	set_all(PAGE_FAR);
	for (uint64_t page = 2000; page < 2100; page++)
		touch(&walker, page);
	for (uint32_t i = 0; i < PREFETCH_STREAMS; i++)
		ck_assert_uint_le(walker.prefetch.streams[i].window, PREFETCH_LINE_PAGES);
	ck_assert_uint_gt(walker.wasted, 100);
}
END_TEST

START_TEST(walk_that_ends_has_wasted_its_last_window)
{
	struct walker walker = start(PREFETCH_ADAPTIVE);

	for (uint64_t page = 0; page < 1000; page++)
		touch(&walker, page);
	ck_assert_uint_eq(walker.wasted, 0);
	/* As many others push it out. */
	for (uint64_t walk = 0; walk < PREFETCH_STREAMS; walk++)
		for (uint64_t page = 0; page < 2; page++)
			touch(&walker, 10000 + walk * 1000 + page);
	ck_assert_uint_gt(walker.wasted, 0);
	ck_assert_uint_le(walker.wasted, PREFETCH_PAGES_MAX);
}
END_TEST

START_TEST(ends_of_the_table_hold)
{
	struct walker walker = start(PREFETCH_ADAPTIVE);

	for (uint64_t page = TEST_PAGES - 100; page < TEST_PAGES; page++)
		touch(&walker, page);
	for (uint64_t page = 100; page-- > 0;)
		touch(&walker, page);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("prefetch_demand");
	TCase *test = tcase_create("demand");

	tcase_add_test(test, none_starts_nothing);
	tcase_add_test(test, line_takes_each_line_once);
	tcase_add_loop_test(test, walks_are_followed, 0, 7);
	tcase_add_test(test, walks_side_by_side_are_told_apart);
	tcase_add_loop_test(test, random_demands_start_next_to_nothing, 0, 3);
	tcase_add_loop_test(test, short_runs_soon_start_little, 0, 6);
	tcase_add_test(test, pages_that_are_not_far_are_passed_over);
	tcase_add_test(test, window_shrinks_when_its_pages_left_unused);
	tcase_add_test(test, walk_that_ends_has_wasted_its_last_window);
	tcase_add_test(test, ends_of_the_table_hold);
	suite_add_tcase(suite, test);
	return suite_run(suite);
}
