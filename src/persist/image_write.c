/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Pages on their way to the disk. One buffer is filled at a time, with pages whose places follow
 * one another; a page that lies elsewhere sends it off. Packed pages get their places in the order
 * in which they are put, so a save is one sequence.
 */

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "memory/page_digest.h"
#include "persist/image_state.h"

static void set_bit(uint64_t *bits, uint64_t page)
{
	bits[page / 64] |= 1ull << page % 64;
}

static void clear_bit(uint64_t *bits, uint64_t page)
{
	bits[page / 64] &= ~(1ull << page % 64);
}

void image_fail_page(struct image *image, uint64_t page)
{
	image->failed_count += !image_bit(image->failed, page);
	set_bit(image->failed, page);
}

void image_fail_all(struct image *image)
{
	for (uint64_t page = 0; page < image->layout.page_count; page++)
		if (image_bit(image->put, page) && image->making[page].place != IMAGE_NOWHERE)
			image_fail_page(image, page);
}

int image_take_error(struct image *image)
{
	int err = image->error;

	image->error = 0;
	return err;
}

/* Pages that were put elsewhere since, or are zeros by now, do not need this write. */
static void fail_pages_of(struct image *image, const struct image_buffer *buffer)
{
	for (uint32_t i = 0; i < buffer->page_count; i++) {
		uint64_t page = buffer->pages[i];
		uint32_t place = image->making[page].place;

		if (place != IMAGE_NOWHERE &&
		    image_offset(&image->layout, image_next(image), page, place) ==
			    buffer->io.offset + i * PAGE_BYTES)
			image_fail_page(image, page);
	}
}

static void finish(struct image *image, struct image_buffer *buffer)
{
	int result = buffer->io.result;

	buffer->on_its_way = false;
	if (result) {
		fail_pages_of(image, buffer);
		if (!image->error)
			image->error = result;
	} else {
		image->counters.bytes_written += buffer->io.byte_count;
	}
	if (result == -ETIMEDOUT) {
		image->gone = result; /* the bytes are the disk's for ever: it is not freed */
		return;
	}
	buffer->next_free = image->free;
	image->free = buffer;
}

/* False when none was on its way. */
static bool wait_one(struct image *image)
{
	struct disk_io *io = image->disk->ops->wait(image->disk);

	if (!io) {
		assert(image->on_their_way == 0);
		return false;
	}
	if (--image->on_their_way == 0)
		image->counters.write_ns += clock_now_ns() - image->busy_since_ns;
	finish(image, (struct image_buffer *)io);
	return true;
}

void image_wait_all(struct image *image)
{
	while (image->on_their_way)
		wait_one(image);
}

struct image_buffer *image_take_buffer(struct image *image)
{
	struct image_buffer *buffer;

	while (!image->free && !image->gone && wait_one(image))
		continue;
	if (image->gone)
		return NULL;
	buffer = image->free;
	assert(buffer);
	image->free = buffer->next_free;
	buffer->page_count = 0;
	buffer->io = (struct disk_io){ .bytes = buffer->bytes };
	return buffer;
}

void image_send(struct image *image, struct image_buffer *buffer)
{
	int err = image->gone;

	if (!err)
		err = image->disk->ops->submit(image->disk, &buffer->io);
	if (err) {
		/* It did not begin, so the bytes are not the disk's, whatever the error. */
		if (err == -ETIMEDOUT)
			image->gone = err;
		buffer->io.result = err;
		finish(image, buffer);
		return;
	}
	buffer->on_its_way = true;
	if (image->on_their_way++ == 0)
		image->busy_since_ns = clock_now_ns();
}

static void send_filling(struct image *image)
{
	struct image_buffer *buffer = image->filling;

	image->filling = NULL;
	if (buffer)
		image_send(image, buffer);
}

int image_sync(struct image *image)
{
	int err = image->gone ? image->gone : image->disk->ops->sync(image->disk);

	if (err == -ETIMEDOUT)
		image->gone = err;
	return err;
}

int image_write_block(struct image *image, uint64_t offset, const void *block)
{
	struct image_buffer *buffer = image_take_buffer(image);

	if (!buffer)
		return image->gone;
	memcpy(buffer->bytes, block, IMAGE_BLOCK_BYTES);
	buffer->io.offset = offset;
	buffer->io.byte_count = IMAGE_BLOCK_BYTES;
	image_send(image, buffer);
	image_wait_all(image);
	return image_take_error(image);
}

