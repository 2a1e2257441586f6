/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PERSIST_IMAGE_H
#define PERSIST_IMAGE_H

/*
 * The image of one region: what of it is durable, and the generation that is being made. Layout:
 * format/image.h; what must hold: I1 to I5 of docs/design/persistence.md. Method M5 (US
 * 2018/0321962): changed data is flushed while there is power, the completion record comes last,
 * and a save that did not complete is never served.
 *
 * Threads: image_read() may be called by any thread while no generation is being committed.
 * Everything else is one thread's, the mover's. Nothing is allocated after image_open().
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "format/image.h"
#include "persist/disk.h"

struct image;

struct image_config {
	uint8_t region_id[IMAGE_ID_BYTES];
	uint8_t host_id[IMAGE_ID_BYTES];
	char name[IMAGE_NAME_BYTES];
	uint64_t region_bytes;
	uint64_t packed_pages;
	uint64_t created_unix_ns;
};

/* How many bytes of disk it takes. -EINVAL in words. */
int image_bytes(const struct image_config *config, uint64_t *ret_bytes, struct error *why);

/*
 * Writes an empty image, generation 1 of zeros, to a disk of that size. Synced; the head comes
 * last, so that a disk on which this did not end has no image, or this one whole.
 */
int image_format(struct disk *disk, const struct image_config *config, struct error *why);

/*
 * Reads what is committed. The disk becomes the image's, also on failure. In words, with nothing
 * written: -ENOTSUP a newer format; -EXDEV another host's (`host_id` NULL: any); -EBADMSG damaged.
 * When the newest generation is damaged the one before is taken, if all its pages have their
 * checksums; *ret_loss says in words what is missing then, and is empty otherwise.
 *
 * It syncs before it believes a record: what an agent before wrote and did not sync could be read
 * now and gone after a power cut, while pages of the generation before it are written over.
 */
int image_open(struct disk *disk, const uint8_t host_id[IMAGE_ID_BYTES], struct image **ret_image,
	       struct error *ret_loss, struct error *why);
void image_close(struct image *image); /* NULL is allowed; waits for what is on its way */

const struct image_head *image_head_of(const struct image *image);
const struct image_layout *image_layout(const struct image *image);
/* The committed one, and what its record says. */
uint64_t image_generation(const struct image *image);
const struct image_commit *image_commit_record(const struct image *image);

/* Whether the committed generation's page is zeros, in a home, or packed (IMAGE_...). */
uint32_t image_place(const struct image *image, uint64_t page);

/*
 * The committed bytes of `page_count` pages from `page` on, checked, to an address that is a
 * multiple of a page's size. -EBADMSG in words that name the first page whose bytes are wrong;
 * `to` is not to be used then.
 */
#define IMAGE_READ_PAGES_MAX 256u
int image_read(struct image *image, uint64_t page, uint32_t page_count, void *to,
	       struct error *why);

enum image_way {
	IMAGE_FLUSH, /* to the home that is not committed */
	IMAGE_PACK,  /* to the packed area, and to the home when that is full: for a save */
};

/*
 * The page's bytes, aligned to 8, for the next generation. They are copied before it returns, and
 * the checksum is of the copy; zeros take no room. Waits when too much is on its way; the last
 * pages may rest in a buffer until image_drain(). An error is of the disk, and may be of any page
 * put before, or of this one: the generation cannot be committed until those pages were put again;
 * image_put_failed() tells which. After -ETIMEDOUT the image is of no more use than to be read.
 */
int image_put(struct image *image, uint64_t page, const void *bytes, enum image_way way);

/* Waits until all that was put is written, not yet durable. 0 or -errno as above. */
int image_drain(struct image *image);

/*
 * The failed pages one at a time, in their order; false at their end. One that was not put again,
 * or failed again, is told again in the next round. After a sync that failed they are all that were
 * put since the last commit; a page that a commit took over from the packed area may be among them.
 */
bool image_put_failed(struct image *image, uint64_t *ret_page);

/*
 * Commits the generation: all pages as they were put last, and those not put as they are committed;
 * of these, packed ones are copied to a home first (I4). Drains, writes the table, syncs, writes
 * the record, syncs. -EBADMSG: failed pages were not put again, or a packed one is damaged.
 *
 * On failure the generation before it stays committed here, and it may be tried again. A record
 * whose write or sync failed may yet be on the disk: it is withdrawn before anything else is
 * written, and the disk holds that generation, whole, until then.
 */
int image_commit(struct image *image, enum image_reason reason, uint64_t saved_unix_ns,
		 struct error *why);

/* What a commit writes besides the pages. */
uint64_t image_commit_bytes(const struct image *image);

/*
 * Writes so many bytes in one sequence, to where the next generation may have them, to measure the
 * disk: *ret_ns is how long it took, with a sync. Only what was not put yet; 0 or -errno; -EAGAIN
 * when the packed area has no such room.
 */
int image_probe(struct image *image, uint64_t bytes, uint64_t *ret_ns);

struct image_counters {
	uint64_t pages_flushed, pages_packed, pages_zero;
	uint64_t bytes_written; /* of pages and all else */
	uint64_t write_ns;	/* in which writes were on their way, if batches end in a drain */
};
const struct image_counters *image_counters(const struct image *image);

#endif
