/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/line_records.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "policy/lines.h"
#include "suite.h"

#define PAGES 40
#define RECORDS (PAGES * LINE_RECORDS_PER_PAGE)
#define STEPS 100000
#define SPARE 3

static struct line_record_page pages[PAGES];
static struct line_records records;
static bool used[RECORDS];

static uint32_t used_count(uint32_t page)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < LINE_RECORDS_PER_PAGE; i++)
		count += used[page * LINE_RECORDS_PER_PAGE + i];
	return count;
}

static uint32_t present_count(void)
{
	uint32_t count = 0;

	for (uint32_t page = 0; page < PAGES; page++)
		count += pages[page].present;
	return count;
}

/* Who is told to drop a page never loses a record in use; no more pages stay than promised. */
START_TEST(random_steps_match_an_array)
{
	struct random_source random = random_from_seed((uint64_t)_i + 1);
	uint32_t all = 0, present = 0;

	memset(used, 0, sizeof(used));
	line_records_init(&records, NULL, pages, PAGES);
	for (uint32_t n = 0; n < STEPS; n++) {
		/* Fills up and empties in turn. */
		bool takes = random_below(&random, 100) < (n / 5000 % 2 ? 35 : 65);
		uint32_t record, dropped;

		if (takes) {
			record = line_records_take(&records);
			if (record == LINE_RECORD_NONE) {
				ck_assert_uint_eq(line_records_add_page(&records), present < PAGES);
				present += present < PAGES;
				continue;
			}
			ck_assert_uint_lt(record, RECORDS);
			ck_assert(!used[record] && pages[record / LINE_RECORDS_PER_PAGE].present);
			used[record] = true;
			all++;
			continue;
		}
		record = (uint32_t)random_below(&random, RECORDS);
		if (!used[record])
			continue;
		dropped = line_records_put(&records, record, SPARE);
		used[record] = false;
		all--;
		ck_assert_uint_le(records.spare_count, SPARE + 1);
		if (dropped == LINE_RECORDS_NO_PAGE)
			continue;
		ck_assert_uint_eq(dropped, record / LINE_RECORDS_PER_PAGE);
		ck_assert_uint_eq(used_count(dropped), 0);
		present--;
		ck_assert_uint_eq(present_count(), present);
	}
	/* Without spare ones, nothing stays when nothing is in use. */
	for (uint32_t record = 0; record < RECORDS; record++)
		if (used[record])
			present -= line_records_put(&records, record, 0) != LINE_RECORDS_NO_PAGE;
	ck_assert_uint_eq(present_count(), present);
	ck_assert_uint_le(present, SPARE + 1);
}
END_TEST

START_TEST(all_records_can_be_in_use)
{
	uint32_t taken = 0;

	line_records_init(&records, NULL, pages, PAGES);
	ck_assert_uint_eq(line_records_take(&records), LINE_RECORD_NONE);
	while (line_records_add_page(&records))
		;
	while (line_records_take(&records) != LINE_RECORD_NONE)
		taken++;
	ck_assert_uint_eq(taken, RECORDS - 1); /* 0 is none */
}
END_TEST

static uint32_t wanted_of(struct lines_policy *policy, uint32_t count)
{
	uint32_t wanted = 0;

	for (uint32_t i = 0; i < count; i++)
		wanted += lines_policy_wants(policy);
	return wanted;
}

START_TEST(records_are_made_while_they_pay)
{
	struct lines_policy policy;

	lines_policy_init(&policy);
	ck_assert_uint_eq(wanted_of(&policy, 1000), 1000);
	/* A program that only reads, or changes whole pages: soon next to none. */
	for (uint32_t i = 0; i < 200; i++) {
		lines_policy_note(&policy, _i == 1);
		if (_i == 1)
			lines_policy_note_lines(&policy, 64);
	}
	ck_assert_uint_le(wanted_of(&policy, 3200), 100);
	ck_assert_uint_ge(wanted_of(&policy, 3200), 50);
	/* It begins to change lines: that is seen in any page, or in those few that have a record.
	 */
	for (uint32_t i = 0; i < 20; i++) {
		lines_policy_note(&policy, true);
		if (_i == 1)
			lines_policy_note_lines(&policy, 2);
	}
	ck_assert_uint_eq(wanted_of(&policy, 1000), 1000);
}
END_TEST

START_TEST(pages_changed_for_the_most_part_go_whole)
{
	ck_assert(lines_policy_sends_lines(1));
	ck_assert(lines_policy_sends_lines(0xffffffffull));
	ck_assert(!lines_policy_sends_lines(0x1ffffffffull));
	ck_assert(!lines_policy_sends_lines(UINT64_MAX));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("line_records");
	TCase *test = tcase_create("line_records");

	tcase_add_loop_test(test, random_steps_match_an_array, 0, 4);
	tcase_add_test(test, all_records_can_be_in_use);
	tcase_add_loop_test(test, records_are_made_while_they_pay, 0, 2);
	tcase_add_test(test, pages_changed_for_the_most_part_go_whole);
	suite_add_tcase(suite, test);
	return suite_run(suite);
}
