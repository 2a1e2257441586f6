/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The curve itself, and writers of many speeds against a disk whose rate changes under them: what
 * methods M5 and M7 want of the delay. Time is simulated, in steps of a microsecond.
 */

#include "policy/throttle.h"

#include <check.h>

#include "base/bytes.h"
#include "base/random.h"
#include "policy/rate.h"
#include "suite.h"

#define SECOND_NS 1000000000ull
#define STEP_NS 1000ull
#define WRITERS_MAX 64

START_TEST(nobody_waits_up_to_half_of_the_bound)
{
	struct throttle throttle = throttle_for(1000, 100 * MIB);

	for (uint64_t pages = 0; pages <= 500; pages++)
		ck_assert_uint_eq(throttle_delay_ns(&throttle, pages), 0);
	ck_assert_uint_gt(throttle_delay_ns(&throttle, 501), 0);
}
END_TEST

START_TEST(nobody_goes_on_at_the_bound)
{
	for (uint64_t bound = 0; bound < 200; bound++) {
		struct throttle throttle = throttle_for(bound, GIB);

		for (uint64_t pages = bound; pages < bound + 10; pages++) {
			ck_assert_uint_eq(throttle_delay_ns(&throttle, pages), THROTTLE_NEVER);
			ck_assert(!throttle_admits(&throttle, pages, UINT64_MAX));
		}
		/* One page below it somebody can, once the time has come. */
		if (bound)
			ck_assert(throttle_admits(&throttle, bound - 1, 1000 * SECOND_NS));
	}
}
END_TEST

/* It only grows, each step is at most what is left asks for, and x = 1/2 is the page's time. */
START_TEST(it_grows_without_a_step)
{
	static const uint64_t bounds[] = { 16, 1000, 262144, 1ull << 31 };
	uint64_t bound = bounds[_i];
	struct throttle throttle = throttle_for(bound, 400 * MIB);
	uint64_t first = throttle_first(&throttle), way = bound - first, last = 0;
	uint64_t stride = way > 100000 ? way / 100000 : 1;

	for (uint64_t pages = first; pages < bound; pages += stride) {
		uint64_t now = throttle_delay_ns(&throttle, pages), left = bound - pages;
		uint64_t step = (uint64_t)((double)throttle.page_ns * (double)way * (double)stride /
					   ((double)left * (double)left)) +
				2;

		ck_assert_uint_ge(now, last);
		ck_assert_uint_le(now - last, step);
		last = now;
	}
	ck_assert_uint_le(throttle_delay_ns(&throttle, first + way / 2), throttle.page_ns);
	ck_assert_uint_ge(throttle_delay_ns(&throttle, first + way / 2 + 1), throttle.page_ns);
	ck_assert_uint_ge(throttle_delay_ns(&throttle, bound - 1), throttle.page_ns * (way - 1));
}
END_TEST

START_TEST(extremes_hold)
{
	struct throttle slow = throttle_for(UINT64_MAX / 2, 0);
	struct throttle fast = throttle_for(100, UINT64_MAX);

	ck_assert_uint_eq(slow.page_ns, SECOND_NS * PAGE_BYTES / THROTTLE_RATE_MIN);
	ck_assert_uint_lt(throttle_delay_ns(&slow, UINT64_MAX / 2 - 1), THROTTLE_NEVER);
	ck_assert_uint_ge(fast.page_ns, 1);
	ck_assert_uint_eq(throttle_delay_ns(&fast, 99), 49);
}
END_TEST

struct writer {
	uint64_t own_ns;	     /* of work for each page */
	uint64_t ready_ns, asked_ns; /* works until; waits since */
	bool waits;
	uint64_t pages, waited_ns, longest_ns;
};

struct trial {
	struct throttle throttle;
	struct rate rate;
	struct writer writers[WRITERS_MAX];
	uint32_t count;
	uint64_t now_ns, bound, unflushed, most;
	uint64_t bytes_per_s; /* of the disk, now */
	uint64_t disk_ns;     /* of its work that is not done yet */
	uint64_t flushed;
	uint64_t begun_ns;
	struct random_source random;
};

