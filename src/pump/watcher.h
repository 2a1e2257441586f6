/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PUMP_WATCHER_H
#define PUMP_WATCHER_H

/*
 * Which pages of shared regions their writers may have changed, and how many that may be at a time:
 * the half of the push pump that watches (the mover is the half that moves). Writers are other
 * processes; each has handed over a userfaultfd of its own, by which their pages are
 * write-protected. A write to a protected page is a fault, which a handler thread answers when
 * there is room: T1 to T3 of docs/design/persistence.md. Method M5 (US 2018/0321962): written and
 * likely to be written pages are tracked, and unflushed data is kept below a threshold.
 *
 * Threads: handlers are the watcher's own, one a CPU. watcher_take() and what follows it are one
 * thread's, the mover's; the rest any one thread's at a time, the agent's main thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

#define WATCHER_REGIONS_MAX 64
#define WATCHER_WRITERS_MAX                                                                        \
	512 /* of all regions: each is a userfaultfd, of all of which handlers hear */
#define WATCHER_RUN_PAGES_MAX 64

struct watcher;
struct watched_region;

/* Starts the handlers; nothing may be dirty yet. */
int watcher_create(struct watcher **ret_watcher, struct error *why);
/* No region is left. NULL is allowed. */
void watcher_destroy(struct watcher *watcher);

/*
 * How many pages of all regions may be unflushed, and the rate at which they are flushed, by which
 * writers are slowed before it is reached. A smaller bound than what is unflushed holds every
 * writer until the mover has made room.
 */
void watcher_set_bound(struct watcher *watcher, uint64_t pages, uint64_t flush_bytes_s);
/* Pages unflushed now, of all regions. Any thread. */
uint64_t watcher_unflushed(const struct watcher *watcher);

struct watched_region_options {
	uint64_t page_count;
	/*
	 * Fills `page`, which a writer or reader found missing, with its bytes: 0 or -errno. In a
	 * handler, many at a time. NULL: pages are zeros until they are written.
	 */
	int (*fetch)(void *context, uint64_t page, void *ret_bytes);
	void *context;
	_Atomic uint8_t *heat; /* a byte a page, the caller's, of policy/flush.h; NULL: none */
};

/* All pages are clean. -ENOMEM, -ENOSPC in words. */
int watcher_add(struct watcher *watcher, const struct watched_region_options *options,
		struct watched_region **ret_region, struct error *why);
/* Lets its writers go on untracked. The mover is not in it. */
void watcher_remove(struct watched_region *region);

/*
 * A process's mapping, `start` to `start` + `bytes` of its addresses, of the region from
 * `first_page` on. From now on it is tracked. `uffd_fd` is that process's userfaultfd, opened by
 * uffd_open_shared(), and becomes the watcher's, also on failure. In words.
 */
int watcher_join(struct watched_region *region, int uffd_fd, uintptr_t start, uint64_t bytes,
		 uint64_t first_page, pid_t pid, struct error *why);
/*
 * False once a writer did what its tracking cannot follow: it moved a part of its mapping, took
 * pages out of the file, or forked when there was no place for the child. What it changes then is
 * found by looking at the pages only. Any thread.
 */
bool watcher_is_exact(const struct watched_region *region);
/* Whoever is told so looks at all pages from now on, until nobody is left who is not tracked. */
void watcher_set_exact(struct watched_region *region);
/* Forgets writers that have ended; returns how many there are. */
uint32_t watcher_reap(struct watched_region *region);
uint32_t watcher_writers(const struct watched_region *region);
/* Whether the process is a writer; and whether the addresses are within what it is tracked in. */
bool watcher_has(const struct watched_region *region, pid_t pid);
bool watcher_knows(struct watched_region *region, pid_t pid, uintptr_t start, uintptr_t end);

/* Marks pages as unflushed whatever the bound says: what is not known, what is packed. Any thread.
 */
void watcher_mark(struct watched_region *region, uint64_t page, uint64_t page_count);
/* Marked pages of the region. Any thread. */
uint64_t watcher_marked(const struct watched_region *region);

/* ---- The mover's ---- */

/* The first marked page from `page` on; UINT64_MAX: none. */
uint64_t watcher_next(struct watched_region *region, uint64_t page);
/*
 * Takes the marks of up to `limit` (1 to WATCHER_RUN_PAGES_MAX) marked neighbours from `page` on:
 * they are protected in every writer, and what a copy made from now on holds is all that was
 * written before. Returns their number; 0 while a writer forks or has no memory for it: later. They
 * count as unflushed until watcher_flushed().
 */
uint32_t watcher_take(struct watched_region *region, uint64_t page, uint32_t limit);
/* So many taken pages are flushed: room for others. */
void watcher_flushed(struct watched_region *region, uint64_t page_count);
/* A taken page that could not be flushed is marked again. */
void watcher_return(struct watched_region *region, uint64_t page);

/*
 * Stops all writers: when it returns, no page of any region can be written by a tracked writer, and
 * the writes that come wait. -EAGAIN after a second in which a writer was in a fork all the time.
 */
int watcher_stop(struct watcher *watcher);
/* They go on. */
void watcher_go(struct watcher *watcher);

/* What happened since the start. */
struct watcher_counters {
	uint64_t write_faults;
	uint64_t fetch_faults;
	uint64_t pages_ahead; /* unprotected as likely to be written next */
	uint64_t delays;      /* faults whose answer waited */
	uint64_t delay_ns;    /* in all */
	uint64_t delay_ns_max;
};
void watcher_count(const struct watcher *watcher, struct watcher_counters *ret_counters);

#endif
