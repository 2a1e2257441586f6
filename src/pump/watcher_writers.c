/* SPDX-License-Identifier: Apache-2.0 */
/* Who writes: processes that handed over a userfaultfd, and the children that they fork. */

#include "pump/watcher_state.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static void stop_listening(struct watcher *watcher, int fd)
{
	for (uint32_t i = 0; i < watcher->handler_count; i++)
		epoll_ctl(watcher->handlers[i].epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

/*
 * Closing the userfaultfd lifts all protection and wakes who waits, unless the process has kept it:
 * then its faults would be heard of for ever, by who has no place for them.
 */
void watcher_end_writer(struct watched_writer *writer)
{
	stop_listening(writer->region->watcher, writer->uffd.fd);
	close(writer->uffd.fd);
	writer->turn++;
	writer->region = NULL;
	writer->used = false;
}

int watcher_place_writer(struct watcher *watcher, const struct watched_writer *like,
			 const struct uffd *uffd, pid_t pid)
{
	struct watched_writer *writer = NULL;
	uint32_t index = 0;
	int err = -ENOSPC;

	pthread_mutex_lock(&watcher->places);
	while (index < WATCHER_WRITERS_MAX && watcher->writers[index].used)
		index++;
	if (index < WATCHER_WRITERS_MAX) {
		writer = &watcher->writers[index];
		writer->region = like->region;
		writer->uffd = *uffd;
		writer->pid = pid;
		writer->start = like->start;
		writer->bytes = like->bytes;
		writer->first_page = like->first_page;
		writer->torn = like->torn;
		writer->stream_next = UINT64_MAX;
		writer->stream_pages = 1;
		/* To the handlers, which see it used: all of the above. */
		atomic_store_explicit(&writer->used, true, memory_order_release);
		err = 0;
	}
	pthread_mutex_unlock(&watcher->places);
	for (uint32_t i = 0; !err && i < watcher->handler_count; i++)
		err = watcher_listen(&watcher->handlers[i], uffd->fd, index);
	if (err && writer) {
		stop_listening(watcher, uffd->fd);
		atomic_store(&writer->used, false);
	}
	return err;
}

/* Protects what is not marked, and all while writers are stopped (T3): the lock is written. */
static int protect_unmarked(struct watched_writer *writer)
{
	struct watched_region *region = writer->region;
	uint64_t page = writer->first_page, end = page + writer->bytes / PAGE_BYTES;
	int err = uffd_write_protect_range(&writer->uffd, writer->start, writer->bytes, true);

	while (!err && !region->watcher->stopped &&
	       (page = line_map_next(&region->marks, page)) < end) {
		uintptr_t address = 0;

		watcher_maps(writer, page++, &address);
		err = uffd_write_protect_range(&writer->uffd, address, PAGE_BYTES, false);
	}
	return err;
}

static bool fits(const struct watched_region *region, uintptr_t start, uint64_t bytes,
		 uint64_t first_page)
{
	uint64_t pages = bytes / PAGE_BYTES;

	return start % PAGE_BYTES == 0 && bytes % PAGE_BYTES == 0 && pages > 0 &&
	       pages <= region->options.page_count &&
	       first_page <= region->options.page_count - pages;
}

/*
 * The kernel lets one userfaultfd have a range: that of an earlier mapping there has it no more.
 */
static void end_replaced(const struct watched_writer *by, pid_t pid)
{
	struct watcher *watcher = by->region->watcher;

	for (uint32_t i = 0; i < WATCHER_WRITERS_MAX; i++) {
		struct watched_writer *writer = &watcher->writers[i];

		if (writer->used && writer->region == by->region && writer->pid == pid &&
		    !writer->torn && writer->start >= by->start &&
		    writer->start + writer->bytes <= by->start + by->bytes)
			watcher_end_writer(writer);
	}
}

int watcher_join(struct watched_region *region, int uffd_fd, uintptr_t start, uint64_t bytes,
		 uint64_t first_page, pid_t pid, struct error *why)
{
	struct watcher *watcher = region->watcher;
	struct uffd uffd = { .fd = uffd_fd, .can_fork = true };
	struct watched_writer like = {
		.region = region,
		.uffd = uffd,
		.start = start,
		.bytes = bytes,
		.first_page = first_page,
	};
	int err;

	if (!fits(region, start, bytes, first_page)) {
		close(uffd_fd);
		return error_set(why, -EINVAL,
				 "the mapping at 0x%lx, %lu bytes, is not within the region",
				 (unsigned long)start, (unsigned long)bytes);
	}
	if (!uffd_is_one(uffd_fd)) {
		close(uffd_fd);
		return error_set(why, -EBADF, "what came along is no userfaultfd");
	}
	uffd_set_nonblocking(uffd_fd);
	err = uffd_register(&uffd, (void *)start, bytes);
	pthread_rwlock_wrlock(&watcher->lock);
	if (!err)
		end_replaced(&like, pid);
	if (!err)
		err = protect_unmarked(&like);
	if (!err)
		err = watcher_place_writer(watcher, &like, &uffd, pid);
	pthread_rwlock_unlock(&watcher->lock);
	if (err) {
		close(uffd_fd);
		return error_set(why, err, "cannot track the mapping of process %d: %s", (int)pid,
				 err == -ENOSPC ? "512 writers are the most" : strerror(-err));
	}
	return 0;
}

/* Whether the process still shares memory at the writer's addresses; true also if nobody knows. */
static bool still_maps(const struct watched_writer *writer)
{
	char path[64], line[PATH_MAX + 128], shared;
	unsigned long start, end, from = writer->start, to = from + writer->bytes;
	bool found = false;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)writer->pid);
	maps = writer->pid > 0 ? fopen(path, "re") : NULL;
	if (!maps)
		return true;
	while (!found && fgets(line, sizeof(line), maps))
		found = sscanf(line, "%lx-%lx %*3c%c", &start, &end, &shared) == 3 &&
			shared == 's' && start < to && end > from;
	fclose(maps);
	return found;
}

