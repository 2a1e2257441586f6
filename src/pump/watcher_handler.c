/* SPDX-License-Identifier: Apache-2.0 */
/* The watcher's threads: each answers faults that writers have, at once or when it is time. */

#include "pump/watcher_state.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "policy/throttle.h"

#define EVENTS_AT_ONCE 32
#define MESSAGES_AT_ONCE 16 /* of one writer, before the others have their turn */
#define TICK_NS 500000u	    /* between two looks whether there is room */
#define LOOK_NS 2000000u    /* between two looks at a delay that is longer */
#define NS_PER_S 1000000000u

enum answer {
	ANSWER_DONE, /* or nobody waits for it any more */
	ANSWER_LATER,
};

static void note_max(_Atomic uint64_t *max, uint64_t value)
{
	uint64_t old = atomic_load_explicit(max, memory_order_relaxed);

	while (old < value && !atomic_compare_exchange_weak_explicit(
				      max, &old, value, memory_order_relaxed, memory_order_relaxed))
		;
}

static void count(_Atomic uint64_t *counter, uint64_t more)
{
	atomic_fetch_add_explicit(counter, more, memory_order_relaxed);
}

static bool is_marked(const struct watched_region *region, uint64_t page)
{
	return line_map_peek(&region->marks, page) != 0;
}

/*
 * How many pages from `page` on are likely to be written now: the writer goes upwards. Only while
 * there is room enough that nobody is slowed for them.
 */
static uint32_t likely_pages(struct watcher *watcher, struct watched_writer *writer, uint64_t page)
{
	uint64_t end = writer->first_page + writer->bytes / PAGE_BYTES;
	uint64_t used = atomic_load_explicit(&watcher->used, memory_order_relaxed);
	uint64_t bound = atomic_load_explicit(&watcher->bound, memory_order_relaxed);
	uint32_t pages = 1, wanted = 1;

	if (atomic_load_explicit(&writer->stream_next, memory_order_relaxed) == page)
		wanted = 2 * atomic_load_explicit(&writer->stream_pages, memory_order_relaxed);
	if (wanted > WATCHER_RUN_PAGES_MAX)
		wanted = WATCHER_RUN_PAGES_MAX;
	if (used + wanted > bound / 2)
		wanted = 1;
	while (pages < wanted && page + pages < end && !is_marked(writer->region, page + pages))
		pages++;
	atomic_store_explicit(&writer->stream_next, page + pages, memory_order_relaxed);
	atomic_store_explicit(&writer->stream_pages, pages, memory_order_relaxed);
	return pages;
}

/* Unprotects, then marks (T1); the room for the unmarked ones is made. */
static int open_pages(struct watcher *watcher, struct watched_writer *writer, uint64_t page,
		      uint32_t pages, uint64_t room)
{
	uintptr_t address = 0;
	int err;

	watcher_maps(writer, page, &address);
	err = uffd_write_protect_range(&writer->uffd, address, pages * PAGE_BYTES, false);
	/* Of several mappings those before the one that is not of the region were opened (T1). */
	if (err && (err != -ENOENT || pages == 1)) {
		watcher_give_room(watcher, room);
		return err;
	}
	for (uint32_t i = 0; i < pages; i++) {
		if (watcher_mark_page(writer->region, page + i))
			room--;
	}
	/* Others marked some of them meanwhile, with room of their own. */
	watcher_give_room(watcher, room);
	return err;
}

static uint64_t delay_of_next(const struct watcher *watcher)
{
	const struct throttle throttle = {
		.bound_pages = atomic_load_explicit(&watcher->bound, memory_order_relaxed),
		.page_ns = atomic_load_explicit(&watcher->page_ns, memory_order_relaxed),
	};
	uint64_t used = atomic_load_explicit(&watcher->used, memory_order_relaxed);

	return throttle_delay_ns(&throttle, used);
}

