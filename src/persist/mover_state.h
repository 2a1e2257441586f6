/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PERSIST_MOVER_STATE_H
#define PERSIST_MOVER_STATE_H

/* What mover.c (the thread), mover_flush.c and mover_save.c share. */

#include "persist/mover.h"

#include <pthread.h>

#include "memory/page_digest.h"
#include "policy/flush.h"
#include "policy/rate.h"

/* 4 MiB: the longest that a command waits; on a disk of 40 MB/s, 0.1 s. */
#define MOVER_BATCH_PAGES 1024

/* Neighbours that were taken and put, not yet drained. */
struct mover_run {
	struct region *region;
	uint64_t page;
	uint32_t count;
};

struct mover {
	struct watcher *watcher;
	int bell_fd;
	pthread_t thread;
	_Atomic uint32_t wanted; /* main threads that wait for the lock */
	pthread_mutex_t lock;	 /* all below; the thread has it while it works */
	pthread_cond_t wake;
	bool ending;
	struct region *regions[WATCHER_REGIONS_MAX];
	uint64_t bound_pages;

	bool save_wanted;
	_Atomic bool save_ended; /* looked at without the lock first, which a save holds */
	enum image_reason save_reason;
	struct mover_save save;

	/* The pass of flushing. */
	struct flush_pass pass;
	bool passing;
	uint32_t pass_region;
	uint64_t pass_page;
	uint64_t pass_begin_ns;
	uint64_t rest_until_ns; /* after writes that failed */
	uint64_t scan_ns;	/* when the pages of foreign writers were looked at last */
	struct mover_run runs[MOVER_BATCH_PAGES];
	uint32_t run_count;
	int put_error; /* the first since the last settling */

	struct page_digest_key key;
	uint8_t copy[WATCHER_RUN_PAGES_MAX * PAGE_BYTES] __attribute__((aligned(64)));
	struct rate sequence, scattered; /* of the disk, for saves and for flushes */
	uint64_t probe_ns;
	struct mover_counters counters;
};

void mover_ring(struct mover *mover);

/* A step of flushing, at most a batch; false if there is nothing to do now. */
bool mover_flush_some(struct mover *mover);
/* Measures the disk if it was not for a while. */
void mover_probe(struct mover *mover);
void mover_make_save(struct mover *mover);

/* Takes marked neighbours and puts them, noted in mover->runs. Returns how many were taken. */
uint32_t mover_put_run(struct mover *mover, struct region *region, uint64_t page, uint32_t count,
		       enum image_way way);
/* Waits until what was put is written; what failed is marked again. 0 or the first error. */
int mover_settle(struct mover *mover);
/* Marks what the image failed to write; returns how many of those pages are of this batch. */
uint64_t mover_return_failed(struct mover *mover, struct region *region);
/* Marks the pages of a region with foreign writers that are not as they were put last. */
void mover_scan(struct mover *mover, struct region *region);

#endif
