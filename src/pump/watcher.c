/* SPDX-License-Identifier: Apache-2.0 */
#include "pump/watcher_state.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own_memory.h"
#include "base/own_thread.h"
#include "policy/flush.h"
#include "policy/throttle.h"

#define STOP_WAIT_NS 1000000000u /* a fork ends when a handler has read of it: at once */
#define STOP_NAP_NS 100000u

/* ---- Room and marks ---- */

bool watcher_make_room(struct watcher *watcher, uint64_t pages)
{
	uint64_t used = atomic_load_explicit(&watcher->used, memory_order_relaxed);

	do {
		if (used + pages > atomic_load_explicit(&watcher->bound, memory_order_relaxed))
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
		&watcher->used, &used, used + pages, memory_order_relaxed, memory_order_relaxed));
	return true;
}

void watcher_give_room(struct watcher *watcher, uint64_t pages)
{
	uint64_t before = atomic_fetch_sub_explicit(&watcher->used, pages, memory_order_relaxed);

	assert(before >= pages);
}

bool watcher_mark_page(struct watched_region *region, uint64_t page)
{
	_Atomic uint8_t *heat = region->options.heat;

	if (!line_map_set(&region->marks, page, ~0ull))
		return false;
	atomic_fetch_add_explicit(&region->marked, 1, memory_order_relaxed);
	if (heat)
		atomic_store_explicit(&heat[page], flush_dirtied(heat[page]), memory_order_relaxed);
	return true;
}

void watcher_mark(struct watched_region *region, uint64_t page, uint64_t page_count)
{
	for (uint64_t i = page; i < page + page_count && i < region->options.page_count; i++) {
		if (watcher_mark_page(region, i))
			atomic_fetch_add_explicit(&region->watcher->used, 1, memory_order_relaxed);
	}
}

void watcher_set_bound(struct watcher *watcher, uint64_t pages, uint64_t flush_bytes_s)
{
	const struct throttle throttle = throttle_for(pages, flush_bytes_s);

	atomic_store_explicit(&watcher->bound, throttle.bound_pages, memory_order_relaxed);
	atomic_store_explicit(&watcher->page_ns, throttle.page_ns, memory_order_relaxed);
}

uint64_t watcher_unflushed(const struct watcher *watcher)
{
	return atomic_load_explicit(&watcher->used, memory_order_relaxed);
}

uint64_t watcher_marked(const struct watched_region *region)
{
	return atomic_load_explicit(&region->marked, memory_order_relaxed);
}

bool watcher_is_exact(const struct watched_region *region)
{
	return !region->inexact;
}

void watcher_set_exact(struct watched_region *region)
{
	region->inexact = false;
}

/* ---- Start and end ---- */

int watcher_listen(const struct watcher_handler *handler, int fd, uint32_t index)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = index };

	return epoll_ctl(handler->epoll_fd, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

static int start_handler(struct watcher *watcher, struct watcher_handler *handler, int cpu)
{
	pthread_attr_t attributes;
	cpu_set_t cpus;
	int err;

	handler->watcher = watcher;
	handler->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (handler->epoll_fd < 0)
		return -errno;
	err = own_memory_map(PAGE_BYTES, &handler->page);
	if (!err)
		err = watcher_listen(handler, watcher->end_fd, WATCHER_WRITERS_MAX);
	if (err)
		return err;
	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	pthread_attr_init(&attributes);
	pthread_attr_setaffinity_np(&attributes, sizeof(cpus), &cpus);
	err = own_thread_start(&handler->thread, &attributes, watcher_handler_main, handler);
	pthread_attr_destroy(&attributes);
	handler->started = !err;
	return err;
}

/* One on each CPU that this process may use: the one beside the writer hears of a fault first. */
static int start_handlers(struct watcher *watcher)
{
	cpu_set_t cpus;
	int err = 0;

	if (sched_getaffinity(0, sizeof(cpus), &cpus))
		return -errno;
	for (int cpu = 0; !err && cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &cpus) || watcher->handler_count == WATCHER_HANDLERS_MAX)
			continue;
		err = start_handler(watcher, &watcher->handlers[watcher->handler_count++], cpu);
	}
	return err;
}

static void make_lock(pthread_rwlock_t *lock)
{
	pthread_rwlockattr_t attributes;

	pthread_rwlockattr_init(&attributes);
	/* Handlers come all the time: whoever wants them out must not wait for a moment without. */
	pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(lock, &attributes);
	pthread_rwlockattr_destroy(&attributes);
}

