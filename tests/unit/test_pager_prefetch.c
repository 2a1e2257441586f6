/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Prefetch, live: the elements of methods M1 and M2 as docs/methods.md lists them, on pages that
 * are checked word by word. Invariants R1 to R5 of docs/design/prefetch.md.
 */

#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/random.h"
#include "pump/pager.h"
#include "suite.h"

#define LOCAL_BYTES (8 * MIB)
#define PAGES (4 * LOCAL_BYTES / PAGE_BYTES)
#define MS_NS 1000000ull

struct trial {
	const char *uri;
	enum prefetch_mode mode;
	enum pager_kernel kernel;
	uint64_t timer_ns;
	struct pager *pager;
	struct run_counters *counters;
};

static void start(struct trial *t)
{
	struct run_member *member = mmap(NULL, sizeof(*member), PROT_READ | PROT_WRITE,
					 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct pager_config config = {
		.local_bytes = LOCAL_BYTES,
		.far_uris = { t->uri },
		.far_count = 1,
		.mirror = 1,
		.timeout_ms = 2000,
		.kernel = t->kernel,
		.prefetch = t->mode,
		.prefetch_timer_ns = t->timer_ns ? t->timer_ns : 500 * MS_NS,
		.member = member,
	};
	struct error why = { "" };
	int err = pager_start(&config, &t->pager, &why);

	ck_assert_msg(!err, "%s", why.text);
	ck_assert(!mprotect((void *)pager_region_start(t->pager), PAGES * PAGE_BYTES,
			    PROT_READ | PROT_WRITE));
	t->counters = &member->counters;
}

static uint64_t *words_of(const struct trial *t, uint64_t page)
{
	return (uint64_t *)(pager_region_start(t->pager) + page * PAGE_BYTES);
}

static void fill(const struct trial *t, uint64_t page)
{
	for (uint64_t i = 0; i < 512; i++)
		words_of(t, page)[i] = random_mix(page * 512 + i);
}

static void check(const struct trial *t, uint64_t page)
{
	for (uint64_t i = 0; i < 512; i += 7)
		if (words_of(t, page)[i] != random_mix(page * 512 + i))
			ck_abort_msg("page %lu, word %lu is wrong", page, i);
}

static void fill_in_order(const struct trial *t)
{
	for (uint64_t page = 0; page < PAGES; page++)
		fill(t, page);
}

/* So that neighbouring pages left in different batches: each comes back by a read of its own. */
static void fill_scattered(const struct trial *t)
{
	for (uint64_t i = 0; i < PAGES; i++)
		fill(t, i * 1237 % PAGES);
}

static uint64_t issued(const struct trial *t)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < RUN_PREFETCH_SOURCES; i++)
		sum += t->counters->prefetch[i].issued;
	return sum;
}

static uint64_t late(const struct trial *t)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < RUN_PREFETCH_SOURCES; i++)
		sum += t->counters->prefetch[i].late;
	return sum;
}

/* Pages that were fetched as a thread waited for them: no other came by itself. */
static uint64_t demanded(const struct trial *t)
{
	return t->counters->pages_fetched - (issued(t) - late(t));
}

/* Pages demanded in a walk over all pages, every `stride`-th. */
static uint64_t walk(const struct trial *t, int64_t stride)
{
	uint64_t before = demanded(t);

	for (int64_t at = stride > 0 ? 0 : PAGES - 1; at >= 0 && at < (int64_t)PAGES; at += stride)
		check(t, (uint64_t)at);
	ck_assert_uint_le(t->counters->local_bytes_max, LOCAL_BYTES);
	return demanded(t) - before;
}

START_TEST(m1_pages_of_the_line_come_before_they_are_touched)
{
	struct trial none = { .uri = "mem:", .mode = PREFETCH_NONE };
	struct trial line = { .uri = "mem:", .mode = PREFETCH_LINE };
	uint64_t pages;

	start(_i ? &line : &none);
	if (!_i) { /* the control */
		fill_in_order(&none);
		ck_assert_uint_ge(walk(&none, 1), PAGES * 9 / 10); /* but for the victims */
		ck_assert_uint_eq(issued(&none), 0);
		return;
	}
	fill_in_order(&line);
	pages = walk(&line, 1);
	ck_assert_uint_le(pages, PAGES / 6);
	ck_assert_uint_ge(issued(&line), PAGES / 2);
	/* Two of each line would do as much work again: no page came twice. */
	ck_assert_uint_le(line.counters->pages_fetched, PAGES + PAGES / 8);
}
END_TEST

