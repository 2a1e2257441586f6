/* SPDX-License-Identifier: Apache-2.0 */

/* libperdure's line map as a program sees it: linked with the library, and nothing else of ours. */

#include "perdure/line_map.h"

#include <check.h>
#include <errno.h>
#include <signal.h>

#include "suite.h"

#define PAGES 5000

static struct pd_line_map *map;

static void set_up(void)
{
	ck_assert_int_eq(pd_line_map_create(PAGES, &map), 0);
}

static void tear_down(void)
{
	pd_line_map_destroy(map);
}

START_TEST(test_a_map_is_1_to_2_36_pages)
{
	struct pd_line_map *none = NULL;

	ck_assert_int_eq(pd_line_map_create(0, &none), -EINVAL);
	ck_assert_int_eq(pd_line_map_create(PD_LINE_MAP_PAGES_MAX + 1, &none), -EINVAL);
	ck_assert_int_eq(pd_line_map_create(UINT64_MAX, &none), -EINVAL);
	ck_assert_ptr_null(none);
	pd_line_map_destroy(NULL);
	ck_assert_uint_eq(pd_line_map_page_count(map), PAGES);
	ck_assert_uint_eq(pd_line_map_count(map), 0);
	ck_assert_uint_eq(pd_line_map_next(map, 0), PD_LINE_MAP_NONE);
	ck_assert_uint_eq(pd_line_map_next(map, PAGES), PD_LINE_MAP_NONE);
}
END_TEST

START_TEST(test_what_is_set_is_found_and_taken_once)
{
	ck_assert_uint_eq(pd_line_map_set(map, 700, 6), 6);
	ck_assert_uint_eq(pd_line_map_set(map, 700, 7), 1);
	ck_assert(pd_line_map_set_line(map, PAGES * 64 - 1));
	ck_assert(!pd_line_map_set_line(map, PAGES * 64 - 1));
	ck_assert(pd_line_map_test_line(map, 700 * 64 + 2));
	ck_assert(!pd_line_map_test_line(map, 700 * 64 + 3));
	ck_assert_uint_eq(pd_line_map_count(map), 4);
	ck_assert_uint_eq(pd_line_map_next(map, 0), 700);
	ck_assert_uint_eq(pd_line_map_next(map, 701), PAGES - 1);
	ck_assert_uint_eq(pd_line_map_peek(map, 700), 7);
	ck_assert_uint_eq(pd_line_map_take(map, 700), 7);
	ck_assert_uint_eq(pd_line_map_take(map, 700), 0);
	ck_assert_uint_eq(pd_line_map_take(map, PAGES - 1), 1ull << 63);
	ck_assert_uint_eq(pd_line_map_next(map, 0), PD_LINE_MAP_NONE);
}
END_TEST

START_TEST(test_only_maps_of_one_size_merge)
{
	struct pd_line_map *same, *smaller;

	ck_assert_int_eq(pd_line_map_create(PAGES, &same), 0);
	ck_assert_int_eq(pd_line_map_create(PAGES - 1, &smaller), 0);
	pd_line_map_set(map, 1, 1);
	pd_line_map_set(same, 1, 2);
	ck_assert_int_eq(pd_line_map_merge(map, same), 0);
	ck_assert_uint_eq(pd_line_map_peek(map, 1), 3);
	ck_assert_uint_eq(pd_line_map_peek(same, 1), 2);
	ck_assert_int_eq(pd_line_map_merge(map, smaller), -EINVAL);
	ck_assert_int_eq(pd_line_map_merge(map, map), -EINVAL);
	pd_line_map_destroy(same);
	pd_line_map_destroy(smaller);
}
END_TEST

/* Each ends the program by abort(). */
START_TEST(test_out_of_bounds_aborts)
{
	switch (_i) {
	case 0:
		pd_line_map_set(map, PAGES, 1);
		break;
	case 1:
		pd_line_map_set(map, 0, 0);
		break;
	case 2:
		pd_line_map_set_line(map, PAGES * 64);
		break;
	case 3:
		pd_line_map_test_line(map, PAGES * 64);
		break;
	case 4:
		pd_line_map_peek(map, PAGES);
		break;
	case 5:
		pd_line_map_take(map, PAGES);
		break;
	default:
		pd_line_map_next(map, PAGES + 1);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pd_line_map");
	TCase *tcase = tcase_create("pd_line_map");

	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, test_a_map_is_1_to_2_36_pages);
	tcase_add_test(tcase, test_what_is_set_is_found_and_taken_once);
	tcase_add_test(tcase, test_only_maps_of_one_size_merge);
	tcase_add_loop_test_raise_signal(tcase, test_out_of_bounds_aborts, SIGABRT, 0, 7);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
