/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PERSIST_IMAGE_STATE_H
#define PERSIST_IMAGE_STATE_H

/*
 * What the parts of an image share: image.c makes it and reads pages, image_open.c finds what is
 * committed, image_write.c brings pages to the disk, image_commit.c commits them.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "persist/image.h"

#define IMAGE_BUFFER_BYTES (256u << 10) /* a write of it goes at the rate of a sequence */
#define IMAGE_BUFFER_PAGES (IMAGE_BUFFER_BYTES / IMAGE_BLOCK_BYTES)
#define IMAGE_BUFFERS_MAX 32u
#define IMAGE_BUFFERS_MIN 4u /* of a small region; together they are not larger than it */

/* An entry of a table, in memory. */
struct image_page {
	uint32_t place;
	uint32_t checksum;
};

/* A write that is being filled, or on its way, or free. */
struct image_buffer {
	struct disk_io io; /* first: the disk gives it back */
	uint8_t *bytes;
	bool on_its_way;
	uint32_t page_count;		    /* 0 for a table or a record */
	uint32_t pages[IMAGE_BUFFER_PAGES]; /* of the region, in the buffer's order */
	struct image_buffer *next_free;
};

/* All of it, the tables and the buffers are one mapping, made by image_new(). */
struct image {
	struct disk *disk;
	size_t memory_bytes;
	struct image_head head;
	struct image_layout layout;
	struct image_commit commit; /* of the committed generation */
	struct image_page *committed;
	struct image_page *making; /* of pages whose bit in `put` is set; the others are unknown */
	uint64_t *put;		   /* a bit a page: since the last commit */
	uint64_t *failed;	   /* a bit a page: its bytes are not on the disk */
	uint64_t failed_count;
	uint64_t failed_next;  /* where image_put_failed() goes on */
	uint64_t packed_count; /* committed pages that lie in the packed area */
	uint64_t packed_used;  /* places of the packed area of the generation being made */
	uint8_t *bounce;       /* the buffers' bytes, one after another */
	uint8_t *page;	       /* one page, to read to while buffers are in use */
	uint32_t buffer_count;
	uint32_t buffer_pages; /* of one buffer */
	uint32_t on_their_way;
	uint64_t busy_since_ns;
	struct image_buffer *free;
	struct image_buffer *filling; /* NULL: none */
	int error;		      /* the first one that no caller was told of */
	int gone;		      /* -ETIMEDOUT: the disk takes no more writes */
	/*
	 * The record of the generation being made may be on the disk, as a commit failed late or
	 * its generation was found damaged. What it names must not be written to until it is not.
	 */
	bool record_doubtful;
	struct image_counters counters;
	struct image_buffer buffers[IMAGE_BUFFERS_MAX];
};

static inline bool image_bit(const uint64_t *bits, uint64_t page)
{
	return bits[page / 64] >> page % 64 & 1;
}

/* The generation being made. */
static inline uint64_t image_next(const struct image *image)
{
	return image_generation(image) + 1;
}

/* The number of the block with the generation's record. */
static inline uint64_t image_record_offset(uint64_t generation)
{
	return (1 + generation % 2) * IMAGE_BLOCK_BYTES;
}

/* An image of nothing yet, that owns no disk. 0 or -errno. */
int image_new(const struct image_head *head, const struct image_layout *layout,
	      struct image **ret_image);
void image_delete(struct image *image);

/* image_write.c */

/* A free buffer, empty; NULL when the disk is gone. */
struct image_buffer *image_take_buffer(struct image *image);
/* Begins to write the buffer, of which io.offset and io.byte_count are set. */
void image_send(struct image *image, struct image_buffer *buffer);
/* Waits until nothing is on its way. */
void image_wait_all(struct image *image);
/* The first error that nobody was told of, or 0. */
int image_take_error(struct image *image);
int image_sync(struct image *image);
/* A block by itself, written but not synced. 0 or -errno. */
int image_write_block(struct image *image, uint64_t offset, const void *block);
/* Withdraws a doubtful record. 0, or why nothing may be written. */
int image_settle(struct image *image);
void image_fail_page(struct image *image, uint64_t page);
/* As after a sync that failed: each page put since the last commit. */
void image_fail_all(struct image *image);

#endif