START_TEST(m1_scattered_frames_explain_nothing)
{
	struct trial t = { .uri = "mem:", .mode = PREFETCH_LINE };

	start(&t);
	fill_scattered(&t);
	ck_assert_uint_le(walk(&t, 1), PAGES / 6);
}
END_TEST

/*
 * R6: over a link that takes a millisecond for a page, those that come before the timer ends are
 * the first of the plan: here by their addresses, as none was asked for more often. Their slots lie
 * in another order.
 */
START_TEST(m1_5_reads_begin_in_the_order_of_the_plan)
{
	struct trial t = { .uri = "delay:100us,bandwidth=4M,verb=fetch:mem:",
			   .mode = PREFETCH_LINE,
			   .timer_ns = 3500000 };
	uint32_t lines = 0, in_part = 0, out_of_order = 0;

	start(&t);
	fill_scattered(&t);
	for (uint64_t first = 0; first < PAGES && lines < 20; first += 8) {
		uint64_t before = issued(&t);
		uint32_t here = 0;

		check(&t, first);
		usleep(8000); /* the timer ends meanwhile */
		if (issued(&t) - before != 7)
			continue;
		/* From the last on, as some may still come: none is here before those in front. */
		for (uint64_t i = 8; i-- > 1;)
			here |= (uint32_t)pager_is_resident(t.pager, first + i) << i;
		/* On a busy host the first ones may be evicted again by then. */
		out_of_order += (here & (here + 2)) != 0;
		in_part += here > 0 && here < 0xfe;
		lines++;
	}
	ck_assert_uint_ge(in_part, 5);
	ck_assert_uint_le(out_of_order, 2);
}
END_TEST

START_TEST(walks_demand_a_page_a_window)
{
	static const int64_t strides[] = { 1, -1, 2, 7, 16 };
	struct trial t = { .uri = "mem:", .mode = PREFETCH_ADAPTIVE };
	uint64_t steps = PAGES / (uint64_t)llabs(strides[_i]);

	start(&t);
	fill_in_order(&t);
	ck_assert_uint_le(walk(&t, strides[_i]) * 8, steps + 64);
}
END_TEST

START_TEST(random_touches_fetch_next_to_nothing_ahead)
{
	struct trial t = { .uri = "mem:", .mode = PREFETCH_ADAPTIVE };
	struct random_source random = random_from_seed(11);

	start(&t);
	fill_scattered(&t);
	for (uint32_t i = 0; i < 20000; i++)
		check(&t, random_below(&random, PAGES));
	ck_assert_uint_le(issued(&t) * 10, t.counters->faults);
}
END_TEST

START_TEST(works_by_copy_as_well)
{
	struct trial t = { .uri = "mem:", .mode = PREFETCH_ADAPTIVE, .kernel = PAGER_KERNEL_COPY };

	start(&t);
	fill_in_order(&t);
	ck_assert_uint_le(walk(&t, 1), PAGES / 8);
}
END_TEST

/* Where the timer is far from the time of a fetch, and where it is about that. */
START_TEST(m2_well_under_the_timer_nothing_is_late)
{
	struct trial t = { .uri = "delay:100us:mem:", .mode = PREFETCH_LINE };

	start(&t);
	fill_scattered(&t);
	walk(&t, 1);
	ck_assert_uint_gt(issued(&t), PAGES / 2);
	ck_assert_uint_eq(late(&t), 0);
}
END_TEST

/* Each page by a read of its own, or all of a line in that of the page demanded. */
START_TEST(m2_well_over_the_timer_each_page_is_left_to_its_fault)
{
	struct trial t = { .uri = "delay:3ms,jitter=1ms,verb=fetch:mem:",
			   .mode = PREFETCH_LINE,
			   .timer_ns = 100000 };
	uint64_t faults, fetched;

	start(&t);
	if (_i)
		fill_in_order(&t);
	else
		fill_scattered(&t);
	faults = t.counters->faults;
	fetched = t.counters->pages_fetched;
	for (uint64_t page = 0; page < 400; page++)
		check(&t, page);
	ck_assert_uint_gt(late(&t), 50);
	/* No page is there that was not demanded; the last fault may not be counted yet. */
	ck_assert_uint_le(t.counters->pages_fetched - fetched, t.counters->faults - faults + 1);
	ck_assert_uint_le(t.counters->local_bytes_max, LOCAL_BYTES);
}
END_TEST

