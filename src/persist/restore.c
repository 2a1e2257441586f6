/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Brings a region's pages back from its image: those that somebody waits for by demand, in the
 * watcher's handlers, all others from the first on. Both put a page where none is, which the kernel
 * decides: so whoever comes second finds it there, and what was written since is never overwritten.
 */

#include "persist/region.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

/* Puts the pages there that are missing. */
static int fill(struct region *region, uint64_t page, uint32_t page_count, const uint8_t *bytes)
{
	uint64_t done = 0, all = page_count * PAGE_BYTES;
	size_t copied;

	while (done < all) {
		int err = uffd_copy_run(&region->filler, region->memory + page * PAGE_BYTES + done,
					bytes + done, all - done, &copied);

		done += copied;
		if (err == -EEXIST)
			done += PAGE_BYTES;
		else if (err && err != -EAGAIN)
			return err;
	}
	return 0;
}

static int damage(struct region *region, int err, const struct error *why)
{
	region->trouble = *why;
	/* To the main thread, which reads the words after it. */
	atomic_store_explicit(&region->state, REGION_DAMAGED, memory_order_release);
	return err;
}

/* As the page is in the image, unless it was put anew meanwhile. */
static void note_digests(struct region *region, uint64_t page, uint32_t page_count,
			 const uint8_t *bytes, const struct page_digest_key *key)
{
	for (uint32_t i = 0; i < page_count; i++) {
		if (!region->digests[page + i])
			region->digests[page + i] = region_digest(key, bytes + i * PAGE_BYTES);
	}
}

static int read_and_fill(struct region *region, uint64_t page, uint32_t page_count,
			 const struct page_digest_key *key)
{
	struct error why;
	int err;

	pthread_rwlock_rdlock(&region->image_lock);
	err = image_read(region->image, page, page_count, region->step, &why);
	pthread_rwlock_unlock(&region->image_lock);
	if (err)
		return damage(region, err, &why);
	note_digests(region, page, page_count, region->step, key);
	err = fill(region, page, page_count, region->step);
	if (!err)
		return 0;
	error_set(&why, err, "no memory for pages of region \"%s\": %s", region->name,
		  strerror(-err));
	return damage(region, err, &why);
}

static bool is_of(const struct region *region, uint64_t page, bool (*is)(uint32_t place))
{
	return page < region->page_count && is(image_place(region->image, page));
}

static bool is_packed(uint32_t place)
{
	return place >= IMAGE_PACKED;
}

static bool is_nowhere(uint32_t place)
{
	return place == IMAGE_NOWHERE;
}

static bool is_somewhere(uint32_t place)
{
	return place != IMAGE_NOWHERE;
}

/* Pages from `page` on, at most REGION_STEP_PAGES, of which all are what `is` says. */
static uint32_t run_of(const struct region *region, uint64_t page, bool (*is)(uint32_t place))
{
	uint32_t run = 0;

	while (run < REGION_STEP_PAGES && is_of(region, page + run, is))
		run++;
	return run;
}

int region_bring(struct region *region, uint64_t page, uint32_t page_count,
		 const struct page_digest_key *key)
{
	unsigned char here[WATCHER_RUN_PAGES_MAX];
	uint64_t end = page + page_count;
	int err = 0;

	if (region->state != REGION_RESTORING)
		return 0;
	if (end > region->page_count)
		end = region->page_count;
	if (mincore(region->memory + page * PAGE_BYTES, (end - page) * PAGE_BYTES, here))
		return -errno;
	for (uint64_t i = page; !err && i < end; i++) {
		/* What was restored and is not here was taken out by its program: zeros. */
		if (!(here[i - page] & 1) && i >= region->restored)
			err = read_and_fill(region, i, 1, key);
	}
	return err;
}

bool region_has_packed(const struct region *region)
{
	return region->packed_restored == region->page_count;
}

static int restore_packed(struct region *region, const struct page_digest_key *key)
{
	uint64_t page = region->packed_restored;
	uint32_t run;
	int err;

	while (page < region->page_count && !is_of(region, page, is_packed))
		page++;
	run = run_of(region, page, is_packed);
	if (run) {
		err = read_and_fill(region, page, run, key);
		if (err)
			return err;
		watcher_mark(region->watched, page, run);
	}
	region->packed_restored = page + run;
	return 0;
}

/* Zeros need no reading; the memory is taken, so that it is there when they are written. */
static int restore_zeros(struct region *region, uint64_t page, uint32_t run,
			 const struct page_digest_key *key)
{
	static const uint8_t zeros[PAGE_BYTES] __attribute__((aligned(64)));
	struct error why;

	for (uint32_t i = 0; i < run; i++)
		note_digests(region, page + i, 1, zeros, key);
	if (!fallocate(region->fd, 0, (off_t)(page * PAGE_BYTES), (off_t)(run * PAGE_BYTES)))
		return 0;
	error_set(&why, -errno, "no memory for pages of region \"%s\": %s", region->name,
		  strerror(errno));
	return damage(region, -errno, &why);
}

int region_restore_some(struct region *region, const struct page_digest_key *key)
{
	uint64_t page = region->restored;
	uint32_t run;
	int err;

	assert(page < region->page_count);
	if (!region_has_packed(region))
		return restore_packed(region, key);
	run = run_of(region, page, is_nowhere);
	if (run) {
		err = restore_zeros(region, page, run, key);
	} else {
		run = run_of(region, page, is_somewhere);
		err = read_and_fill(region, page, run, key);
	}
	if (err)
		return err;
	region->restored += run;
	if (region->restored == region->page_count)
		atomic_store_explicit(&region->state, REGION_LIVE, memory_order_release);
	return 0;
}
