/* SPDX-License-Identifier: Apache-2.0 */
#include "persist/ups_status.h"

#include <check.h>
#include <string.h>

#include "base/bytes.h"
#include "policy/power.h"
#include "suite.h"

START_TEST(flags_are_whole_words)
{
	static const struct {
		const char *text;
		uint32_t flags;
	} rows[] = {
		{ "", 0 },
		{ "OL", POWER_ON_LINE },
		{ "OL CHRG", POWER_ON_LINE },
		{ "OB DISCHRG LB", POWER_ON_BATTERY | POWER_LOW_BATTERY },
		{ "  LB\tOB \n", POWER_ON_BATTERY | POWER_LOW_BATTERY },
		{ "FSD OB LB", POWER_FORCED_SHUTDOWN | POWER_ON_BATTERY | POWER_LOW_BATTERY },
		{ "OL RB", POWER_ON_LINE | POWER_REPLACE_BATTERY },
		{ "ALARM OL RB BYPASS", POWER_ON_LINE | POWER_REPLACE_BATTERY },
		{ "OLD OBX XLB FSDD ol ob", 0 },
		{ "OFF", 0 },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++)
		ck_assert_msg(ups_status_flags(rows[i].text) == rows[i].flags, "\"%s\"",
			      rows[i].text);
}
END_TEST

START_TEST(numbers_are_whole_or_absent)
{
	static const struct {
		const char *text;
		uint32_t number;
	} rows[] = {
		{ "0", 0 },
		{ "100", 100 },
		{ "087", 87 },
		{ "99.9", 99 },
		{ " 12 ", 12 },
		{ "5.", 5 },
		{ "1000", 1000 },
		{ "1001", POWER_ABSENT },
		{ "99999999999999999999999999", POWER_ABSENT },
		{ "", POWER_ABSENT },
		{ " ", POWER_ABSENT },
		{ "-1", POWER_ABSENT },
		{ "1e3", POWER_ABSENT },
		{ "12 s", POWER_ABSENT },
		{ ".5", POWER_ABSENT },
		{ "NaN", POWER_ABSENT },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++)
		ck_assert_msg(ups_status_number(rows[i].text, 1000) == rows[i].number, "\"%s\"",
			      rows[i].text);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ups_status");
	TCase *test = tcase_create("ups_status");

	tcase_add_test(test, flags_are_whole_words);
	tcase_add_test(test, numbers_are_whole_or_absent);
	suite_add_tcase(suite, test);
	return suite_run(suite);
}
