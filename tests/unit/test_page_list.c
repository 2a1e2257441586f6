/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/page_list.h"

#include <check.h>
#include <string.h>

#include "base/random.h"
#include "suite.h"

#define MODEL_PAGES 48
#define MODEL_STEPS 40000

static struct page_link links[MODEL_PAGES];

/* The pages in their order, oldest first. */
struct model {
	uint32_t pages[MODEL_PAGES];
	uint32_t count;
};

static uint32_t model_find(const struct model *model, uint32_t page)
{
	uint32_t i = 0;

	while (i < model->count && model->pages[i] != page)
		i++;
	return i;
}

static void model_insert(struct model *model, uint32_t at, uint32_t page)
{
	memmove(&model->pages[at + 1], &model->pages[at],
		(model->count - at) * sizeof(model->pages[0]));
	model->pages[at] = page;
	model->count++;
}

static void model_erase(struct model *model, uint32_t at)
{
	model->count--;
	memmove(&model->pages[at], &model->pages[at + 1],
		(model->count - at) * sizeof(model->pages[0]));
}

/* Walks the list in both directions. Check's own assertions are too slow for each of its steps. */
static bool is_equal(const struct page_list *list, const struct model *model)
{
	uint32_t forward = list->first, backward = list->last;

	if (list->count != model->count)
		return false;
	for (uint32_t i = 0; i < model->count; i++) {
		if (forward != model->pages[i] + 1 ||
		    backward != model->pages[model->count - 1 - i] + 1)
			return false;
		forward = links[forward - 1].next;
		backward = links[backward - 1].previous;
	}
	for (uint32_t page = 0; page < MODEL_PAGES; page++)
		if (page_list_holds(list, page) != (model_find(model, page) < model->count))
			return false;
	return !forward && !backward;
}

static void step_pop(struct page_list *list, struct model *model)
{
	uint32_t page = UINT32_MAX;
	bool popped = page_list_pop(list, &page);

	ck_assert_int_eq(popped, model->count > 0);
	if (!popped)
		return;
	ck_assert_uint_eq(page, model->pages[0]);
	model_erase(model, 0);
}

static void step(struct page_list *list, struct model *model, struct random_source *random)
{
	uint32_t page = (uint32_t)random_below(random, MODEL_PAGES);
	uint32_t at = model_find(model, page);

	switch (random_below(random, 4)) {
	case 0:
		if (at < model->count)
			return;
		page_list_push(list, page);
		model_insert(model, model->count, page);
		return;
	case 1:
		if (at < model->count)
			return;
		page_list_push_oldest(list, page);
		model_insert(model, 0, page);
		return;
	case 2:
		page_list_remove(list, page);
		if (at < model->count)
			model_erase(model, at);
		return;
	default:
		/* Seldom, so that the list has times of being long. */
		if (!random_below(random, 4))
			step_pop(list, model);
	}
}

START_TEST(test_random_steps_match_an_array)
{
	struct random_source random = random_from_seed((uint64_t)_i + 1);
	struct page_list list = {.links = links};
	struct model model = {0};

	memset(links, 0, sizeof(links));
	for (uint32_t n = 0; n < MODEL_STEPS; n++) {
		step(&list, &model, &random);
		ck_assert_msg(is_equal(&list, &model), "after step %u", n);
	}
	while (model.count)
		step_pop(&list, &model);
	ck_assert(is_equal(&list, &model));
}
END_TEST

START_TEST(test_one_page_is_held)
{
	struct page_list list = {.links = links};
	uint32_t page = 7;

	memset(links, 0, sizeof(links));
	ck_assert(!page_list_pop(&list, &page));
	ck_assert_uint_eq(page, 7);
	page_list_push(&list, 0);
	ck_assert(page_list_holds(&list, 0));
	ck_assert(!page_list_holds(&list, 1));
	page_list_remove(&list, 1);
	ck_assert_uint_eq(list.count, 1);
	page_list_remove(&list, 0);
	page_list_remove(&list, 0);
	ck_assert(!page_list_holds(&list, 0));
	ck_assert_uint_eq(list.count, 0);
	ck_assert_uint_eq(list.first, 0);
	ck_assert_uint_eq(list.last, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("page_list");
	TCase *tcase = tcase_create("page_list");

	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, test_random_steps_match_an_array, 0, 3);
	tcase_add_test(tcase, test_one_page_is_held);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
