/* SPDX-License-Identifier: Apache-2.0 */
#include "persist/ups_address.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/random.h"
#include "suite.h"

START_TEST(what_people_write_is_understood)
{
	static const struct {
		const char *text, *name, *host;
		uint16_t port;
	} rows[] = {
		{ "ups@localhost", "ups", "localhost", 3493 },
		{ "rack-2_a.b@10.0.0.7:3500", "rack-2_a.b", "10.0.0.7", 3500 },
		{ "a@b:65535", "a", "b", 65535 },
		{ "ups@[::1]", "ups", "::1", 3493 },
		{ "ups@[fe80::1%eth0]:1", "ups", "fe80::1%eth0", 1 },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct ups_address address;
		struct error why = { "" };

		ck_assert_msg(!ups_address_parse(rows[i].text, &address, &why), "%s", why.text);
		ck_assert_str_eq(address.name, rows[i].name);
		ck_assert_str_eq(address.host, rows[i].host);
		ck_assert_uint_eq(address.port, rows[i].port);
	}
}
END_TEST

START_TEST(what_is_wrong_is_said)
{
	static const struct {
		const char *text, *words;
	} rows[] = {
		{ "", "no '@'" },
		{ "ups", "no '@'" },
		{ "@host", "name is empty" },
		{ "a b@host", "name is empty" },
		{ "a\nLOGOUT@host", "name is empty" },
		{ "ups@", "host is empty" },
		{ "ups@:3493", "host is empty" },
		{ "ups@ho st", "host is empty" },
		{ "ups@a@b", "host is empty" },
		{ "ups@[::1", "host is empty" },
		{ "ups@[]", "host is empty" },
		{ "ups@[::1]3493", "port is not" },
		{ "ups@::1", "host is empty" },
		{ "ups@host:", "port is not" },
		{ "ups@host:0", "port is not" },
		{ "ups@host:65536", "port is not" },
		{ "ups@host:0003493", "port is not" },
		{ "ups@host:1x", "port is not" },
		{ "ups@host:-1", "port is not" },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct ups_address address;
		struct error why = { "" };

		ck_assert_int_lt(ups_address_parse(rows[i].text, &address, &why), 0);
		ck_assert_msg(strstr(why.text, rows[i].words) != NULL, "%s: %s", rows[i].text,
			      why.text);
		ck_assert_msg(strstr(why.text, "NAME@HOST[:PORT]") != NULL, "%s", why.text);
	}
}
END_TEST

/* What is taken can be written again and is the same; nothing is read past its end. */
START_TEST(random_texts_are_taken_or_refused)
{
	static const char signs[] = "ab.:@[]-%09 _\n";
	struct random_source random = random_from_seed(0xadd);
	uint32_t taken = 0;

	for (uint32_t i = 0; i < 200000; i++) {
		char text[16], again[2 * UPS_HOST_BYTES];
		struct ups_address address, same;
		size_t bytes = random_below(&random, sizeof(text));

		for (size_t at = 0; at < bytes; at++)
			text[at] = signs[random_below(&random, sizeof(signs) - 1)];
		text[bytes] = '\0';
		memset(&address, 0, sizeof(address));
		memset(&same, 0, sizeof(same));
		if (ups_address_parse(text, &address, NULL))
			continue;
		taken++;
		snprintf(again, sizeof(again), "%s@[%s]:%u", address.name, address.host,
			 address.port);
		ck_assert_int_eq(ups_address_parse(again, &same, NULL), 0);
		ck_assert_str_eq(address.host, same.host);
	}
	ck_assert_uint_gt(taken, 100);
}
END_TEST

START_TEST(long_ones_are_refused)
{
	char text[1000];
	struct ups_address address;

	for (size_t bytes = 1; bytes < 400; bytes++) {
		memset(text, 'a', sizeof(text));
		strcpy(text + bytes, "@h");
		ck_assert_int_eq(ups_address_parse(text, &address, NULL) == 0,
				 bytes < UPS_NAME_BYTES);
		strcpy(text, "n@");
		memset(text + 2, 'a', bytes);
		strcpy(text + 2 + bytes, ":1");
		ck_assert_int_eq(ups_address_parse(text, &address, NULL) == 0,
				 bytes < UPS_HOST_BYTES);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ups_address");
	TCase *test = tcase_create("ups_address");

	tcase_add_test(test, what_people_write_is_understood);
	tcase_add_test(test, what_is_wrong_is_said);
	tcase_add_test(test, random_texts_are_taken_or_refused);
	tcase_add_test(test, long_ones_are_refused);
	suite_add_tcase(suite, test);
	return suite_run(suite);
}
