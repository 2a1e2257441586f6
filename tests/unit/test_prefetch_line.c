/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdlib.h>

#include "policy/prefetch.h"
#include "suite.h"

#define PAGES 20 /* the last line has four entries */

static _Atomic uint64_t entries[PAGES];
static const struct page_table table = { .entries = entries, .page_count = PAGES };

static void set(uint32_t page, enum page_state state, uint64_t count)
{
	entries[page] = (uint64_t)state | count << PAGE_ENTRY_COUNT_SHIFT;
}

static void expect(const uint64_t *pages, uint32_t count, const uint64_t *expected,
		   uint32_t expected_count)
{
	ck_assert_uint_eq(count, expected_count);
	for (uint32_t i = 0; i < count; i++)
		ck_assert_uint_eq(pages[i], expected[i]);
}

/* M1.3: empty entries are skipped, what is here is not fetched again, nor what is on its way. */
START_TEST(m1_3_only_far_pages_are_listed)
{
	static const uint64_t all[] = { 8, 13 }, without[] = { 13 };
	uint64_t pages[PREFETCH_LINE_PAGES];

	set(8, PAGE_FAR, 0);
	set(9, PAGE_UNTOUCHED, 0);
	set(10, PAGE_LOCAL, 0);
	set(11, PAGE_VICTIM, 0);
	set(12, PAGE_LOST, 0);
	set(13, PAGE_FAR, 0);
	set(14, PAGE_FAR, 0);
	entries[14] |= PAGE_ENTRY_BUSY;
	set(7, PAGE_FAR, 0);
	set(16, PAGE_FAR, 0);
	expect(pages, prefetch_whole_line(&table, 1, pages), all, 2);
	expect(pages, prefetch_line(&table, 8, pages), without, 1);
	expect(pages, prefetch_line(&table, 9, pages), all, 2);
}
END_TEST

/* M1.5: those that were asked for most come first, equals in the order of their addresses. */
START_TEST(m1_5_most_accesses_first)
{
	static const uint64_t counts[] = { 3, 0, 255, 3, 9, 0, 254, 1 };
	static const uint64_t order[] = { 2, 6, 4, 0, 3, 7, 1, 5 };
	static const uint64_t without_4[] = { 2, 6, 0, 3, 7, 1, 5 };
	uint64_t pages[PREFETCH_LINE_PAGES];

	for (uint32_t page = 0; page < 8; page++)
		set(page, PAGE_FAR, counts[page]);
	expect(pages, prefetch_whole_line(&table, 0, pages), order, 8);
	expect(pages, prefetch_line(&table, 4, pages), without_4, 7);
}
END_TEST

START_TEST(m1_3_a_line_ends_with_the_table)
{
	static const uint64_t last[] = { 16, 17, 18, 19 };
	uint64_t pages[PREFETCH_LINE_PAGES];

	for (uint32_t page = 0; page < PAGES; page++)
		set(page, PAGE_FAR, 0);
	expect(pages, prefetch_whole_line(&table, 2, pages), last, 4);
	expect(pages, prefetch_line(&table, 19, pages), last, 3);
	ck_assert_uint_eq(prefetch_whole_line(&table, 3, pages), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("prefetch_line");
	TCase *tcase = tcase_create("prefetch_line");

	tcase_add_test(tcase, m1_3_only_far_pages_are_listed);
	tcase_add_test(tcase, m1_5_most_accesses_first);
	tcase_add_test(tcase, m1_3_a_line_ends_with_the_table);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