START_TEST(m2_about_the_timer_each_page_has_one_outcome)
{
	struct trial t = { .uri = "delay:1ms,jitter=2ms,verb=fetch:mem:",
			   .mode = PREFETCH_LINE,
			   .timer_ns = 2 * MS_NS };

	start(&t);
	fill_scattered(&t);
	for (uint64_t page = 0; page < 1200; page++)
		check(&t, page);
	ck_assert_uint_gt(late(&t), 10);
	ck_assert_uint_gt(issued(&t), late(&t) + 10);
	ck_assert_uint_le(t.counters->local_bytes_max, LOCAL_BYTES);
}
END_TEST

struct walker {
	pthread_t thread;
	struct trial *trial;
	uint64_t seed;
};

/* Each has every third run of 64 pages: reads runs, and writes pages anew with the same words. */
static void *wander(void *argument)
{
	struct walker *walker = argument;
	struct random_source random = random_from_seed(walker->seed);

	for (uint32_t i = 0; i < 300; i++) {
		uint64_t run = random_below(&random, PAGES / 64 / 3) * 3 + walker->seed % 3;

		for (uint64_t page = run * 64; page < (run + 1) * 64; page++) {
			check(walker->trial, page);
			if (random_below(&random, 4) == 0)
				fill(walker->trial, page);
		}
		if (random_below(&random, 8) == 0) {
			pager_discard(walker->trial->pager, run * 64, 64);
			for (uint64_t page = run * 64; page < (run + 1) * 64; page++)
				fill(walker->trial, page);
		}
	}
	return NULL;
}

static const struct trial storms[] = {
	{ .uri = "mem:", .mode = PREFETCH_ADAPTIVE },
	{ .uri = "mem:", .mode = PREFETCH_LINE },
	{ .uri = "error:p=0.02:mem:", .mode = PREFETCH_ADAPTIVE },
	{ .uri = "error:p=0.02,kind=corrupt,verb=fetch:mem:", .mode = PREFETCH_ADAPTIVE },
	{ .uri = "delay:50us,jitter=300us:mem:", .mode = PREFETCH_LINE, .timer_ns = 200000 },
	{ .uri = "delay:50us,jitter=300us:error:p=0.02:mem:",
	  .mode = PREFETCH_ADAPTIVE,
	  .timer_ns = 200000 },
	{ .uri = "mem:", .mode = PREFETCH_ADAPTIVE, .kernel = PAGER_KERNEL_COPY },
};

START_TEST(threads_that_walk_and_write_find_their_words)
{
	struct trial t = storms[_i];
	struct walker walkers[3];

	start(&t);
	fill_in_order(&t);
	for (uint32_t i = 0; i < 3; i++) {
		walkers[i] = (struct walker){ .trial = &t, .seed = i };
		ck_assert(!pthread_create(&walkers[i].thread, NULL, wander, &walkers[i]));
	}
	for (uint32_t i = 0; i < 3; i++)
		pthread_join(walkers[i].thread, NULL);
	ck_assert_uint_gt(issued(&t), 0);
	walk(&t, 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pager_prefetch");
	TCase *test = tcase_create("prefetch");

	tcase_set_timeout(test, 60);
	tcase_add_loop_test(test, m1_pages_of_the_line_come_before_they_are_touched, 0, 2);
	tcase_add_test(test, m1_scattered_frames_explain_nothing);
	tcase_add_test(test, m1_5_reads_begin_in_the_order_of_the_plan);
	tcase_add_loop_test(test, walks_demand_a_page_a_window, 0, 5);
	tcase_add_test(test, random_touches_fetch_next_to_nothing_ahead);
	tcase_add_test(test, works_by_copy_as_well);
	tcase_add_test(test, m2_well_under_the_timer_nothing_is_late);
	tcase_add_loop_test(test, m2_well_over_the_timer_each_page_is_left_to_its_fault, 0, 2);
	tcase_add_test(test, m2_about_the_timer_each_page_has_one_outcome);
	tcase_add_loop_test(test, threads_that_walk_and_write_find_their_words, 0,
			    sizeof(storms) / sizeof(storms[0]));
	suite_add_tcase(suite, test);
	return suite_run(suite);
}
