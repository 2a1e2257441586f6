/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mender: one thread of each process that joins backings again when they have come back, and
 * makes copies that were lost again. It moves pages by a lane of the far store as others do, in
 * pieces, and while the program faults it rests as long as it works.
 *
 * Each mender sees to its own process's backings and channels. What is the family's, one process
 * does at a time: who has slot_map.mending. docs/design/far-store.md says what guarantees that
 * wrong bytes do not spread.
 */
#include "pump/far_state.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/inside.h"
#include "base/own_memory.h"
#include "base/own_thread.h"

#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull
/* A node that restarts takes about the first; one that stays away is asked at the last's pace. */
#define RETRY_MS_MIN 100u
#define RETRY_MS_MAX 2000u
/* To join a session that another process of the family began: then it is gone for all. */
#define JOIN_TRIES 8u
#define REST_NS_MAX (100 * NS_PER_MS)
#define PAUSE_REST_NS 200000 /* long enough that who waits for `busy` gets it */

/* ---- Pace ---- */

void far_mender_rest(struct far *far, uint64_t ns)
{
	pthread_mutex_unlock(&far->mender.busy);
	clock_sleep_ns(ns);
	pthread_mutex_lock(&far->mender.busy);
}

void far_mender_give_way(struct far *far)
{
	struct far_mender *mender = &far->mender;
	uint64_t faults = atomic_load_explicit(&far->counters->faults, memory_order_relaxed);
	uint64_t now_ns = clock_now_ns(), rest_ns = 0;

	if (faults != mender->faults)
		rest_ns = now_ns - mender->piece_ns;
	if (rest_ns > REST_NS_MAX)
		rest_ns = REST_NS_MAX;
	if (atomic_load(&mender->waiting) && rest_ns < PAUSE_REST_NS)
		rest_ns = PAUSE_REST_NS;
	mender->faults = faults;
	if (rest_ns)
		far_mender_rest(far, rest_ns);
	mender->piece_ns = clock_now_ns();
}

void far_mender_push(struct far *far)
{
	for (uint32_t i = 0; i < far->lane_count; i++) {
		struct far_lane *lane = far->lanes[i];

		if (!lane->guard || pthread_mutex_trylock(lane->guard))
			continue;
		far_push(lane);
		pthread_mutex_unlock(lane->guard);
	}
}

void far_mender_pause(struct far *far)
{
	atomic_fetch_add(&far->mender.waiting, 1);
	pthread_mutex_lock(&far->mender.busy);
	atomic_fetch_sub(&far->mender.waiting, 1);
}

void far_mender_resume(struct far *far)
{
	pthread_mutex_unlock(&far->mender.busy);
}

static void retry_later(struct far_retry *retry)
{
	retry->at_ns = clock_now_ns() + retry->pause_ms * NS_PER_MS;
	retry->pause_ms *= 2;
	if (retry->pause_ms > RETRY_MS_MAX)
		retry->pause_ms = RETRY_MS_MAX;
}

static void retry_anew(struct far_retry *retry)
{
	retry->pause_ms = RETRY_MS_MIN;
	retry->tries = 0;
}

/* ---- Backings ---- */

/* Stores a page and fetches it again, in a place where nothing lies yet. */
static int prove(struct far *far, struct backing *backing, uint64_t slot)
{
	struct backing_io io = { .verb = BACKING_STORE, .page_count = 1, .slot = slot };
	struct backing_channel *channel;
	char *pages = far->mender.pages;
	int err = backing->ops->channel_open(backing, &channel, NULL);

	if (err)
		return err;
	memset(pages, 0, 2 * PAGE_BYTES);
	for (uint32_t i = 0; i < PAGE_BYTES; i += sizeof(uint64_t))
		*(uint64_t *)(pages + i) = clock_now_ns() + i;
	io.pages = pages;
	err = far_run_io(channel, &io, far->timeout_ns);
	if (!err && !io.result) {
		io.verb = BACKING_FETCH;
		io.pages = pages + PAGE_BYTES;
		err = far_run_io(channel, &io, far->timeout_ns);
	}
	channel->ops->channel_close(channel);
	if (!err)
		err = io.result;
	if (!err && memcmp(pages, pages + PAGE_BYTES, PAGE_BYTES))
		err = -EBADMSG;
	return err;
}

