/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What a page costs a backing by its contents: pages [URI [FILE]]. Stores 64 MiB of each kind of
 * page for the first time and again, and fetches it in order and at random, one page at a time on
 * one thread, in processor time of that thread (for a backing that waits: in elapsed time, --wait).
 * With FILE its pages are one more kind: a copy of a program's heap is real data.
 */

#include "backing/backing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/random.h"

#define PAGE_COUNT 16384 /* 64 MiB: more than any cache */
#define WAIT_MS_MAX 10000

enum page_kind { PAGE_TEXT, PAGE_POINTERS, PAGE_SPARSE, PAGE_ZERO, PAGE_NOISE, PAGE_FILE };

static const char *const kind_names[] = {"text", "pointers", "sparse", "zero", "noise", "file"};

static clockid_t clock_id = CLOCK_THREAD_CPUTIME_ID;
static uint8_t *pages;
static FILE *file;

static void __attribute__((noreturn)) die(const char *words)
{
	fprintf(stderr, "pages: %s\n", words);
	exit(EXIT_FAILURE);
}

static double now_ns(void)
{
	struct timespec now;

	clock_gettime(clock_id, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void fill_text(struct random_source *random, char *text)
{
	static const char *const words[] = {"{\"user\":", "\"name\":", "\"score\":", "\"tags\":[",
					    "],", "true,", "null,", "\"2024-"};
	size_t used = 0;

	while (used < PAGE_BYTES - 32)
		used += (size_t)sprintf(text + used, "%s%u,",
					words[random_below(random, ARRAY_COUNT(words))],
					(unsigned int)random_below(random, 100000));
	memset(text + used, ' ', PAGE_BYTES - used);
}

static void fill_page(enum page_kind kind, struct random_source *random, uint8_t *page)
{
	uint64_t *words = (uint64_t *)page;

	memset(page, 0, PAGE_BYTES);
	if (kind == PAGE_TEXT)
		fill_text(random, (char *)page);
	else if (kind == PAGE_NOISE)
		random_fill(random, page, PAGE_BYTES);
	else if (kind == PAGE_POINTERS)
		for (size_t i = 0; i < PAGE_BYTES / 8; i++)
			words[i] = 0x7f0000000000 | (random_next(random) & 0xfffff8);
	else if (kind == PAGE_SPARSE)
		for (size_t i = 0; i < 20; i++)
			words[random_below(random, PAGE_BYTES / 8)] = random_next(random);
	else if (kind == PAGE_FILE && fread(page, PAGE_BYTES, 1, file) != 1)
		rewind(file);
}

static void move(struct backing_channel *channel, enum backing_verb verb, uint64_t slot,
		 uint8_t *page)
{
	struct backing_io io = {.verb = verb, .slot = slot, .page_count = 1, .pages = page};

	if (channel->ops->submit(channel, &io))
		die("the channel broke");
	while (io.result == BACKING_PENDING)
		channel->ops->poll(channel);
	if (io.result)
		die("an io failed");
}

/* `stride` is odd, so each slot comes once. */
static double pass(struct backing_channel *channel, enum backing_verb verb, uint64_t stride,
		   uint64_t shift)
{
	double start_ns = now_ns();

	for (uint64_t i = 0; i < PAGE_COUNT; i++) {
		uint64_t slot = i * stride % PAGE_COUNT;
		uint64_t page = (slot + shift) % PAGE_COUNT;

		move(channel, verb, slot, pages + page * PAGE_BYTES);
	}
	return (now_ns() - start_ns) / PAGE_COUNT;
}

static void measure(const char *uri, enum page_kind kind)
{
	struct backing_options options = {.pages = pages,
					  .pages_bytes = PAGE_COUNT * PAGE_BYTES,
					  .wait_ms_max = WAIT_MS_MAX};
	struct random_source random = random_from_seed(1);
	struct backing_channel *channel;
	struct backing *backing;
	struct error why;
	double ns[4], held = 1;

	for (uint64_t i = 0; i < PAGE_COUNT; i++)
		fill_page(kind, &random, pages + i * PAGE_BYTES);
	if (backing_open(uri, &options, &backing, &why) ||
	    backing->ops->reserve(backing, PAGE_COUNT, &why) ||
	    backing->ops->channel_open(backing, &channel, &why))
		die(why.text);
	ns[0] = pass(channel, BACKING_STORE, 1, 0);
	ns[1] = pass(channel, BACKING_STORE, 1, 1);
	if (backing->ops->bytes_held)
		held = (double)backing->ops->bytes_held(backing) / (PAGE_COUNT * PAGE_BYTES);
	ns[2] = pass(channel, BACKING_FETCH, 1, 1);
	ns[3] = pass(channel, BACKING_FETCH, 7919, 1);
	printf("%-9s %8.0f %8.0f %8.0f %8.0f %8.3f\n", kind_names[kind], ns[0], ns[1], ns[2], ns[3],
	       held);
	channel->ops->channel_close(channel);
	backing_close(backing);
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "--wait")) {
		clock_id = CLOCK_MONOTONIC;
		argv++;
		argc--;
	}
	if (argc > 2) {
		file = fopen(argv[2], "r");
		if (!file)
			die("cannot read the file");
	}
	pages = mmap(NULL, PAGE_COUNT * PAGE_BYTES, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (pages == MAP_FAILED)
		die("no memory");
	puts("ns a page    store    again    fetch   random  held/stored");
	for (int kind = PAGE_TEXT; kind <= (file ? PAGE_FILE : PAGE_NOISE); kind++)
		measure(argc > 1 ? argv[1] : "mem:", (enum page_kind)kind);
	return 0;
}
