/* SPDX-License-Identifier: Apache-2.0 */

/* A generation becomes the committed one: its table, and when all is durable its record. */

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "persist/image_state.h"

static int cannot(const struct image *image, int err, const char *what, struct error *why)
{
	return error_set(why, err, "generation %" PRIu64 " cannot be committed: %s: %s",
			 image_next(image), what, strerror(-err));
}

/*
 * The next table cannot name the packed area of this generation: what still lies there is copied to
 * a home. A page that is damaged there has failed, like one that could not be written.
 */
static int copy_packed(struct image *image, struct error *why)
{
	struct error reason;

	if (image->packed_count == 0)
		return 0;
	for (uint64_t page = 0; page < image->layout.page_count; page++) {
		int err;

		if (image_bit(image->put, page) || image->committed[page].place < IMAGE_PACKED)
			continue;
		err = image_read(image, page, 1, image->page, &reason);
		if (err) {
			image_fail_page(image, page);
			return error_set(why, err, "generation %" PRIu64 " cannot be committed: %s",
					 image_next(image), reason.text);
		}
		err = image_put(image, page, image->page, IMAGE_FLUSH);
		if (err)
			return cannot(image, err, "a page cannot be written", why);
	}
	return 0;
}

static struct image_page entry_of(const struct image *image, uint64_t page)
{
	return image_bit(image->put, page) ? image->making[page] : image->committed[page];
}

static void fill_block(const struct image *image, uint64_t index, struct image_table_block *block)
{
	uint64_t page = index * IMAGE_TABLE_ENTRIES;

	memset(block, 0, sizeof(*block));
	block->index = le32_of((uint32_t)index);
	block->generation = le64_of(image_next(image));
	for (uint32_t i = 0; i < IMAGE_TABLE_ENTRIES && page < image->layout.page_count; i++) {
		struct image_page entry = entry_of(image, page++);

		block->entries[i] =
			(struct image_entry){ le32_of(entry.place), le32_of(entry.checksum) };
	}
	image_table_block_seal(block);
}

static int write_table(struct image *image, uint32_t *ret_checksum)
{
	uint64_t at = image->layout.table[image_next(image) % 2];
	uint32_t checksum = 0;

	for (uint64_t index = 0; index < image->layout.table_blocks;) {
		struct image_buffer *buffer = image_take_buffer(image);
		struct image_table_block *blocks;
		uint32_t count = 0;

		if (!buffer)
			break;
		blocks = (struct image_table_block *)buffer->bytes;
		for (; count < image->buffer_pages && index < image->layout.table_blocks; count++) {
			fill_block(image, index++, &blocks[count]);
			checksum = image_table_checksum(checksum, &blocks[count]);
		}
		buffer->io.offset = at;
		buffer->io.byte_count = count * IMAGE_BLOCK_BYTES;
		at += buffer->io.byte_count;
		image_send(image, buffer);
	}
	image_wait_all(image);
	*ret_checksum = checksum;
	return image->gone ? image->gone : image_take_error(image);
}

/* All pages are on the disk, and the table that names them; durable when this is 0. */
static int write_all_but_record(struct image *image, uint32_t *ret_checksum, struct error *why)
{
	int err = copy_packed(image, why);

	if (err)
		return err;
	err = image_drain(image);
	if (err)
		return cannot(image, err, "a page cannot be written", why);
	if (image->failed_count) {
		return error_set(why, -EBADMSG,
				 "generation %" PRIu64 " cannot be committed: %" PRIu64
				 " pages that could not be written were not put again",
				 image_next(image), image->failed_count);
	}
	err = write_table(image, ret_checksum);
	if (err)
		return cannot(image, err, "its table cannot be written", why);
	err = image_sync(image);
	if (err) {
		image_fail_all(image);
		return cannot(image, err, "what was written cannot be made durable", why);
	}
	return 0;
}

/* I2: nothing is on its way, and everything that the record names is durable. */
static int write_record(struct image *image, const struct image_commit *record)
{
	int err;

	image->record_doubtful = true;
	err = image_write_block(image, image_record_offset(image_next(image)), record);
	if (!err)
		err = image_sync(image);
	if (!err)
		image->record_doubtful = false;
	return err;
}

static void adopt(struct image *image, const struct image_commit *record)
{
	image->packed_count = 0;
	for (uint64_t page = 0; page < image->layout.page_count; page++) {
		if (page % 64 == 0 && !image->put[page / 64]) {
			page += 63;
			continue;
		}
		if (!image_bit(image->put, page))
			continue;
		image->committed[page] = image->making[page];
		image->packed_count += image->committed[page].place >= IMAGE_PACKED;
	}
	memset(image->put, 0, (image->layout.page_count + 63) / 64 * sizeof(uint64_t));
	image->packed_used = 0;
	image->commit = *record;
}

int image_commit(struct image *image, enum image_reason reason, uint64_t saved_unix_ns,
		 struct error *why)
{
	struct image_commit record = {
		.generation = le64_of(image_next(image)),
		.saved_unix_ns = le64_of(saved_unix_ns),
		.reason = le32_of(reason),
	};
	uint32_t table_checksum = 0;
	int err = image_settle(image);

	assert(reason < IMAGE_REASONS);
	if (err)
		return cannot(image, err, "the record of a try before cannot be withdrawn", why);
	err = write_all_but_record(image, &table_checksum, why);
	if (err)
		return err;
	memcpy(record.region_id, image->head.region_id, sizeof(record.region_id));
	record.pages_packed = le64_of(image->packed_used);
	record.table_checksum = le32_of(table_checksum);
	image_commit_seal(&record);
	err = write_record(image, &record);
	if (err)
		return cannot(image, err, "its record cannot be written", why);
	adopt(image, &record);
	return 0;
}

uint64_t image_commit_bytes(const struct image *image)
{
	return (image->layout.table_blocks + 1) * IMAGE_BLOCK_BYTES;
}