/* A lost backing is asked whether it has come back: then it begins a session, empty. */
static uint64_t reopen(struct far *far, uint32_t index, struct slot_life life)
{
	struct far_retry *retry = &far->mender.retries[index];
	struct backing *backing;
	int err;

	if (clock_now_ns() < retry->at_ns)
		return retry->at_ns;
	retry_later(retry);
	if (backing_open(far->uris[index], &far->options, &backing, NULL))
		return retry->at_ns;
	err = backing->ops->reserve(backing, SLOT_EXTENT_SLOTS, NULL);
	if (!err)
		err = prove(far, backing, 0);
	if (!err)
		err = far_attach(far, index, backing, life.session + 1, NULL);
	if (err) {
		backing_close(backing);
		return retry->at_ns;
	}
	slot_map_begin_session(far->map, index, backing->ticket);
	retry_anew(retry);
	far_ring(far);
	return FAR_NEVER;
}

/* What this process has too little of says nothing about the backing, which is the family's. */
static bool is_own_want(int err)
{
	return err == -EMFILE || err == -ENFILE || err == -ENOMEM;
}

/* Another of the family opened the backing, or this process could not after a fork. */
static uint64_t join(struct far *far, uint32_t index, bool leads)
{
	struct far_retry *retry = &far->mender.retries[index];
	struct backing_options options = far->options;
	uint8_t ticket[BACKING_TICKET_BYTES];
	struct slot_life life = slot_map_ticket(far->map, index, ticket);
	struct backing *backing;
	int err;

	if (life.state == SLOT_BACKING_LOST || retry->refused_session == life.session)
		return FAR_NEVER;
	if (clock_now_ns() < retry->at_ns)
		return retry->at_ns;
	retry_later(retry);
	options.ticket = ticket;
	err = backing_open(far->uris[index], &options, &backing, NULL);
	if (!err) {
		err = far_attach(far, index, backing, life.session, NULL);
		if (err)
			backing_close(backing);
	}
	if (err == -ENOTSUP)
		retry->refused_session = life.session;
	else if (err == -ESTALE ||
		 (leads && err && !is_own_want(err) && ++retry->tries == JOIN_TRIES))
		far_give_up(far, index, life.session, true);
	if (err)
		return retry->at_ns;
	retry_anew(retry);
	retry->at_ns = 0;
	return FAR_NEVER;
}

/*
 * A backing that does not store: what lies there alone is copied elsewhere (far_mend_extents()
 * sees to that), and then it is treated as lost, to be opened anew. Where there is no elsewhere it
 * goes on as it is once it stores again.
 */
static uint64_t drain(struct far *far, uint32_t index, struct slot_life life)
{
	struct far_retry *retry = &far->mender.retries[index];
	struct slot_copy place = { .backing = (uint8_t)index, .session = life.session };

	if (!slot_map_drop_redundant(far->map, index)) {
		far_give_up(far, index, life.session, true);
		return FAR_NEVER;
	}
	if (far_reachable(far))
		return far_after_ms(FAR_LOOK_MS);
	if (clock_now_ns() < retry->at_ns)
		return retry->at_ns;
	retry_later(retry);
	/* A place behind all others, the same at each try. */
	place.extent = atomic_load(&far->map->backings[index].extent_count);
	if (far_reach(far, place) ||
	    prove(far, far->backings[index], (uint64_t)place.extent * SLOT_EXTENT_SLOTS))
		return retry->at_ns;
	if (slot_map_revive(far->map, index, life.session))
		far_ring(far);
	retry_anew(retry);
	return FAR_NEVER;
}

