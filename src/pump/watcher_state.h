/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PUMP_WATCHER_STATE_H
#define PUMP_WATCHER_STATE_H

/*
 * What watcher.c (regions, writers, the mover's calls) and watcher_handler.c (faults) share.
 */

#include "pump/watcher.h"

#include <pthread.h>
#include <stdatomic.h>

#include "kernel/uffd.h"
#include "memory/line_map.h"

#define WATCHER_HANDLERS_MAX 64
#define WATCHER_WAITS_MAX 1024 /* of one handler; with more, threads ask again and again */
#define WATCHER_WAITS_OF_ONE (WATCHER_WAITS_MAX / 2)

/*
 * A writer's place is taken by who has the lock to write, or by a handler that read of a fork; it
 * is given up with the lock to write.
 */
struct watched_writer {
	_Atomic bool used; /* published last: a handler that sees it sees the rest */
	uint32_t turn;	   /* which use of the place: what waits for an earlier one is dropped */
	struct watched_region *region;
	struct uffd uffd;
	pid_t pid;		 /* -1: a forked child */
	_Atomic uintptr_t start; /* mremap moves it */
	uint64_t bytes;
	uint64_t first_page;
	_Atomic bool torn; /* a part of it was moved: which page is where is not known */
	/* Of writes that go upwards: the page after the last that was unprotected. */
	_Atomic uint64_t stream_next;
	_Atomic uint32_t stream_pages;
};

struct watched_region {
	struct watcher *watcher;
	struct watched_region_options options;
	struct line_map marks; /* all lines of a page, or none */
	void *marks_memory;
	size_t marks_bytes;
	_Atomic uint64_t marked;
	_Atomic bool inexact; /* a writer did what its tracking cannot follow */
};

/* A fault that waits for room. */
struct watched_wait {
	uint32_t writer;
	uint32_t turn;
	uint64_t page;
	uint64_t since_ns;
	uint64_t due_ns;
};

struct watcher_handler {
	struct watcher *watcher;
	pthread_t thread;
	bool started;
	int epoll_fd;
	uint32_t wait_count;
	struct watched_wait waits[WATCHER_WAITS_MAX];
	void *page; /* what is fetched goes through it */
	_Atomic uint64_t write_faults, fetch_faults, pages_ahead, delays, delay_ns, delay_ns_max;
};

struct watcher {
	/*
	 * Read: a handler in the steps of one fault. Written: whoever needs that no handler is in
	 * them: the mover while it protects pages, and who changes the writers or stops them all.
	 */
	pthread_rwlock_t lock;
	bool stopped; /* by watcher_stop() */
	/* Pages for which room was made: the marked, the taken, those of faults under way. */
	_Atomic uint64_t used;
	_Atomic uint64_t bound;
	_Atomic uint64_t page_ns; /* in which the mover takes one away: struct throttle */
	pthread_mutex_t places;	  /* which writers are used; inside the lock */
	struct watched_writer writers[WATCHER_WRITERS_MAX];
	struct watched_region *regions[WATCHER_REGIONS_MAX];
	int end_fd; /* an eventfd that ends the handlers */
	uint32_t handler_count;
	struct watcher_handler *handlers;
};

/* Room for `pages`; false when there is none. */
bool watcher_make_room(struct watcher *watcher, uint64_t pages);
void watcher_give_room(struct watcher *watcher, uint64_t pages);

/* Marks one page; false if it was marked. The room stays the caller's. */
bool watcher_mark_page(struct watched_region *region, uint64_t page);

/*
 * Takes a place for a writer with the mapping of `like`; the uffd is the watcher's then. -ENOSPC.
 * Handlers hear of its faults from now on.
 */
int watcher_place_writer(struct watcher *watcher, const struct watched_writer *like,
			 const struct uffd *uffd, pid_t pid);

/* Gives up the writer's place; with the lock to write. Nobody hears of its faults any more. */
void watcher_end_writer(struct watched_writer *writer);

/* The handler hears of it under the writer's index; WATCHER_WRITERS_MAX: it is the end. */
int watcher_listen(const struct watcher_handler *handler, int fd, uint32_t index);

/* A writer's address of the page, and whether it maps it. */
static inline bool watcher_maps(const struct watched_writer *writer, uint64_t page,
				uintptr_t *ret_address)
{
	if (page < writer->first_page || (page - writer->first_page) * PAGE_BYTES >= writer->bytes)
		return false;
	*ret_address = writer->start + (page - writer->first_page) * PAGE_BYTES;
	return true;
}

void *watcher_handler_main(void *handler);

#endif
