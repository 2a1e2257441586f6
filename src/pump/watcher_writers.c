/* SPDX-License-Identifier: Apache-2.0 */
/* Who writes: processes that handed over a userfaultfd, and the children that they fork. */

#include "pump/watcher_state.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Closing the userfaultfd lifts all protection and wakes who waits. */
void watcher_end_writer(struct watched_writer *writer)
{
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
		writer->stream_next = UINT64_MAX;
		writer->stream_pages = 1;
		/* To the handlers, which see it used: all of the above. */
		atomic_store_explicit(&writer->used, true, memory_order_release);
		err = 0;
	}
	pthread_mutex_unlock(&watcher->places);
	for (uint32_t i = 0; !err && i < watcher->handler_count; i++)
		err = watcher_listen(&watcher->handlers[i], uffd->fd, index);
	if (err && writer)
		atomic_store(&writer->used, false);
	return err;
}

/* Protects what is not marked: the lock is written. */
static int protect_unmarked(struct watched_writer *writer)
{
	struct watched_region *region = writer->region;
	uint64_t page = writer->first_page, end = page + writer->bytes / PAGE_BYTES;
	int err = uffd_write_protect_range(&writer->uffd, writer->start, writer->bytes, true);

	while (!err && (page = line_map_next(&region->marks, page)) < end) {
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
	err = uffd_register(&uffd, (void *)start, bytes);
	pthread_rwlock_wrlock(&watcher->lock);
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

/* True if the process is gone: the kernel finds no memory behind its userfaultfd. */
static bool has_ended(const struct watched_writer *writer)
{
	return uffd_write_protect_range(&writer->uffd, writer->start, PAGE_BYTES, true) == -ESRCH;
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

		if (!is_writer(writer, region) || !covers(writer, start, end))
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
