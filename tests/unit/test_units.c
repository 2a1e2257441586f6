/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/random.h"
#include "base/units.h"
#include "suite.h"

struct good {
	const char *text;
	uint64_t value;
};

static const struct good good_sizes[] = {
	{"0", 0},
	{"1", 1},
	{"4096", 4096},
	{"64K", 64 * KIB},
	{"64k", 64 * KIB},
	{"64M", 64 * MIB},
	{"3G", 3 * GIB},
	{"2T", 2048 * GIB},
	{"007M", 7 * MIB},
	{"18446744073709551615", UINT64_MAX},
};

static const struct good good_durations[] = {
	{"0", 0},	    {"0ms", 0},		     {"500ns", 500},
	{"200us", 200000},  {"5ms", 5000000},	     {"2s", 2000000000},
	{"3m", 180000000000},
};

static const char *const bad_sizes[] = {"", "M", "64X", "64MM", "64MB", "-1", "+1", " 1", "1 ",
					"1.5G", "0x10", "64 M", "1e3", "K64"};
static const char *const large_sizes[] = {"18446744073709551616", "16777216T",
					  "99999999999999999999999999"};
static const char *const bad_durations[] = {"", "5", "us", "5 us", "5US", "5min", "-5ms", "1.5s"};

START_TEST(sizes_are_understood)
{
	uint64_t bytes = 1;
	struct error why;

	ck_assert_int_eq(parse_size(good_sizes[_i].text, &bytes, &why), 0);
	ck_assert_uint_eq(bytes, good_sizes[_i].value);
}
END_TEST

START_TEST(bad_sizes_are_quoted)
{
	uint64_t bytes = 77;
	char quoted[64];
	struct error why;

	ck_assert_int_eq(parse_size(bad_sizes[_i], &bytes, &why), -EINVAL);
	snprintf(quoted, sizeof(quoted), "\"%s\"", bad_sizes[_i]);
	ck_assert_ptr_nonnull(strstr(why.text, quoted));
	ck_assert_uint_eq(bytes, 77);
}
END_TEST

START_TEST(large_sizes_are_refused)
{
	uint64_t bytes;
	struct error why;

	ck_assert_int_eq(parse_size(large_sizes[_i], &bytes, &why), -ERANGE);
	ck_assert_ptr_nonnull(strstr(why.text, large_sizes[_i]));
}
END_TEST

START_TEST(durations_are_understood)
{
	uint64_t ns = 1;

	ck_assert_int_eq(parse_duration(good_durations[_i].text, &ns, NULL), 0);
	ck_assert_uint_eq(ns, good_durations[_i].value);
}
END_TEST

START_TEST(bad_durations_are_quoted)
{
	uint64_t ns;
	char quoted[64];
	struct error why;

	ck_assert_int_eq(parse_duration(bad_durations[_i], &ns, &why), -EINVAL);
	snprintf(quoted, sizeof(quoted), "\"%s\"", bad_durations[_i]);
	ck_assert_ptr_nonnull(strstr(why.text, quoted));
}
END_TEST

START_TEST(formatted_sizes_read_back)
{
	struct random_source random = random_from_seed(11);
	char text[UNITS_TEXT_BYTES];

	for (int i = 0; i < 10000; i++) {
		uint64_t bytes = random_next(&random) >> random_below(&random, 64);
		uint64_t back;
		double shown;

		format_size(bytes, text);
		if (!strchr(text, '.')) {
			ck_assert_int_eq(parse_size(text, &back, NULL), 0);
			ck_assert_uint_eq(back, bytes);
			continue;
		}
		shown = strtod(text, NULL);
		switch (text[strlen(text) - 1]) {
		case 'T':
			shown *= 1024;
			__attribute__((fallthrough));
		case 'G':
			shown *= 1024;
			__attribute__((fallthrough));
		case 'M':
			shown *= 1024;
			__attribute__((fallthrough));
		case 'K':
			shown *= 1024;
		}
		ck_assert_msg(shown <= (double)bytes && shown >= (double)bytes * 0.85,
			      "%s is %" PRIu64, text, bytes);
	}
	ck_assert_str_eq(format_size(0, text), "0");
	ck_assert_str_eq(format_size(1536 * MIB, text), "1.5G");
	ck_assert_str_eq(format_size(64 * MIB, text), "64M");
	ck_assert_str_eq(format_size(1023, text), "1023");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("units");
	TCase *tcase = tcase_create("units");

	tcase_add_loop_test(tcase, sizes_are_understood, 0, ARRAY_COUNT(good_sizes));
	tcase_add_loop_test(tcase, bad_sizes_are_quoted, 0, ARRAY_COUNT(bad_sizes));
	tcase_add_loop_test(tcase, large_sizes_are_refused, 0, ARRAY_COUNT(large_sizes));
	tcase_add_loop_test(tcase, durations_are_understood, 0, ARRAY_COUNT(good_durations));
	tcase_add_loop_test(tcase, bad_durations_are_quoted, 0, ARRAY_COUNT(bad_durations));
	tcase_add_test(tcase, formatted_sizes_read_back);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
