/* SPDX-License-Identifier: Apache-2.0 */
/* Written pages go to the image in the background, those likely to be left alone first. */

#include "persist/mover_state.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define NS_PER_MS 1000000u
#define PASS_NS (250ull * NS_PER_MS) /* the unit of heat: hot is what comes back in two seconds */
#define REST_NS (500ull * NS_PER_MS) /* before a disk that failed is tried again */
#define SCAN_NS (1000ull * NS_PER_MS)
#define PROBE_NS (10000ull * NS_PER_MS)
#define PROBE_BYTES (16u << 20) /* or as much as a small region's packed area has */

/* ---- Taking and putting ---- */

/*
 * By the file, not by the mapping: its owner can make it shorter, or take pages out, and a touch of
 * what is not there would end the agent or make the mover wait for itself. Such pages are zeros.
 */
static void copy_pages(struct mover *mover, const struct region *region, uint64_t page,
		       uint32_t count)
{
	size_t bytes = count * PAGE_BYTES, done = 0;
	ssize_t n;

	do {
		n = pread(region->fd, mover->copy + done, bytes - done,
			  (off_t)(page * PAGE_BYTES + done));
		done += n > 0 ? (size_t)n : 0;
	} while (done < bytes && (n > 0 || (n < 0 && errno == EINTR)));
	memset(mover->copy + done, 0, bytes - done);
}

uint32_t mover_put_run(struct mover *mover, struct region *region, uint64_t page, uint32_t count,
		       enum image_way way)
{
	uint32_t taken;

	if (region_bring(region, page, count, &mover->key))
		return 0;
	taken = watcher_take(region->watched, page, count);
	copy_pages(mover, region, page, taken);
	for (uint32_t i = 0; i < taken; i++) {
		const uint8_t *bytes = mover->copy + i * PAGE_BYTES;
		int err;

		region->digests[page + i] = region_digest(&mover->key, bytes);
		region->heat[page + i] = flush_flushed(region->heat[page + i]);
		/* Of which page an error is the image tells when it is drained. */
		err = image_put(region->image, page + i, bytes, way);
		if (!mover->put_error)
			mover->put_error = err;
	}
	if (taken)
		mover->runs[mover->run_count++] =
			(struct mover_run){ .region = region, .page = page, .count = taken };
	return taken;
}

static bool is_in_batch(const struct mover *mover, const struct region *region, uint64_t page)
{
	for (uint32_t i = 0; i < mover->run_count; i++) {
		const struct mover_run *run = &mover->runs[i];

		if (run->region == region && page >= run->page && page - run->page < run->count)
			return true;
	}
	return false;
}

/*
 * What the image could not write is marked again; returns how many pages of the batch that were.
 * Others were flushed before, and given back their room, when a sync failed: they need it anew.
 */
uint64_t mover_return_failed(struct mover *mover, struct region *region)
{
	uint64_t page, failed = 0;

	while (image_put_failed(region->image, &page)) {
		region->digests[page] = 0;
		if (is_in_batch(mover, region, page)) {
			watcher_return(region->watched, page);
			failed++;
		} else {
			watcher_mark(region->watched, page, 1);
		}
	}
	return failed;
}

int mover_settle(struct mover *mover)
{
	int first = 0;

	for (uint32_t i = 0; i < mover->run_count;) {
		struct region *region = mover->runs[i].region;
		uint64_t pages = 0, failed = 0;
		int err = image_drain(region->image);

		for (; i < mover->run_count && mover->runs[i].region == region; i++)
			pages += mover->runs[i].count;
		if (mover->put_error)
			err = mover->put_error;
		mover->put_error = 0;
		if (err)
			failed = mover_return_failed(mover, region);
		watcher_flushed(region->watched, pages - failed);
		mover->counters.flush_errors += err != 0;
		first = first ? first : err;
	}
	if (mover->run_count)
		mover->counters.last_error = first;
	mover->run_count = 0;
	return first;
}

/* ---- Writers that are not tracked ---- */

void mover_scan(struct mover *mover, struct region *region)
{
	for (uint64_t page = 0; page < region->page_count; page++) {
		uint32_t i = page % WATCHER_RUN_PAGES_MAX;
		uint64_t left = region->page_count - page;

		if (i == 0)
			copy_pages(mover, region, page,
				   left < WATCHER_RUN_PAGES_MAX ? (uint32_t)left
								: WATCHER_RUN_PAGES_MAX);
		if (region->digests[page] !=
		    region_digest(&mover->key, mover->copy + i * PAGE_BYTES))
			watcher_mark(region->watched, page, 1);
	}
}

static void scan_foreign(struct mover *mover)
{
	if (clock_now_ns() - mover->scan_ns < SCAN_NS)
		return;
	for (uint32_t i = 0; i < WATCHER_REGIONS_MAX; i++) {
		struct region *region = mover->regions[i];

		uint32_t before;

		if (!region || region->state != REGION_LIVE || !region->foreign)
			continue;
		before = region->foreign;
		mover_scan(mover, region);
		/* Gone before the scan began, and nobody came meanwhile. */
		if (before == REGION_FOREIGN_GONE)
			atomic_compare_exchange_strong(&region->foreign, &before, REGION_TRACKED);
	}
	mover->scan_ns = clock_now_ns();
}

