/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/line_map.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "line_map_fixture.h"
#include "suite.h"

/* The accesses to each level: what a small and a large memory would see. */
struct counts {
	uint64_t accesses[LINE_MAP_LEVELS][2];
};

static void count_access(void *context, enum line_map_level level, uint64_t word,
			 enum line_map_access access)
{
	struct counts *counts = context;

	ck_assert_msg(level != LINE_MAP_LINES || word < map.page_count, "a word beyond its level");
	counts->accesses[level][access]++;
}

static uint64_t writes_of(const struct counts *counts)
{
	uint64_t writes = 0;

	for (int level = 0; level < LINE_MAP_LEVELS; level++)
		writes += counts->accesses[level][LINE_MAP_WRITE];
	return writes;
}

static uint64_t reads_of(const struct counts *counts)
{
	uint64_t reads = 0;

	for (int level = 0; level < LINE_MAP_LEVELS; level++)
		reads += counts->accesses[level][LINE_MAP_READ];
	return reads;
}

static uint64_t bits_in(enum line_map_level level, uint64_t words)
{
	uint64_t bits = 0;

	for (uint64_t i = 0; i < words; i++)
		bits += (uint64_t)__builtin_popcountll(map.words[level][i]);
	return bits;
}

/* M3.1: the change of state writes, one word a level; the same change again writes nothing. */
START_TEST(test_m3_1_only_a_change_of_state_writes)
{
	struct counts first = { 0 }, again = { 0 }, neighbour = { 0 };

	map = make(2000);
	ck_assert_uint_eq(line_map_set_by(&map, 1500, 0xf0, count_access, &first), 0xf0);
	ck_assert_uint_eq(writes_of(&first), 3);
	for (int i = 0; i < 1000; i++)
		ck_assert_uint_eq(line_map_set_by(&map, 1500, 0x30, count_access, &again), 0);
	ck_assert_uint_eq(writes_of(&again), 0);
	ck_assert_uint_eq(again.accesses[LINE_MAP_LINES][LINE_MAP_READ], 1000);
	ck_assert_uint_eq(line_map_set_by(&map, 1500, 0x1f0, count_access, &neighbour), 0x100);
	ck_assert_uint_eq(writes_of(&neighbour), 1);
	ck_assert_uint_eq(neighbour.accesses[LINE_MAP_LINES][LINE_MAP_WRITE], 1);
	destroy(&map);
}
END_TEST

/* M3.2: one change sets one bit of each level, that of its address. */
START_TEST(test_m3_2_one_change_sets_one_bit_of_each_level)
{
	static const uint64_t pages[] = { 0, 63, 64, 511, 512, 32767, 32768, 69999 };

	for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		map = make(70000);
		ck_assert(line_map_set_line(&map, pages[i] * 64 + 17));
		ck_assert_uint_eq(map.words[LINE_MAP_LINES][pages[i]], 1ull << 17);
		ck_assert(bit_of(LINE_MAP_PAGES, pages[i]));
		ck_assert(bit_of(LINE_MAP_GROUPS, pages[i] / 512));
		ck_assert_uint_eq(bits_in(LINE_MAP_LINES, 70000), 1);
		ck_assert_uint_eq(bits_in(LINE_MAP_PAGES, 1096), 1);
		ck_assert_uint_eq(bits_in(LINE_MAP_GROUPS, 3), 1);
		destroy(&map);
	}
}
END_TEST

/* M3.3: the summaries are a small part, and a scan with nothing changed stays within them. */
START_TEST(test_m3_3_summaries_are_small_and_spare_the_bitmap)
{
	struct counts counts = { 0 };

	ck_assert_uint_le(line_map_summary_bytes(262144) * 50, line_map_lines_bytes(262144));
	map = make(262144);
	ck_assert_uint_eq(line_map_next_by(&map, 0, count_access, &counts), LINE_MAP_NONE);
	ck_assert_uint_eq(counts.accesses[LINE_MAP_LINES][LINE_MAP_READ], 0);
	ck_assert_uint_eq(counts.accesses[LINE_MAP_GROUPS][LINE_MAP_READ], 8);
	ck_assert_uint_eq(reads_of(&counts), 8);
	ck_assert_uint_eq(writes_of(&counts), 0);
	destroy(&map);
}
END_TEST

