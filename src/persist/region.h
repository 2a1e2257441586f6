/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PERSIST_REGION_H
#define PERSIST_REGION_H

/*
 * A persistent region: its file in memory, which programs map; its image on disk; what of the file
 * is not in the image yet. docs/design/persistence.md; method M5 (US 2018/0321962): a component
 * outside the program sets the memory apart.
 *
 * Files, in the regions' folder: NAME, once it is restored; .NAME.restoring before; .NAME.live,
 * which says of which image NAME is. In the images' folder: NAME.image.
 *
 * Threads: the agent's main thread; the mover has what is said to be its, from mover_add() to
 * mover_remove().
 */

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "kernel/uffd.h"
#include "memory/page_digest.h"
#include "persist/image.h"
#include "pump/watcher.h"

enum region_state {
	REGION_RESTORING, /* those who join get their pages by demand; nobody else has it yet */
	REGION_LIVE,
	REGION_DAMAGED, /* its image cannot be served: `trouble` says why; it is left as it is */
};

/* Whether somebody who is not tracked may write to it. */
enum region_foreign {
	REGION_TRACKED,
	REGION_FOREIGN,
	REGION_FOREIGN_GONE, /* no longer, but what was written last is not known yet */
};

struct region {
	char name[IMAGE_NAME_BYTES];
	_Atomic uint32_t state;
	struct error trouble; /* of a damaged one */
	struct error loss;    /* what the generation before the newest lacks; empty: nothing */
	uint64_t bytes;
	uint64_t page_count;
	uid_t owner;
	int fd;
	uint8_t *memory; /* the agent's own mapping; pages that are not restored are not touched */
	struct image *image;
	struct watched_region *watched;
	_Atomic uint32_t foreign; /* enum region_foreign */

	/* The mover's: */
	struct uffd filler;	  /* what is missing in `memory` is filled by it */
	uint8_t *step;		  /* while restoring: what is read goes through it */
	uint64_t packed_restored; /* pages of the region looked at for packed ones */
	_Atomic uint64_t restored; /* pages of the region that are here, from the first on */
	uint64_t *digests;	  /* of each page as it was put last; 0: not known */
	_Atomic uint8_t *heat;	  /* policy/flush; handlers raise it */
	/* Read: who reads pages of the image; written: a commit. */
	pthread_rwlock_t image_lock;
};

/* Where the files are, and whose. */
struct region_place {
	const char *folder; /* of the regions, on a tmpfs */
	const char *images;
	uint8_t host_id[IMAGE_ID_BYTES];
	uint32_t disk_wait_ms_max;
};

enum region_file { REGION_NAMED, REGION_HIDDEN, REGION_LIVE_NOTE, REGION_IMAGE };

/* Where a region's file is, NAME, .NAME.restoring, .NAME.live or NAME.image. */
void region_path(const struct region_place *place, const char *name, enum region_file file,
		 char ret_path[PATH_MAX]);

/* A new one, empty and live. In words; nothing is left of it on failure. */
int region_create(const struct region_place *place, struct watcher *watcher, const char *name,
		  uint64_t bytes, uint64_t packed_pages, uid_t owner, struct region **ret_region,
		  struct error *why);

/*
 * One whose image is there: 0 also when the image cannot be served, which its state then says. A
 * live file of an agent before this one is taken over, all of it unflushed (T5); otherwise it is
 * restoring.
 */
int region_open(const struct region_place *place, struct watcher *watcher, const char *name,
		struct region **ret_region, struct error *why);

/* Gives the file of a region that is restored its name. In words. */
int region_publish(const struct region_place *place, struct region *region, struct error *why);

void region_set_foreign(struct region *region, enum region_foreign foreign);
/* Whether what of it is not flushed is known page by page; any thread. */
bool region_is_exact(const struct region *region);

/* Lets go; the file in memory stays for the next agent. NULL is allowed. */
void region_close(struct region *region);
/* Removes its files and closes it. */
int region_destroy(const struct region_place *place, struct region *region, struct error *why);

/* ---- The mover's (persist/restore.c) ---- */

#define REGION_STEP_PAGES 256 /* 1 MiB: a read that costs by the byte */

/* Whether all pages that lie in the packed area are here, and marked as unflushed (I4). */
bool region_has_packed(const struct region *region);
/*
 * Restores the next pages, packed ones first. 0, or -errno when the image's bytes are wrong: the
 * region is damaged then. It is live when region->restored is its page count.
 */
int region_restore_some(struct region *region, const struct page_digest_key *key);

/*
 * Brings those of the pages that are not here yet, of a region that is restoring: the watcher opens
 * pages ahead of a writer, and marks them, that nobody has touched. As above.
 */
int region_bring(struct region *region, uint64_t page, uint32_t page_count,
		 const struct page_digest_key *key);

/* What region->digests has of such a page; never 0. */
static inline uint64_t region_digest(const struct page_digest_key *key, const void *page)
{
	uint64_t digest = page_digest(key, page);

	return digest ? digest : 1;
}

#endif
