/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/budget.h"

#include <check.h>
#include <string.h>

#include "base/bytes.h"
#include "base/random.h"
#include "policy/rate.h"
#include "suite.h"

#define SECOND_NS 1000000000ull

static struct budget_terms usual(void)
{
	return (struct budget_terms){
		.has_ups = true,
		.runtime_s = 300,
		.charge_percent = 100,
		.full_runtime_s = BUDGET_ABSENT,
		.bytes_per_s = 700 * MIB,
		.ride_through_ns = 5 * SECOND_NS,
		.reserve_ns = 95 * SECOND_NS,
		.safety_percent = 50,
		.commit_bytes = 70 * MIB,
		.commit_ns = SECOND_NS,
	};
}

static void check_refused(const struct budget_terms *terms, const char *words)
{
	struct budget budget;

	budget_make(terms, &budget);
	ck_assert(!budget.is_paid);
	ck_assert_msg(strstr(budget.why_not.text, words) != NULL, "\"%s\" in: %s", words,
		      budget.why_not.text);
	ck_assert_uint_eq(budget.bound_bytes,
			  terms->bound_bytes_max ? terms->bound_bytes_max : BUDGET_UNPAID_BYTES);
}

START_TEST(half_of_the_time_left_is_paid)
{
	struct budget_terms terms = usual();
	struct budget budget;

	/* 300 s less 5 and 95; half of it; less one for the commit and its 70 MiB. */
	budget_make(&terms, &budget);
	ck_assert(budget.is_paid);
	ck_assert_str_eq(budget.why_not.text, "");
	ck_assert_uint_eq(budget.save_ns_max, 200 * SECOND_NS);
	ck_assert_uint_eq(budget.bound_bytes, 99 * 700 * MIB - 70 * MIB);
	ck_assert_uint_eq(budget.largest_bytes, budget.bound_bytes);
	ck_assert_uint_eq(budget_save_ns(&terms, budget.bound_bytes), 100 * SECOND_NS);
}
END_TEST

START_TEST(a_configured_bound_is_the_most)
{
	struct budget_terms terms = usual();
	struct budget budget;

	terms.bound_bytes_max = 256 * MIB;
	budget_make(&terms, &budget);
	ck_assert(budget.is_paid);
	ck_assert_uint_eq(budget.bound_bytes, 256 * MIB);
	terms.bound_bytes_max = 1024 * GIB;
	budget_make(&terms, &budget);
	ck_assert(budget.is_paid);
	ck_assert_uint_lt(budget.bound_bytes, 100 * GIB);
}
END_TEST

START_TEST(a_low_charge_pays_less_now_and_the_same_when_full)
{
	struct budget_terms terms = usual();
	struct budget full, low;

	budget_make(&terms, &full);
	terms.charge_percent = 50;
	terms.runtime_s = 150;
	budget_make(&terms, &low);
	ck_assert(low.is_paid);
	ck_assert_uint_lt(low.bound_bytes, full.bound_bytes);
	ck_assert_uint_eq(low.largest_bytes, full.bound_bytes);
}
END_TEST

START_TEST(a_ups_that_says_no_runtime_is_configured)
{
	struct budget_terms terms = usual();
	struct budget budget;

	terms.runtime_s = BUDGET_ABSENT;
	check_refused(&terms, "does not say how long its battery lasts");
	terms.full_runtime_s = 400;
	terms.charge_percent = 75;
	budget_make(&terms, &budget);
	ck_assert(budget.is_paid);
	ck_assert_uint_eq(budget.save_ns_max, 200 * SECOND_NS);
	/* When both are there the smaller counts: a UPS may promise too much. */
	terms.runtime_s = 3000;
	budget_make(&terms, &budget);
	ck_assert_uint_eq(budget.save_ns_max, 200 * SECOND_NS);
	terms.runtime_s = 200;
	budget_make(&terms, &budget);
	ck_assert_uint_eq(budget.save_ns_max, 100 * SECOND_NS);
	terms.charge_percent = BUDGET_ABSENT;
	budget_make(&terms, &budget);
	ck_assert_uint_eq(budget.save_ns_max, 100 * SECOND_NS);
}
END_TEST

START_TEST(what_is_too_small_is_said)
{
	struct budget_terms terms = usual();

	terms.has_ups = false;
	check_refused(&terms, "no UPS is configured");
	terms.bound_bytes_max = 8 * MIB;
	check_refused(&terms, "no UPS is configured");
	terms = usual();
	terms.bytes_per_s = 0;
	check_refused(&terms, "not measured yet");
	terms = usual();
	terms.runtime_s = 90;
	check_refused(&terms, "the battery lasts 90 s, and 5 s ride-through and 95 s reserve");
	terms = usual();
	terms.runtime_s = 103;
	terms.bytes_per_s = 100 * MIB;
	check_refused(&terms, "the battery pays for 0 only: 3.0 s for a save, at 100M/s");
	terms.commit_bytes = 40 * MIB;
	check_refused(&terms, "the battery pays for 10M only: 3.0 s for a save, at 100M/s");
	/* The largest region is still told. */
	terms.charge_percent = 10;
	check_refused(&terms, "the battery pays for 10M only");
}
END_TEST

