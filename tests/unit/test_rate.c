/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/rate.h"

#include <check.h>

#include "base/bytes.h"
#include "base/random.h"
#include "suite.h"

#define SECOND_NS 1000000000ull
#define AGE_NS (600 * SECOND_NS)

static void note_mib_s(struct rate *rate, uint64_t now_ns, uint64_t mib_per_s)
{
	rate_note(rate, now_ns, RATE_SAMPLE_BYTES,
		  RATE_SAMPLE_BYTES * SECOND_NS / (mib_per_s * MIB));
}

static void check_mib_s(uint64_t bytes_per_s, uint64_t mib_per_s)
{
	ck_assert_uint_ge(bytes_per_s, mib_per_s * MIB);
	ck_assert_uint_le(bytes_per_s, mib_per_s * MIB + mib_per_s * MIB / 1000);
}

START_TEST(nothing_was_measured)
{
	struct rate rate;

	rate_init(&rate, AGE_NS);
	ck_assert_uint_eq(rate_worst(&rate, 0), 0);
	ck_assert_uint_eq(rate_latest(&rate), 0);
	rate_note(&rate, 5, 4096, 100000);
	ck_assert_uint_eq(rate_worst(&rate, 6), 0);
}
END_TEST

START_TEST(the_worst_counts_until_it_is_old)
{
	struct rate rate;

	rate_init(&rate, AGE_NS);
	note_mib_s(&rate, 1 * SECOND_NS, 2000);
	note_mib_s(&rate, 2 * SECOND_NS, 700);
	for (uint64_t s = 3; s < 600; s++) {
		note_mib_s(&rate, s * SECOND_NS, 2100);
		check_mib_s(rate_worst(&rate, s * SECOND_NS), 700);
		check_mib_s(rate_latest(&rate), 2100);
	}
	/* A slot's samples go together, so it may stay for one slot's time less than its age. */
	for (uint64_t s = 600; s < 700; s++)
		note_mib_s(&rate, s * SECOND_NS, 2100);
	check_mib_s(rate_worst(&rate, 700 * SECOND_NS), 2100);
}
END_TEST

START_TEST(the_newest_stays_when_nothing_comes_after)
{
	struct rate rate;

	rate_init(&rate, AGE_NS);
	note_mib_s(&rate, SECOND_NS, 500);
	note_mib_s(&rate, 100 * SECOND_NS, 900);
	check_mib_s(rate_worst(&rate, 100 * SECOND_NS), 500);
	check_mib_s(rate_worst(&rate, 86400 * SECOND_NS), 900);
}
END_TEST

START_TEST(small_writes_are_carried_to_a_sample)
{
	struct rate rate;

	rate_init(&rate, AGE_NS);
	/* One page in 8 ms between such in 40 us: the rate is that of all together. */
	for (uint32_t i = 0; i < RATE_SAMPLE_BYTES / PAGE_BYTES; i++)
		rate_note(&rate, i, PAGE_BYTES, i % 100 ? 40000 : 8000000);
	ck_assert_uint_gt(rate_latest(&rate), 30 * MIB);
	ck_assert_uint_lt(rate_latest(&rate), 35 * MIB);
}
END_TEST

/* Against all samples kept in a list. */
START_TEST(random_samples_match_a_list)
{
	struct random_source random = random_from_seed(0x7a7e + (uint64_t)_i);
	static uint64_t times[2000], values[2000];
	struct rate rate;
	uint64_t now = 0, slot = AGE_NS / RATE_SLOTS;

	rate_init(&rate, AGE_NS);
	for (uint32_t n = 0; n < 2000; n++) {
		uint64_t young = UINT64_MAX, old = UINT64_MAX, got;

		now += random_below(&random, random_below(&random, 50) ? 2 * SECOND_NS : AGE_NS);
		note_mib_s(&rate, now, 1 + random_below(&random, 5000));
		times[n] = now;
		values[n] = rate_latest(&rate);
		for (uint32_t i = 0; i <= n; i++) {
			if (now - times[i] < AGE_NS - slot && values[i] < young)
				young = values[i];
			if (now - times[i] < AGE_NS && values[i] < old)
				old = values[i];
		}
		got = rate_worst(&rate, now);
		ck_assert_msg(got <= young && got >= old, "seed %d, sample %u", _i, n);
	}
}
END_TEST

START_TEST(times_and_bytes_agree)
{
	struct random_source random = random_from_seed(3);

	ck_assert_uint_eq(rate_ns_for(0, 0), 0);
	ck_assert_uint_eq(rate_ns_for(1, 0), UINT64_MAX);
	ck_assert_uint_eq(rate_ns_for(UINT64_MAX, 1), UINT64_MAX);
	ck_assert_uint_eq(rate_bytes_in(UINT64_MAX, UINT64_MAX), UINT64_MAX);
	for (uint32_t i = 0; i < 100000; i++) {
		uint64_t rate = 1 + (random_next(&random) >> (20 + random_below(&random, 40)));
		uint64_t ns = random_next(&random) >> (4 + random_below(&random, 50));
		uint64_t bytes = rate_bytes_in(ns, rate);

		if (bytes == UINT64_MAX)
			continue;
		ck_assert_uint_le(rate_ns_for(bytes, rate), ns);
		ck_assert_uint_gt(rate_ns_for(bytes + 1, rate), ns);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("rate");
	TCase *test = tcase_create("rate");

	tcase_add_test(test, nothing_was_measured);
	tcase_add_test(test, the_worst_counts_until_it_is_old);
	tcase_add_test(test, the_newest_stays_when_nothing_comes_after);
	tcase_add_test(test, small_writes_are_carried_to_a_sample);
	tcase_add_loop_test(test, random_samples_match_a_list, 0, 20);
	tcase_add_test(test, times_and_bytes_agree);
	suite_add_tcase(suite, test);
	return suite_run(suite);
}