/*
 * True if the process is gone, where the kernel finds no memory behind its userfaultfd, or has
 * unmapped all of it: programs open and close regions as they like.
 */
static bool has_ended(const struct watched_writer *writer)
{
	int err = uffd_write_protect_range(&writer->uffd, writer->start, PAGE_BYTES, true);

	return err == -ESRCH || (err == -ENOENT && !writer->torn && !still_maps(writer));
}

uint32_t watcher_reap(struct watched_region *region)
{
	struct watcher *watcher = region->watcher;
	uint32_t left = 0;

	pthread_rwlock_wrlock(&watcher->lock);
	for (uint32_t i = 0; i < WATCHER_WRITERS_MAX; i++) {
		struct watched_writer *writer = &watcher->writers[i];

		if (!writer->used || writer->region != region)
			continue;
		if (has_ended(writer))
			watcher_end_writer(writer);
		else
			left++;
	}
	pthread_rwlock_unlock(&watcher->lock);
	return left;
}

static bool is_writer(const struct watched_writer *writer, const struct watched_region *region)
{
	return atomic_load_explicit(&writer->used, memory_order_acquire) &&
	       writer->region == region;
}

uint32_t watcher_writers(const struct watched_region *region)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < WATCHER_WRITERS_MAX; i++)
		count += is_writer(&region->watcher->writers[i], region);
	return count;
}

bool watcher_has(const struct watched_region *region, pid_t pid)
{
	for (uint32_t i = 0; i < WATCHER_WRITERS_MAX; i++) {
		const struct watched_writer *writer = &region->watcher->writers[i];

		if (is_writer(writer, region) && writer->pid == pid)
			return true;
	}
	return false;
}

static bool covers(const struct watched_writer *writer, uintptr_t start, uintptr_t end)
{
	return writer->start <= start && end <= writer->start + writer->bytes;
}

bool watcher_knows(struct watched_region *region, pid_t pid, uintptr_t start, uintptr_t end)
{
	struct watched_writer *child = NULL;

	for (uint32_t i = 0; i < WATCHER_WRITERS_MAX; i++) {
		struct watched_writer *writer = &region->watcher->writers[i];

		if (!is_writer(writer, region) || writer->torn || !covers(writer, start, end))
			continue;
		if (writer->pid == pid)
			return true;
		if (writer->pid < 0)
			child = writer;
	}
	/* The kernel does not say which process a forked userfaultfd is of: it is now known. */
	if (child)
		child->pid = pid;
	return child != NULL;
}
