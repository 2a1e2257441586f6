/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/random.h"
#include "format/wire_lines.h"
#include "suite.h"

#define SLOTS 40
#define STEPS 300
#define HEAD sizeof(struct wire_lines)

static uint8_t message[WIRE_LINES_BYTES_MAX];

/* A message of two pages: line 1 of slot 3, lines 0 and 63 of slot 5. Returns its bytes. */
static size_t make_two(void)
{
	static char page[PAGE_BYTES];
	size_t body;

	for (unsigned i = 0; i < WIRE_LINES_PER_PAGE; i++)
		memset(page + i * WIRE_LINE_BYTES, (int)i + 1, WIRE_LINE_BYTES);
	body = wire_lines_add(message + HEAD, 3, 2, page);
	body += wire_lines_add(message + HEAD + body, 5, 1ull << 63 | 1, page);
	wire_lines_begin(message, 2, body);
	return HEAD + body;
}

/* The layout, byte by byte; it never changes within a version. */
START_TEST(test_golden_bytes)
{
	static const uint8_t head[] = { 0x50, 0x64, 0x72, 0x4e, 2, 0, 7, 0,    24, 0,	 0,
					0,    0,    0,	  0,	0, 2, 0, 0,    0,  0xe0, 0,
					0,    0,    3,	  0,	0, 0, 0, 0,    0,  0,	 2,
					0,    0,    0,	  0,	0, 0, 0, 0x02, 2,  2,	 2 };
	static const uint8_t second[] = { 5, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x80, 1 };

	ck_assert_uint_eq(make_two(), 24 + 2 * 16 + 3 * 64);
	ck_assert_mem_eq(message, head, sizeof(head));
	ck_assert_mem_eq(message + 24 + 16 + 64, second, sizeof(second));
	ck_assert_uint_eq(message[24 + 2 * 16 + 2 * 64], 64);
}
END_TEST

START_TEST(test_what_has_arrived)
{
	size_t bytes = make_two(), whole = 0;

	for (size_t cut = 0; cut < HEAD; cut++)
		ck_assert_int_eq(wire_lines_look(message, cut, &whole), -EAGAIN);
	for (size_t cut = HEAD; cut <= bytes; cut++) {
		whole = 0;
		ck_assert_int_eq(wire_lines_look(message, cut, &whole), 0);
		ck_assert_uint_eq(whole, bytes);
	}
	memcpy(message, "HTTP", 4);
	ck_assert_int_eq(wire_lines_look(message, 4, &whole), -EPROTO);
}
END_TEST

/* Counts that no body can have are told before it arrives. */
START_TEST(test_impossible_counts)
{
	static const struct {
		uint32_t pages;
		size_t body;
		int ret;
	} cases[] = {
		{ 1, 80, 0 },
		{ 1, 16 + 4096, 0 },
		{ 32, 32 * (16 + 4096), 0 },
		{ 0, 0, -EPROTO },
		{ 0, 80, -EPROTO },
		{ 33, 33 * 80, -EPROTO },
		{ 1, 79, -EPROTO },
		{ 1, 16 + 4097, -EPROTO },
		{ 2, 80, -EPROTO },
		{ 1, 0, -EPROTO },
		{ 1, UINT32_MAX, -EPROTO },
		{ 32, 32 * 4112 + 1, -EPROTO },
		{ UINT32_MAX, UINT32_MAX, -EPROTO },
	};
	size_t whole;

	for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
		wire_lines_begin(message, cases[i].pages, cases[i].body);
		ck_assert_int_eq(wire_lines_look(message, HEAD, &whole), cases[i].ret);
	}
}
END_TEST

START_TEST(test_wrong_bodies)
{
	size_t bytes = make_two();

	ck_assert_int_eq(wire_lines_check(message, 6), 0);
	ck_assert_int_eq(wire_lines_check(message, 5), -EPROTO);
	ck_assert_int_eq(wire_lines_check(message, 0), -EPROTO);
	message[HEAD + 7] = 0x80;
	ck_assert_int_eq(wire_lines_check(message, 6), -EPROTO);
	for (size_t body = 2 * 80; body < bytes + 200; body++) {
		make_two();
		wire_lines_begin(message, 2, body);
		ck_assert_int_eq(wire_lines_check(message, 6), body == bytes - HEAD ? 0 : -EPROTO);
	}
	make_two();
	message[HEAD + 8] = 0;
	ck_assert_int_eq(wire_lines_check(message, 6), -EPROTO);
	make_two();
	message[HEAD + 8] = 6;
	ck_assert_int_eq(wire_lines_check(message, 6), -EPROTO);
	make_two();
	wire_lines_begin(message, 1, bytes - HEAD);
	ck_assert_int_eq(wire_lines_check(message, 6), -EPROTO);
	wire_lines_begin(message, 3, bytes - HEAD);
	ck_assert_int_eq(wire_lines_check(message, 6), -EPROTO);
}
END_TEST

/* Random lines arrive where they belong, and nowhere else. */
START_TEST(test_random_lines_match_an_array)
{
	struct random_source random = random_from_seed(1);
	char *slots = calloc(SLOTS, PAGE_BYTES), *right = calloc(SLOTS, PAGE_BYTES);
	char page[PAGE_BYTES];

	for (unsigned step = 0; step < STEPS; step++) {
		uint32_t count = 1 + (uint32_t)random_below(&random, WIRE_LINES_PAGES_MAX);
		size_t body = 0;

		for (uint32_t i = 0; i < count; i++) {
			uint64_t slot = random_below(&random, SLOTS);
			uint64_t mask = random_next(&random) | 1ull << step % 64;

			if (step % 10 == 0)
				mask = UINT64_MAX;
			random_fill(&random, page, sizeof(page));
			body += wire_lines_add(message + HEAD + body, slot, mask, page);
			for (unsigned line = 0; line < WIRE_LINES_PER_PAGE; line++)
				if (mask >> line & 1)
					memcpy(right + slot * PAGE_BYTES + line * WIRE_LINE_BYTES,
					       page + line * WIRE_LINE_BYTES, WIRE_LINE_BYTES);
		}
		wire_lines_begin(message, count, body);
		ck_assert_int_eq(wire_lines_check(message, SLOTS), 0);
		wire_lines_put(message, slots);
		ck_assert(!memcmp(slots, right, SLOTS * PAGE_BYTES));
	}
	free(slots);
	free(right);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("wire_lines");
	TCase *tcase = tcase_create("wire_lines");

	tcase_add_test(tcase, test_golden_bytes);
	tcase_add_test(tcase, test_what_has_arrived);
	tcase_add_test(tcase, test_impossible_counts);
	tcase_add_test(tcase, test_wrong_bodies);
	tcase_add_test(tcase, test_random_lines_match_an_array);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
