/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FAR_FIXTURE_H
#define TESTS_FAR_FIXTURE_H

/* A far store over backings that fail on a trigger, and threads that use it against a model. */

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/random.h"
#include "pump/far.h"

#define WORKERS 2
#define HELD_MAX 600 /* pages of one worker */
#define RUN_MAX 8
#define TIMEOUT_MS 300
#define SEED 20261123
#define WAIT_NS (20 * 1000000000ull)

static char folder[] = "/tmp/perdure-test-far.XXXXXX";
static struct run_counters *counters;
static struct far *far;
static _Atomic bool stop, pause_asked;
static _Atomic uint32_t paused;

struct held {
	uint32_t slot, crc;
};

struct worker {
	pthread_t thread;
	pthread_mutex_t guard;
	struct far_lane *lane;
	struct random_source random;
	char *pages;
	struct held held[HELD_MAX];
	uint32_t count;
	uint64_t wrong, refused, stored;
};

static struct worker workers[WORKERS];

static void set_up(void)
{
	strcpy(strrchr(folder, '.'), ".XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	counters = mmap(NULL, sizeof(*counters), PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static const char *trigger(uint32_t backing)
{
	static char path[64];

	snprintf(path, sizeof(path), "%s/%u", folder, backing);
	return path;
}

static void set_trouble(uint32_t backing, bool there)
{
	if (there)
		close(open(trigger(backing), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	else
		unlink(trigger(backing));
}

static void tear_down(void)
{
	for (uint32_t i = 0; i < SLOT_BACKINGS_MAX; i++)
		set_trouble(i, false);
	rmdir(folder);
}

/*
 * `count` backings that are in trouble of this kind while their trigger is there; the first has
 * `first` inside, the others `inner`.
 */
static void open_far_over(uint32_t count, uint32_t mirror, const char *kind, const char *first,
			  const char *inner)
{
	char uris[SLOT_BACKINGS_MAX][BACKING_URI_BYTES];
	const char *names[SLOT_BACKINGS_MAX];
	struct far_config config = { .uris = names, .uri_count = count, .mirror = mirror,
				     .timeout_ms = TIMEOUT_MS, .counters = counters };
	struct error why = { "" };
	int err;

	for (uint32_t i = 0; i < count; i++) {
		snprintf(uris[i], sizeof(uris[i]), "error:file=%s,%s:%s", trigger(i), kind,
			 i ? inner : first);
		names[i] = uris[i];
	}
	err = far_open(&config, &far, &why);
	ck_assert_msg(!err, "%s", why.text);
	far_hold(far);
	for (uint32_t i = 0; i < WORKERS; i++) {
		struct worker *w = &workers[i];

		memset(w, 0, sizeof(*w));
		pthread_mutex_init(&w->guard, NULL);
		w->random = random_from_seed(SEED + i);
		w->pages = mmap(NULL, (RUN_MAX + 1) * PAGE_BYTES, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		ck_assert(!far_lane_open(far, &w->guard, &w->lane, &why));
	}
	ck_assert(!far_mender_start(far, &why));
}

static void open_far(uint32_t count, uint32_t mirror, const char *kind, const char *inner)
{
	open_far_over(count, mirror, kind, inner, inner);
}

/* ---- One worker ---- */

static void store_some(struct worker *w)
{
	uint32_t want = 1 + (uint32_t)random_below(&w->random, RUN_MAX), crcs[RUN_MAX], first;
	struct far_stored stored;
	int taken;

	for (uint32_t i = 0; i < want; i++) {
		uint64_t *words = (uint64_t *)(w->pages + i * PAGE_BYTES);

		for (uint32_t at = 0; at < PAGE_BYTES / sizeof(*words); at += 7)
			words[at] = random_next(&w->random);
		crcs[i] = crc32c(words, PAGE_BYTES);
	}
	pthread_mutex_lock(&w->guard);
	taken = far_store(w->lane, w->pages, crcs, want, 0, &first);
	while (taken > 0 && !far_poll(w->lane, &stored))
		;
	pthread_mutex_unlock(&w->guard);
	if (taken < 0)
		w->refused++;
	for (uint32_t i = 0; (int)i < taken; i++) {
		if (stored.result) {
			far_free(far, first + i);
			w->refused++;
			continue;
		}
		w->held[w->count++] = (struct held){ first + i, crcs[i] };
		w->stored++;
	}
}

static void check_held(struct worker *w, uint32_t index)
{
	char *page = w->pages + RUN_MAX * PAGE_BYTES;
	uint32_t backing;
	int err;

	memset(page, 0, PAGE_BYTES);
	pthread_mutex_lock(&w->guard);
	err = far_fetch(w->lane, w->held[index].slot, w->held[index].crc, page, &backing);
	pthread_mutex_unlock(&w->guard);
	if (err < 0 || crc32c(page, PAGE_BYTES) != w->held[index].crc)
		w->wrong++;
}

static void step(struct worker *w)
{
	uint64_t what = random_below(&w->random, 4);
	uint32_t index;

	if (w->count + RUN_MAX <= HELD_MAX && (what < 2 || !w->count)) {
		store_some(w);
	} else {
		index = (uint32_t)random_below(&w->random, w->count);
		check_held(w, index);
		if (what == 3) {
			far_free(far, w->held[index].slot);
			w->held[index] = w->held[--w->count];
		}
	}
	atomic_fetch_add_explicit(&counters->faults, 1, memory_order_relaxed);
}

static void *work(void *argument)
{
	struct worker *w = argument;

	while (!stop) {
		if (pause_asked) {
			paused++;
			while (pause_asked)
				usleep(200);
			paused--;
		}
		step(w);
	}
	return NULL;
}

static void start_workers(void)
{
	stop = false;
	pause_asked = false;
	paused = 0;
	for (uint32_t i = 0; i < WORKERS; i++)
		ck_assert(!pthread_create(&workers[i].thread, NULL, work, &workers[i]));
}

static uint64_t stop_workers(void)
{
	uint64_t wrong = 0;

	stop = true;
	for (uint32_t i = 0; i < WORKERS; i++) {
		struct worker *w = &workers[i];

		pthread_join(w->thread, NULL);
		for (uint32_t held = 0; held < w->count; held++)
			check_held(w, held);
		wrong += w->wrong;
	}
	return wrong;
}

/* ---- Waiting ---- */

#define WAIT_UNTIL(condition)                                                                      \
	do {                                                                                       \
		uint64_t until_ns = clock_now_ns() + WAIT_NS;                                      \
		while (!(condition)) {                                                             \
			ck_assert_msg(clock_now_ns() < until_ns, "not: %s", #condition);           \
			usleep(500);                                                               \
		}                                                                                  \
	} while (0)

static uint64_t held_in_all(void)
{
	uint64_t held = 0;

	for (uint32_t i = 0; i < WORKERS; i++)
		held += workers[i].count;
	return held;
}

static uint64_t pages_on_all(void)
{
	uint64_t pages = 0;

	for (uint32_t i = 0; i < RUN_BACKINGS_MAX; i++)
		pages += counters->backings[i].pages;
	return pages;
}

static uint64_t losses(void)
{
	uint64_t lost = 0;

	for (uint32_t i = 0; i < RUN_BACKINGS_MAX; i++)
		lost += counters->backings[i].lost;
	return lost;
}

static void pause_until_whole(void)
{
	pause_asked = true;
	WAIT_UNTIL(paused == WORKERS);
	WAIT_UNTIL(pages_on_all() == 2 * held_in_all());
	pause_asked = false;
	WAIT_UNTIL(paused == 0);
}

#endif