/* A page's first write since it was flushed. ANSWER_LATER with *ret_due_ns. */
static enum answer answer_write(struct watcher_handler *handler, struct watched_writer *writer,
				uint64_t page, uint64_t since_ns, uint64_t now_ns,
				uint64_t *ret_due_ns)
{
	struct watcher *watcher = handler->watcher;
	bool marked = is_marked(writer->region, page);
	uint64_t delay_ns = marked ? 0 : delay_of_next(watcher);
	uint32_t pages = 1;
	int err;

	*ret_due_ns = now_ns + TICK_NS;
	if (watcher->stopped || delay_ns == THROTTLE_NEVER)
		return ANSWER_LATER;
	if (now_ns - since_ns < delay_ns) {
		/* Looked at again before, as the delay is that of the moment. */
		if (since_ns + delay_ns < now_ns + LOOK_NS)
			*ret_due_ns = since_ns + delay_ns;
		else
			*ret_due_ns = now_ns + LOOK_NS;
		return ANSWER_LATER;
	}
	if (!marked)
		pages = likely_pages(watcher, writer, page);
	if (!marked && !watcher_make_room(watcher, pages)) {
		pages = 1;
		if (!watcher_make_room(watcher, pages))
			return ANSWER_LATER;
	}
	err = open_pages(watcher, writer, page, pages, marked ? 0 : pages);
	if (err == -ENOENT && pages > 1) {
		/* The writer has several mappings there; the page is marked by now. */
		err = open_pages(watcher, writer, page, 1, 0);
	} else if (!err) {
		count(&handler->pages_ahead, pages - 1);
	}
	return err == -EAGAIN ? ANSWER_LATER : ANSWER_DONE;
}

/* A page that nobody has put there yet. */
static void answer_missing(struct watcher_handler *handler, struct watched_writer *writer,
			   uint64_t page, uintptr_t address)
{
	struct watched_region *region = writer->region;
	int err = 0;

	count(&handler->fetch_faults, 1);
	if (region->options.fetch)
		err = region->options.fetch(region->options.context, page, handler->page);
	else
		memset(handler->page, 0, PAGE_BYTES);
	if (!err)
		err = uffd_copy_protected(&writer->uffd, address, handler->page);
	else
		uffd_poison(&writer->uffd, (void *)address);
	if (err)
		uffd_wake(&writer->uffd, (void *)address);
}

/*
 * A process decides how many faults it has. One that waits already stands for all of its page, and
 * before one writer fills the list its threads are sent to ask again: so that others' faults and
 * forks are heard of.
 */
static void put_off(struct watcher_handler *handler, uint32_t index, uint64_t page, uint64_t now_ns,
		    uint64_t due_ns)
{
	struct watched_writer *writer = &handler->watcher->writers[index];
	uint32_t own = 0;

	for (uint32_t i = 0; i < handler->wait_count; i++) {
		const struct watched_wait *wait = &handler->waits[i];

		if (wait->writer != index || wait->turn != writer->turn)
			continue;
		if (wait->page == page)
			return;
		own++;
	}
	if (own == WATCHER_WAITS_OF_ONE || handler->wait_count == WATCHER_WAITS_MAX) {
		uintptr_t address = 0;

		watcher_maps(writer, page, &address);
		uffd_wake(&writer->uffd, (void *)address);
		return;
	}
	handler->waits[handler->wait_count++] = (struct watched_wait){
		.writer = index,
		.turn = writer->turn,
		.page = page,
		.since_ns = now_ns,
		.due_ns = due_ns,
	};
	count(&handler->delays, 1);
}

/* The forked child has the same mapping, protected as its parent's was: it is a writer as well. */
static void adopt(struct watcher_handler *handler, const struct watched_writer *parent,
		  int child_fd)
{
	struct uffd uffd = parent->uffd;

	uffd.fd = child_fd;
	if (watcher_place_writer(handler->watcher, parent, &uffd, -1)) {
		parent->region->inexact = true;
		close(child_fd);
	}
}

/* madvise took pages out of the file: the region's bytes changed without a write. */
static void note_removed(struct watched_writer *writer, uintptr_t start, uint64_t bytes)
{
	uint64_t first = writer->first_page, pages = bytes / PAGE_BYTES;

	if (start < writer->start || start - writer->start >= writer->bytes)
		return;
	first += (start - writer->start) / PAGE_BYTES;
	watcher_mark(writer->region, first, pages);
	/* They go when this was read: the mover may be there before. */
	writer->region->inexact = true;
}

/* What of a torn mapping is where is not known: its pages are compared, not tracked. */
static void note_moved(struct watched_writer *writer, const struct uffd_message *message)
{
	if (message->address == writer->start && message->bytes == writer->bytes) {
		writer->start = message->to;
		return;
	}
	writer->torn = true;
	writer->region->inexact = true;
}

static void take_fault(struct watcher_handler *handler, uint32_t index,
		       const struct uffd_message *message)
{
	struct watched_writer *writer = &handler->watcher->writers[index];
	uintptr_t start = writer->start;
	uint64_t page = writer->first_page + (message->address - start) / PAGE_BYTES;
	uint64_t now_ns = clock_now_ns(), due_ns;

	if (message->address < start || message->address - start >= writer->bytes) {
		/* It is being moved, or was read of before that; or is a part that was moved. */
		if (writer->torn && message->event == UFFD_WRITE_PROTECTED)
			uffd_write_protect_range(&writer->uffd, message->address, PAGE_BYTES,
						 false);
		else
			uffd_wake(&writer->uffd, (void *)message->address);
		return;
	}
	if (message->event == UFFD_FAULT) {
		answer_missing(handler, writer, page, message->address);
		return;
	}
	count(&handler->write_faults, 1);
	if (answer_write(handler, writer, page, now_ns, now_ns, &due_ns) == ANSWER_LATER)
		put_off(handler, index, page, now_ns, due_ns);
}

