/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/histogram.h"
#include "cli/run_counters.h"
#include "cli/run_json.h"
#include "suite.h"

static struct run_segment *segment;

static void setup(void)
{
	segment = calloc(1, sizeof(*segment));
	ck_assert_ptr_nonnull(segment);
	segment->backing_count = 2;
}

static void teardown(void)
{
	free(segment);
}

static struct run_counters *live(uint32_t index)
{
	atomic_store(&segment->members[index].state, RUN_MEMBER_LIVE);
	return &segment->members[index].counters;
}

static void end(uint32_t index)
{
	atomic_store(&segment->members[index].state, RUN_MEMBER_ENDED);
	run_counters_fold_ended(&segment->ended, &segment->members[index].counters);
}

START_TEST(test_sums_maxima_and_what_is_now)
{
	struct run_counters total;

	live(0)->faults = 10;
	live(0)->local_bytes = 100;
	live(0)->local_bytes_max = 300;
	live(0)->backings[1].pages = 7;
	live(255)->faults = 5;
	live(255)->local_bytes = 50;
	live(255)->local_bytes_max = 200;
	live(255)->backings[1].pages = 4;
	ck_assert_uint_eq(run_counters_total(segment, &total), 2);
	ck_assert_uint_eq(total.faults, 15);
	ck_assert_uint_eq(total.local_bytes, 150);
	ck_assert_uint_eq(total.local_bytes_max, 300);
	ck_assert_uint_eq(total.backings[1].pages, 11);

	/* One that is gone holds nothing, but has been. */
	end(0);
	ck_assert_uint_eq(run_counters_total(segment, &total), 1);
	ck_assert_uint_eq(total.faults, 15);
	ck_assert_uint_eq(total.local_bytes, 50);
	ck_assert_uint_eq(total.local_bytes_max, 300);

	/* When all are gone, a backing's pages are the most that one had. */
	end(255);
	ck_assert_uint_eq(run_counters_total(segment, &total), 0);
	ck_assert_uint_eq(total.faults, 15);
	ck_assert_uint_eq(total.local_bytes, 0);
	ck_assert_uint_eq(total.backings[1].pages, 7);
}
END_TEST

START_TEST(test_every_counter_is_in_the_table_once)
{
	struct run_counters counters = { 0 };
	_Atomic uint64_t *words = (_Atomic uint64_t *)&counters;
	uint32_t i;

	for (i = 0; i < RUN_COUNTER_FIELDS; i++)
		words[run_counter_fields[i].offset / 8]++;
	for (i = 0; i < RUN_COUNTER_FIELDS; i++)
		ck_assert_uint_eq(words[i], 1);
}
END_TEST

START_TEST(test_fault_times_add_up)
{
	struct run_counters total;
	int i;

	for (i = 0; i < 99; i++)
		histogram_add(live(0)->fault_ns, 1000);
	histogram_add(live(1)->fault_ns, 1000000);
	histogram_add(live(1)->fault_ns, 1000000);
	end(1);
	run_counters_total(segment, &total);
	ck_assert_uint_ge(run_counters_fault_ns(&total, 500), 960);
	ck_assert_uint_le(run_counters_fault_ns(&total, 500), 1040);
	ck_assert_uint_ge(run_counters_fault_ns(&total, 990), 960000);
}
END_TEST

/* A reader believes nothing: any bytes at all give an object that jansson can write. */
START_TEST(test_json_of_anything)
{
	unsigned char *bytes = (unsigned char *)segment;
	char *text;
	json_t *object;
	size_t i;

	srand((unsigned)_i);
	for (i = 0; i < sizeof(*segment); i++)
		bytes[i] = (unsigned char)(rand() >> 7);
	object = run_json(segment);
	ck_assert_ptr_nonnull(object);
	text = json_dumps(object, 0);
	ck_assert_ptr_nonnull(text);
	ck_assert_uint_eq(json_array_size(json_object_get(object, "backings")), RUN_BACKINGS_MAX);
	free(text);
	json_decref(object);
	object = run_json_members(segment);
	ck_assert_ptr_nonnull(object);
	json_decref(object);
}
END_TEST

START_TEST(test_text)
{
	json_t *text = run_json_text("gr\xc3\xb6\xc3\x9f", 7);

	ck_assert_str_eq(json_string_value(text), "gr\xc3\xb6\xc3\x9f");
	json_decref(text);
	/* Cut in the middle of a character, and without its NUL. */
	text = run_json_text("gr\xc3\xb6", 3);
	ck_assert_str_eq(json_string_value(text), "gr?");
	json_decref(text);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("run_counters");
	TCase *tcase = tcase_create("run_counters");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, test_sums_maxima_and_what_is_now);
	tcase_add_test(tcase, test_every_counter_is_in_the_table_once);
	tcase_add_test(tcase, test_fault_times_add_up);
	tcase_add_loop_test(tcase, test_json_of_anything, 0, 5);
	tcase_add_test(tcase, test_text);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
