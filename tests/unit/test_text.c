/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <string.h>

#include "cli/text.h"
#include "suite.h"

START_TEST(test_amounts_are_short)
{
	char text[TEXT_AMOUNT_BYTES];
	uint64_t amount;
	int shift;

	ck_assert_str_eq(text_bytes(0, text), "0");
	ck_assert_str_eq(text_bytes(999, text), "999");
	ck_assert_str_eq(text_bytes(1000, text), "1.0K");
	ck_assert_str_eq(text_bytes(64 << 20, text), "64.0M");
	ck_assert_str_eq(text_bytes(1023 << 20, text), "1.0G");
	ck_assert_str_eq(text_count(56700, text), "56.7k");
	ck_assert_str_eq(text_count(999999, text), "1.0M");
	ck_assert_str_eq(text_time_ns(870, text), "870ns");
	ck_assert_str_eq(text_time_ns(9400, text), "9.4us");
	ck_assert_str_eq(text_time_ns(3000000000, text), "3.0s");
	for (shift = 0; shift < 64; shift++) {
		for (amount = (1ull << shift) - 1; amount <= (1ull << shift) + 1; amount++) {
			ck_assert_uint_le(strlen(text_bytes(amount, text)), 6);
			ck_assert_uint_le(strlen(text_count(amount, text)), 6);
		}
	}
}
END_TEST

START_TEST(test_harmless)
{
	char text[8];

	text_harmless("a\033[2Jb", 100, text, sizeof(text));
	ck_assert_str_eq(text, "a?[2Jb");
	text_harmless("too long for it", 100, text, sizeof(text));
	ck_assert_str_eq(text, "too lon");
	text_harmless("no NUL here", 2, text, sizeof(text));
	ck_assert_str_eq(text, "no");
	text_harmless("\xff\n", 100, text, sizeof(text));
	ck_assert_str_eq(text, "??");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("text");
	TCase *tcase = tcase_create("text");

	tcase_add_test(tcase, test_amounts_are_short);
	tcase_add_test(tcase, test_harmless);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
