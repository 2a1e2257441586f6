/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The heat of pages, and writers of several kinds under a bound: how many pages are written to the
 * disk in all, against a mover that takes the oldest first at the same bound.
 */

#include "policy/flush.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "suite.h"

#define PAGES 8192
#define BOUND 2048
#define TARGET (BOUND / 2)
#define PASSES 400
#define PASS_WRITES 1024

static uint8_t cooled(uint8_t heat, uint32_t passes)
{
	_Atomic uint8_t byte = heat;

	while (passes--)
		flush_cool(&byte, 1);
	return byte;
}

START_TEST(a_page_that_comes_back_at_once_gets_hot)
{
	uint8_t heat = flush_dirtied(0);
	uint32_t last;

	/* Nothing is known of it: it is as cold as can be, but for the rank of the oldest. */
	ck_assert_uint_eq(flush_rank(heat), 1);
	for (uint32_t i = 0; i < 4; i++) {
		last = flush_rank(heat);
		heat = flush_dirtied(flush_flushed(heat));
		ck_assert(flush_rank(heat) > last || last == FLUSH_RANKS - 1);
	}
	ck_assert_uint_eq(flush_rank(heat), FLUSH_RANKS - 1);
	/* And cold again when it stays away. */
	for (uint32_t i = 0; i < 4; i++)
		heat = flush_dirtied(cooled(flush_flushed(heat), FLUSH_PASSES_MAX));
	ck_assert_uint_eq(flush_rank(heat), 1);
}
END_TEST

/* The sooner it comes back, the higher it ranks. */
START_TEST(ranks_follow_the_time_it_was_clean)
{
	uint32_t last = FLUSH_RANKS;

	for (uint32_t passes = 0; passes <= 40; passes++) {
		uint8_t heat = flush_dirtied(0);

		for (uint32_t i = 0; i < 10; i++)
			heat = flush_dirtied(cooled(flush_flushed(heat), passes));
		ck_assert_uint_le(flush_rank(heat), last);
		ck_assert_int_eq(flush_rank(heat) > FLUSH_HOT, passes < 8);
		last = flush_rank(heat);
	}
	ck_assert_uint_eq(last, 1);
}
END_TEST

START_TEST(every_byte_is_sound)
{
	for (uint32_t byte = 0; byte < 256; byte++) {
		uint8_t heat = (uint8_t)byte;

		ck_assert_uint_lt(flush_rank(heat), FLUSH_RANKS);
		ck_assert_uint_eq(flush_rank(cooled(heat, FLUSH_PASSES_MAX)), 0);
		ck_assert_uint_gt(flush_rank(flush_dirtied(heat)), 0);
		ck_assert_uint_eq(flush_flushed(heat) >> 5, heat >> 5);
	}
}
END_TEST

START_TEST(hot_pages_are_left_alone_but_not_for_ever)
{
	struct flush_pass pass;
	uint8_t hot = flush_dirtied(0);
	uint32_t passes = 0;

	for (uint32_t i = 0; i < 4; i++)
		hot = flush_dirtied(flush_flushed(hot));
	flush_init(&pass);
	for (;; passes++) {
		flush_begin(&pass, 1, 10);
		if (flush_takes(&pass, hot))
			break;
		hot = cooled(hot, 1);
	}
	ck_assert_uint_eq(passes, FLUSH_PASSES_MAX);
	/* One that is not hot has a pass to settle. */
	flush_begin(&pass, 1, 10);
	ck_assert(!flush_takes(&pass, flush_dirtied(0)));
	ck_assert(flush_takes(&pass, cooled(flush_dirtied(0), 1)));
	/* Unless room is needed. */
	flush_begin(&pass, 11, 10);
	ck_assert(flush_takes(&pass, flush_dirtied(0)));
	ck_assert(!flush_takes(&pass, flush_dirtied(0)));
}
END_TEST

