/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PERSIST_MOVER_H
#define PERSIST_MOVER_H

/*
 * The thread that moves pages between regions and their images: restores what is to be restored,
 * flushes what was written, and makes saves. Push half of the pump; the watcher (pump/watcher.h)
 * says which pages. docs/design/persistence.md: T1, S1 to S3.
 *
 * Threads: one, the agent's main thread, makes all calls. While a save is under way all but
 * mover_take_save() and mover_go() wait for its end.
 */

#include <stdbool.h>
#include <stdint.h>

#include "persist/region.h"

struct mover;

/*
 * `bell_fd` is an eventfd, the caller's: rung when a save has ended and when a region's state has
 * changed.
 */
int mover_create(struct watcher *watcher, int bell_fd, struct mover **ret_mover, struct error *why);
void mover_destroy(struct mover *mover); /* all regions are removed; NULL is allowed */

void mover_add(struct mover *mover, struct region *region);
/* Waits until the mover is out of it, at most as long as a batch of writes takes. */
void mover_remove(struct mover *mover, struct region *region);

/* What a save was. */
struct mover_save {
	int result; /* 0 or -errno */
	struct error why;
	uint64_t pages;	   /* that were not flushed yet */
	uint64_t bytes;	   /* written, with tables and records */
	uint64_t stop_ns;  /* until all writers were stopped */
	uint64_t write_ns; /* until the last record was durable */
	uint64_t regions;
};

/*
 * Begins a save of all live and restoring regions. Writers are stopped, and go on by mover_go():
 * after a failure of power nobody's writes would be safe.
 */
void mover_save(struct mover *mover, enum image_reason reason);
/* How many pages may be unflushed. */
void mover_set_bound(struct mover *mover, uint64_t bound_pages);
/* Takes the result of a save that has ended; false if there is none. */
bool mover_take_save(struct mover *mover, struct mover_save *ret_save);
/* Writers go on after a save. */
void mover_go(struct mover *mover);

struct mover_counters {
	uint64_t pages_flushed; /* in the background */
	uint64_t bytes_written;
	uint64_t flush_errors;
	int last_error; /* of the last writes: 0 or -errno */
	uint64_t write_bytes_s; /* in sequence: the worst of the last minute; 0: not measured yet */
	uint64_t flush_bytes_s; /* of scattered pages, lately; 0: not measured yet */
};
void mover_count(struct mover *mover, struct mover_counters *ret_counters);

#endif
