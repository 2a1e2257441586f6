/* SPDX-License-Identifier: Apache-2.0 */
#include "base/sort.h"

#include <check.h>

#include "base/random.h"
#include "suite.h"

#define ITEMS_MAX 32

struct item {
	uint32_t number, place;
	char rest[20];
};

static uint64_t number_of(const void *item)
{
	return ((const struct item *)item)->number;
}

START_TEST(items_are_in_order_and_equal_ones_as_they_were)
{
	struct random_source random = random_from_seed(3);
	struct item items[ITEMS_MAX];

	for (uint32_t trial = 0; trial < 5000; trial++) {
		uint32_t count = (uint32_t)random_below(&random, ITEMS_MAX + 1);
		uint64_t sum = 0;

		for (uint32_t i = 0; i < count; i++) {
			items[i] = (struct item){ .number = (uint32_t)random_below(&random, 8),
						  .place = i };
			sum += items[i].number;
		}
		sort_by(items, count, sizeof(items[0]), number_of);
		for (uint32_t i = 0; i < count; i++)
			sum -= items[i].number;
		ck_assert_uint_eq(sum, 0);
		for (uint32_t i = 1; i < count; i++)
			ck_assert(items[i - 1].number < items[i].number ||
				  (items[i - 1].number == items[i].number &&
				   items[i - 1].place < items[i].place));
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sort");
	TCase *test = tcase_create("sort");

	tcase_add_test(test, items_are_in_order_and_equal_ones_as_they_were);
	suite_add_tcase(suite, test);
	return suite_run(suite);
}