static void disk_step(struct trial *t)
{
	uint64_t page_ns = rate_ns_for(PAGE_BYTES, t->bytes_per_s);

	if (!t->unflushed)
		return;
	t->disk_ns += STEP_NS;
	while (t->disk_ns >= page_ns && t->unflushed) {
		t->disk_ns -= page_ns;
		t->unflushed--;
		t->flushed++;
		rate_note(&t->rate, t->now_ns, PAGE_BYTES, page_ns);
	}
	t->throttle = throttle_for(t->bound, rate_latest(&t->rate));
}

static void writer_step(struct trial *t, struct writer *writer)
{
	uint64_t waited;

	if (!writer->waits) {
		if (t->now_ns < writer->ready_ns)
			return;
		writer->waits = true;
		writer->asked_ns = t->now_ns;
	}
	waited = t->now_ns - writer->asked_ns;
	if (!throttle_admits(&t->throttle, t->unflushed, waited))
		return;
	t->unflushed++;
	if (t->unflushed > t->most)
		t->most = t->unflushed;
	writer->waits = false;
	writer->pages++;
	writer->waited_ns += waited;
	if (waited > writer->longest_ns)
		writer->longest_ns = waited;
	writer->ready_ns = t->now_ns + writer->own_ns;
}

static void run(struct trial *t, uint64_t ns)
{
	uint64_t end = t->now_ns + ns;

	t->begun_ns = t->now_ns;
	t->most = t->unflushed;
	t->flushed = 0;
	for (uint32_t i = 0; i < t->count; i++)
		t->writers[i].pages = t->writers[i].waited_ns = t->writers[i].longest_ns = 0;
	for (; t->now_ns < end; t->now_ns += STEP_NS) {
		uint32_t first = (uint32_t)random_below(&t->random, t->count);

		disk_step(t);
		for (uint32_t i = 0; i < t->count; i++)
			writer_step(t, &t->writers[(first + i) % t->count]);
	}
	ck_assert_uint_le(t->most, t->bound);
}

static void start(struct trial *t, uint32_t writers, uint64_t own_ns, uint64_t bound,
		  uint64_t bytes_per_s)
{
	*t = (struct trial){ .count = writers,
			     .bound = bound,
			     .bytes_per_s = bytes_per_s,
			     .random = random_from_seed(writers) };
	rate_init(&t->rate, 60 * SECOND_NS);
	t->throttle = throttle_for(bound, 0);
	for (uint32_t i = 0; i < writers; i++)
		t->writers[i].own_ns = own_ns;
}

/* The disk was busy: what it took is what it can take. */
static void check_disk_rate(const struct trial *t, uint32_t percent)
{
	uint64_t could = (t->now_ns - t->begun_ns) / rate_ns_for(PAGE_BYTES, t->bytes_per_s);

	ck_assert_msg(t->flushed * 100 >= could * percent, "%lu of %lu pages", t->flushed, could);
}

/* 1 to 64 writers of 40 MB/s to without limit; a disk of 400 MiB/s, then 50, then 800. */
START_TEST(writers_settle_at_the_rate_of_the_disk)
{
	static const uint64_t own_ns[] = { 0, 1000, 5000, 20000, 100000 };
	static const uint32_t counts[] = { 1, 4, 64 };
	static const uint64_t rates[] = { 400 * MIB, 50 * MIB, 800 * MIB };
	uint32_t count = counts[_i % 3];
	struct trial t;

	start(&t, count, own_ns[_i / 3], 2000, rates[0]);
	for (uint32_t phase = 0; phase < 3; phase++) {
		uint64_t wanted;

		t.bytes_per_s = rates[phase];
		run(&t, SECOND_NS / 5); /* settles */
		run(&t, SECOND_NS / 5);
		wanted = own_ns[_i / 3] ? count * SECOND_NS / own_ns[_i / 3] * PAGE_BYTES
					: UINT64_MAX;
		if (wanted > t.bytes_per_s / 10 * 11)
			check_disk_rate(&t, 97);
		else if (wanted < t.bytes_per_s / 10 * 9)
			for (uint32_t i = 0; i < count; i++)
				ck_assert_uint_eq(t.writers[i].longest_ns, 0);
		/* Below the bound, not at it: the curve held them, not the wall. */
		if (count <= 4)
			ck_assert_uint_lt(t.unflushed, t.bound - t.bound / 20);
	}
	ck_assert_uint_le(t.most, t.bound);
}
END_TEST