int watcher_create(struct watcher **ret_watcher, struct error *why)
{
	struct watcher *watcher = calloc(1, sizeof(*watcher));
	int err;

	if (!watcher)
		return error_set(why, -ENOMEM, "no memory for the watcher");
	watcher->handlers = calloc(WATCHER_HANDLERS_MAX, sizeof(*watcher->handlers));
	watcher->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	make_lock(&watcher->lock);
	pthread_mutex_init(&watcher->places, NULL);
	err = !watcher->handlers ? -ENOMEM : watcher->end_fd < 0 ? -errno : 0;
	if (!err)
		err = start_handlers(watcher);
	if (err) {
		watcher_destroy(watcher);
		return error_set(why, err, "cannot start the watcher: %s", strerror(-err));
	}
	*ret_watcher = watcher;
	return 0;
}

void watcher_destroy(struct watcher *watcher)
{
	uint64_t one = 1;

	if (!watcher)
		return;
	for (uint32_t i = 0; i < WATCHER_REGIONS_MAX; i++)
		assert(!watcher->regions[i]);
	if (watcher->end_fd >= 0)
		(void)!write(watcher->end_fd, &one, sizeof(one));
	for (uint32_t i = 0; i < watcher->handler_count; i++) {
		struct watcher_handler *handler = &watcher->handlers[i];

		if (handler->started)
			pthread_join(handler->thread, NULL);
		if (handler->epoll_fd >= 0)
			close(handler->epoll_fd);
		own_memory_unmap(handler->page, PAGE_BYTES);
	}
	if (watcher->end_fd >= 0)
		close(watcher->end_fd);
	pthread_rwlock_destroy(&watcher->lock);
	pthread_mutex_destroy(&watcher->places);
	free(watcher->handlers);
	free(watcher);
}

/* ---- Regions ---- */

int watcher_add(struct watcher *watcher, const struct watched_region_options *options,
		struct watched_region **ret_region, struct error *why)
{
	struct watched_region *region = calloc(1, sizeof(*region));
	uint64_t summary_bytes = line_map_align(line_map_summary_bytes(options->page_count));
	uint32_t place = 0;
	int err;

	while (place < WATCHER_REGIONS_MAX && watcher->regions[place])
		place++;
	if (!region || place == WATCHER_REGIONS_MAX) {
		free(region);
		return error_set(why, -ENOSPC, "%d regions are the most", WATCHER_REGIONS_MAX);
	}
	region->watcher = watcher;
	region->options = *options;
	region->marks_bytes = summary_bytes + line_map_lines_bytes(options->page_count);
	err = own_memory_map_lazily(region->marks_bytes, &region->marks_memory);
	if (err) {
		free(region);
		return error_set(why, err, "no memory for the marks of the region's pages");
	}
	line_map_init(&region->marks, region->marks_memory,
		      (char *)region->marks_memory + summary_bytes, options->page_count);
	pthread_rwlock_wrlock(&watcher->lock);
	watcher->regions[place] = region;
	pthread_rwlock_unlock(&watcher->lock);
	*ret_region = region;
	return 0;
}

void watcher_remove(struct watched_region *region)
{
	struct watcher *watcher = region->watcher;

	pthread_rwlock_wrlock(&watcher->lock);
	for (uint32_t i = 0; i < WATCHER_WRITERS_MAX; i++) {
		if (watcher->writers[i].used && watcher->writers[i].region == region)
			watcher_end_writer(&watcher->writers[i]);
	}
	for (uint32_t i = 0; i < WATCHER_REGIONS_MAX; i++) {
		if (watcher->regions[i] == region)
			watcher->regions[i] = NULL;
	}
	watcher_give_room(watcher, region->marked);
	pthread_rwlock_unlock(&watcher->lock);
	own_memory_unmap(region->marks_memory, region->marks_bytes);
	free(region);
}

/* ---- The mover's ---- */

/* A mapping that is gone, or was never of these pages, needs no protection; nor has who ended. */
static bool needs_none(int err)
{
	return err == -ENOENT || err == -ESRCH;
}

/*
 * Protects pages in one writer: 0, or -EAGAIN while it forks, or -ENOMEM: they may be written to,
 * and keep their marks (T1).
 */
