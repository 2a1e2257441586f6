/* SPDX-License-Identifier: Apache-2.0 */
#include "backing_conformance.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/random.h"

#define SLOT_COUNT 512
#define RANDOM_IOS 2000
#define THREAD_COUNT 4
#define THREAD_IOS 400

static const struct conformance_case *all_cases;

static void reserve(struct backing *backing, uint64_t slot_count)
{
	struct error why = {0};

	ck_assert_msg(!backing->ops->reserve(backing, slot_count, &why), "%s", why.text);
}

/* A plain array of what lies in the slots, and the ios on their way. */
struct model {
	struct backing_channel *channel;
	struct random_source random;
	uint8_t *pages;		  /* IO_PAGES_MAX for each io */
	uint64_t first_slot;
	uint64_t seeds[SLOT_COUNT]; /* 0: not stored */
	bool busy[SLOT_COUNT];
	struct backing_io ios[BACKING_CHANNEL_DEPTH];
	bool active[BACKING_CHANNEL_DEPTH];
};

static uint8_t *io_pages(const struct model *model, uint32_t index)
{
	return model->pages + (uint64_t)index * BACKING_IO_PAGES_MAX * PAGE_BYTES;
}

static void model_finish(struct model *model, uint32_t index)
{
	struct backing_io *io = &model->ios[index];
	uint64_t slot = io->slot - model->first_slot;

	ck_assert_int_eq(conformance_wait(model->channel, io), 0);
	for (uint32_t i = 0; i < io->page_count; i++) {
		conformance_check_page(io_pages(model, index) + i * PAGE_BYTES,
				       model->seeds[slot + i]);
		model->busy[slot + i] = false;
	}
	model->active[index] = false;
}

/* How many slots from `slot` on an io of this verb may have. */
static uint32_t model_run(const struct model *model, uint64_t slot, enum backing_verb verb)
{
	uint32_t count = 0;

	while (count < BACKING_IO_PAGES_MAX && slot + count < SLOT_COUNT &&
	       !model->busy[slot + count] &&
	       (verb == BACKING_STORE || model->seeds[slot + count]))
		count++;
	return count;
}

static void model_start(struct model *model, uint32_t index)
{
	struct backing_io *io = &model->ios[index];
	uint64_t slot = random_below(&model->random, SLOT_COUNT);
	enum backing_verb verb = random_below(&model->random, 2) ? BACKING_FETCH : BACKING_STORE;
	uint32_t count = model_run(model, slot, verb);

	if (!count)
		return;
	if (random_below(&model->random, 2))
		count = 1 + (uint32_t)random_below(&model->random, count);
	else
		count = 1;
	*io = (struct backing_io){.verb = verb,
				  .slot = model->first_slot + slot,
				  .page_count = count,
				  .pages = io_pages(model, index)};
	for (uint32_t i = 0; i < count; i++) {
		uint8_t *page = io_pages(model, index) + i * PAGE_BYTES;

		model->busy[slot + i] = true;
		if (verb == BACKING_STORE) {
			model->seeds[slot + i] = random_next(&model->random) | 1ull << 40;
			conformance_fill_page(page, model->seeds[slot + i]);
		} else {
			memset(page, 0xee, PAGE_BYTES);
		}
	}
	ck_assert_int_eq(model->channel->ops->submit(model->channel, io), 0);
	model->active[index] = true;
}

static void model_discard(struct model *model)
{
	uint64_t slot = random_below(&model->random, SLOT_COUNT);
	uint32_t count = model_run(model, slot, BACKING_STORE);

	if (!count || !model->channel->ops->discard)
		return;
	model->channel->ops->discard(model->channel->backing, model->first_slot + slot, count);
	memset(&model->seeds[slot], 0, count * sizeof(model->seeds[0]));
}

static void model_drive(struct model *model, uint32_t io_count, uint32_t depth)
{
	for (uint32_t n = 0; n < io_count; n++) {
		uint32_t index = (uint32_t)random_below(&model->random, depth);

		if (model->active[index])
			model_finish(model, index);
		else
			model_start(model, index);
		if (random_below(&model->random, 50) == 0)
			model_discard(model);
	}
	for (uint32_t i = 0; i < depth; i++) {
		if (model->active[i])
			model_finish(model, i);
	}
}