/* M3.4: after every step of a random walk each level is the OR of the one below, exactly. */
START_TEST(test_m3_4_each_level_is_the_or_of_the_one_below)
{
	struct random_source random = random_from_seed(34);

	map = make(1600);
	for (int i = 0; i < 5000; i++) {
		uint64_t page = random_below(&random, map.page_count);

		if (random_below(&random, 2))
			line_map_set(&map, page, random_next(&random) | 1);
		else
			line_map_take(&map, page);
		if (i % 1000 > 750) /* and down to nothing */
			line_map_take(&map, line_map_next(&map, 0) % map.page_count);
		ck_assert(levels_agree());
	}
	destroy(&map);
}
END_TEST

static uint64_t scan_reads(uint64_t *ret_pages)
{
	struct counts counts = { 0 };
	uint64_t page = 0;

	*ret_pages = 0;
	while ((page = line_map_next_by(&map, page, count_access, &counts)) != LINE_MAP_NONE) {
		ck_assert_uint_ne(line_map_take_by(&map, page, count_access, &counts), 0);
		++*ret_pages;
	}
	return reads_of(&counts) + writes_of(&counts);
}

/* M3.5: the accesses of a scan that takes everything follow the changed pages, not the map. */
START_TEST(test_m3_5_scan_costs_what_is_changed)
{
	uint64_t clean = 262144 / 512 / 64, pages, cost;

	map = make(262144);
	for (uint64_t changed = 1; changed <= 4096; changed *= 8) {
		for (uint64_t i = 0; i < changed; i++) /* scattered: the dearest case */
			line_map_set(&map, i * (262144 / changed), 1);
		cost = scan_reads(&pages);
		ck_assert_uint_eq(pages, changed);
		ck_assert_uint_le(cost, clean + 40 * changed);
		ck_assert_uint_eq(scan_reads(&pages), clean);
	}
	for (uint64_t page = 0; page < 4096; page++) /* neighbours share the words above them */
		line_map_set(&map, page, 1);
	ck_assert_uint_le(scan_reads(&pages), clean + 8 * 4096);
	ck_assert_uint_eq(pages, 4096);
	destroy(&map);
}
END_TEST

/* Control: a bitmap without summaries finds the same pages and reads all of the bitmap for it. */
START_TEST(test_m3_control_flat_bitmap)
{
	struct random_source random = random_from_seed(35);
	struct counts flat = { 0 }, levels = { 0 };
	uint64_t page = 0, found = 0;

	map = make(100000);
	for (int i = 0; i < 300; i++)
		line_map_set(&map, random_below(&random, map.page_count), random_next(&random) | 1);
	for (uint64_t i = 0; i < map.page_count; i++) {
		uint64_t mask = line_map_read_by(&map, LINE_MAP_LINES, i, count_access, &flat);

		if (!mask)
			continue;
		page = line_map_next_by(&map, page, count_access, &levels);
		ck_assert_uint_eq(page, i);
		ck_assert_uint_eq(
			line_map_read_by(&map, LINE_MAP_LINES, page, count_access, &levels), mask);
		page++;
		found++;
	}
	ck_assert_uint_eq(line_map_next(&map, page), LINE_MAP_NONE);
	ck_assert_uint_eq(flat.accesses[LINE_MAP_LINES][LINE_MAP_READ], 100000);
	ck_assert_uint_eq(levels.accesses[LINE_MAP_LINES][LINE_MAP_READ], found);
	ck_assert_uint_lt(reads_of(&levels) * 10, reads_of(&flat));
	destroy(&map);
}
END_TEST

