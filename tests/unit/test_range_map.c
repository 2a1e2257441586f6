/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/range_map.h"

#include <check.h>
#include <errno.h>

#include "base/random.h"
#include "suite.h"

#define MODEL_PAGES 200
#define MODEL_STEPS 40000
#define NO_PAGE UINT64_MAX

/* Each page's attributes as one number from 1 to 18; 0: free. */
struct model {
	uint8_t pages[MODEL_PAGES];
};

static struct range_attributes attributes_of(uint8_t code)
{
	code--;
	return (struct range_attributes){
		.kind = code % 2, .protection = code / 2 % 3, .fork = code / 6};
}

static uint8_t code_of(struct range_attributes attributes)
{
	return (uint8_t)(1 + attributes.kind + attributes.protection * 2 + attributes.fork * 6);
}

/*
 * The ranges are exactly the longest runs of equal pages. Check's own assertions are too slow for
 * each of them.
 */
static bool is_equal(const struct range_map *map, const struct model *model)
{
	uint64_t page = 0, mapped = 0;
	uint32_t index = 0;

	while (page < MODEL_PAGES) {
		uint64_t end = page + 1;

		while (end < MODEL_PAGES && model->pages[end] == model->pages[page])
			end++;
		if (model->pages[page]) {
			if (index == map->count || map->ranges[index].first != page ||
			    map->ranges[index].end != end ||
			    code_of(map->ranges[index].attributes) != model->pages[page])
				return false;
			mapped += end - page;
			index++;
		}
		page = end;
	}
	return index == map->count && mapped == map->mapped_pages;
}

static uint64_t count_mapped(const struct model *model, uint64_t first, uint64_t end)
{
	uint64_t count = 0;

	for (uint64_t page = first; page < end; page++)
		count += model->pages[page] != 0;
	return count;
}

static bool walk_is_right(const struct range_map *map, const struct model *model, uint64_t first,
		       uint64_t end)
{
	struct range piece;
	uint64_t walked = 0, before = first;

	for (uint64_t at = first; range_map_next(map, at, end, &piece); at = piece.end) {
		if (piece.first < before || piece.first >= piece.end || piece.end > end)
			return false;
		for (uint64_t page = piece.first; page < piece.end; page++)
			if (model->pages[page] != code_of(piece.attributes))
				return false;
		walked += piece.end - piece.first;
		before = piece.end;
	}
	return walked == count_mapped(model, first, end) &&
	       range_map_is_free(map, first, end - first) == (walked == 0) &&
	       range_map_is_mapped(map, first, end - first) == (walked == end - first);
}

static void check_find_free(const struct range_map *map, const struct model *model, uint64_t pages,
			    uint64_t alignment)
{
	uint64_t found = NO_PAGE, first = 0;
	int err = range_map_find_free(map, pages, alignment, &found);

	while (first + pages <= MODEL_PAGES && count_mapped(model, first, first + pages))
		first += alignment;
	if (first + pages <= MODEL_PAGES) {
		ck_assert_int_eq(err, 0);
		ck_assert_uint_eq(found, first);
	} else {
		ck_assert_int_eq(err, -ENOMEM);
		ck_assert_uint_eq(found, NO_PAGE);
	}
}

static void step(struct range_map *map, struct model *model, struct random_source *random)
{
	uint64_t first = random_below(random, MODEL_PAGES + 1);
	uint64_t pages = random_below(random, MODEL_PAGES - first + 1);
	uint8_t code = 0;

	if (random_below(random, 4))
		pages = pages > 8 ? random_below(random, 8) : pages;
	/* Few codes, so that neighbours often agree; at times all of them. */
	if (random_below(random, 3))
		code = (uint8_t)(1 + random_below(random, random_below(random, 8) ? 2 : 18));
	if (code)
		ck_assert_int_eq(range_map_set(map, first, pages, attributes_of(code)), 0);
	else
		ck_assert_int_eq(range_map_clear(map, first, pages), 0);
	for (uint64_t page = first; page < first + pages; page++)
		model->pages[page] = code;
}

START_TEST(test_random_steps_match_an_array)
{
	struct random_source random = random_from_seed((uint64_t)_i + 1);
	struct range_map map;
	struct model model = {0};

	range_map_init(&map, MODEL_PAGES);
	for (uint32_t n = 0; n < MODEL_STEPS; n++) {
		uint64_t first = random_below(&random, MODEL_PAGES);

		step(&map, &model, &random);
		ck_assert_msg(is_equal(&map, &model), "after step %u", n);
		ck_assert(walk_is_right(&map, &model, first,
					first + random_below(&random, MODEL_PAGES - first + 1)));
		check_find_free(&map, &model, 1 + random_below(&random, 24),
				1ull << random_below(&random, 6));
	}
	range_map_destroy(&map);
}
END_TEST

static void set(struct range_map *map, uint64_t first, uint64_t pages, uint8_t code)
{
	ck_assert_int_eq(range_map_set(map, first, pages, attributes_of(code)), 0);
}