static struct model *model_new(struct backing *backing, uint64_t first_slot, uint64_t seed,
			       uint8_t *pages)
{
	struct model *model = calloc(1, sizeof(*model));

	ck_assert_ptr_nonnull(model);
	model->channel = conformance_channel(backing);
	model->random = random_from_seed(seed);
	model->first_slot = first_slot;
	model->pages = pages;
	return model;
}

/* Every slot that was stored still has what was stored. */
static void model_check_all(struct model *model, struct backing_channel *channel)
{
	uint8_t *page = io_pages(model, 0);

	for (uint64_t slot = 0; slot < SLOT_COUNT; slot++) {
		if (!model->seeds[slot])
			continue;
		ck_assert_int_eq(conformance_move(channel, BACKING_FETCH, model->first_slot + slot,
						  1, page),
				 0);
		conformance_check_page(page, model->seeds[slot]);
	}
}

static void model_free(struct model *model)
{
	model->channel->ops->channel_close(model->channel);
	free(model);
}

START_TEST(random_ios_match_an_array)
{
	const struct conformance_case *c = &all_cases[_i];

	for (uint64_t seed = 1; seed <= 2; seed++) {
		struct backing *backing = conformance_open(c->uri, c->key_file);
		struct model *model = model_new(backing, 0, seed, conformance_pages());

		reserve(backing, SLOT_COUNT);
		model_drive(model, RANDOM_IOS, seed == 1 ? BACKING_CHANNEL_DEPTH : 3);
		model_check_all(model, model->channel);
		model_free(model);
		backing_close(backing);
	}
}
END_TEST

static void *drive_thread(void *model)
{
	model_drive(model, THREAD_IOS, BACKING_CHANNEL_DEPTH / THREAD_COUNT);
	return NULL;
}

START_TEST(channels_work_at_once)
{
	const struct conformance_case *c = &all_cases[_i];
	struct backing *backing = conformance_open(c->uri, c->key_file);
	struct model *models[THREAD_COUNT];
	pthread_t threads[THREAD_COUNT];

	reserve(backing, THREAD_COUNT * SLOT_COUNT);
	for (uint32_t i = 0; i < THREAD_COUNT; i++) {
		uint8_t *pages = conformance_pages() +
				 i * (CONFORMANCE_PAGES / THREAD_COUNT) * PAGE_BYTES;

		models[i] = model_new(backing, i * SLOT_COUNT, 100 + i, pages);
	}
	for (uint32_t i = 0; i < THREAD_COUNT; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, drive_thread, models[i]), 0);
	for (uint32_t i = 0; i < THREAD_COUNT; i++)
		pthread_join(threads[i], NULL);
	/* What one channel stored, another fetches. */
	for (uint32_t i = 0; i < THREAD_COUNT; i++)
		model_check_all(models[i], models[(i + 1) % THREAD_COUNT]->channel);
	for (uint32_t i = 0; i < THREAD_COUNT; i++)
		model_free(models[i]);
	backing_close(backing);
}
END_TEST

#define CHILD_SEED(slot) (9000000 + (slot))

/* Everything the child finds wrong ends it with a status: Check's own checks are the parent's. */
static int child_of_fork(struct backing *backing, struct model *model, bool close_inherited)
{
	uint8_t *page = conformance_pages(), *wanted = page + PAGE_BYTES;
	struct backing_channel *channel;
	struct error why;

	if (backing->ops->reattach(backing, NULL, &why))
		return 10;
	if (close_inherited)
		model->channel->ops->channel_close(model->channel);
	if (backing->ops->channel_open(backing, &channel, &why))
		return 11;
	for (uint64_t slot = 0; slot < SLOT_COUNT; slot++) {
		if (model->seeds[slot]) {
			if (conformance_move(channel, BACKING_FETCH, slot, 1, page))
				return 12;
			conformance_fill_page(wanted, model->seeds[slot]);
			if (memcmp(page, wanted, PAGE_BYTES))
				return 13;
		}
		conformance_fill_page(page, CHILD_SEED(slot));
		if (conformance_move(channel, BACKING_STORE, SLOT_COUNT + slot, 1, page))
			return 14;
	}
	channel->ops->channel_close(channel);
	backing_close(backing);
	return 0;
}

