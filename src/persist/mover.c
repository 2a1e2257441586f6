/* SPDX-License-Identifier: Apache-2.0 */
#include "persist/mover_state.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own_thread.h"

#define NAP_MS 20u /* between two looks when there is nothing to do */
#define NS_PER_MS 1000000u
#define NS_PER_S 1000000000u
#define RATE_AGE_NS (60ull * NS_PER_S)

void mover_ring(struct mover *mover)
{
	uint64_t one = 1;

	(void)!write(mover->bell_fd, &one, sizeof(one));
}

/* ---- The thread ---- */

/* One step of what is to be restored; true if there was any. */
static bool restore_one(struct mover *mover)
{
	bool any = false;

	for (uint32_t i = 0; i < WATCHER_REGIONS_MAX; i++) {
		struct region *region = mover->regions[i];

		if (!region || region->state != REGION_RESTORING)
			continue;
		any = true;
		region_restore_some(region, &mover->key);
		if (region->state != REGION_RESTORING)
			mover_ring(mover);
	}
	return any;
}

/* The lock is taken; it is given back while there is nothing to do. */
static void work(struct mover *mover)
{
	bool busy;

	if (mover->save_wanted) {
		mover_make_save(mover);
		mover->save_wanted = false;
		mover->save_ended = true;
		mover_ring(mover);
		return;
	}
	busy = restore_one(mover);
	busy |= mover_flush_some(mover);
	mover_probe(mover);
	if (!busy) {
		uint64_t until_ns = clock_now_ns() + NAP_MS * NS_PER_MS;
		struct timespec until = { .tv_sec = (time_t)(until_ns / NS_PER_S),
					  .tv_nsec = (long)(until_ns % NS_PER_S) };

		pthread_cond_clockwait(&mover->wake, &mover->lock, CLOCK_MONOTONIC, &until);
	}
}

static void *mover_main(void *argument)
{
	struct mover *mover = argument;

	pthread_mutex_lock(&mover->lock);
	while (!mover->ending) {
		work(mover);
		/* Whoever waits for the lock has it now: a mutex alone would not see to that. */
		while (mover->wanted) {
			pthread_mutex_unlock(&mover->lock);
			clock_sleep_ns(NS_PER_MS / 20);
			pthread_mutex_lock(&mover->lock);
		}
	}
	pthread_mutex_unlock(&mover->lock);
	return NULL;
}

/* ---- The main thread's calls ---- */

static void enter(struct mover *mover)
{
	mover->wanted++;
	pthread_mutex_lock(&mover->lock);
	mover->wanted--;
}

static void leave(struct mover *mover)
{
	pthread_cond_signal(&mover->wake);
	pthread_mutex_unlock(&mover->lock);
}

int mover_create(struct watcher *watcher, int bell_fd, struct mover **ret_mover, struct error *why)
{
	struct mover *mover = calloc(1, sizeof(*mover));
	int err;

	if (!mover)
		return error_set(why, -ENOMEM, "no memory for the mover");
	mover->watcher = watcher;
	mover->bell_fd = bell_fd;
	if (getrandom(&mover->key, sizeof(mover->key), 0) != sizeof(mover->key)) {
		free(mover);
		return error_set(why, -EIO, "getrandom: %s", strerror(errno));
	}
	pthread_mutex_init(&mover->lock, NULL);
	pthread_cond_init(&mover->wake, NULL);
	flush_init(&mover->pass);
	rate_init(&mover->sequence, RATE_AGE_NS);
	rate_init(&mover->scattered, RATE_AGE_NS);
	err = own_thread_start(&mover->thread, NULL, mover_main, mover);
	if (err) {
		free(mover);
		return error_set(why, err, "cannot start the mover: %s", strerror(-err));
	}
	*ret_mover = mover;
	return 0;
}

void mover_destroy(struct mover *mover)
{
	if (!mover)
		return;
	enter(mover);
	mover->ending = true;
	leave(mover);
	pthread_join(mover->thread, NULL);
	for (uint32_t i = 0; i < WATCHER_REGIONS_MAX; i++)
		assert(!mover->regions[i]);
	pthread_mutex_destroy(&mover->lock);
	pthread_cond_destroy(&mover->wake);
	free(mover);
}

void mover_add(struct mover *mover, struct region *region)
{
	uint32_t i = 0;

	enter(mover);
	while (mover->regions[i])
		i++;
	assert(i < WATCHER_REGIONS_MAX);
	mover->regions[i] = region;
	leave(mover);
}

void mover_remove(struct mover *mover, struct region *region)
{
	enter(mover);
	for (uint32_t i = 0; i < WATCHER_REGIONS_MAX; i++) {
		if (mover->regions[i] == region)
			mover->regions[i] = NULL;
	}
	leave(mover);
}

void mover_set_bound(struct mover *mover, uint64_t bound_pages)
{
	enter(mover);
	mover->bound_pages = bound_pages;
	watcher_set_bound(mover->watcher, bound_pages, rate_latest(&mover->scattered));
	leave(mover);
}

void mover_save(struct mover *mover, enum image_reason reason)
{
	enter(mover);
	assert(!mover->save_wanted);
	mover->save_wanted = true;
	mover->save_ended = false;
	mover->save_reason = reason;
	leave(mover);
}

bool mover_take_save(struct mover *mover, struct mover_save *ret_save)
{
	bool ended;

	if (!mover->save_ended)
		return false;
	enter(mover);
	ended = mover->save_ended;
	mover->save_ended = false;
	if (ended)
		*ret_save = mover->save;
	leave(mover);
	return ended;
}

void mover_go(struct mover *mover)
{
	watcher_go(mover->watcher);
}

void mover_count(struct mover *mover, struct mover_counters *ret_counters)
{
	enter(mover);
	mover->counters.write_bytes_s = rate_worst(&mover->sequence, clock_now_ns());
	mover->counters.flush_bytes_s = rate_latest(&mover->scattered);
	*ret_counters = mover->counters;
	leave(mover);
}
