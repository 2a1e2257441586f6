/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_WATCHER_FIXTURE_H
#define TESTS_WATCHER_FIXTURE_H

/* A watched region, its file mapped twice: as the agent has it, and for writers. */
#include "suite.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "kernel/uffd.h"
#include "pump/watcher.h"

#define PAGES 2048u

static struct watcher *watcher;
static struct watched_region *region;
static uint8_t *memory;	 /* the watcher's side, as the agent has it */
static uint8_t *written; /* the writers' mapping */
static uint8_t *image;	 /* what the mover copied */
static int file;

static void *map(void)
{
	void *mapped = mmap(NULL, PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);

	ck_assert_ptr_ne(mapped, MAP_FAILED);
	return mapped;
}

static void join(void *start)
{
	struct uffd uffd;
	struct error why;

	ck_assert_msg(!uffd_open_shared(&uffd, &why), "%s", why.text);
	ck_assert_msg(!watcher_join(region, uffd.fd, (uintptr_t)start, PAGES * PAGE_BYTES, 0,
				    getpid(), &why),
		      "%s", why.text);
}

static void begin(void)
{
	const struct watched_region_options options = { .page_count = PAGES };
	struct error why;

	file = memfd_create("region", MFD_CLOEXEC);
	ck_assert(!ftruncate(file, PAGES * PAGE_BYTES));
	ck_assert(!fallocate(file, 0, 0, PAGES * PAGE_BYTES));
	memory = map();
	written = map();
	image = calloc(PAGES, PAGE_BYTES);
	ck_assert_msg(!watcher_create(&watcher, &why), "%s", why.text);
	ck_assert_msg(!watcher_add(watcher, &options, &region, &why), "%s", why.text);
	watcher_set_bound(watcher, PAGES, 1u << 30);
}

static void end(void)
{
	watcher_remove(region);
	watcher_destroy(watcher);
	munmap(memory, PAGES * PAGE_BYTES);
	munmap(written, PAGES * PAGE_BYTES);
	free(image);
	close(file);
}

/* ---- The mover, as small as it can be ---- */

/* One pass over all marked pages; how many were copied. */
static uint64_t copy_all(void)
{
	uint64_t page = 0, copied = 0;

	while ((page = watcher_next(region, page)) < PAGES) {
		uint32_t run = watcher_take(region, page, WATCHER_RUN_PAGES_MAX);

		memcpy(image + page * PAGE_BYTES, memory + page * PAGE_BYTES, run * PAGE_BYTES);
		watcher_flushed(region, run);
		copied += run;
		page += run ? run : 1;
	}
	return copied;
}

/*
 * A writer may go on a moment before its handler has marked the page. No handler is between the two
 * when a stop returns.
 */
static void settle(void)
{
	ck_assert(!watcher_stop(watcher));
	watcher_go(watcher);
}

static inline uint64_t copy_rest(void)
{
	settle();
	return copy_all();
}

static inline uint64_t marked(void)
{
	settle();
	return watcher_marked(region);
}

static inline uint64_t pages_that_differ(void)
{
	uint64_t differ = 0;

	for (uint64_t page = 0; page < PAGES; page++)
		differ += memcmp(image + page * PAGE_BYTES, memory + page * PAGE_BYTES,
				 PAGE_BYTES) != 0;
	return differ;
}

#endif