static void check_child_stores(struct model *model)
{
	uint8_t *page = conformance_pages();

	for (uint64_t slot = 0; slot < SLOT_COUNT; slot++) {
		ck_assert_int_eq(conformance_move(model->channel, BACKING_FETCH, SLOT_COUNT + slot,
						  1, page),
				 0);
		conformance_check_page(page, CHILD_SEED(slot));
	}
}

START_TEST(a_forked_child_shares_the_slots)
{
	const struct conformance_case *c = &all_cases[_i];
	struct backing *backing = conformance_open(c->uri, c->key_file);
	struct model *model = model_new(backing, 0, 5, conformance_pages());

	reserve(backing, 2 * SLOT_COUNT);
	model_drive(model, RANDOM_IOS / 4, BACKING_CHANNEL_DEPTH);
	for (int round = 0; round < 2; round++) {
		int status;
		pid_t pid = fork();

		ck_assert_int_ge(pid, 0);
		if (pid == 0)
			_exit(child_of_fork(backing, model, round == 1));
		/* The parent works on meanwhile, elsewhere. */
		for (int i = 0; i < 3; i++)
			model_check_all(model, model->channel);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_msg(status == 0, "the child ended with status %#x", status);
		check_child_stores(model);
	}
	model_drive(model, RANDOM_IOS / 4, BACKING_CHANNEL_DEPTH);
	model_check_all(model, model->channel);
	model_free(model);
	backing_close(backing);
}
END_TEST

START_TEST(reserve_grows_and_refuses_in_words)
{
	const struct conformance_case *c = &all_cases[_i];
	struct backing *backing = conformance_open(c->uri, c->key_file);
	struct backing_channel *channel = conformance_channel(backing);
	uint8_t *page = conformance_pages();
	uint64_t counts[] = {1, 10, 9, 4096, 1};
	struct error why = {0};
	uint64_t most = 0;

	for (size_t i = 0; i < ARRAY_COUNT(counts); i++) {
		reserve(backing, counts[i]);
		if (counts[i] > most)
			most = counts[i];
		conformance_fill_page(page, most);
		ck_assert_int_eq(conformance_move(channel, BACKING_STORE, most - 1, 1, page), 0);
	}
	for (size_t i = 0; i < ARRAY_COUNT(counts); i++) {
		if (i == 2)
			continue; /* the fewer slots of that call are not the last one's number */
		ck_assert_int_eq(
			conformance_move(channel, BACKING_FETCH, counts[i] - 1, 1, page), 0);
		conformance_check_page(page, counts[i]);
	}
	if (c->bounded) {
		ck_assert_int_eq(backing->ops->reserve(backing, 1000000000000ull, &why), -ENOSPC);
		ck_assert_msg(strlen(why.text) > 10, "no words");
	}
	channel->ops->channel_close(channel);
	backing_close(backing);
}
END_TEST

START_TEST(a_channel_takes_its_depth_unpolled)
{
	const struct conformance_case *c = &all_cases[_i];
	struct backing *backing = conformance_open(c->uri, c->key_file);
	struct backing_channel *channel = conformance_channel(backing);
	struct backing_io ios[BACKING_CHANNEL_DEPTH];
	uint8_t *pages = conformance_pages();

	reserve(backing, BACKING_CHANNEL_DEPTH);
	for (int verb = BACKING_STORE; verb >= BACKING_FETCH; verb--) {
		for (uint32_t i = 0; i < BACKING_CHANNEL_DEPTH; i++) {
			uint8_t *page = pages + i * PAGE_BYTES;

			ios[i] = (struct backing_io){.verb = (enum backing_verb)verb,
						     .slot = i,
						     .page_count = 1,
						     .pages = page};
			if (verb == BACKING_STORE)
				conformance_fill_page(page, i);
			else
				memset(page, 0xee, PAGE_BYTES);
			ck_assert_int_eq(channel->ops->submit(channel, &ios[i]), 0);
		}
		for (uint32_t i = 0; i < BACKING_CHANNEL_DEPTH; i++) {
			ck_assert_int_eq(conformance_wait(channel, &ios[i]), 0);
			conformance_check_page(pages + i * PAGE_BYTES, i);
		}
	}
	channel->ops->channel_close(channel);
	backing_close(backing);
}
END_TEST

