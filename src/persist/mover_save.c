/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A save: writers are stopped, what is not flushed is packed behind one another, and each image is
 * committed (S1: the record comes last).
 */

#include "persist/mover_state.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/clock.h"

#define BRING_WAIT_NS 1000000000u
#define BRING_NAP_NS 100000u

/* What is packed in the committed image must be read before another generation is made. */
static int have_packed(struct mover *mover, struct region *region)
{
	int err = 0;

	while (!err && region->state == REGION_RESTORING && !region_has_packed(region))
		err = region_restore_some(region, &mover->key);
	return err;
}

/* What cannot be brought, for want of memory, may be in a moment. */
static uint32_t take_and_put(struct mover *mover, struct region *region, uint64_t page)
{
	uint64_t end_ns = clock_now_ns() + BRING_WAIT_NS;
	uint32_t run;

	do {
		run = mover_put_run(mover, region, page, WATCHER_RUN_PAGES_MAX, IMAGE_PACK);
		if (!run)
			clock_sleep_ns(BRING_NAP_NS);
	} while (!run && clock_now_ns() < end_ns);
	return run;
}

static int put_all(struct mover *mover, struct region *region)
{
	uint64_t page = 0;
	int err = 0, settled;

	while (!err && (page = watcher_next(region->watched, page)) < region->page_count) {
		uint32_t run = take_and_put(mover, region, page);

		mover->save.pages += run;
		page += run;
		if (!run)
			err = -EAGAIN;
		else if (mover->run_count == MOVER_BATCH_PAGES)
			err = mover_settle(mover);
	}
	settled = mover_settle(mover);
	return err ? err : settled;
}

/* Packed pages are not at home yet: they count until they are (I4). */
static void mark_packed(struct region *region)
{
	for (uint64_t page = 0; page < region->page_count; page++) {
		if (image_place(region->image, page) >= IMAGE_PACKED)
			watcher_mark(region->watched, page, 1);
	}
}

static int commit(struct mover *mover, struct region *region, struct error *why)
{
	int err;

	pthread_rwlock_wrlock(&region->image_lock);
	err = image_commit(region->image, mover->save_reason, clock_unix_ns(), why);
	pthread_rwlock_unlock(&region->image_lock);
	if (err)
		mover_return_failed(mover, region);
	else
		mark_packed(region);
	return err;
}

static int save_region(struct mover *mover, struct region *region, struct error *why)
{
	const struct image_counters *counters = image_counters(region->image);
	uint64_t bytes = counters->bytes_written, busy_ns = counters->write_ns;
	int err = have_packed(mover, region);

	if (err)
		return error_set(why, err, "region \"%s\": %s", region->name, region->trouble.text);
	if (region->state == REGION_LIVE && !region_is_exact(region))
		mover_scan(mover, region);
	err = put_all(mover, region);
	if (err)
		error_set(why, err, "region \"%s\": writing its image: %s", region->name,
			  strerror(-err));
	else
		err = commit(mover, region, why);
	bytes = counters->bytes_written - bytes;
	mover->save.bytes += bytes;
	mover->counters.bytes_written += bytes;
	rate_note(&mover->sequence, clock_now_ns(), bytes, counters->write_ns - busy_ns);
	return err;
}

void mover_make_save(struct mover *mover)
{
	uint64_t begin_ns = clock_now_ns();
	struct mover_save *save = &mover->save;
	struct error why;
	int err;

	*save = (struct mover_save){ .result = 0 };
	err = watcher_stop(mover->watcher);
	save->stop_ns = clock_now_ns() - begin_ns;
	if (err)
		save->result = error_set(&save->why, err,
					 "the writers could not be stopped: one was in fork()");
	for (uint32_t i = 0; !err && i < WATCHER_REGIONS_MAX; i++) {
		struct region *region = mover->regions[i];

		if (!region || region->state == REGION_DAMAGED)
			continue;
		save->regions++;
		/* One that fails keeps the others from nothing. */
		if (save_region(mover, region, &why) && !save->result) {
			save->result = -EIO;
			save->why = why;
		}
	}
	save->write_ns = clock_now_ns() - begin_ns;
}
