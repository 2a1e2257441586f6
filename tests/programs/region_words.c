/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program that knows Perdure's regions: region_words VERB NAME SEED [COUNT].
 *
 *	fill	writes every page of region NAME with words of SEED, and says "filled"
 *	check	all pages have words of SEED
 *	first	opens the region, reads its last page, and says how long that took in ns
 *	random	writes COUNT random pages, again and again until it is killed; says "ready" first.
 *		Each page begins with how often it was written, and all its words follow from that
 *	whole	each page is as `random` or `fill` left it at some moment: none is torn, none is
 *		zeros
 *	fork	a child and its parent write every second page each, with words of SEED
 *	remove	takes the second half of the pages out of the file, and reads zeros there
 *	again	opens and closes the region COUNT times
 *	upwards	writes the last COUNT pages but one, one after another; says "ready" soon
 */
#include "program.h"

#include <sys/mman.h>

#include "perdure/region.h"

static struct pd_region *region;
static uint8_t *memory;
static size_t page_count;

static void open_region(const char *name)
{
	char words[PD_REGION_WORDS_BYTES];

	if (pd_region_open(name, &region, words))
		fail("%s", words);
	memory = pd_region_memory(region);
	page_count = pd_region_bytes(region) / PAGE;
}

static void write_page(size_t page, uint64_t turn, uint64_t seed)
{
	volatile uint64_t *words = (volatile uint64_t *)(memory + page * PAGE);

	for (size_t i = 1; i < WORDS_A_PAGE; i++)
		words[i] = pattern(page * WORDS_A_PAGE + i, turn, seed);
	words[0] = turn;
}

static bool is_page(size_t page, uint64_t turn, uint64_t seed)
{
	const uint64_t *words = (const uint64_t *)(memory + page * PAGE);

	if (words[0] != turn)
		return false;
	for (size_t i = 1; i < WORDS_A_PAGE; i++) {
		if (words[i] != pattern(page * WORDS_A_PAGE + i, turn, seed))
			return false;
	}
	return true;
}

static void fill(uint64_t seed, size_t from, size_t step)
{
	for (size_t page = from; page < page_count; page += step)
		write_page(page, 1, seed);
}

static void check(uint64_t seed)
{
	for (size_t page = 0; page < page_count; page++) {
		if (!is_page(page, 1, seed))
			fail("page %zu is not as it was written", page);
	}
}

static void check_whole(uint64_t seed)
{
	for (size_t page = 0; page < page_count; page++) {
		uint64_t turn = *(uint64_t *)(memory + page * PAGE);

		if (turn == 0 || !is_page(page, turn, seed))
			fail("page %zu is torn: it says turn %llu", page, (unsigned long long)turn);
	}
}

static void write_for_ever(uint64_t seed, size_t count)
{
	struct random random = { mix(seed + (uint64_t)getpid()) };

	puts("ready");
	fflush(stdout);
	for (;;) {
		size_t page = random_below(&random, count);

		write_page(page, *(uint64_t *)(memory + page * PAGE) + 1, seed);
	}
}

static void write_from_two(uint64_t seed)
{
	pid_t child = fork();
	int status;

	CHECK(child >= 0);
	fill(seed, child == 0, 2);
	if (child == 0)
		_exit(0);
	CHECK(waitpid(child, &status, 0) == child && status == 0);
}

/* Reads of it what a program may do beside writing: what was taken out is zeros. */
static void take_out(void)
{
	const size_t half = page_count / 2 * PAGE;

	CHECK(madvise(memory + half, half, MADV_REMOVE) == 0);
	for (size_t page = page_count / 2; page < page_count; page++)
		CHECK(*(uint64_t *)(memory + page * PAGE) == 0);
}

static void open_again(const char *name, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		pd_region_close(region);
		open_region(name);
		*(volatile uint64_t *)memory = i;
	}
}

/* Upwards to the last page but one, a few pages every millisecond; says so when it has begun. */
static void write_slowly(uint64_t seed, size_t count)
{
	const struct timespec nap = { .tv_nsec = 1000000 };

	for (size_t i = 0; i < count; i++) {
		write_page(page_count - 1 - count + i, 1, seed);
		if (i == 8) {
			puts("ready");
			fflush(stdout);
		}
		if (i > 8)
			nanosleep(&nap, NULL);
	}
}

static void time_first(const char *name)
{
	struct timespec begin, end;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	open_region(name);
	if (*(volatile uint64_t *)(memory + (page_count - 1) * PAGE) == 0)
		fail("the last page is zeros");
	clock_gettime(CLOCK_MONOTONIC, &end);
	printf("%lld\n", (end.tv_sec - begin.tv_sec) * 1000000000ll + end.tv_nsec - begin.tv_nsec);
}

int main(int argc, char **argv)
{
	uint64_t seed;

	if (argc < 4)
		return 2;
	seed = strtoull(argv[3], NULL, 10);
	if (!strcmp(argv[1], "first")) {
		time_first(argv[2]);
		return 0;
	}
	open_region(argv[2]);
	if (!strcmp(argv[1], "fill")) {
		fill(seed, 0, 1);
		puts(pd_region_persist(region) ? "filled, not armed" : "filled, armed");
	} else if (!strcmp(argv[1], "check")) {
		check(seed);
	} else if (!strcmp(argv[1], "whole")) {
		check_whole(seed);
	} else if (!strcmp(argv[1], "fork")) {
		write_from_two(seed);
	} else if (!strcmp(argv[1], "remove")) {
		take_out();
	} else if (!strcmp(argv[1], "again") && argc == 5) {
		open_again(argv[2], strtoull(argv[4], NULL, 10));
	} else if (!strcmp(argv[1], "upwards") && argc == 5) {
		write_slowly(seed, strtoull(argv[4], NULL, 10));
	} else if (!strcmp(argv[1], "random") && argc == 5) {
		write_for_ever(seed, strtoull(argv[4], NULL, 10));
	} else {
		return 2;
	}
	pd_region_close(region);
	return 0;
}