START_TEST(nothing_lands_behind_a_closed_channel)
{
	const struct conformance_case *c = &all_cases[_i];
	struct backing *backing = conformance_open(c->uri, c->key_file);
	uint8_t *pages = conformance_pages();

	reserve(backing, CONFORMANCE_PAGES);
	for (int round = 0; round < 6; round++) {
		struct backing_io ios[BACKING_CHANNEL_DEPTH];
		struct backing_channel *channel = conformance_channel(backing);

		for (uint32_t i = 0; i < BACKING_CHANNEL_DEPTH; i++) {
			uint64_t slot = i * BACKING_IO_PAGES_MAX;

			ios[i] = (struct backing_io){.verb = round % 2 ? BACKING_FETCH
								       : BACKING_STORE,
						     .slot = slot,
						     .page_count = BACKING_IO_PAGES_MAX,
						     .pages = pages + slot * PAGE_BYTES};
			ck_assert_int_eq(channel->ops->submit(channel, &ios[i]), 0);
		}
		channel->ops->channel_close(channel);
		memset(ios, 0, sizeof(ios));
		memset(pages, round, CONFORMANCE_PAGES * PAGE_BYTES);
		usleep(2000);
		/* All bytes are equal if each equals the one before it. */
		ck_assert_int_eq(pages[0], round);
		ck_assert(!memcmp(pages, pages + 1, CONFORMANCE_PAGES * PAGE_BYTES - 1));
	}
	backing_close(backing);
}
END_TEST

static void open_use_close(const struct conformance_case *c)
{
	struct backing *backing = conformance_open(c->uri, c->key_file);
	struct backing_channel *channels[3];
	uint8_t *page = conformance_pages();

	reserve(backing, SLOT_COUNT);
	for (uint64_t i = 0; i < ARRAY_COUNT(channels); i++) {
		channels[i] = conformance_channel(backing);
		conformance_fill_page(page, i);
		ck_assert_int_eq(conformance_move(channels[i], BACKING_STORE, i, 1, page), 0);
	}
	if (backing->ops->bytes_held)
		ck_assert_uint_gt(backing->ops->bytes_held(backing), 0);
	for (size_t i = 0; i < ARRAY_COUNT(channels); i++)
		channels[i]->ops->channel_close(channels[i]);
	backing_close(backing);
}

START_TEST(close_leaves_nothing)
{
	int fds, mappings;

	/* The first time may load what stays, as a library or a thread's stack. */
	open_use_close(&all_cases[_i]);
	fds = conformance_count_fds();
	mappings = conformance_count_mappings();
	for (int i = 0; i < 5; i++)
		open_use_close(&all_cases[_i]);
	ck_assert_int_eq(conformance_count_fds(), fds);
	ck_assert_int_eq(conformance_count_mappings(), mappings);
	backing_close(NULL);
}
END_TEST

Suite *conformance_suite(const char *name, const struct conformance_case *cases, size_t case_count)
{
	Suite *suite = suite_create(name);
	TCase *tcase = tcase_create("conformance");
	int count = (int)case_count;

	all_cases = cases;
	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, random_ios_match_an_array, 0, count);
	tcase_add_loop_test(tcase, channels_work_at_once, 0, count);
	tcase_add_loop_test(tcase, a_forked_child_shares_the_slots, 0, count);
	tcase_add_loop_test(tcase, reserve_grows_and_refuses_in_words, 0, count);
	tcase_add_loop_test(tcase, a_channel_takes_its_depth_unpolled, 0, count);
	tcase_add_loop_test(tcase, nothing_lands_behind_a_closed_channel, 0, count);
	tcase_add_loop_test(tcase, close_leaves_nothing, 0, count);
	suite_add_tcase(suite, tcase);
	return suite;
}