/* Each operation against an array of bytes. */
static void model_step(uint8_t *lines, struct random_source *random)
{
	uint64_t page = random_below(random, map.page_count), mask, expected = 0;
	uint8_t *own = lines + page * 64;

	switch (random_below(random, 4)) {
	case 0:
		mask = random_next(random) & random_next(random) & random_next(random);
		mask |= 1ull << random_below(random, 64);
		for (int i = 0; i < 64; i++) {
			expected |= (uint64_t)(mask >> i & 1 & !own[i]) << i;
			own[i] |= mask >> i & 1;
		}
		ck_assert_uint_eq(line_map_set(&map, page, mask), expected);
		return;
	case 1:
		mask = random_below(random, 64);
		ck_assert_int_eq(line_map_test_line(&map, page * 64 + mask), own[mask]);
		ck_assert_int_eq(line_map_set_line(&map, page * 64 + mask), !own[mask]);
		own[mask] = 1;
		return;
	case 2:
		for (int i = 0; i < 64; i++)
			expected |= (uint64_t)own[i] << i;
		memset(own, 0, 64);
		ck_assert_uint_eq(line_map_peek(&map, page), expected);
		ck_assert_uint_eq(line_map_take(&map, page), expected);
		return;
	default:
		expected = page;
		while (expected < map.page_count && !memchr(lines + expected * 64, 1, 64))
			expected++;
		expected = expected < map.page_count ? expected : LINE_MAP_NONE;
		ck_assert_uint_eq(line_map_next(&map, page), expected);
	}
}

START_TEST(test_random_steps_match_an_array)
{
	static const uint64_t page_counts[] = { 1, 63, 64, 65, 511, 512, 513, 33000 };
	struct random_source random = random_from_seed((uint64_t)_i);
	uint64_t page_count = page_counts[_i], set = 0;
	uint8_t *lines = zeroed(page_count * 64);

	map = make(page_count);
	for (int i = 0; i < 30000; i++)
		model_step(lines, &random);
	for (uint64_t i = 0; i < page_count * 64; i++)
		set += lines[i];
	ck_assert_uint_eq(line_map_count(&map), set);
	ck_assert(levels_agree());
	ck_assert_uint_eq(line_map_next(&map, page_count), LINE_MAP_NONE);
	destroy(&map);
	free(lines);
}
END_TEST

START_TEST(test_merge_is_the_or_and_keeps_the_other)
{
	struct random_source random = random_from_seed(36);
	struct line_map other = make(40000), before;
	uint64_t set = 0;

	map = make(40000);
	before = make(40000);
	for (int i = 0; i < 2000; i++) {
		line_map_set(&map, random_below(&random, 40000), random_next(&random) | 1);
		line_map_set(&other, random_below(&random, 40000), random_next(&random) | 1);
	}
	line_map_merge(&before, &map);
	line_map_merge(&map, &other);
	for (uint64_t page = 0; page < 40000; page++) {
		uint64_t mask = line_map_peek(&before, page) | line_map_peek(&other, page);

		ck_assert_uint_eq(line_map_peek(&map, page), mask);
		set += (uint64_t)__builtin_popcountll(mask);
	}
	ck_assert_uint_eq(line_map_count(&map), set);
	ck_assert(levels_agree());
	destroy(&before);
	destroy(&other);
	destroy(&map);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("line_map");
	TCase *tcase = tcase_create("line_map");

	tcase_set_timeout(tcase, 100);
	tcase_add_test(tcase, test_m3_1_only_a_change_of_state_writes);
	tcase_add_test(tcase, test_m3_2_one_change_sets_one_bit_of_each_level);
	tcase_add_test(tcase, test_m3_3_summaries_are_small_and_spare_the_bitmap);
	tcase_add_test(tcase, test_m3_4_each_level_is_the_or_of_the_one_below);
	tcase_add_test(tcase, test_m3_5_scan_costs_what_is_changed);
	tcase_add_test(tcase, test_m3_control_flat_bitmap);
	tcase_add_loop_test(tcase, test_random_steps_match_an_array, 0, 8);
	tcase_add_test(tcase, test_merge_is_the_or_and_keeps_the_other);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