/* What is needed is taken from the lowest ranks, when they were seen in the pass before. */
START_TEST(need_is_met_by_the_coldest)
{
	struct flush_pass pass;
	uint8_t heats[64];
	uint32_t taken[FLUSH_RANKS] = { 0 };

	for (uint32_t i = 0; i < 64; i++)
		heats[i] = (uint8_t)((i % 8) << 5 | FLUSH_PASSES_MAX);
	flush_init(&pass);
	flush_begin(&pass, 0, 0);
	for (uint32_t i = 0; i < 64; i++)
		flush_takes(&pass, heats[i]);
	flush_begin(&pass, 120, 100);
	for (uint32_t i = 0; i < 64; i++)
		taken[flush_rank(heats[i])] += flush_takes(&pass, heats[i]);
	ck_assert_uint_eq(pass.taken, 20);
	ck_assert_uint_ge(taken[1] + taken[2] + taken[3], 20);
}
END_TEST

enum kind { RANDOM, ZIPF, HOT_SET, SEQUENTIAL, FILLING, SHIFTING, KINDS };

/* One program's writes, the same for both movers. */
struct writer {
	enum kind kind;
	struct random_source random;
	uint64_t count;
	double sums[PAGES]; /* of zipf */
	uint32_t shuffled[PAGES];
};

static void writer_start(struct writer *writer, enum kind kind, uint64_t seed)
{
	double sum = 0;

	*writer = (struct writer){ .kind = kind, .random = random_from_seed(seed) };
	for (uint32_t i = 0; i < PAGES; i++) {
		writer->sums[i] = sum += 1.0 / (i + 1);
		writer->shuffled[i] = i;
	}
	for (uint32_t i = PAGES - 1; i > 0; i--) {
		uint32_t j = (uint32_t)random_below(&writer->random, i + 1);
		uint32_t other = writer->shuffled[j];

		writer->shuffled[j] = writer->shuffled[i];
		writer->shuffled[i] = other;
	}
}

static uint32_t zipf(struct writer *writer)
{
	double at = (double)(random_next(&writer->random) >> 11) / (double)(1ull << 53) *
		    writer->sums[PAGES - 1];
	uint32_t low = 0, high = PAGES - 1;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (writer->sums[middle] < at)
			low = middle + 1;
		else
			high = middle;
	}
	return writer->shuffled[low];
}

static uint32_t next_write(struct writer *writer)
{
	uint64_t n = writer->count++;

	switch (writer->kind) {
	case ZIPF:
		return zipf(writer);
	case HOT_SET: /* nine of ten writes to a twentieth of the pages */
		if (random_below(&writer->random, 10))
			return writer->shuffled[random_below(&writer->random, PAGES / 20)];
		break;
	case SEQUENTIAL: /* round and round */
		return (uint32_t)(n / 2 % PAGES);
	case FILLING: /* each page in 16 writes, with some others between */
		if (random_below(&writer->random, 4))
			return (uint32_t)(n / 16 % PAGES);
		return writer->shuffled[random_below(&writer->random, 200)];
	case SHIFTING: { /* a hot set that moves on */
		uint64_t first = n / (PASS_WRITES * 100) * (PAGES / 20);

		if (random_below(&writer->random, 10))
			return writer
				->shuffled[(first + random_below(&writer->random, PAGES / 20)) %
					   PAGES];
		break;
	}
	default:
		break;
	}
	return (uint32_t)random_below(&writer->random, PAGES);
}

struct memory {
	_Atomic uint8_t heat[PAGES];
	bool dirty[PAGES];
	uint32_t queue[PAGES]; /* dirty pages, the oldest first; a ring */
	uint64_t head, tail;
	uint64_t unflushed, flushed;
};

static void clean(struct memory *memory, uint32_t page)
{
	memory->dirty[page] = false;
	memory->unflushed--;
	memory->flushed++;
	memory->heat[page] = flush_flushed(memory->heat[page]);
}