/* ---- Passes ---- */

static void begin_pass(struct mover *mover)
{
	scan_foreign(mover);
	for (uint32_t i = 0; i < WATCHER_REGIONS_MAX; i++) {
		if (mover->regions[i])
			flush_cool(mover->regions[i]->heat, mover->regions[i]->page_count);
	}
	/* Half of what is free of any delay: what is dirtied while a pass is on its way has the
	 * other half. */
	flush_begin(&mover->pass, watcher_unflushed(mover->watcher), mover->bound_pages / 4);
	mover->passing = true;
	mover->pass_region = 0;
	mover->pass_page = 0;
	mover->pass_begin_ns = clock_now_ns();
}

/* Neighbours from `page` on, the first of which is to be flushed, that are as well. */
static uint32_t wanted_run(struct mover *mover, struct region *region, uint64_t page,
			   uint32_t limit)
{
	uint32_t run = 1;

	while (run < limit && watcher_next(region->watched, page + run) == page + run &&
	       flush_takes(&mover->pass, region->heat[page + run]))
		run++;
	return run;
}

/* Goes on with the pass in one region; false when it is through with it. */
static bool pass_on(struct mover *mover, struct region *region, uint32_t *budget)
{
	uint64_t page = watcher_next(region->watched, mover->pass_page);
	uint32_t limit = *budget < WATCHER_RUN_PAGES_MAX ? *budget : WATCHER_RUN_PAGES_MAX;
	uint32_t run;

	if (page >= region->page_count)
		return false;
	mover->pass_page = page + 1;
	if (!flush_takes(&mover->pass, region->heat[page]))
		return true;
	run = wanted_run(mover, region, page, limit);
	mover->pass_page = page + run;
	run = mover_put_run(mover, region, page, run, IMAGE_FLUSH);
	mover->counters.pages_flushed += run;
	*budget -= run;
	return true;
}

static bool can_flush(const struct region *region)
{
	return region && (region->state == REGION_LIVE ||
			  (region->state == REGION_RESTORING && region_has_packed(region)));
}

static void note_rate(struct mover *mover, const struct image_counters *before,
		      const struct image_counters *after)
{
	uint64_t bytes = after->bytes_written - before->bytes_written;

	mover->counters.bytes_written += bytes;
	rate_note(&mover->scattered, clock_now_ns(), bytes, after->write_ns - before->write_ns);
	watcher_set_bound(mover->watcher, mover->bound_pages, rate_latest(&mover->scattered));
}

bool mover_flush_some(struct mover *mover)
{
	uint32_t budget = MOVER_BATCH_PAGES;
	struct image_counters before;
	struct region *region;

	if (clock_now_ns() < mover->rest_until_ns)
		return false;
	if (!mover->passing) {
		bool late = clock_now_ns() - mover->pass_begin_ns >= PASS_NS;

		/* With more unflushed than there should be, the next pass waits for nothing. */
		if (!late && watcher_unflushed(mover->watcher) <= mover->bound_pages / 4)
			return false;
		begin_pass(mover);
	}
	while (mover->pass_region < WATCHER_REGIONS_MAX &&
	       !can_flush(mover->regions[mover->pass_region])) {
		mover->pass_region++;
		mover->pass_page = 0;
	}
	if (mover->pass_region == WATCHER_REGIONS_MAX) {
		mover->passing = false;
		return false;
	}
	region = mover->regions[mover->pass_region];
	before = *image_counters(region->image);
	while (budget && pass_on(mover, region, &budget))
		;
	if (budget) {
		mover->pass_region++;
		mover->pass_page = 0;
	}
	if (mover_settle(mover))
		mover->rest_until_ns = clock_now_ns() + REST_NS;
	note_rate(mover, &before, image_counters(region->image));
	return true;
}

/* By the largest of the regions: a sequence that is too short tells the latency, not the rate. */
static struct region *region_to_probe(struct mover *mover)
{
	struct region *largest = NULL;

	for (uint32_t i = 0; i < WATCHER_REGIONS_MAX; i++) {
		struct region *region = mover->regions[i];

		if (can_flush(region) && (!largest || region->bytes > largest->bytes))
			largest = region;
	}
	return largest;
}

void mover_probe(struct mover *mover)
{
	uint64_t now_ns = clock_now_ns(), bytes = PROBE_BYTES, took_ns;
	struct region *region;
	int err;

	if (mover->probe_ns && now_ns - mover->probe_ns < PROBE_NS)
		return;
	region = region_to_probe(mover);
	if (!region)
		return;
	while ((err = image_probe(region->image, bytes, &took_ns)) == -EAGAIN &&
	       bytes > RATE_SAMPLE_BYTES)
		bytes /= 2;
	mover->probe_ns = clock_now_ns();
	if (!err)
		rate_note(&mover->sequence, mover->probe_ns, bytes, took_ns);
	/* The first sample is what the regions wait for to be armed. */
	mover_ring(mover);
}