int image_settle(struct image *image)
{
	static const struct image_commit none;
	int err;

	if (image->gone)
		return image->gone;
	if (!image->record_doubtful)
		return 0;
	err = image_write_block(image, image_record_offset(image_next(image)), &none);
	if (!err)
		err = image_sync(image);
	if (!err)
		image->record_doubtful = false;
	return err;
}

static void set_entry(struct image *image, uint64_t page, uint32_t place, uint32_t checksum)
{
	image->making[page] = (struct image_page){ place, checksum };
	set_bit(image->put, page);
	image->failed_count -= image_bit(image->failed, page);
	clear_bit(image->failed, page);
}

/* I1: never where the committed generation has the page. */
static uint32_t choose_place(const struct image *image, uint64_t page, enum image_way way)
{
	if (way == IMAGE_PACK && image->packed_used < image->layout.packed_pages)
		return IMAGE_PACKED + (uint32_t)image->packed_used;
	return image->committed[page].place == IMAGE_HOME_A ? IMAGE_HOME_B : IMAGE_HOME_A;
}

static const struct image_buffer *buffer_at(const struct image *image, uint64_t offset)
{
	for (uint32_t i = 0; i < image->buffer_count; i++) {
		const struct image_buffer *buffer = &image->buffers[i];

		if (buffer->on_its_way && offset >= buffer->io.offset &&
		    offset - buffer->io.offset < buffer->io.byte_count)
			return buffer;
	}
	return NULL;
}

/* Where in a buffer the page for this place of the disk goes; NULL when the disk is gone. */
static uint8_t *room_for(struct image *image, uint64_t page, uint64_t offset)
{
	struct image_buffer *filling = image->filling;

	if (filling && offset >= filling->io.offset &&
	    offset - filling->io.offset < filling->io.byte_count)
		return filling->bytes + (offset - filling->io.offset);
	if (filling && offset != filling->io.offset + filling->io.byte_count)
		send_filling(image);
	/* Of two writes to one place on their way either may come last. */
	while (buffer_at(image, offset) && wait_one(image))
		continue;
	if (!image->filling) {
		image->filling = image_take_buffer(image);
		if (!image->filling)
			return NULL;
		image->filling->io.offset = offset;
	}
	filling = image->filling;
	filling->pages[filling->page_count++] = (uint32_t)page;
	filling->io.byte_count += PAGE_BYTES;
	return filling->bytes + filling->io.byte_count - PAGE_BYTES;
}

static int put_bytes(struct image *image, uint64_t page, const void *bytes, enum image_way way)
{
	uint32_t place = choose_place(image, page, way);
	uint64_t offset = image_offset(&image->layout, image_next(image), page, place);
	uint8_t *copy = room_for(image, page, offset);

	if (!copy)
		return image->gone;
	memcpy(copy, bytes, PAGE_BYTES);
	set_entry(image, page, place, crc32c(copy, PAGE_BYTES));
	if (place >= IMAGE_PACKED) {
		image->packed_used++;
		image->counters.pages_packed++;
	} else {
		image->counters.pages_flushed++;
	}
	if (image->filling->page_count == image->buffer_pages)
		send_filling(image);
	return 0;
}

int image_put(struct image *image, uint64_t page, const void *bytes, enum image_way way)
{
	int err = image_settle(image);

	assert(page < image->layout.page_count);
	/* Each word is read once: whoever writes to it meanwhile, it was zeros or was not. */
	if (!err && page_is_zero(bytes)) {
		set_entry(image, page, IMAGE_NOWHERE, 0);
		image->counters.pages_zero++;
		return 0;
	}
	if (!err)
		err = put_bytes(image, page, bytes, way);
	if (err) {
		image_fail_page(image, page);
		return err;
	}
	return image_take_error(image);
}

int image_drain(struct image *image)
{
	send_filling(image);
	image_wait_all(image);
	return image_take_error(image);
}

bool image_put_failed(struct image *image, uint64_t *ret_page)
{
	uint64_t page = image->failed_next;

	while (image->failed_count && page < image->layout.page_count &&
	       !image_bit(image->failed, page))
		page++;
	if (!image->failed_count || page == image->layout.page_count) {
		image->failed_next = 0;
		return false;
	}
	image->failed_next = page + 1;
	*ret_page = page;
	return true;
}
