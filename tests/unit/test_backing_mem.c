/* SPDX-License-Identifier: Apache-2.0 */
#include "backing_conformance.h"
#include "suite.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>

#define SLOTS 8192u	/* 32 MiB of pages */
#define ROUNDS 4
/* A chunk of each size class may stay, and 32 MiB of pages fill several times that. */
#define HELD_BYTES_MAX (8 * MIB)

static const struct conformance_case cases[] = {
	{.uri = "mem:", .bounded = true},
	{.uri = "mem:64M", .bounded = true},
};

static void store_all(struct backing_channel *channel, uint64_t first, uint64_t seed)
{
	uint8_t *page = conformance_pages();

	for (uint64_t slot = first; slot < first + SLOTS; slot++) {
		conformance_fill_page(page, seed + slot);
		ck_assert_int_eq(conformance_move(channel, BACKING_STORE, slot, 1, page), 0);
	}
}

START_TEST(what_is_discarded_is_given_back)
{
	struct backing *backing = conformance_open("mem:64M", NULL);
	struct backing_channel *channel = conformance_channel(backing);
	uint8_t *page = conformance_pages();
	uint64_t full_bytes;

	ck_assert_int_eq(backing->ops->reserve(backing, SLOTS, NULL), 0);
	for (uint64_t round = 0; round < ROUNDS; round++) {
		store_all(channel, 0, round * SLOTS);
		full_bytes = backing->ops->bytes_held(backing);
		ck_assert_uint_gt(full_bytes, HELD_BYTES_MAX);
		/* One of two goes: the others are whole. */
		for (uint64_t slot = 0; slot < SLOTS; slot += 2)
			backing->ops->discard(backing, slot, 1);
		for (uint64_t slot = 0; slot < SLOTS; slot++) {
			int err = conformance_move(channel, BACKING_FETCH, slot, 1, page);

			ck_assert_int_eq(err, slot % 2 ? 0 : -ENODATA);
			if (slot % 2)
				conformance_check_page(page, round * SLOTS + slot);
		}
		/* Once more changes nothing, and neither does a slot that was never stored. */
		backing->ops->discard(backing, 0, SLOTS);
		backing->ops->discard(backing, 0, SLOTS);
		ck_assert_uint_lt(backing->ops->bytes_held(backing), HELD_BYTES_MAX);
	}
	channel->ops->channel_close(channel);
	backing_close(backing);
}
END_TEST

struct discarder {
	struct backing *backing;
	_Atomic bool stop;
};

/* The slots behind the others', over and over. */
static void *discard_until_told(void *argument)
{
	struct discarder *discarder = argument;
	struct backing *backing = discarder->backing;
	struct error why;
	struct backing_channel *channel;
	static uint8_t page[PAGE_BYTES] __attribute__((aligned(4096)));

	if (backing->ops->channel_open(backing, &channel, &why))
		return (void *)"no channel";
	while (!discarder->stop) {
		for (uint64_t slot = SLOTS; slot < SLOTS + 64; slot++) {
			struct backing_io io = {
				.verb = BACKING_STORE, .page_count = 1, .slot = slot,
				.pages = page,
			};

			conformance_fill_page(page, slot);
			if (channel->ops->submit(channel, &io) || io.result)
				return (void *)"a store failed";
		}
		backing->ops->discard(backing, SLOTS, 64);
	}
	channel->ops->channel_close(channel);
	return NULL;
}

START_TEST(a_discard_beside_others_stores_touches_none_of_them)
{
	struct discarder discarder = {.backing = conformance_open("mem:64M", NULL)};
	struct backing *backing = discarder.backing;
	struct backing_channel *channel = conformance_channel(backing);
	uint8_t *page = conformance_pages();
	pthread_t thread;
	void *complaint;

	ck_assert_int_eq(backing->ops->reserve(backing, SLOTS + 64, NULL), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, discard_until_told, &discarder), 0);
	for (uint64_t round = 0; round < ROUNDS; round++) {
		store_all(channel, 0, round * SLOTS);
		for (uint64_t slot = 0; slot < SLOTS; slot++) {
			ck_assert_int_eq(conformance_move(channel, BACKING_FETCH, slot, 1, page),
					 0);
			conformance_check_page(page, round * SLOTS + slot);
		}
	}
	discarder.stop = true;
	ck_assert_int_eq(pthread_join(thread, &complaint), 0);
	ck_assert_msg(!complaint, "%s", (const char *)complaint);
	channel->ops->channel_close(channel);
	backing_close(backing);
}
END_TEST

int main(void)
{
	Suite *suite = conformance_suite("backing_mem", cases, ARRAY_COUNT(cases));
	TCase *tcase = tcase_create("mem");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, what_is_discarded_is_given_back);
	tcase_add_test(tcase, a_discard_beside_others_stores_touches_none_of_them);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