START_TEST(test_hole_and_merge)
{
	struct range_map map;

	range_map_init(&map, 1000);
	set(&map, 100, 100, 1);
	ck_assert_int_eq(range_map_clear(&map, 140, 10), 0);
	ck_assert_uint_eq(map.count, 2);
	ck_assert_uint_eq(map.mapped_pages, 90);
	ck_assert(range_map_is_free(&map, 140, 10));
	ck_assert(!range_map_is_free(&map, 140, 11));
	ck_assert(!range_map_is_mapped(&map, 130, 30));
	set(&map, 140, 10, 2);
	ck_assert_uint_eq(map.count, 3);
	ck_assert(range_map_is_mapped(&map, 100, 100));
	set(&map, 140, 10, 1);
	ck_assert_uint_eq(map.count, 1);
	ck_assert_uint_eq(map.ranges[0].end, 200);
	set(&map, 150, 1, 4); /* another protection in the middle */
	ck_assert_uint_eq(map.count, 3);
	ck_assert_int_eq(range_map_clear(&map, 0, 1000), 0);
	ck_assert_uint_eq(map.count, 0);
	ck_assert_uint_eq(map.mapped_pages, 0);
	range_map_destroy(&map);
}
END_TEST

START_TEST(test_no_pages_change_nothing)
{
	struct range_map map;

	range_map_init(&map, 1000);
	set(&map, 500, 0, 1);
	ck_assert_uint_eq(map.count, 0);
	set(&map, 100, 100, 1);
	set(&map, 150, 0, 2);
	ck_assert_int_eq(range_map_clear(&map, 150, 0), 0);
	ck_assert_uint_eq(map.count, 1);
	ck_assert_uint_eq(map.mapped_pages, 100);
	range_map_destroy(&map);
}
END_TEST

START_TEST(test_next_is_clipped)
{
	struct range_map map;
	struct range piece;

	range_map_init(&map, 1000);
	ck_assert(!range_map_next(&map, 0, 1000, &piece));
	set(&map, 100, 100, 1);
	ck_assert(range_map_next(&map, 150, 160, &piece));
	ck_assert_uint_eq(piece.first, 150);
	ck_assert_uint_eq(piece.end, 160);
	ck_assert(range_map_next(&map, 0, 101, &piece));
	ck_assert_uint_eq(piece.first, 100);
	ck_assert_uint_eq(piece.end, 101);
	ck_assert(!range_map_next(&map, 0, 100, &piece));
	ck_assert(!range_map_next(&map, 200, 1000, &piece));
	ck_assert(!range_map_next(&map, 150, 150, &piece));
	range_map_destroy(&map);
}
END_TEST

START_TEST(test_find_free_aligns)
{
	struct range_map map;
	uint64_t first = NO_PAGE;

	range_map_init(&map, 1030);
	set(&map, 0, 1, 1);
	ck_assert_int_eq(range_map_find_free(&map, 512, 512, &first), 0);
	ck_assert_uint_eq(first, 512);
	set(&map, 1023, 1, 1);
	ck_assert_int_eq(range_map_find_free(&map, 512, 512, &first), -ENOMEM);
	ck_assert_int_eq(range_map_find_free(&map, 6, 512, &first), 0);
	ck_assert_uint_eq(first, 512);
	ck_assert_int_eq(range_map_find_free(&map, 1022, 1, &first), 0);
	ck_assert_uint_eq(first, 1);
	ck_assert_int_eq(range_map_find_free(&map, 1023, 1, &first), -ENOMEM);
	ck_assert_int_eq(range_map_find_free(&map, UINT64_MAX, 1, &first), -ENOMEM);
	ck_assert_int_eq(range_map_find_free(&map, 1, 1ull << 63, &first), -ENOMEM);
	range_map_destroy(&map);
}
END_TEST

/* Far more ranges than the first array holds, and then one again. */
START_TEST(test_array_grows)
{
	struct range_map map;

	range_map_init(&map, 10000);
	set(&map, 0, 10000, 1);
	for (uint64_t page = 1; page < 9999; page += 2)
		ck_assert_int_eq(range_map_clear(&map, page, 1), 0);
	ck_assert_uint_eq(map.count, 5000);
	for (uint64_t page = 1; page < 9999; page += 2)
		set(&map, page, 1, 1);
	ck_assert_uint_eq(map.count, 1);
	ck_assert_uint_eq(map.mapped_pages, 10000);
	range_map_destroy(&map);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("range_map");
	TCase *tcase = tcase_create("range_map");

	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, test_random_steps_match_an_array, 0, 3);
	tcase_add_test(tcase, test_hole_and_merge);
	tcase_add_test(tcase, test_no_pages_change_nothing);
	tcase_add_test(tcase, test_next_is_clipped);
	tcase_add_test(tcase, test_find_free_aligns);
	tcase_add_test(tcase, test_array_grows);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