/* Channels that are missing, on a backing that may still be read. */
static int supply(struct far *far, uint32_t index, struct slot_life life)
{
	struct far_retry *retry = &far->mender.retries[index];
	int err = -EAGAIN;

	if (clock_now_ns() < retry->at_ns)
		return err;
	err = far_supply(far, index);
	if (err) {
		retry_later(retry);
		if (far_means_gone(err) || (!is_own_want(err) && ++retry->tries == JOIN_TRIES))
			far_give_up(far, index, life.session, true);
	} else {
		retry_anew(retry);
	}
	return err;
}

/* Sees to one backing; `leads` if the family's part is ours. Returns when to look again. */
static uint64_t see_to(struct far *far, uint32_t index, bool leads)
{
	struct slot_life life = slot_map_life(far->map, index);
	uint64_t again_ns = leads ? FAR_NEVER : far_after_ms(FAR_LOOK_MS);

	if (life.state == SLOT_BACKING_LOST) {
		if (far->backings[index])
			far_detach(far, index);
		return leads ? reopen(far, index, life) : again_ns;
	}
	if (atomic_load(&far->sessions[index]) != life.session)
		return join(far, index, leads);
	if (far_is_lacking(far, index) && supply(far, index, life))
		return far->mender.retries[index].at_ns;
	if (life.state == SLOT_BACKING_LIVE)
		return FAR_NEVER;
	return leads ? drain(far, index, life) : again_ns;
}

static uint64_t look_after_all(struct far *far)
{
	bool leads = slot_map_try_mending(far->map);
	uint64_t again_ns = leads ? FAR_NEVER : far_after_ms(FAR_LOOK_MS);

	/* Whoever mends may wait for them. */
	far_mender_push(far);
	for (uint32_t i = 0; i < far->backing_count; i++)
		again_ns = far_sooner(again_ns, see_to(far, i, leads));
	if (leads) {
		again_ns = far_sooner(again_ns, far_mend_extents(far));
		slot_map_end_mending(far->map);
	}
	far_count_all(far);
	return again_ns;
}

/* ---- The thread ---- */

static void wait_for_bell(struct far *far, uint32_t heard, uint64_t until_ns)
{
	uint64_t now_ns = clock_now_ns(), ns = until_ns > now_ns ? until_ns - now_ns : 0;
	const struct timespec time = { .tv_sec = (time_t)(ns / NS_PER_S),
				       .tv_nsec = (long)(ns % NS_PER_S) };

	if (ns)
		syscall(SYS_futex, &far->map->bell, FUTEX_WAIT, heard,
			until_ns == FAR_NEVER ? NULL : &time, NULL, 0);
}

static void *mend(void *argument)
{
	struct far *far = argument;

	inside_enter();
	for (;;) {
		uint64_t again_ns;

		far->mender.heard = atomic_load(&far->map->bell);
		pthread_mutex_lock(&far->mender.busy);
		far->mender.piece_ns = clock_now_ns();
		again_ns = look_after_all(far);
		pthread_mutex_unlock(&far->mender.busy);
		wait_for_bell(far, far->mender.heard, again_ns);
	}
	return NULL;
}

int far_mender_start(struct far *far, struct error *why)
{
	struct far_mender *mender = &far->mender;
	void *memory;
	int err = 0;

	pthread_mutex_init(&mender->busy, NULL);
	atomic_store(&mender->waiting, 0);
	for (uint32_t i = 0; i < SLOT_BACKINGS_MAX; i++)
		mender->retries[i] = (struct far_retry){ .pause_ms = RETRY_MS_MIN,
							 .refused_session = FAR_NO_SESSION };
	if (mender->lane) {
		err = far_lane_reopen(mender->lane, why);
	} else {
		err = own_memory_map(BACKING_IO_PAGES_MAX * PAGE_BYTES, &memory);
		if (err)
			return error_set(why, err, "no memory for the mender");
		mender->pages = memory;
		err = far_lane_open(far, NULL, &mender->lane, why);
	}
	if (err)
		return err;
	err = own_thread_start(&mender->thread, NULL, mend, far);
	if (err)
		return error_set(why, err, "cannot start the mender: %s", strerror(-err));
	pthread_setname_np(mender->thread, "perdure-mend");
	return 0;
}
