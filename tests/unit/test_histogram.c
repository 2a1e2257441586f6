/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/histogram.h"
#include "suite.h"

#define SAMPLES 10000

static uint64_t plain[HISTOGRAM_BUCKETS];

/* A fixed sequence, so that a failure is the same at every run (splitmix64). */
static uint64_t next_random(uint64_t *state)
{
	uint64_t mixed = *state += 0x9e3779b97f4a7c15ull;

	mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9ull;
	mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebull;
	return mixed ^ (mixed >> 31);
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

START_TEST(test_quantiles_match_a_sorted_array)
{
	static const uint32_t permilles[] = { 1, 10, 250, 500, 900, 990, 999, 1000 };
	static uint64_t samples[SAMPLES];
	uint64_t state = (uint64_t)_i, exact, found;
	size_t i;

	memset(plain, 0, sizeof(plain));
	for (i = 0; i < SAMPLES; i++) {
		/* Every magnitude that the histogram tells apart, 128 ns to 34 s. */
		samples[i] = 128 + (next_random(&state) >> (64 - 8 - next_random(&state) % 27));
		plain[histogram_bucket(samples[i])]++;
	}
	qsort(samples, SAMPLES, sizeof(samples[0]), compare);
	for (i = 0; i < sizeof(permilles) / sizeof(permilles[0]); i++) {
		exact = samples[(SAMPLES * permilles[i] + 999) / 1000 - 1];
		found = histogram_quantile_ns(plain, permilles[i]);
		ck_assert_msg(found >= exact - exact / 32 - 1 && found <= exact + exact / 32 + 1,
			      "seed %d, %u/1000: exact %lu, found %lu", _i, permilles[i], exact,
			      found);
	}
}
END_TEST

START_TEST(test_buckets_ascend_without_gaps)
{
	uint64_t ns;
	uint32_t before = 0, bucket;

	for (ns = 0; ns < 100000; ns++) {
		bucket = histogram_bucket(ns);
		ck_assert(bucket == before || bucket == before + 1);
		before = bucket;
	}
}
END_TEST

START_TEST(test_ends)
{
	ck_assert_uint_eq(histogram_bucket(0), 0);
	ck_assert_uint_eq(histogram_bucket(127), 0);
	ck_assert_uint_eq(histogram_bucket(128), 0);
	ck_assert_uint_eq(histogram_bucket((1ull << 35) - 1), HISTOGRAM_BUCKETS - 1);
	ck_assert_uint_eq(histogram_bucket(1ull << 35), HISTOGRAM_BUCKETS - 1);
	ck_assert_uint_eq(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
	memset(plain, 0, sizeof(plain));
	ck_assert_uint_eq(histogram_quantile_ns(plain, 500), 0);
	plain[HISTOGRAM_BUCKETS - 1] = UINT64_MAX / 2;
	ck_assert_uint_ge(histogram_quantile_ns(plain, 1000), 1ull << 34);
}
END_TEST

START_TEST(test_add_counts_each_once)
{
	static _Atomic uint64_t buckets[HISTOGRAM_BUCKETS];
	uint64_t total = 0;
	uint32_t i;

	for (i = 0; i < 1000; i++)
		histogram_add(buckets, i * 977);
	for (i = 0; i < HISTOGRAM_BUCKETS; i++)
		total += atomic_load(&buckets[i]);
	ck_assert_uint_eq(total, 1000);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("histogram");
	TCase *tcase = tcase_create("histogram");

	tcase_add_loop_test(tcase, test_quantiles_match_a_sorted_array, 0, 20);
	tcase_add_test(tcase, test_buckets_ascend_without_gaps);
	tcase_add_test(tcase, test_ends);
	tcase_add_test(tcase, test_add_counts_each_once);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
