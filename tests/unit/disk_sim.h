/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_DISK_SIM_H
#define TESTS_UNIT_DISK_SIM_H

/*
 * A disk in memory that keeps what was synced apart from what was only written, ends writes in any
 * order, and fails when it is told to. When the power fails, of each write since the last sync all,
 * nothing, or any of its sectors of 512 bytes are there. All chance comes from the seed.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/random.h"
#include "persist/disk.h"

#define SIM_WRITES_MAX 4096

/* What a disk may do that no disk must: the checker has to notice. */
enum sim_lie {
	SIM_HONEST,
	SIM_NO_SYNC_BEFORE_RECORD, /* so the record may be there before what it names */
	SIM_NO_SYNC_OF_RECORD,	   /* so a generation that was committed may be gone */
	SIM_ONE_PLACE,		   /* two parts of the disk are one: `one_from` is `one_to` */
};

struct sim_write {
	uint64_t offset;
	uint32_t byte_count;
	struct disk_io *io; /* NULL: it was returned */
	bool late;	    /* nobody waits for it: it may land until the disk is closed */
	uint8_t *bytes;	    /* as they were when it was submitted */
	uint8_t *before;    /* while a crash is tried: what was durable there */
};

struct disk_sim {
	struct disk base;
	struct random_source random;
	uint8_t *now, *durable;
	struct sim_write writes[SIM_WRITES_MAX]; /* since the last sync */
	uint32_t write_count;
	uint32_t order[SIM_WRITES_MAX]; /* of the crash that is tried */
	bool timed_out;
	bool power_off;		  /* or the program was killed: no more calls are served */
	uint32_t calls_until_off; /* 0: the power stays */
	/* Of 10,000 calls so many fail. */
	uint32_t submit_errors, write_errors, sync_errors, read_errors, timeouts;
	enum sim_lie lie;
	uint64_t one_from, one_to, one_bytes;
	uint64_t submitted, bytes_submitted, syncs; /* counts, never reset */
	const char *abuse;			    /* what the caller did that it must not */
	void (*hook)(void *context);		    /* before each call but reads */
	void *context;
};

struct disk_sim *disk_sim_new(uint64_t bytes, uint64_t seed);
void disk_sim_delete(struct disk_sim *sim);

/* No more failures. */
void disk_sim_calm(struct disk_sim *sim);

/* The power fails for good: what is durable now is what the disk has when it is opened again. */
void disk_sim_cut(struct disk_sim *sim);

/* Not the power failed but the program: what was written is read, synced or not. */
void disk_sim_revive(struct disk_sim *sim);

/* As a cut, but for a moment: between the two calls the view shows one of the possible states. */
void disk_sim_try_crash(struct disk_sim *sim);
void disk_sim_undo_crash(struct disk_sim *sim);

/* What is durable, to be read only: whoever writes is an abuse of `sim`. */
struct sim_view {
	struct disk base;
	struct disk_sim *sim;
};
struct disk *disk_sim_view(struct disk_sim *sim, struct sim_view *view);

#endif