static struct budget_terms random_terms(struct random_source *random)
{
	return (struct budget_terms){
		.has_ups = true,
		.runtime_s = random_below(random, 8) ? (uint32_t)(random_next(random) >>
								  (32 + random_below(random, 32)))
						     : BUDGET_ABSENT,
		.charge_percent = random_below(random, 8) ? (uint32_t)random_below(random, 102)
							  : BUDGET_ABSENT,
		.full_runtime_s = random_below(random, 2) ? (uint32_t)random_below(random, 4000)
							  : BUDGET_ABSENT,
		.bytes_per_s = random_below(random, 8)
				       ? random_next(random) >> (30 + random_below(random, 34))
				       : 0,
		.ride_through_ns = random_below(random, 20 * SECOND_NS),
		.reserve_ns = random_below(random, 300 * SECOND_NS),
		.safety_percent = (uint32_t)random_below(random, 100),
		.commit_bytes = random_below(random, GIB),
		.commit_ns = random_below(random, 3 * SECOND_NS),
		.bound_bytes_max = random_below(random, 2) ? 0 : random_below(random, 64 * GIB),
	};
}

/* What is paid for can be saved in time, and a little more could not be, with the share kept. */
START_TEST(what_is_paid_can_be_saved)
{
	struct random_source random = random_from_seed(0xb4d + (uint64_t)_i);
	uint32_t paid = 0;

	for (uint32_t i = 0; i < 20000; i++) {
		struct budget_terms terms = random_terms(&random);
		struct budget budget;
		uint64_t safe_ns;

		budget_make(&terms, &budget);
		ck_assert_uint_eq(budget.bound_bytes % PAGE_BYTES, 0);
		ck_assert_int_eq(budget.is_paid, !budget.why_not.text[0]);
		if (!budget.is_paid)
			continue;
		paid++;
		safe_ns = budget.save_ns_max / 100 * (100 - terms.safety_percent);
		ck_assert_uint_le(budget_save_ns(&terms, budget.bound_bytes), safe_ns);
		if (!terms.bound_bytes_max ||
		    budget.bound_bytes < terms.bound_bytes_max - terms.bound_bytes_max % PAGE_BYTES)
			ck_assert_uint_gt(
				budget_save_ns(&terms, budget.bound_bytes + 2 * PAGE_BYTES),
				safe_ns);
		if (!terms.bound_bytes_max && terms.charge_percent <= 100)
			ck_assert_uint_ge(budget.largest_bytes, budget.bound_bytes);
	}
	ck_assert_uint_gt(paid, 1000);
}
END_TEST

/* More battery or a faster disk never pays for less; more of what is kept never for more. */
START_TEST(better_terms_never_pay_less)
{
	struct random_source random = random_from_seed(0x3e7 + (uint64_t)_i);

	for (uint32_t i = 0; i < 20000; i++) {
		struct budget_terms terms = random_terms(&random), better;
		struct budget before, after;

		terms.bound_bytes_max = 0;
		better = terms;
		if (terms.runtime_s != BUDGET_ABSENT)
			better.runtime_s += (uint32_t)random_below(&random, 100);
		if (better.runtime_s < terms.runtime_s)
			continue;
		better.bytes_per_s += random_below(&random, 100 * MIB);
		better.reserve_ns -= random_below(&random, better.reserve_ns + 1);
		better.commit_bytes -= random_below(&random, better.commit_bytes + 1);
		budget_make(&terms, &before);
		budget_make(&better, &after);
		if (before.is_paid) {
			ck_assert(after.is_paid);
			ck_assert_uint_ge(after.bound_bytes, before.bound_bytes);
		}
	}
}
END_TEST

START_TEST(without_a_rate_nothing_is_predicted)
{
	struct budget_terms terms = usual();

	terms.bytes_per_s = 0;
	ck_assert_uint_eq(budget_save_ns(&terms, 0), UINT64_MAX);
	terms.bytes_per_s = 1;
	ck_assert_uint_eq(budget_save_ns(&terms, UINT64_MAX / 2), UINT64_MAX);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("budget");
	TCase *test = tcase_create("budget");

	tcase_add_test(test, half_of_the_time_left_is_paid);
	tcase_add_test(test, a_configured_bound_is_the_most);
	tcase_add_test(test, a_low_charge_pays_less_now_and_the_same_when_full);
	tcase_add_test(test, a_ups_that_says_no_runtime_is_configured);
	tcase_add_test(test, what_is_too_small_is_said);
	tcase_add_loop_test(test, what_is_paid_can_be_saved, 0, 5);
	tcase_add_loop_test(test, better_terms_never_pay_less, 0, 5);
	tcase_add_test(test, without_a_rate_nothing_is_predicted);
	suite_add_tcase(suite, test);
	return suite_run(suite);
}
