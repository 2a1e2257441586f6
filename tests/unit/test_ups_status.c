/* SPDX-License-Identifier: Apache-2.0 */
#include "persist/ups_status.h"

#include <check.h>
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/random.h"
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

START_TEST(answers_are_taken_as_the_server_means_them)
{
	static const struct {
		const char *line;
		int err;
		const char *text; /* the value or the refusal */
	} rows[] = {
		{ "VAR u ups.status \"OB LB\"", 0, "OB LB" },
		{ "VAR u ups.status \"\"", 0, "" },
		{ "VAR u ups.status \"a \\\"b\\\" \\\\\"", 0, "a \"b\" \\" },
		{ "ERR VAR-NOT-SUPPORTED", -ENODATA, NULL },
		{ "ERR DATA-STALE", -EREMOTEIO, "DATA-STALE" },
		{ "ERR ACCESS-DENIED", -EREMOTEIO, "ACCESS-DENIED" },
		{ "ERR ", -EPROTO, NULL },
		{ "ERR", -EPROTO, NULL },
		{ "", -EPROTO, NULL },
		{ "VAR", -EPROTO, NULL },
		{ "VAR u ups.status", -EPROTO, NULL },
		{ "VAR u ups.status OL", -EPROTO, NULL },
		{ "VAR u ups.status \"OL", -EPROTO, NULL },
		{ "VAR u ups.status \"OL\\", -EPROTO, NULL },
		{ "VAR u ups.status \"OL\" x", -EPROTO, NULL },
		{ "VAR v ups.status \"OL\"", -EPROTO, NULL },
		{ "VAR u ups.statusx \"OL\"", -EPROTO, NULL },
		{ "HTTP/1.1 400 Bad Request", -EPROTO, NULL },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		char value[UPS_VALUE_BYTES] = "";
		const char *refusal = "";
		int err = ups_status_value(rows[i].line, "u", "ups.status", value, &refusal);

		ck_assert_msg(err == rows[i].err, "%s: %d", rows[i].line, err);
		if (rows[i].text)
			ck_assert_str_eq(err ? refusal : value, rows[i].text);
	}
}
END_TEST

/* Each answer that begins well, with anything behind: nothing is read or written past an end. */
START_TEST(random_answers_do_no_harm)
{
	struct random_source random = random_from_seed(0x5a);

	for (uint32_t i = 0; i < 100000; i++) {
		static const char signs[] = "\"\\ OLB.";
		char line[512] = "VAR u ups.status \"", value[UPS_VALUE_BYTES] = "";
		size_t begin = strlen(line), bytes = random_below(&random, sizeof(line) - begin);
		const char *refusal;
		uint64_t kinds = 1 + random_below(&random, sizeof(signs) - 1);

		for (size_t at = 0; at < bytes; at++)
			line[begin + at] = signs[sizeof(signs) - 2 - random_below(&random, kinds)];
		if (!ups_status_value(line, "u", "ups.status", value, &refusal))
			ck_assert_uint_lt(strlen(value), UPS_VALUE_BYTES);
		ups_status_flags(line);
		ups_status_number(line + begin, 100);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ups_status");
	TCase *test = tcase_create("ups_status");

	tcase_add_test(test, flags_are_whole_words);
	tcase_add_test(test, numbers_are_whole_or_absent);
	tcase_add_test(test, answers_are_taken_as_the_server_means_them);
	tcase_add_test(test, random_answers_do_no_harm);
	suite_add_tcase(suite, test);
	return suite_run(suite);
}