static void pass_coldest(struct memory *memory, struct flush_pass *pass)
{
	flush_begin(pass, memory->unflushed, TARGET);
	for (uint32_t page = 0; page < PAGES; page++)
		if (memory->dirty[page] && flush_takes(pass, memory->heat[page]))
			clean(memory, page);
	flush_cool(memory->heat, PAGES);
}

static void flush_oldest(struct memory *memory)
{
	clean(memory, memory->queue[memory->head++ % PAGES]);
}

/* A write that finds no room makes it, as writers that wait for the mover do. */
static void write_page(struct memory *memory, uint32_t page, struct flush_pass *pass)
{
	if (memory->dirty[page])
		return;
	if (memory->unflushed == BOUND && pass)
		pass_coldest(memory, pass);
	else if (memory->unflushed == BOUND)
		flush_oldest(memory);
	if (memory->unflushed >= BOUND)
		ck_abort_msg("there is no room");
	memory->dirty[page] = true;
	memory->unflushed++;
	memory->queue[memory->tail++ % PAGES] = page;
	memory->heat[page] = flush_dirtied(memory->heat[page]);
}

static uint64_t run(enum kind kind, uint64_t seed, bool coldest, uint64_t *ret_held)
{
	static struct memory memory;
	static struct writer writer;
	struct flush_pass pass;
	uint64_t held = 0;

	memset(&memory, 0, sizeof(memory));
	writer_start(&writer, kind, seed);
	flush_init(&pass);
	for (uint32_t n = 0; n < PASSES; n++) {
		for (uint32_t i = 0; i < PASS_WRITES; i++)
			write_page(&memory, next_write(&writer), coldest ? &pass : NULL);
		if (coldest)
			pass_coldest(&memory, &pass);
		while (!coldest && memory.unflushed > TARGET)
			flush_oldest(&memory);
		held += memory.unflushed;
	}
	*ret_held = held / PASSES;
	return memory.flushed;
}

/*
 * Percent of what oldest-first writes: no more where nothing can be known (one in 50 for chance),
 * and less where some pages are written to more than others. It holds no more, either: it flushes
 * cold pages all the time, where the other begins at the target.
 */
START_TEST(fewer_pages_than_oldest_first)
{
	static const struct {
		const char *name;
		uint32_t percent_max;
	} rows[KINDS] = {
		[RANDOM] = { "random", 102 },  [ZIPF] = { "zipf", 80 },
		[HOT_SET] = { "hot set", 85 }, [SEQUENTIAL] = { "sequential", 101 },
		[FILLING] = { "filling", 97 }, [SHIFTING] = { "shifting", 87 },
	};
	enum kind kind = (enum kind)(_i % KINDS);
	uint64_t seed = 0xf1 + (uint64_t)_i, held[2];
	uint64_t oldest = run(kind, seed, false, &held[0]);
	uint64_t coldest = run(kind, seed, true, &held[1]);

	printf("%-10s oldest first %7lu (held %4lu), coldest first %7lu (held %4lu): %lu %%\n",
	       rows[kind].name, oldest, held[0], coldest, held[1], coldest * 100 / oldest);
	ck_assert_msg(coldest * 100 <= oldest * rows[kind].percent_max, "%s: %lu %%",
		      rows[kind].name, coldest * 100 / oldest);
	ck_assert_uint_le(held[1], held[0] + TARGET / 20);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("flush");
	TCase *test = tcase_create("flush");

	tcase_set_timeout(test, 60);
	tcase_add_test(test, a_page_that_comes_back_at_once_gets_hot);
	tcase_add_test(test, ranks_follow_the_time_it_was_clean);
	tcase_add_test(test, every_byte_is_sound);
	tcase_add_test(test, hot_pages_are_left_alone_but_not_for_ever);
	tcase_add_test(test, need_is_met_by_the_coldest);
	tcase_add_loop_test(test, fewer_pages_than_oldest_first, 0, 2 * KINDS);
	suite_add_tcase(suite, test);
	return suite_run(suite);
}