/* One message of the writer; false when there is none. The lock is read. */
static bool hear(struct watcher_handler *handler, uint32_t index)
{
	struct watched_writer *writer = &handler->watcher->writers[index];
	struct uffd_message message;

	if (!atomic_load_explicit(&writer->used, memory_order_acquire) ||
	    uffd_read(&writer->uffd, &message))
		return false;
	switch (message.event) {
	case UFFD_FAULT:
	case UFFD_WRITE_PROTECTED:
		take_fault(handler, index, &message);
		break;
	case UFFD_FORKED:
		adopt(handler, writer, message.child_fd);
		break;
	case UFFD_MOVED:
		note_moved(writer, &message);
		break;
	case UFFD_REMOVED:
		note_removed(writer, message.address, message.bytes);
		break;
	case UFFD_OTHER:
		break;
	}
	return true;
}

static void hear_writer(struct watcher_handler *handler, uint32_t index, bool trouble)
{
	struct watched_writer *writer = &handler->watcher->writers[index];

	pthread_rwlock_rdlock(&handler->watcher->lock);
	/* Its process made it wait: the kernel polls no such userfaultfd, and says so at once. */
	if (trouble && atomic_load_explicit(&writer->used, memory_order_acquire))
		uffd_set_nonblocking(writer->uffd.fd);
	for (int i = 0; i < MESSAGES_AT_ONCE && hear(handler, index); i++)
		;
	pthread_rwlock_unlock(&handler->watcher->lock);
}

/* True if it waits on. */
static bool try_again(struct watcher_handler *handler, struct watched_wait *wait, uint64_t now_ns)
{
	struct watched_writer *writer = &handler->watcher->writers[wait->writer];
	uint64_t waited_ns = now_ns - wait->since_ns;

	if (!atomic_load_explicit(&writer->used, memory_order_acquire) ||
	    writer->turn != wait->turn)
		return false;
	if (answer_write(handler, writer, wait->page, wait->since_ns, now_ns, &wait->due_ns) ==
	    ANSWER_LATER)
		return true;
	count(&handler->delay_ns, waited_ns);
	note_max(&handler->delay_ns_max, waited_ns);
	return false;
}

/* Answers those whose time has come; returns when the next one's is, 0 for none. */
static uint64_t look_after_waits(struct watcher_handler *handler)
{
	uint64_t now_ns = clock_now_ns(), next_ns = 0;

	pthread_rwlock_rdlock(&handler->watcher->lock);
	for (uint32_t i = 0; i < handler->wait_count;) {
		struct watched_wait *wait = &handler->waits[i];

		if (wait->due_ns <= now_ns && !try_again(handler, wait, now_ns)) {
			*wait = handler->waits[--handler->wait_count];
			continue;
		}
		if (!next_ns || wait->due_ns < next_ns)
			next_ns = wait->due_ns;
		i++;
	}
	pthread_rwlock_unlock(&handler->watcher->lock);
	return next_ns;
}

static int wait_for_events(struct watcher_handler *handler, uint64_t next_ns,
			   struct epoll_event *ret_events)
{
	struct timespec limit, *limit_or_none = NULL;
	uint64_t now_ns = clock_now_ns(), left_ns;

	if (next_ns) {
		left_ns = next_ns > now_ns ? next_ns - now_ns : 0;
		limit = (struct timespec){ .tv_sec = (time_t)(left_ns / NS_PER_S),
					   .tv_nsec = (long)(left_ns % NS_PER_S) };
		limit_or_none = &limit;
	}
	return epoll_pwait2(handler->epoll_fd, ret_events, EVENTS_AT_ONCE, limit_or_none, NULL);
}

void *watcher_handler_main(void *argument)
{
	struct watcher_handler *handler = argument;
	struct epoll_event events[EVENTS_AT_ONCE];
	uint64_t next_ns = 0;

	for (;;) {
		int n = wait_for_events(handler, next_ns, events);

		for (int i = 0; i < n; i++) {
			if (events[i].data.u32 == WATCHER_WRITERS_MAX)
				return NULL;
			hear_writer(handler, events[i].data.u32, events[i].events & EPOLLERR);
		}
		next_ns = handler->wait_count ? look_after_waits(handler) : 0;
	}
}
