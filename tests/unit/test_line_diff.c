/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/line_diff.h"

#include <check.h>
#include <string.h>

#include "base/random.h"
#include "suite.h"

#define WORDS 512
#define STEPS 20000

static struct line_digest_key key;
static uint64_t page[WORDS + 1], twin[WORDS + 1], digests[LINE_DIGESTS_MAX];

static void fill(uint64_t seed)
{
	struct random_source random = random_from_seed(seed);

	random_fill(&random, key.words, sizeof(key.words));
	random_fill(&random, key.fold, sizeof(key.fold));
	random_fill(&random, page, sizeof(page));
	memcpy(twin, page, sizeof(page));
}

/* A line's bit for every line of a block in which one is set. */
static uint64_t widened(uint64_t mask, uint32_t block_lines)
{
	uint64_t lines = ~0ull >> (64 - block_lines), wide = 0;

	for (uint32_t at = 0; at < 64; at += block_lines)
		wide |= mask >> at & lines ? lines << at : 0;
	return wide;
}

static void check_all(uint64_t expected)
{
	ck_assert_uint_eq(line_diff_twin(page, twin), expected);
	for (uint32_t lines = 1; lines <= LINE_DIGEST_BLOCK_LINES_MAX; lines *= 2) {
		line_digest_page(&key, twin, lines, digests);
		ck_assert_uint_eq(line_diff_digests(&key, page, lines, digests),
				  widened(expected, lines));
	}
}

/* Each single bit of a page is seen, in its line and no other. */
START_TEST(test_every_bit_is_seen_in_its_line)
{
	fill(1);
	check_all(0);
	for (uint32_t bit = 0; bit < WORDS * 64; bit++) {
		page[bit / 64] ^= 1ull << bit % 64;
		ck_assert_uint_eq(line_diff_twin(page, twin), 1ull << bit / 512);
		if (bit % 7 == 0)
			check_all(1ull << bit / 512);
		page[bit / 64] ^= 1ull << bit % 64;
	}
}
END_TEST

/* Random changes, of which some come back and some only exchange words. */
START_TEST(test_random_changes_match_a_comparison)
{
	struct random_source random = random_from_seed(2);

	fill(2);
	for (uint32_t step = 0; step < STEPS; step++) {
		uint64_t at = random_below(&random, WORDS), expected = 0, word;

		switch (random_below(&random, 3)) {
		case 0:
			page[at] = random_below(&random, 2) ? random_next(&random) : 0;
			break;
		case 1:
			word = page[at];
			page[at] = page[at ^ 1];
			page[at ^ 1] = word;
			break;
		default:
			memcpy(page + at / 8 * 8, twin + at / 8 * 8, 64);
		}
		for (uint64_t line = 0; line < 64; line++)
			expected |= (uint64_t)(memcmp(page + line * 8, twin + line * 8, 64) != 0)
				    << line;
		check_all(expected);
		if (step % 100 == 0)
			memcpy(twin, page, sizeof(page));
	}
}
END_TEST

/* A digest is of the key as well, each word of it, and has all of its 64 bits in use. */
START_TEST(test_every_word_of_the_key_counts)
{
	uint64_t ones = 0, zeros = 0;

	fill(3);
	line_digest_page(&key, page, LINE_DIGEST_BLOCK_LINES_MAX, digests);
	for (uint32_t i = 0; i < 8 * LINE_DIGEST_BLOCK_LINES_MAX; i++) {
		key.words[i] ^= 1;
		ck_assert_uint_eq(
			line_diff_digests(&key, page, LINE_DIGEST_BLOCK_LINES_MAX, digests),
			UINT64_MAX);
		key.words[i] ^= 1;
	}
	for (uint32_t i = 0; i < 3; i++) {
		key.fold[i] ^= (unsigned __int128)1 << 127;
		ck_assert_uint_ne(
			line_diff_digests(&key, page, LINE_DIGEST_BLOCK_LINES_MAX, digests), 0);
		key.fold[i] ^= (unsigned __int128)1 << 127;
	}
	for (uint32_t i = 0; i < 64 / LINE_DIGEST_BLOCK_LINES_MAX; i++) {
		ones |= digests[i];
		zeros |= ~digests[i];
	}
	ck_assert_uint_eq(ones & zeros, UINT64_MAX);
}
END_TEST

/*
 * Pages that differ little and structured pages are where a weak hash collides: a counter in each
 * line, and lines that are permutations of each other. All digests differ.
 */
START_TEST(test_like_lines_have_unlike_digests)
{
	static uint64_t seen[1 << 16];
	uint64_t collisions = 0;

	fill(4);
	memset(page, 0, sizeof(page));
	memset(seen, 0, sizeof(seen));
	for (uint32_t round = 0; round < 512; round++) {
		for (uint32_t line = 0; line < 64; line++) {
			page[line * 8 + round % 8] = round * 64 + line + 1;
			if (round >= 8)
				page[line * 8 + (round + 1) % 8] = 0;
		}
		line_digest_page(&key, page, 1, digests);
		for (uint32_t line = 0; line < 64; line++) {
			uint64_t *place = &seen[digests[line] % (1 << 16)];

			collisions += *place == digests[line];
			*place = digests[line];
		}
	}
	ck_assert_uint_eq(collisions, 0);
}
END_TEST

/* 8 bytes are all the alignment that is needed, and what is behind the page is none of it. */
START_TEST(test_only_the_page_is_read)
{
	fill(5);
	page[0] ^= 1;
	ck_assert_uint_eq(line_diff_twin(page + 1, twin + 1), 0);
	page[WORDS] ^= 1;
	ck_assert_uint_eq(line_diff_twin(page + 1, twin + 1), 1ull << 63);
	page[0] ^= 1;
	ck_assert_uint_eq(line_diff_twin(page, twin), 0);
	line_digest_page(&key, twin + 1, 1, digests);
	ck_assert_uint_eq(line_diff_digests(&key, page + 1, 1, digests), 1ull << 63);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("line_diff");
	TCase *tcase = tcase_create("line_diff");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, test_every_bit_is_seen_in_its_line);
	tcase_add_test(tcase, test_random_changes_match_a_comparison);
	tcase_add_test(tcase, test_every_word_of_the_key_counts);
	tcase_add_test(tcase, test_like_lines_have_unlike_digests);
	tcase_add_test(tcase, test_only_the_page_is_read);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