static int protect(const struct watched_writer *writer, uint64_t page, uint32_t pages)
{
	uintptr_t address, last;
	int err = 0;

	if (watcher_maps(writer, page, &address) && watcher_maps(writer, page + pages - 1, &last)) {
		err = uffd_write_protect_range(&writer->uffd, address, pages * PAGE_BYTES, true);
		if (err != -ENOENT)
			return needs_none(err) ? 0 : err;
	}
	/* Several mappings, or some of the pages: one at a time. */
	for (uint32_t i = 0; i < pages && (!err || needs_none(err)); i++) {
		if (watcher_maps(writer, page + i, &address))
			err = uffd_write_protect_range(&writer->uffd, address, PAGE_BYTES, true);
	}
	return needs_none(err) ? 0 : err;
}

static int protect_in_all(struct watched_region *region, uint64_t page, uint32_t pages)
{
	struct watcher *watcher = region->watcher;
	int err = 0;

	for (uint32_t i = 0; !err && i < WATCHER_WRITERS_MAX; i++) {
		if (watcher->writers[i].used && watcher->writers[i].region == region)
			err = protect(&watcher->writers[i], page, pages);
	}
	return err;
}

uint64_t watcher_next(struct watched_region *region, uint64_t page)
{
	return line_map_next(&region->marks, page);
}

static uint32_t marked_run(const struct watched_region *region, uint64_t page, uint32_t limit)
{
	uint32_t run = 0;

	while (run < limit && page + run < region->options.page_count &&
	       line_map_peek(&region->marks, page + run))
		run++;
	return run;
}

uint32_t watcher_take(struct watched_region *region, uint64_t page, uint32_t limit)
{
	uint32_t run;

	assert(limit > 0 && limit <= WATCHER_RUN_PAGES_MAX);
	pthread_rwlock_wrlock(&region->watcher->lock);
	run = marked_run(region, page, limit);
	/*
	 * While writers are stopped all pages are protected (T3): marked ones by the stop, those of
	 * who joins or is forked since from the first.
	 */
	if (run && !region->watcher->stopped && protect_in_all(region, page, run))
		run = 0;
	for (uint32_t i = 0; i < run; i++)
		line_map_take(&region->marks, page + i);
	atomic_fetch_sub_explicit(&region->marked, run, memory_order_relaxed);
	pthread_rwlock_unlock(&region->watcher->lock);
	return run;
}

void watcher_flushed(struct watched_region *region, uint64_t page_count)
{
	watcher_give_room(region->watcher, page_count);
}

void watcher_return(struct watched_region *region, uint64_t page)
{
	/* Its room is still made, unless it was marked anew meanwhile, with room of its own. */
	if (!watcher_mark_page(region, page))
		watcher_give_room(region->watcher, 1);
}

static int protect_marked(struct watched_region *region)
{
	uint64_t page = 0;
	int err = 0;

	while (!err && (page = line_map_next(&region->marks, page)) != LINE_MAP_NONE) {
		uint32_t run = marked_run(region, page, WATCHER_RUN_PAGES_MAX);

		err = protect_in_all(region, page, run ? run : 1);
		page += run ? run : 1;
	}
	return err;
}

static int try_stop(struct watcher *watcher)
{
	int err = 0;

	pthread_rwlock_wrlock(&watcher->lock);
	watcher->stopped = true;
	for (uint32_t i = 0; !err && i < WATCHER_REGIONS_MAX; i++) {
		if (watcher->regions[i])
			err = protect_marked(watcher->regions[i]);
	}
	pthread_rwlock_unlock(&watcher->lock);
	return err;
}

int watcher_stop(struct watcher *watcher)
{
	uint64_t end_ns = clock_now_ns() + STOP_WAIT_NS;
	int err;

	while ((err = try_stop(watcher)) && clock_now_ns() < end_ns)
		clock_sleep_ns(STOP_NAP_NS);
	if (err)
		watcher_go(watcher);
	return err;
}

void watcher_go(struct watcher *watcher)
{
	pthread_rwlock_wrlock(&watcher->lock);
	watcher->stopped = false;
	pthread_rwlock_unlock(&watcher->lock);
}

void watcher_count(const struct watcher *watcher, struct watcher_counters *ret_counters)
{
	struct watcher_counters sum = { 0 };

	for (uint32_t i = 0; i < watcher->handler_count; i++) {
		const struct watcher_handler *handler = &watcher->handlers[i];

		sum.write_faults += handler->write_faults;
		sum.fetch_faults += handler->fetch_faults;
		sum.pages_ahead += handler->pages_ahead;
		sum.delays += handler->delays;
		sum.delay_ns += handler->delay_ns;
		if (handler->delay_ns_max > sum.delay_ns_max)
			sum.delay_ns_max = handler->delay_ns_max;
	}
	*ret_counters = sum;
}