/* The disk stops for a while: nobody passes the bound, and all go on when it does. */
START_TEST(a_disk_that_stops_is_waited_for)
{
	struct trial t;

	start(&t, 8, 1000, 500, 200 * MIB);
	run(&t, SECOND_NS / 4);
	t.bytes_per_s = 1;
	run(&t, SECOND_NS / 4);
	ck_assert_uint_le(t.most, t.bound);
	ck_assert_uint_ge(t.unflushed, t.bound - 2);
	t.bytes_per_s = 200 * MIB;
	t.disk_ns = 0;
	run(&t, SECOND_NS / 4);
	run(&t, SECOND_NS / 4);
	check_disk_rate(&t, 97);
}
END_TEST

/* No writer waits for more than three times what another of the same speed does. */
START_TEST(waits_are_shared)
{
	uint64_t least = UINT64_MAX, most = 0, longest = 0;
	uint32_t count = 2u << _i;
	struct trial t;

	start(&t, count, 2000, 4000, 100 * MIB);
	run(&t, SECOND_NS / 4);
	run(&t, SECOND_NS / 2);
	for (uint32_t i = 0; i < count; i++) {
		uint64_t mean = t.writers[i].waited_ns / t.writers[i].pages;

		least = mean < least ? mean : least;
		most = mean > most ? mean : most;
		longest = t.writers[i].longest_ns > longest ? t.writers[i].longest_ns : longest;
	}
	ck_assert_uint_le(most, 3 * least);
	/* And no single page for more than three times the mean. */
	ck_assert_uint_le(longest, 3 * least);
}
END_TEST

/* The bound sinks under what is unflushed (the battery's charge fell): it is worked off first. */
START_TEST(a_bound_that_sinks_is_reached_from_above)
{
	struct trial t;
	uint64_t before;

	start(&t, 4, 0, 4000, 100 * MIB);
	run(&t, SECOND_NS / 2);
	t.bound = 1000;
	t.throttle = throttle_for(t.bound, rate_latest(&t.rate));
	ck_assert_uint_gt(t.unflushed, t.bound);
	while (t.unflushed > t.bound) {
		before = t.unflushed;
		disk_step(&t);
		for (uint32_t i = 0; i < t.count; i++)
			writer_step(&t, &t.writers[i]);
		if (t.unflushed > before && t.unflushed > t.bound)
			ck_abort_msg("admitted above the bound");
		t.now_ns += STEP_NS;
	}
	run(&t, SECOND_NS / 2);
	check_disk_rate(&t, 97);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("throttle");
	TCase *test = tcase_create("throttle");

	tcase_set_timeout(test, 60);
	tcase_add_test(test, nobody_waits_up_to_half_of_the_bound);
	tcase_add_test(test, nobody_goes_on_at_the_bound);
	tcase_add_loop_test(test, it_grows_without_a_step, 0, 4);
	tcase_add_test(test, extremes_hold);
	tcase_add_loop_test(test, writers_settle_at_the_rate_of_the_disk, 0, 15);
	tcase_add_test(test, a_disk_that_stops_is_waited_for);
	tcase_add_loop_test(test, waits_are_shared, 0, 5);
	tcase_add_test(test, a_bound_that_sinks_is_reached_from_above);
	suite_add_tcase(suite, test);
	return suite_run(suite);
}
